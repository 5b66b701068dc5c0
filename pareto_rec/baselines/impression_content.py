"""Attributes of items and users as columns: what models of impressions know without any row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.data.history_length import HISTORY_LENGTH
from pareto_rec.data.schema import IntArray, Items, Users

ITEM_COLUMNS = 50  # categories and values of items that have a column, the most frequent ones
USER_COLUMNS = 50  # values of users that have one
CATEGORY, ITEM = "category", "item"
PRICE_UNIT = 2.0**20  # logarithms of prices are whole multiples of 1 / this: their sums are exact


@dataclass(frozen=True)
class ItemContent:
    """What is known of the items themselves.

    Attributes:
        tags: Family (categories, each attribute, the item itself) -> 0/1 matrix ``[items, tags]``.
        columns: 0/1 matrix of the most frequent categories and values ``[items, columns]``.
        patterns: Number of the row that an item has in `columns` ``[items]``, by what is in the
            row: items of equal columns have the same one.
        price: Whole multiples of ``1 / PRICE_UNIT``: log(1 + price) ``[items]``; -1 where it is
            not known. None without prices.
    """

    tags: Mapping[str, sparse.csr_array]
    columns: NDArray[np.float32]
    patterns: IntArray
    price: IntArray | None

    @classmethod
    def of(cls, items: Items) -> ItemContent:
        """Read a catalogue; the order and the ids of its items have no say."""
        tags: dict[str, sparse.csr_array] = {}
        names: list[tuple[str, str]] = []
        if items.categories.any():
            tags[CATEGORY] = sparse.csr_array(items.categories)
            names += [(CATEGORY, name) for name in items.category_names]
        for attribute in sorted(items.attributes):
            values = items.attributes[attribute]
            known = sorted(set(values) - {""})
            if known:
                tags[f"attribute {attribute}"] = _one_hot(values, known)
                names += [(attribute, value) for value in known]
        columns = _frequent(list(tags.values()), names, len(items))
        patterns = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
        tags[ITEM] = sparse.csr_array(sparse.eye_array(len(items), format="csr"))
        return cls(tags, columns, patterns.astype(np.int64), _log_prices(items))


@dataclass(frozen=True)
class UserContent:
    """Which values of users have a column.

    Attributes:
        values: Attribute -> value -> its column.
    """

    values: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, users: Users) -> UserContent:
        """Choose the most frequent values; the length of a history is none, it is counted anew."""
        counted: list[tuple[int, str, str]] = []
        for attribute in sorted(set(users.attributes) - {HISTORY_LENGTH}):
            values, counts = np.unique(np.array(users.attributes[attribute]), return_counts=True)
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                if value and count < len(users):
                    counted.append((-count, attribute, value))
        chosen: dict[str, dict[str, int]] = {}
        for column, (_, attribute, value) in enumerate(sorted(counted)[:USER_COLUMNS]):
            chosen.setdefault(attribute, {})[value] = column
        return cls(chosen)

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(len(columns) for columns in self.values.values())

    def codes(self, users: Users, chosen: IntArray) -> IntArray:
        """Return the columns of some users ``[len(chosen), attributes]``, -1 where none is theirs.

        Args:
            users: All of a stage.
            chosen: Which of them.
        """
        found = np.full((len(chosen), len(self.values)), -1, dtype=np.int64)
        for place, (attribute, columns) in enumerate(self.values.items()):
            values: Sequence[str] = users.attributes.get(attribute, ())
            if values:
                found[:, place] = [columns.get(values[user], -1) for user in chosen.tolist()]
        return found

    def indicators(self, codes: IntArray) -> NDArray[np.float32]:
        """Return columns of 0 and 1 ``[rows, width]`` for codes ``[rows, attributes]``."""
        found = np.zeros((len(codes), self.width), dtype=np.float32)
        for own in codes.T:
            rows = np.flatnonzero(own >= 0)
            found[rows, own[rows]] = 1.0
        return found


def _one_hot(values: Sequence[str], known: Sequence[str]) -> sparse.csr_array:
    numbers = {value: number for number, value in enumerate(known)}
    rows = np.array([row for row, value in enumerate(values) if value], dtype=np.int64)
    columns = np.array([numbers[value] for value in values if value], dtype=np.int64)
    ones = np.ones(len(rows))
    return sparse.csr_array((ones, (rows, columns)), shape=(len(values), len(known)))


def _frequent(
    families: Sequence[sparse.csr_array], names: Sequence[tuple[str, str]], n_items: int
) -> NDArray[np.float32]:
    """Return the columns of the most frequent tags that two items have, and not all of them."""
    if not names:
        return np.zeros((n_items, 0), dtype=np.float32)
    together = sparse.csc_array(sparse.hstack(families))
    counts = np.asarray(together.sum(axis=0)).reshape(-1).astype(int)
    usable = [tag for tag, count in enumerate(counts.tolist()) if 1 < count < n_items]
    usable.sort(key=lambda tag: (-counts[tag], names[tag]))
    chosen = sorted(usable[:ITEM_COLUMNS], key=lambda tag: names[tag])
    return np.asarray(together[:, chosen].toarray(), dtype=np.float32)


def _log_prices(items: Items) -> IntArray | None:
    if items.prices is None:
        return None
    known = np.isfinite(items.prices)
    logs = np.log1p(np.maximum(np.where(known, items.prices, 0.0), 0.0).astype(np.float64))
    return np.where(known, np.round(logs * PRICE_UNIT), -1).astype(np.int64)
