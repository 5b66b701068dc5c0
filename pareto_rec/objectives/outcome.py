"""Outcomes that objectives measure: lists, scores, predictions and cost, with the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.core.errors import unknown
from pareto_rec.data.schema import Interactions
from pareto_rec.objectives.catalogue import Catalogue

Scores = Callable[[slice], NDArray[np.float32]]
"""Scores of some users for the whole catalogue ``[slice, items]``, NaN for items of the history."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out values of one signal, ready for look-ups.

    Attributes:
        matrix: ``[users, items]``; stored values are above 0.
    """

    matrix: sparse.csr_array

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """``[users]``: number of relevant held-out items."""
        return np.diff(self.matrix.indptr).astype(np.int64)

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        return self._pairs[np.argsort(self._pairs)]

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        rows = np.repeat(np.arange(self.matrix.shape[0]), self.counts)
        return np.asarray(rows * self.matrix.shape[1] + self.matrix.indices, dtype=np.int64)

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        return np.asarray(self.matrix.data[np.argsort(self._pairs)], dtype=np.float64)

    def gains(self, lists: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return held-out values of the positions of the lists ``[users, k]``, 0 without a hit."""
        hits = self.hits(lists)
        if not len(self._keys):
            return hits.astype(np.float64)
        users = np.arange(len(lists), dtype=np.int64)[:, None]
        index = np.searchsorted(self._keys, users * self.matrix.shape[1] + lists)
        return np.where(hits, self._values[np.minimum(index, len(self._keys) - 1)], 0.0)

    def within(self, items: NDArray[np.bool_]) -> HeldOut:
        """Restrict to some of the items, a mask ``[items]``."""
        selected = self.matrix.multiply(items.astype(self.matrix.dtype)).tocsr()
        selected.eliminate_zeros()
        return HeldOut(sparse.csr_array(selected))

    def hits(self, lists: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which positions of the lists ``[users, k]`` are hits (-1 never is)."""
        users = np.arange(len(lists), dtype=np.int64)[:, None]
        wanted = users * self.matrix.shape[1] + lists
        if not len(self._keys):
            return np.zeros(lists.shape, dtype=bool)
        index = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.asarray((self._keys[index] == wanted) & (lists >= 0))


@dataclass(frozen=True)
class Predicted:
    """Predicted and true values of one signal on held-out rows, all arrays ``[rows]``.

    Attributes:
        user: User of each row.
        predicted: What was predicted, in the unit of the signal (a probability for a 0/1 signal).
        true: What was held out.
        item: Item of the row; None where it is not needed.
    """

    user: NDArray[np.int64]
    predicted: NDArray[np.floating[Any]]
    true: NDArray[np.floating[Any]]
    item: NDArray[np.int64] | None = None

    @cached_property
    def measured(self) -> dict[str, float]:
        """Cache of measured values, by family: sorting many rows once is enough."""
        return {}


@dataclass(frozen=True)
class Outcome:
    """Recommendations of one candidate, with the truth beside them.

    Attributes:
        lists: Item indices ``[users, k]``, best first; -1 where a user had fewer than k items left.
        scores: Scores of those places ``[users, k]``.
        held_out: Signal name -> held-out values.
        relevance: The signal that counts where an objective names none.
        catalogue: Items, users and popularity.
        cost: What it costs, for example ``{"train_seconds": 2.4}``; what is not known is left out.
        all_scores: The scores that the lists were made from, before re-ranking; called only where
            an objective asks for them. None where they are not known.
        predictions: Signal -> predicted values of held-out rows, for signals that are predicted.
        shown: The held-out rows, impressions without an answer among them; None where the log has
            no such impressions.
        chances: Signal -> predicted probability at every place of the lists ``[users, k]``, for
            signals of which a probability is predicted.
    """

    lists: NDArray[np.int64]
    scores: NDArray[np.float32]
    held_out: Mapping[str, HeldOut]
    relevance: str
    catalogue: Catalogue
    cost: Mapping[str, float] = field(default_factory=dict)
    all_scores: Scores | None = None
    predictions: Mapping[str, Predicted] = field(default_factory=dict)
    shown: Interactions | None = None
    chances: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)

    def truth(self, signal: str | None) -> HeldOut:
        """Return held-out values of the signal, or of the default one.

        Raises:
            BadRequestError: If the data has no such signal.
        """
        name = signal or self.relevance
        if name not in self.held_out:
            raise unknown("signal", name, self.held_out)
        return self.held_out[name]

    @cached_property
    def _hits(self) -> dict[str, NDArray[np.bool_]]:
        return {}

    @cached_property
    def areas(self) -> dict[str, NDArray[np.float64]]:
        """Cache of the areas of users' impressions ``[users]``, by signal."""
        return {}

    def hits(self, signal: str | None) -> NDArray[np.bool_]:
        """Return which positions of `lists` ``[users, k]`` hold a relevant item; looked up once."""
        name = signal or self.relevance
        if name not in self._hits:
            hits = self.truth(name).hits(self.lists)
            hits.flags.writeable = False
            self._hits[name] = hits
        return self._hits[name]


def sum_over_positions(table: NDArray[np.float64], lists: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum the rows of a table over the positions of each list, without a copy per position.

    Args:
        table: One row per item ``[items, columns]``.
        lists: Item indices ``[users, k]``; -1 adds nothing.

    Returns:
        Sums ``[users, columns]``.
    """
    total = np.zeros((len(lists), table.shape[1]))
    for items in lists.T:
        total += np.where((items >= 0)[:, None], table[np.maximum(items, 0)], 0.0)
    return total
