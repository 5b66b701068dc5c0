"""Facts about items and users that objectives may read besides the lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.core.errors import unknown
from pareto_rec.data.schema import Items, Users

OF_ITEMS = "item."  # before the name of an attribute of items, where users have attributes too
HEAD_SHARE = 0.5  # the head is the smallest set of most popular items holding this share of rows


@dataclass(frozen=True)
class Catalogue:
    """Facts about items and users besides the lists.

    Attributes:
        items: The catalogue.
        users: The users.
        popularity: Training rows per item ``[items]``.
        history: What each user met before the lists were made, number of rows ``[users, items]``;
            None where it is not known.
        text: Text features of the items ``[items, width]``; None where there are none.
        rate: Signal -> how often it is positive in an item's training rows ``[items]``; None where
            that is not known.
        mean_signal: Signal -> its mean value in an item's training rows ``[items]``; None where
            that is not known. It refuses a signal that is not in the data.
    """

    items: Items
    users: Users
    popularity: NDArray[np.int64]
    history: sparse.csr_array | None = None
    text: NDArray[np.floating[Any]] | None = None
    rate: Callable[[str], NDArray[np.float64]] | None = None
    mean_signal: Callable[[str], NDArray[np.float64]] | None = None

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
    def _known(self) -> dict[str, NDArray[np.bool_]]:
        return {}

    def known(self, what: str) -> NDArray[np.bool_]:
        """Return which items ``[items]`` have ``categories``, ``price`` or ``text``.

        An id that stands for a text that is missing is not a text; where ids stand for all texts,
        nothing else is available and they are.
        """
        if what not in self._known:
            self._known[what] = _known(self.items, what)
        return self._known[what]

    @cached_property
    def unit_categories(self) -> NDArray[np.float64]:
        """``[items, categories]``: category vectors of length one (zero where there is none)."""
        norm = np.linalg.norm(self.items.categories, axis=1, keepdims=True)
        return np.asarray(self.items.categories / np.where(norm > 0, norm, 1), dtype=np.float64)

    @cached_property
    def unit_text(self) -> NDArray[np.float64] | None:
        """``[items, width]``: text vectors of length one, zero without a text; None without any."""
        if self.text is None:
            return None
        text = np.where(self.known("text")[:, None], np.asarray(self.text, dtype=np.float64), 0.0)
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
    def _groups(self) -> dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]:
        return {}

    def groups(self, attribute: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Group users by an attribute.

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
        """Group items by an attribute: as :meth:`groups`, with an index per item ``[items]``.

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


def _known(items: Items, what: str) -> NDArray[np.bool_]:
    if what == "categories":
        return np.asarray((items.categories != 0).any(axis=1))
    if what == "price":
        absent = np.full(len(items), np.nan) if items.prices is None else items.prices
        return np.asarray(~np.isnan(absent))
    of_id = np.array([text == id_ for id_, text in zip(items.ids, items.texts, strict=True)])
    blank = np.array([not text.strip() for text in items.texts], dtype=bool)
    return ~blank if of_id.all() else ~(blank | of_id)
