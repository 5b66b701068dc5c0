"""The shared trunk: from a text's backbone features to the vector that a system reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pareto_rec.models.base import Params, init_linear
from pareto_rec.models.mixture import task_state
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.systems.spec import JointSpec

PROJECT = "text.project"


def initial_trunk(
    spec: JointSpec, features: int, systems: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """Draw the shared parameters of one fit (no leading dimension).

    Args:
        spec: Shared training variables.
        features: Width of the backbone's features.
        systems: Names of the systems, which have a gate each where there are experts.
        seed: Of the draws.
    """
    source = torch.Generator().manual_seed(seed)
    own = TRUNKS[spec.trunk].init(spec.width, spec.trunk_experts, systems, source)
    return {PROJECT: init_linear(features, spec.width, source), **own}


def vectors(params: Params, system: str, features: Tensor) -> Tensor:
    """Compute what a system reads of some texts ``[n, D]``.

    Args:
        params: Shared parameters, stacked ``[1, ...]``.
        system: Its name.
        features: Of the texts ``[n, F]``.
    """
    projected = torch.matmul(features, params[PROJECT])
    return task_state(params, system, projected)[0]
