"""Losses: the contract, and their inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from pareto_rec.core.errors import unknown
from pareto_rec.losses.softmax_statistics import (
    RowStatistics,
    predicted_statistics,
    row_cross_entropy,
)

CHOSEN = "chosen"
"""Key in `ItemFacts.gains` of the gain that the training variable `gain` names."""
_PER_ROW = (*("states", "targets", "mask", "group", "taste", "reference"),)


@dataclass(frozen=True)
class ItemFacts:
    """Facts about the catalogue that losses may read.

    Attributes:
        categories: Category vectors of length one ``[N, C]``; zero where an item has none.
        log_popularity: ``log1p(training rows)`` divided by its largest value ``[N]``.
        log_frequency: Log of the smoothed share of training rows ``[N]`` (sums to one).
        gains: Gain -> what a hit on each item is worth ``[N]``, none below 0, with the mean 1 over
            the training rows; those that losses of the run ask for.
    """

    categories: Tensor
    log_popularity: Tensor
    log_frequency: Tensor
    gains: Mapping[str, Tensor] = field(default_factory=dict)

    def choosing(self, gain: str) -> ItemFacts:
        """Return the facts with a gain as the `CHOSEN` one; without any that the run asks for."""
        if gain not in self.gains:
            return self
        return replace(self, gains={**self.gains, CHOSEN: self.gains[gain]})

    def mapped(self, change: Callable[[Tensor], Tensor]) -> ItemFacts:
        """Return the facts with every tensor changed."""
        return ItemFacts(
            change(self.categories),
            change(self.log_popularity),
            change(self.log_frequency),
            {name: change(gain) for name, gain in self.gains.items()},
        )

    @cached_property
    def described(self) -> Tensor | None:
        """1 for items that have categories, 0 for the others ``[N]``.

        None where all of them have some, so that nothing is missing, or none, so that there is
        nothing to compare by.
        """
        has_any = (self.categories != 0).any(-1)
        if has_any.all() or not has_any.any():
            return None
        return has_any.to(self.categories.dtype)


@dataclass(frozen=True)
class TaskRows:
    """Rows of a log with labels of tasks, and what the tasks predict for them.

    Attributes:
        logits: Task -> raw outputs ``[P, S]``: logits, or values with mean 0 and deviation 1.
        labels: Task -> labels ``[P, S]`` in the same unit, NaN where they are not known; tasks that
            are conditions alone among them.
    """

    logits: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]


@dataclass(frozen=True)
class LossInputs:
    """One training step of a pack: ``P`` candidates, ``R`` user states, ``H`` targets each.

    Attributes:
        states: Relevance states ``[P, R, D]``, temperature applied.
        table: Item vectors ``[P, N, D]``.
        bias: Item biases of the relevance task ``[P, N]``.
        targets: Items that follow ``[P, R, H]``.
        mask: ``[P, R, H]``, True where there is a target; every row has one at least.
        negatives: Items drawn from the smoothed popularity ``[P, S]``.
        items: Facts about the catalogue.
        beyond: Whether a loss needs `figures` other than the cross-entropy, which alone is
            cheaper.
        matmul_dtype: dtype of the products with all item vectors; None for that of the states.

    The rest is there only where a loss :attr:`Loss.needs` it:

    Attributes:
        group: 0/1 membership of the row's user in each group ``[P, R, G]``; all 0 where unknown.
        taste: Category shares of the user's training rows ``[P, R, C]``, summing to 1; all 0 where
            none has a category.
        reference: Log-probabilities of a fixed policy ``[P, R, N]``; None stands for popularity.
        shown: Rows that say what was shown and what came of it.
        interactions: The targets themselves, ``S = R H``; no label is known where there is none.
    """

    states: Tensor
    table: Tensor
    bias: Tensor
    targets: Tensor
    mask: Tensor
    negatives: Tensor
    items: ItemFacts
    beyond: bool = True
    matmul_dtype: torch.dtype | None = None
    group: Tensor | None = None
    taste: Tensor | None = None
    reference: Tensor | None = None
    shown: TaskRows | None = None
    interactions: TaskRows | None = None

    @cached_property
    def log_probs(self) -> Tensor:
        """Log of the predicted distribution over the catalogue ``[P, R, N]``."""
        logits = torch.baddbmm(self.bias[:, None], self.states, self.table.transpose(1, 2))
        return torch.log_softmax(logits, dim=-1)

    @cached_property
    def probs(self) -> Tensor:
        """The predicted distribution ``[P, R, N]``."""
        return self.log_probs.exp()

    @cached_property
    def figures(self) -> RowStatistics:
        """Statistics of the predicted distribution of each row."""
        own = self.states, self.table, self.bias, self.targets, self.mask
        items = self.items.categories, self.items.log_popularity
        described = self.items.described
        return predicted_statistics(*own, items, self.matmul_dtype, described=described)

    @cached_property
    def row_losses(self) -> Tensor:
        """Cross-entropy of a row's targets over the whole catalogue ``[P, R]``, in nats."""
        if self.beyond:
            return self.figures.cross_entropy
        own = self.states, self.table, self.bias, self.targets, self.mask
        return row_cross_entropy(*own, self.matmul_dtype)

    @cached_property
    def target_losses(self) -> Tensor:
        """``-log p`` of each target over the whole catalogue ``[P, R, H]``, in nats.

        The normaliser of a row is its cross-entropy plus the mean logit of its targets, so that
        the targets alone are looked up and no second pass over the catalogue is made.
        """
        logits = target_logits(self)
        normaliser = self.row_losses + self.row_means(logits)
        return (normaliser.unsqueeze(-1) - logits).clamp(min=0.0)  # rounding may leave -1e-16

    def first(self, rows: int) -> LossInputs:
        """Return the same step with its first rows alone, which are a random sample of them."""
        if rows >= self.states.shape[1]:
            return self
        own = {name: getattr(self, name) for name in _PER_ROW}
        cut = {name: value[:, :rows] for name, value in own.items() if value is not None}
        return replace(self, beyond=True, **cut)

    def row_means(self, values: Tensor) -> Tensor:
        """Average ``values [P, R, H]`` over the targets of a row: ``[P, R]``."""
        return (values * self.mask).sum(-1) / self.mask.sum(-1)

    def mean_over_targets(self, values: Tensor) -> Tensor:
        """Average ``values [P, R, H]`` over the targets of a row, then over rows: ``[P]``."""
        return self.row_means(values).mean(-1)

    def part(self, name: str) -> Tensor:
        """Return an optional part that the caller's loss needs.

        Raises:
            ValueError: If it is absent.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise ValueError(f'loss inputs have no "{name}"')
        return value


def target_logits(inputs: LossInputs) -> Tensor:
    """Return the logits of the targets ``[P, R, H]``, biases included."""
    pack, _, width = inputs.states.shape
    flat = inputs.targets.reshape(pack, -1)
    vectors = torch.gather(inputs.table, 1, flat.unsqueeze(-1).expand(-1, -1, width))
    logits = torch.einsum("prd,prhd->prh", inputs.states, vectors.view(*inputs.targets.shape, -1))
    return logits + torch.gather(inputs.bias, 1, flat).view_as(logits)


class Loss(ABC):
    """A differentiable surrogate, minimised.

    Attributes:
        name: Registered name.
        lower_bound: Smallest possible value as a function of the catalogue's size, subtracted where
            an aggregator compares losses with their ideal.
        accuracy: Whether its weight keeps a floor.
        distribution: Whether it looks at the whole predicted distribution of every row, which is
            what a step spends most on; it may be estimated on some of the rows.
        figure: Whether it is one of `LossInputs.figures` and not the cross-entropy.
        catalogue: Whether it looks at items other than targets and negatives.
        needs: Optional parts of the inputs that it reads; what no loss of a fit needs is not
            computed.
        gain: Which of `ItemFacts.gains` it reads; `CHOSEN` for the one that the training variable
            `gain` names, None for none.
    """

    name: str
    accuracy: ClassVar[bool] = False
    figure: ClassVar[bool] = False
    distribution: ClassVar[bool] = False
    catalogue: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset()
    gain: ClassVar[str | None] = None

    def lower_bound(self, n_items: int) -> float:  # noqa: ARG002 - most bounds do not depend on it
        """Return the smallest possible value for a catalogue of that size."""
        return 0.0

    def unit(self, n_items: int) -> float | None:  # noqa: ARG002 - few know their unit
        """Return what values are divided by before they are weighted.

        Returns:
            None for the size of the value at initialisation, which suits every loss that does not
            start near 0; else the unit.
        """
        return None

    @abstractmethod
    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute one value per candidate ``[P]``."""


def resolve(names: Sequence[str], known: Mapping[str, Loss]) -> list[Loss]:
    """Look up losses by name.

    Raises:
        BadRequestError: If a name is not registered.
    """
    for name in names:
        if name not in known:
            raise unknown("loss", name, known)
    return [known[name] for name in names]
