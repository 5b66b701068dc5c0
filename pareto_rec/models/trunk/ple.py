"""Progressive layered extraction: experts of each task's own beside shared ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pareto_rec.models.mixture import SHARED
from pareto_rec.models.trunk.base import Trunk, init_experts, init_gate


class PLE(Trunk):
    """Customized gate control, one extraction layer of progressive layered extraction.

    ``g_k(x) = w_k(x) S_k(x)`` with ``S_k = [experts of task k, shared experts]`` and ``w_k(x) =
    softmax(W_k x)``, which the tower of task k reads. There are `trunk_experts` shared experts and
    as many of each task's own. One extraction layer, of which the paper stacks several; a gate of
    the shared experts is needed between layers alone, and so there is none. Experts are those of
    `mmoe`.

    Misleads: its parameters grow with the number of tasks, and an expert of a rare task's own sees
    little to learn from.

    Source: Tang et al., Progressive layered extraction (PLE): a novel multi-task learning model for
    personalized recommendations, RecSys 2020, section 4.1 (CGC).
    """

    name = "ple"

    def init(
        self, width: int, experts: int, tasks: Sequence[str], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Initialise shared experts, and for every task experts of its own and a gate over both."""
        params = init_experts(SHARED, width, experts, generator)
        for task in tasks:
            params |= init_experts(task, width, experts, generator)
            params[f"{task}.gate"] = init_gate(width, 2 * experts, generator)
        return params
