"""Features of an impression, out of what stood before it.

A training row sees rows of strictly earlier moments alone: popularity, answers and recency of its
item in the log so far, and its user's history so far. Where no times are known, nothing is earlier:
rows are dealt into `FOLDS` by what is known of them, and a row sees the rows of the other folds.
When lists are made, an item has all training rows behind it, and a user the history that is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pareto_rec.baselines.impression_content import ITEM, PRICE_UNIT, ItemContent
from pareto_rec.data.schema import IntArray, Interactions, Items
from pareto_rec.data.ties import tie_ranks

FOLDS = 5
LATE = 5  # rows that are the late part of a history
NO_ORDER = 1 << 62  # in place of it where no times are known: all rows are
RECENT = 0.1  # share of the positive rows so far that count as recent
PRIOR = 2.0  # answers at the overall rate that an item's own rate is smoothed with

_ITEM_TRENDS = (0, 1, 1, 0, 1, -1, 0)  # of `Past.of_items`

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Groups:
    """Events of groups (items, tags), each with a position on one line, ready to be counted.

    Attributes:
        keys: ``group * size + position`` of every event, sorted.
        size: Above every position.
    """

    keys: IntArray
    size: int

    @classmethod
    def of(cls, group: IntArray, position: IntArray, size: int) -> Groups:
        """Sort events; both arrays are ``[events]``, positions below `size`."""
        return cls(np.sort(group * (size + 1) + position), size + 1)

    def count(self, group: IntArray, low: IntArray, high: IntArray) -> IntArray:
        """Count the events of each group with ``low <= position < high``."""
        base = group * self.size
        return np.searchsorted(self.keys, base + high) - np.searchsorted(self.keys, base + low)

    def last(self, group: IntArray, high: IntArray) -> IntArray:
        """Return the position of each group's last event before `high`, -1 where there is none."""
        index = np.searchsorted(self.keys, group * self.size + high) - 1
        found = self.keys[np.maximum(index, 0)] if len(self.keys) else np.zeros_like(index)
        own = (index >= 0) & (found >= group * self.size)
        return np.where(own, found - group * self.size, -1)

    def first(self, group: IntArray, high: IntArray) -> IntArray:
        """Return the position of each group's first event, `high` where none is before it."""
        index = np.searchsorted(self.keys, group * self.size)
        beyond = np.append(self.keys, np.iinfo(np.int64).max)[index]
        position = np.minimum(beyond - group * self.size, self.size)
        return np.minimum(position, high)


@dataclass(frozen=True)
class Past:
    """Rows that impressions may be judged by.

    Attributes:
        train: Positive rows, sorted by user, then time.
        shown: All rows, those without an answer among them.
        content: What is known of the items.
        late: Rows that are the late part of a history.
    """

    train: Interactions
    shown: Interactions
    content: ItemContent
    late: int = LATE

    @cached_property
    def _positive(self) -> tuple[IntArray, Groups]:
        return _timeline(self.train)

    @cached_property
    def _all(self) -> tuple[IntArray, Groups]:
        return _timeline(self.shown)

    def of_items(self, items: IntArray, moments: IntArray | None) -> Floats:
        """Return features of items at some moments ``[rows, 7]``.

        They are whether the item is new, never shown before, and where it is not: popularity,
        popularity of late, exposure and rate of answers, each beside what is usual; how long ago
        the last answer was; and how long the item has been there. Times are counted in rows of the
        log, as shares of all so far.

        Args:
            items: ``[rows]``.
            moments: What happened at these or later has no say ``[rows]``; None: after everything.
        """
        (times, positive), (shown_times, shown) = self._positive, self._all
        before, shown_before = (
            np.full(len(items), len(line))
            if moments is None
            else np.searchsorted(line, moments).astype(np.int64)
            for line in (times, shown_times)
        )
        nothing, n_items = np.zeros_like(before), len(self.content.columns)
        hits = positive.count(items, nothing, before)
        window = np.ceil(RECENT * before).astype(np.int64)
        late = positive.count(items, before - window, before)
        seen = shown.count(items, nothing, shown_before)
        expected = seen * (before + 1) / (shown_before + 2)
        last = positive.last(items, before)
        first = shown.first(items, shown_before)
        columns = [
            np.log((hits + 1) / (before / n_items + 1)),
            np.log((late + 1) / (window / n_items + 1)),
            np.log((seen + 1) / (shown_before / n_items + 1)),
            np.log((hits + PRIOR) / (expected + PRIOR)),
            np.log((before - last + 1) / (before + 2)),
            (shown_before - first) / (shown_before + 1),
        ]
        unknown = seen == 0  # nothing is unpopular that was never there to be taken
        return np.stack([unknown, *(np.where(unknown, np.nan, one) for one in columns)], axis=1)

    @cached_property
    def _met(self) -> Mapping[str, Groups]:
        """Family of tags -> where in the training rows its tags are."""
        found = {}
        for family, tags in self.content.tags.items():
            rows = tags[self.train.item]
            position = np.repeat(np.arange(len(self.train)), np.diff(rows.indptr))
            found[family] = Groups.of(rows.indices.astype(np.int64), position, len(self.train))
        return found

    @cached_property
    def _spent(self) -> tuple[IntArray, IntArray]:
        """Running sums of log prices over the training rows, and of how many are known."""
        price = self.content.price
        own = np.full(len(self.train), -1) if price is None else price[self.train.item]
        known = own >= 0
        sums = (np.cumsum(values) for values in (np.where(known, own, 0), known.astype(np.int64)))
        first, second = (np.concatenate([[0], one]).astype(np.int64) for one in sums)
        return first, second

    def at_rows(self, users: IntArray, items: IntArray, moments: IntArray | None) -> Floats:
        """Return features of rows by their users' histories ``[rows, features]``.

        Args:
            users: ``[rows]``.
            items: ``[rows]``.
            moments: Histories end before these ``[rows]``; None: they hold all of a user's rows.
        """
        first, last = self._histories(users, moments)
        late = np.maximum(first, last - self.late)
        tags = self.content.tags
        parts = [
            self._shared(family, items, begin, last) for family in tags for begin in (first, late)
        ]
        sums, known = self._spent
        spent, count = sums[last] - sums[first], known[last] - known[first]
        lengths = last - first, np.minimum(last - first, self.late)
        return histories_features(parts, lengths, self.content, items, spent, count)

    def _histories(self, users: IntArray, moments: IntArray | None) -> tuple[IntArray, IntArray]:
        """Return where in the training rows the histories begin, and one past their ends."""
        starts = np.searchsorted(self.train.user, users).astype(np.int64)
        if moments is None:
            return starts, np.searchsorted(self.train.user, users, side="right").astype(np.int64)
        line, ranks = np.unique(self.train.time, return_inverse=True)
        size = len(line) + 1
        keys = self.train.user * size + ranks.reshape(-1)
        ends = np.searchsorted(keys, users * size + np.searchsorted(line, moments))
        return starts, ends.astype(np.int64)

    def _shared(self, family: str, items: IntArray, first: IntArray, last: IntArray) -> IntArray:
        """Count tags that each item shares with the rows from `first` up to `last`."""
        rows = self.content.tags[family][items]
        owner = np.repeat(np.arange(len(items)), np.diff(rows.indptr))
        count = self._met[family].count(rows.indices.astype(np.int64), first[owner], last[owner])
        return np.bincount(owner, weights=count, minlength=len(items)).astype(np.int64)


