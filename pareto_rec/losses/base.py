"""What losses see, and the contract that they keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from pareto_rec.errors import unknown


@dataclass(frozen=True)
class ItemFacts:
    """What losses may know about the catalogue.

    Attributes:
        categories: Category vectors of length one ``[N, C]``; zero where an item has none.
        log_popularity: ``log1p(training rows)`` divided by its largest value ``[N]``.
        log_frequency: Log of the smoothed share of training rows ``[N]`` (sums to one).
    """

    categories: Tensor
    log_popularity: Tensor
    log_frequency: Tensor


@dataclass(frozen=True)
class LossInputs:
    """One training step of a pack: ``P`` candidates, ``R`` user states, ``H`` targets each.

    Attributes:
        states: Relevance states ``[P, R, D]``, temperature applied.
        table: Item vectors ``[P, N, D]``.
        bias: Item biases of the relevance task ``[P, N]``.
        targets: Items that follow ``[P, R, H]``.
        mask: ``[P, R, H]``, True where there is a target; every row has one at least.
        liked_logits: Logits of the second task at the targets ``[P, R, H]``.
        liked: Its labels ``[P, R, H]`` in {0, 1}.
        negatives: Items drawn from the smoothed popularity ``[P, S]``.
        items: Facts about the catalogue.
    """

    states: Tensor
    table: Tensor
    bias: Tensor
    targets: Tensor
    mask: Tensor
    liked_logits: Tensor
    liked: Tensor
    negatives: Tensor
    items: ItemFacts

    @cached_property
    def log_probs(self) -> Tensor:
        """Log of the predicted distribution over the catalogue ``[P, R, N]``."""
        logits = torch.baddbmm(self.bias[:, None], self.states, self.table.transpose(1, 2))
        return torch.log_softmax(logits, dim=-1)

    @cached_property
    def probs(self) -> Tensor:
        """The predicted distribution ``[P, R, N]``."""
        return self.log_probs.exp()

    def mean_over_targets(self, values: Tensor) -> Tensor:
        """Mean of ``values [P, R, H]`` over the targets of a row, then over rows: ``[P]``."""
        per_row = (values * self.mask).sum(-1) / self.mask.sum(-1)
        return per_row.mean(-1)


class Loss(ABC):
    """A differentiable surrogate, minimised.

    Attributes:
        name: Registered name.
        lower_bound: Smallest possible value as a function of the catalogue's size, subtracted where
            a way to combine compares losses with their ideal.
        accuracy: Whether its weight keeps a floor.
    """

    name: ClassVar[str]
    accuracy: ClassVar[bool] = False

    def lower_bound(self, n_items: int) -> float:  # noqa: ARG002 - most bounds do not depend on it
        """Smallest possible value for a catalogue of that size."""
        return 0.0

    @abstractmethod
    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """One value per candidate ``[P]``."""


def resolve(names: Sequence[str], known: dict[str, Loss]) -> list[Loss]:
    """Losses by name.

    Raises:
        BadRequestError: If a name is not registered.
    """
    for name in names:
        if name not in known:
            raise unknown("loss", name, known)
    return [known[name] for name in names]
