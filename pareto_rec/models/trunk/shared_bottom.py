"""Shared bottom: all tasks read the same state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pareto_rec.models.trunk.base import Trunk


class SharedBottom(Trunk):
    """Every tower reads the user state itself: nothing lies between encoder and towers.

    Misleads: tasks that disagree about what matters in a history pull at one state.

    Source: Caruana, Multitask learning, Machine Learning 1997; the baseline of Ma et al., KDD 2018
    (eq. 1).
    """

    name = "shared_bottom"

    def init(
        self, width: int, experts: int, tasks: Sequence[str], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return no parameters."""
        del width, experts, tasks, generator
        return {}
