"""What objectives look at: lists, scores, predictions and cost, with the truth beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.errors import unknown

Scores = Callable[[slice], NDArray[np.float32]]
"""Scores of some users for the whole catalogue ``[slice, items]``, NaN for items of the history."""

OF_ITEMS = "item."  # before the name of an attribute of items, where users have attributes too
HEAD_SHARE = 0.5  # the head is the smallest set of most popular items holding this share of rows


@dataclass(frozen=True)
class Catalogue:
    """What objectives may know about items and users besides the lists.

    Attributes:
        items: The catalogue.
        users: The people.
        popularity: Training rows per item ``[items]``.
        history: What each user met before the lists were made, number of rows ``[users, items]``;
            None where it is not known.
        text: Text features of the items ``[items, width]``; None where there are none.
        rate: Signal -> how often it is positive in an item's training rows ``[items]``; None where
            that is not known.
    """

    items: Items
    users: Users
    popularity: NDArray[np.int64]
    history: sparse.csr_array | None = None
    text: NDArray[np.floating[Any]] | None = None
    rate: Callable[[str], NDArray[np.float64]] | None = None

    @cached_property
    def head(self) -> NDArray[np.bool_]:
        """``[items]``: the smallest set of most popular items with half of the training rows.

        Items as popular as the last one that is needed belong to it too, so that neither the order
        nor the names of items have a say; where all are equally popular there is no tail.
        """
        falling = np.sort(self.popularity)[::-1]
        total = np.cumsum(falling)
        if not len(total) or total[-1] == 0:
            return np.ones(len(total), dtype=bool)
        needed = int(np.searchsorted(total, HEAD_SHARE * total[-1]))
        return np.asarray(self.popularity >= falling[needed])

    @cached_property
    def unit_categories(self) -> NDArray[np.float64]:
        """``[items, categories]``: category vectors of length one (zero where there is none)."""
        norm = np.linalg.norm(self.items.categories, axis=1, keepdims=True)
        return np.asarray(self.items.categories / np.where(norm > 0, norm, 1), dtype=np.float64)

    @cached_property
    def unit_text(self) -> NDArray[np.float64] | None:
        """``[items, width]``: text vectors of length one (zero stays zero); None without text."""
        if self.text is None:
            return None
        text = np.asarray(self.text, dtype=np.float64)
        norm = np.linalg.norm(text, axis=1, keepdims=True)
        return np.asarray(text / np.where(norm > 0, norm, 1))

    @cached_property
    def category_shares(self) -> NDArray[np.float64]:
        """``[items, categories]``: each item's weight of one, split evenly over its categories."""
        total = self.items.categories.sum(axis=1, keepdims=True)
        return np.asarray(self.items.categories / np.where(total > 0, total, 1), dtype=np.float64)

    @cached_property
    def novelty(self) -> NDArray[np.float64]:
        """``[items]``: ``1 - log1p(count) / log1p(largest count)``; 0 for the most popular item."""
        largest = np.log1p(self.popularity.max(initial=0))
        known = np.log1p(self.popularity) / (largest if largest > 0 else 1.0)
        return np.asarray(1.0 - known, dtype=np.float64)

    @cached_property
    def self_information(self) -> NDArray[np.float64]:
        """``[items]``: ``-log2`` of the item's share of training rows, each count raised by one."""
        raised = self.popularity + 1.0
        return np.asarray(np.log2(raised.sum()) - np.log2(raised), dtype=np.float64)

    @cached_property
    def tastes(self) -> NDArray[np.float64] | None:
        """``[users, categories]``: shares of the categories in each user's history, summing to 1.

        NaN where no item of a history has a category; None where histories are not known.
        """
        if self.history is None:
            return None
        weight = np.asarray(self.history @ self.category_shares)
        total = weight.sum(axis=1, keepdims=True)
        return np.asarray(weight / np.where(total > 0, total, np.nan), dtype=np.float64)

    @cached_property
    def profile(self) -> NDArray[np.float64] | None:
        """``[users, categories]``: mean unit category vector of each history's described rows.

        NaN where no item of a history has a category; None where histories are not known.
        """
        if self.history is None:
            return None
        unit = self.unit_categories
        described = np.asarray(self.history @ (unit != 0).any(axis=1).astype(np.float64))
        count = np.where(described > 0, described, np.nan)[:, None]
        return np.asarray((self.history @ unit) / count, dtype=np.float64)

    @cached_property
    def prices(self) -> NDArray[np.float64] | None:
        """``[items]``: what each item costs, 0 where that is not known; None without prices."""
        if self.items.prices is None:
            return None
        return np.nan_to_num(np.asarray(self.items.prices, dtype=np.float64))

    @cached_property
    def _groups(self) -> dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]:
        return {}

    def groups(self, attribute: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Users grouped by an attribute.

        Returns:
            Sorted values of the attribute, and per user ``[users]`` the index of theirs (-1 where
            it is unknown).

        Raises:
            BadRequestError: If users have no such attribute.
        """
        if attribute not in self._groups:
            if attribute not in self.users.attributes:
                raise unknown("user attribute", attribute, self.users.attributes)
            self._groups[attribute] = _grouped(self.users.attributes[attribute])
        return self._groups[attribute]

    def item_groups(self, attribute: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Items grouped by an attribute: as :meth:`groups`, with an index per item ``[items]``.

        Raises:
            BadRequestError: If items have no such attribute.
        """
        key = f"{OF_ITEMS}{attribute}"
        if key not in self._groups:
            if attribute not in self.items.attributes:
                raise unknown("item attribute", attribute, self.items.attributes)
            self._groups[key] = _grouped(self.items.attributes[attribute])
        return self._groups[key]


def _grouped(values: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    names = tuple(sorted(set(values) - {""}))
    code = {name: index for index, name in enumerate(names)}
    codes = np.array([code.get(value, -1) for value in values], dtype=np.int64)
    codes.flags.writeable = False
    return names, codes


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
        """Held-out values of the places of the lists ``[users, k]``, 0 where there is no hit."""
        hits = self.hits(lists)
        if not len(self._keys):
            return hits.astype(np.float64)
        users = np.arange(len(lists), dtype=np.int64)[:, None]
        place = np.searchsorted(self._keys, users * self.matrix.shape[1] + lists)
        return np.where(hits, self._values[np.minimum(place, len(self._keys) - 1)], 0.0)

    def within(self, items: NDArray[np.bool_]) -> HeldOut:
        """The same for some of the items alone, a mask ``[items]``."""
        kept = self.matrix.multiply(items.astype(self.matrix.dtype)).tocsr()
        kept.eliminate_zeros()
        return HeldOut(sparse.csr_array(kept))

    def hits(self, lists: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which places of the lists ``[users, k]`` hold a relevant item (-1 never does)."""
        users = np.arange(len(lists), dtype=np.int64)[:, None]
        wanted = users * self.matrix.shape[1] + lists
        if not len(self._keys):
            return np.zeros(lists.shape, dtype=bool)
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.asarray((self._keys[place] == wanted) & (lists >= 0))


@dataclass(frozen=True)
class Predicted:
    """Predicted and true values of one signal on held-out rows, all arrays ``[rows]``.

    Attributes:
        user: Whose row it is.
        predicted: What was predicted, in the unit of the signal (a probability for a 0/1 signal).
        true: What was held out.
        item: Which item it is about; None where nobody will ask.
    """

    user: NDArray[np.int64]
    predicted: NDArray[np.floating[Any]]
    true: NDArray[np.floating[Any]]
    item: NDArray[np.int64] | None = None

    @cached_property
    def measured(self) -> dict[str, float]:
        """What has been measured of it, by family: sorting many rows once is enough."""
        return {}


@dataclass(frozen=True)
class Outcome:
    """What one candidate recommends, with the truth beside it.

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
        """Held-out values of the signal, or of the default one.

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

    def hits(self, signal: str | None) -> NDArray[np.bool_]:
        """Which places of `lists` ``[users, k]`` hold a relevant item; looked up once."""
        name = signal or self.relevance
        if name not in self._hits:
            found = self.truth(name).hits(self.lists)
            found.flags.writeable = False
            self._hits[name] = found
        return self._hits[name]


def sum_over_places(table: NDArray[np.float64], lists: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum the rows of a table over the places of each list, without a copy per place and list.

    Args:
        table: One row per item ``[items, columns]``.
        lists: Item indices ``[users, k]``; -1 adds nothing.

    Returns:
        Sums ``[users, columns]``.
    """
    total = np.zeros((len(lists), table.shape[1]))
    for place in lists.T:
        total += np.where((place >= 0)[:, None], table[np.maximum(place, 0)], 0.0)
    return total