def _timeline(rows: Interactions) -> tuple[IntArray, Groups]:
    """Return all times, sorted, and where on that line the rows of each item are.

    Rows of one moment stand at the same place, so that their order has no say.
    """
    times = np.sort(rows.time)
    place = np.searchsorted(times, rows.time).astype(np.int64)
    return times, Groups.of(rows.item, place, len(times))


def histories_features(
    shared: list[IntArray] | list[Floats],
    lengths: tuple[IntArray, IntArray],
    content: ItemContent,
    items: IntArray,
    spent: IntArray | Floats,
    priced: IntArray | Floats,
) -> Floats:
    """Return features of items beside histories ``[rows, features]``.

    They are the length of the history; for each family of tags the share of the history, and of
    its last rows, that has the item's tags; and the price, alone and beside the usual one.

    Args:
        shared: Tags that item and history share ``[rows]``: all of it and its last rows in turns,
            one pair for each family of `content.tags`.
        lengths: Rows of the history ``[rows]``, and of its late part.
        content: What is known of the items.
        items: ``[rows]``.
        spent: Sum of the log prices in the history ``[rows]``.
        priced: How many of its prices are known ``[rows]``.
    """
    columns = [np.log1p(lengths[0].astype(np.float64))]
    for place, tags in enumerate(content.tags.values()):
        most = np.maximum(np.diff(tags.indptr), 1)[items]
        for count, rows in zip(shared[2 * place : 2 * place + 2], lengths, strict=True):
            columns.append(count / (np.maximum(rows, 1) * most))
    if content.price is not None:
        own = np.where(content.price >= 0, content.price / PRICE_UNIT, np.nan)[items]
        usual = np.divide(
            spent / PRICE_UNIT, priced, out=np.full(len(items), np.nan), where=priced > 0
        )
        columns += [own, own - usual]
    return np.stack(columns, axis=1)


def trends(content: ItemContent, *, positions: bool) -> tuple[int, ...]:
    """Return what more of each feature can do to an impression ``[features]``.

    1: only raise its odds, -1: only lower them, 0: either. More answers so far, and more of the
    item's tags in the history, speak for it; a longer wait since the last answer and a later
    position against it. Having met the item itself may do either.

    Args:
        content: What is known of the items.
        positions: Whether the position is the last feature.
    """
    tags = [0 if family == ITEM else 1 for family in content.tags for _ in range(2)]
    price = [] if content.price is None else [0, 0]
    return (*_ITEM_TRENDS, 0, *tags, *price, *([-1] if positions else []))


def folds_of(users: IntArray, items: IntArray, catalogue: Items, rows: Interactions) -> IntArray:
    """Deal rows without times into `FOLDS`, those of one user and item together ``[rows]``.

    Neither ids nor numbers have a say: an item counts by its place among items of equal score, a
    user by the items of its rows.

    Args:
        users: Of the rows to deal.
        items: Of the rows to deal.
        catalogue: All items.
        rows: What tells items and users apart.
    """
    ranks = tie_ranks(catalogue, rows) + 1
    own = np.bincount(rows.user, weights=(ranks[rows.item] ** 2) % 1009, minlength=users.max() + 1)
    return np.asarray((ranks[items] + own[users].astype(np.int64)) % FOLDS)
