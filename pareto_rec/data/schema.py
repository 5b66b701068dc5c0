"""The data vocabulary: interactions, items, users, and what a split hands on.

Everything is frozen and indexed by compact integers: user ``u`` is row ``u`` of `Users`, item ``i``
row ``i`` of `Items`. Arrays are read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.core.errors import unknown

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

RATE_ROWS = 10.0  # rows at the overall rate that each item's own rate is smoothed with


def _hash_arrays(*parts: NDArray[np.generic] | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes()
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


def _smoothed_means(
    item: IntArray, values: NDArray[np.floating[Any]], n_items: int
) -> NDArray[np.float64]:
    """Average known values by item ``[items]``, with `RATE_ROWS` rows at the overall mean."""
    known = ~np.isnan(values)
    count = np.bincount(item[known], minlength=n_items)
    total = np.bincount(item[known], weights=values[known], minlength=n_items)
    overall = total.sum() / max(count.sum(), 1)
    return np.asarray((total + RATE_ROWS * overall) / (count + RATE_ROWS), dtype=np.float64)


def _named(attributes: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [part for name in sorted(attributes) for part in (name, *attributes[name])]


@dataclass(frozen=True)
class Items:
    """The catalogue.

    Attributes:
        ids: Original ids, one per item.
        titles: What to show a person.
        texts: What the backbone reads.
        categories: 0/1 matrix ``[items, categories]``; an all-zero row has no category.
        category_names: Names of the columns of `categories`.
        prices: What one of each costs ``[items]``, NaN where it is not known; None without prices.
        attributes: Attribute (brand, price band, ...) -> one value per item ('' where unknown).
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    categories: FloatArray
    category_names: tuple[str, ...]
    prices: FloatArray | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Users:
    """The users: original ids and, per attribute, one value per user ('' where unknown).

    Attributes:
        ids: Original ids, one per user.
        attributes: Attribute -> one value per user.
        min_group: Measures between groups leave out groups with fewer measured users than this.
    """

    ids: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    min_group: int = 1

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Interactions:
    """Rows of a log, all arrays of one length ``[rows]``.

    Attributes:
        user: Compact user index.
        item: Compact item index.
        time: Seconds since 1970 (UTC).
        signals: Signal name -> value per row; a value above 0 counts as positive, NaN is not known.
        position: Position at which the item was shown, from 1 (0 where unknown); None where no
            positions are known.
        propensity: Probability that it was shown there, above 0 (NaN where unknown); or None.
    """

    user: IntArray
    item: IntArray
    time: IntArray
    signals: Mapping[str, FloatArray]
    position: IntArray | None = None
    propensity: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: IntArray | NDArray[np.bool_]) -> Interactions:
        """Select rows, in the given order (indices or a mask)."""
        signals = {name: values[rows] for name, values in self.signals.items()}
        position = None if self.position is None else self.position[rows]
        propensity = None if self.propensity is None else self.propensity[rows]
        columns = (self.user[rows], self.item[rows], self.time[rows])
        return Interactions(*columns, signals, position, propensity)

    def positive(self, against: Collection[str] = ()) -> NDArray[np.bool_]:
        """Mark rows ``[rows]`` in which any signal is above 0, other than those `against`."""
        mask = np.zeros(len(self), dtype=bool)
        for name, values in self.signals.items():
            if name not in against:
                mask |= values > 0
        return mask

    def read_only(self) -> Interactions:
        """Make all arrays read-only and return the same rows."""
        shown = (self.position, self.propensity)
        for array in (self.user, self.item, self.time, *self.signals.values(), *shown):
            if array is not None:
                array.flags.writeable = False
        return self

    def matrix(self, signal: str, n_users: int, n_items: int) -> sparse.csr_array:
        """Build a matrix ``[users, items]`` of signal values above 0 (repeated pairs: the largest).

        Raises:
            KeyError: If there is no such signal.
        """
        values = self.signals[signal]
        keep = values > 0
        order = np.lexsort((-values[keep], self.item[keep], self.user[keep]))
        user, item = self.user[keep][order], self.item[keep][order]
        first = np.ones(len(user), dtype=bool)
        first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        data = values[keep][order][first]
        return sparse.csr_array((data, (user[first], item[first])), shape=(n_users, n_items))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over rows and signals in their present order."""
        named: list[str | NDArray[np.generic]] = []
        for name in sorted(self.signals):
            named += [name, self.signals[name]]
        for name, shown in (("position", self.position), ("propensity", self.propensity)):
            named += [] if shown is None else [f"shown {name}", shown]
        return _hash_arrays(self.user, self.item, self.time, *named)


def mean_signal(rows: Interactions, signal: str, n_items: int) -> NDArray[np.float64]:
    """Compute the mean value of a signal in the rows of each item ``[items]``.

    Shrunk to the mean of all rows by ten rows at that mean, so that a single row of a rare item
    does not decide. Rows in which the signal is not known do not count.

    Raises:
        BadRequestError: If there is no such signal.
    """
    if signal not in rows.signals:
        raise unknown("signal", signal, rows.signals)
    return _smoothed_means(rows.item, rows.signals[signal], n_items)


@dataclass(frozen=True)
class Dataset:
    """A complete data set, before it is split.

    A row whose signals are all 0, or above 0 only in those that speak against the item, is not
    an interaction to learn from but an answer to an impression: it is split like any other row and
    then kept apart (`Stage.shown`).

    Attributes:
        name: Its name in reports.
        interactions: All rows, including those that are not interactions.
        items: The catalogue.
        users: The users.
        against: Signals that speak against an item (returned, cancelled, disliked).
        timed: Whether the rows have times; without, only splits that need no times are available.
        account: Where every row of the files went, ready for JSON; None without an account.
        ordered: Whether `time`, where the rows have no times, numbers the rows of each user oldest
            first; numbers of different users do not compare.
    """

    name: str
    interactions: Interactions
    items: Items
    users: Users
    against: tuple[str, ...] = ()
    timed: bool = True
    account: Mapping[str, object] | None = None
    ordered: bool = False

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over interactions, item texts, categories, prices and attributes."""
        users = _named(self.users.attributes)
        return _hash_arrays(
            self.interactions.content_hash,
            *self.items.ids,
            *self.items.texts,
            self.items.categories,
            *self.users.ids,
            *users,
            *_named(self.items.attributes),
            *(() if self.items.prices is None else ("prices", self.items.prices)),
            *(f"against {name}" for name in self.against),
        )


