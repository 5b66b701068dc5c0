"""The data vocabulary: interactions, items, users, and what a split hands on.

Everything is frozen and indexed by compact integers: user ``u`` is row ``u`` of `Users`, item ``i``
row ``i`` of `Items`. Arrays are read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


def _hash_arrays(*parts: NDArray[np.generic] | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes()
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


@dataclass(frozen=True)
class Items:
    """The catalogue.

    Attributes:
        ids: Original ids, one per item.
        titles: What to show a person.
        texts: What the backbone reads.
        categories: 0/1 matrix ``[items, categories]``; an all-zero row has no category.
        category_names: Names of the columns of `categories`.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    categories: FloatArray
    category_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Users:
    """The people: original ids and, per attribute, one value per user ('' where unknown)."""

    ids: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Interactions:
    """Rows of a log, all arrays of one length ``[rows]``.

    Attributes:
        user: Compact user index.
        item: Compact item index.
        time: Seconds since 1970 (UTC).
        signals: Signal name -> value per row; a value above 0 counts as positive.
    """

    user: IntArray
    item: IntArray
    time: IntArray
    signals: Mapping[str, FloatArray]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: IntArray | NDArray[np.bool_]) -> Interactions:
        """The given rows, in the given order (indices or a mask)."""
        signals = {name: values[rows] for name, values in self.signals.items()}
        return Interactions(self.user[rows], self.item[rows], self.time[rows], signals)

    def matrix(self, signal: str, n_users: int, n_items: int) -> sparse.csr_array:
        """Signal values above 0 as a matrix ``[users, items]`` (repeated pairs: the largest).

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
        named = [part for name in sorted(self.signals) for part in (name, self.signals[name])]
        return _hash_arrays(self.user, self.item, self.time, *named)


@dataclass(frozen=True)
class Dataset:
    """A whole data set, before it is split."""

    name: str
    interactions: Interactions
    items: Items
    users: Users

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over interactions, item texts, categories and user attributes."""
        users = [
            part
            for name in sorted(self.users.attributes)
            for part in (name, *self.users.attributes[name])
        ]
        return _hash_arrays(
            self.interactions.content_hash,
            *self.items.ids,
            *self.items.texts,
            self.items.categories,
            *self.users.ids,
            *users,
        )


@dataclass(frozen=True)
class Stage:
    """One question put to a recommender: learn from `train`, read `history`, predict `held_out`.

    The validation stage has ``history = train`` (and, where users are held out altogether, their
    first rows); the test stage adds the validation rows to the history. Whoever holds only the
    validation stage cannot see test data.

    Attributes:
        name: ``"validation"`` or ``"test"``.
        train: Rows to learn from, sorted by user, then time (ties as the split ordered them).
        history: Rows known when the lists are made, sorted in the same way; recommended lists never
            repeat an item of the user's history.
        held_out: Rows to predict.
        items: The catalogue.
        users: The people.
        content_hash: Identifies data, split and stage.
    """

    name: str
    train: Interactions
    history: Interactions
    held_out: Interactions
    items: Items
    users: Users
    content_hash: str

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
    def popularity(self) -> IntArray:
        """``[items]``: number of training rows per item."""
        return np.bincount(self.train.item, minlength=len(self.items)).astype(np.int64)

    def relevance(self, signal: str) -> sparse.csr_array:
        """Held-out values of a signal as a sparse matrix ``[users, items]``."""
        return self.held_out.matrix(signal, *self.shape)


@dataclass(frozen=True)
class Split:
    """Both stages, and what the split leaks.

    Attributes:
        validation: What the search sees.
        test: Opened once, by ``confirm``.
        late_train_share: Share of training rows later than the median test row: a per-user split of
            sign-up sessions lets a model learn from the future of other users.
        kind: Registered name of the way it was cut.
        leak: The same and what else must be known of the cut, in one line for people.
    """

    validation: Stage
    test: Stage
    late_train_share: float
    kind: str = "per_user"
    leak: str = ""
