"""Trunks: the contract, and the experts that two of them are made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor


class Trunk(ABC):
    """Layers that tasks share; its parameters alone define it (`pareto_rec.models.mixture`)."""

    name: ClassVar[str]

    @abstractmethod
    def init(
        self, width: int, experts: int, tasks: Sequence[str], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Initialise the parameters of one candidate (no leading dimension).

        Args:
            width: Width of user states.
            experts: Number of experts; see the trunk for which.
            tasks: Every task that has a tower.
            generator: Source of the initial values.
        """


def init_experts(
    owner: str, width: int, count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Initialise experts as the identity, so that a fit starts as a shared bottom."""
    first = torch.randn(count, width, width, generator=generator) / math.sqrt(width)
    return {
        f"{owner}.experts_in": first,
        f"{owner}.experts_bias": torch.zeros(count * width),
        f"{owner}.experts_out": torch.zeros(count, width, width),
    }


def init_gate(width: int, count: int, generator: torch.Generator) -> Tensor:
    """Initialise a linear gate over so many experts ``[width, count]``."""
    return torch.randn(width, count, generator=generator) / math.sqrt(width)
