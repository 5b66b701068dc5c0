"""Multi-gate mixture of experts: shared experts, weighted by each task in its own way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pareto_rec.models.mixture import SHARED
from pareto_rec.models.trunk.base import Trunk, init_experts, init_gate


class MMoE(Trunk):
    """Multi-gate mixture of experts: ``y_k = h_k(sum_i g_k(x)_i f_i(x))``.

    x is the user state, f_i one of `trunk_experts` experts that all tasks share, ``g_k(x) =
    softmax(W_k x)`` the gate of task k and h_k its tower. Experts are residual perceptrons whose
    last layer starts at zero, so that a fit starts as a shared bottom; with one expert every task
    reads the same state.

    Misleads: gates can settle on one expert early; short fits leave them near their start.

    Source: Ma et al., Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts, KDD 2018, eqs. 5-7.
    """

    name = "mmoe"

    def init(
        self, width: int, experts: int, tasks: Sequence[str], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Initialise shared experts, and a gate over them for every task."""
        gates = {f"{task}.gate": init_gate(width, experts, generator) for task in tasks}
        return init_experts(SHARED, width, experts, generator) | gates