@dataclass(frozen=True)
class Stage:
    """One question put to a recommender: learn from `train`, read `history`, predict `held_out`.

    The validation stage has ``history = train`` (and, where users are held out altogether, their
    first rows); the test stage adds the validation rows to the history. Code that holds only
    the validation stage cannot see test data.

    Attributes:
        name: ``"validation"`` or ``"test"``.
        train: Rows to learn from, sorted by user, then time (ties as the split ordered them).
        history: Rows known when the lists are made, sorted in the same way; recommended lists never
            repeat an item of the user's history.
        held_out: Rows to predict; lists are measured by their `truth`.
        items: The catalogue.
        users: The users.
        content_hash: Identifies data, split and stage.
        shown: All rows of the training part, impressions without an answer and rows that speak
            against an item among them; None where `train` holds them all.
        held_out_shown: The same of the held-out part; None where `held_out` holds them all.
    """

    name: str
    train: Interactions
    history: Interactions
    held_out: Interactions
    items: Items
    users: Users
    content_hash: str
    shown: Interactions | None = None
    held_out_shown: Interactions | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items."""
        return len(self.users), len(self.items)

    @cached_property
    def history_indptr(self) -> IntArray:
        """``[users + 1]``: rows ``indptr[u]:indptr[u + 1]`` of `history` are of user ``u``."""
        counts = np.bincount(self.history.user, minlength=len(self.users))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def repeats(self) -> NDArray[np.bool_]:
        """Held-out rows of items that their user's history holds ``[held-out rows]``.

        Lists repeat no item of a history, so these rows cannot be hits.
        """
        width = len(self.items)
        known, wanted = (rows.user * width + rows.item for rows in (self.history, self.held_out))
        known = np.sort(known)  # np.isin takes ten times as long
        index = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        repeated = known[index] == wanted if len(known) else np.zeros(len(wanted), dtype=bool)
        repeated.flags.writeable = False
        return np.asarray(repeated)

    @cached_property
    def truth(self) -> Interactions:
        """The held-out rows that lists are measured by: all but `repeats`."""
        if not self.repeats.any():
            return self.held_out
        return self.held_out.take(~self.repeats).read_only()

    @property
    def truth_account(self) -> dict[str, int]:
        """Held-out rows that are left out of the truth, and the users that lose all of theirs.

        Returns:
            ``held_out`` rows, ``repeats`` among them, ``users`` with held-out rows, and
            ``users_left_out``: those whose held-out rows are all repeats.
        """
        users = len(np.unique(self.held_out.user))
        return {
            "held_out": len(self.held_out),
            "repeats": int(self.repeats.sum()),
            "users": users,
            "users_left_out": users - len(np.unique(self.truth.user)),
        }

    @cached_property
    def popularity(self) -> IntArray:
        """``[items]``: number of training rows per item."""
        return np.bincount(self.train.item, minlength=len(self.items)).astype(np.int64)

    def rate(self, signal: str) -> NDArray[np.float64]:
        """Compute how often a signal is positive in an item's training rows ``[items]``.

        Smoothed by ten rows at the rate of all items together, so that a single row of a rare item
        does not make a rate of 0 or 1. Rows in which the signal is not known do not count.

        Raises:
            KeyError: If there is no such signal.
        """
        rows = self.train if self.shown is None else self.shown
        values = rows.signals[signal]
        positive = np.where(np.isnan(values), np.nan, values > 0)
        return _smoothed_means(rows.item, positive, len(self.items))

    def mean_signal(self, signal: str) -> NDArray[np.float64]:
        """Compute the `mean_signal` of the training rows ``[items]``."""
        return mean_signal(self.train, signal, len(self.items))

    def relevance(self, signal: str) -> sparse.csr_array:
        """Build a sparse matrix ``[users, items]`` of a signal's values in the `truth`."""
        return self.truth.matrix(signal, *self.shape)


@dataclass(frozen=True)
class Split:
    """Both stages, and what the split leaks.

    Attributes:
        validation: What the search sees.
        test: Opened once, by ``confirm``.
        late_train_share: Share of training rows later than the median test row: a per-user split of
            sign-up sessions lets a model learn from the future of other users. None where no times
            are known.
        kind: Registered name of the way it was cut.
        leak: The same and what else must be known of the cut, in one line for people.
        account: Where every row of the files went (`Dataset.account`).
    """

    validation: Stage
    test: Stage
    late_train_share: float | None
    kind: str = "per_user"
    leak: str = ""
    account: Mapping[str, object] | None = None
