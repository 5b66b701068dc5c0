"""What is measured: an Outcome, and the two kinds of Objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.data.schema import Items, Users
from pareto_rec.errors import BadRequestError, unknown

HEAD_SHARE = 0.5  # the head is the smallest set of most popular items holding this share of rows


@dataclass(frozen=True)
class Catalogue:
    """What objectives may know about items and users besides the lists.

    Attributes:
        items: The catalogue.
        users: The people.
        popularity: Training rows per item ``[items]``.
    """

    items: Items
    users: Users
    popularity: NDArray[np.int64]

    @cached_property
    def head(self) -> NDArray[np.bool_]:
        """``[items]``: the smallest set of most popular items with half of the training rows.

        Ties at the edge go to the lower item index.
        """
        order = np.argsort(-self.popularity, kind="stable")
        total = np.cumsum(self.popularity[order])
        size = int(np.searchsorted(total, HEAD_SHARE * total[-1])) + 1
        mask = np.zeros(len(order), dtype=bool)
        mask[order[:size]] = True
        return mask

    @cached_property
    def unit_categories(self) -> NDArray[np.float64]:
        """``[items, categories]``: category vectors of length one (zero where there is none)."""
        norm = np.linalg.norm(self.items.categories, axis=1, keepdims=True)
        return np.asarray(self.items.categories / np.where(norm > 0, norm, 1), dtype=np.float64)

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
            values = self.users.attributes[attribute]
            names = tuple(sorted(set(values) - {""}))
            code = {name: index for index, name in enumerate(names)}
            codes = np.array([code.get(value, -1) for value in values], dtype=np.int64)
            codes.flags.writeable = False
            self._groups[attribute] = names, codes
        return self._groups[attribute]


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
        rows = np.repeat(np.arange(self.matrix.shape[0]), self.counts)
        return np.sort(rows * self.matrix.shape[1] + self.matrix.indices)

    def hits(self, lists: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which places of the lists ``[users, k]`` hold a relevant item (-1 never does)."""
        users = np.arange(len(lists), dtype=np.int64)[:, None]
        wanted = users * self.matrix.shape[1] + lists
        if not len(self._keys):
            return np.zeros(lists.shape, dtype=bool)
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.asarray((self._keys[place] == wanted) & (lists >= 0))


@dataclass(frozen=True)
class Outcome:
    """What one candidate recommends, with the truth beside it.

    Attributes:
        lists: Item indices ``[users, k]``, best first; -1 where a user had fewer than k items left.
        scores: Scores of those places ``[users, k]``.
        held_out: Signal name -> held-out values.
        relevance: The signal that counts where an objective names none.
        catalogue: Items, users and popularity.
        cost: Measured cost, for example ``{"train_seconds": 2.4}``.
    """

    lists: NDArray[np.int64]
    scores: NDArray[np.float32]
    held_out: Mapping[str, HeldOut]
    relevance: str
    catalogue: Catalogue
    cost: Mapping[str, float] = field(default_factory=dict)

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


class Objective(ABC):
    """What is measured and searched on. Values are in natural units.

    The docstring of a family says what it measures, then under ``Misleads:`` when not to trust it
    and under ``Source:`` where the definition comes from.

    Attributes:
        family: Registered name without ``@k`` and ``[signal]``.
        maximise: Whether larger is better.
        unit: Unit of the value, ``"1"`` for a share or a gain.
        reference: Default reference value for the hypervolume: worth nothing there or beyond.
        bounds: Smallest and largest possible value.
        measured: Whether the value is a cost measured on this machine, and so differs by run.
        takes_k: Whether it looks at the first k places (``@k``).
        takes_signal: Whether it looks at held-out items (``[signal]``).
        name: As written in a config, for example ``"ndcg@10[liked]"``.
    """

    family: ClassVar[str]
    takes_k: ClassVar[bool] = True
    takes_signal: ClassVar[bool] = False
    maximise: bool
    unit: str = "1"
    reference: float
    bounds: tuple[float, float] = (0.0, 1.0)
    measured: bool = False

    def __init__(self, k: int = 10, signal: str | None = None) -> None:
        self.k = k
        self.signal = signal
        cut = f"@{k}" if self.takes_k else ""
        self.name = f"{self.family}{cut}" + (f"[{signal}]" if signal else "")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def check(self, *, signals: Collection[str], attributes: Collection[str]) -> None:
        """Refuse, before any work is done, what the data cannot answer.

        Args:
            signals: Signals of the interactions.
            attributes: Attributes of the users.

        Raises:
            BadRequestError: If the objective names a signal or an attribute that is not there.
        """
        del attributes  # only objectives over groups of users name one
        if self.signal is not None and self.signal not in signals:
            raise unknown(f"signal in objective {self.name}:", self.signal, signals)

    def top(self, outcome: Outcome) -> NDArray[np.int64]:
        """The first k places of the lists ``[users, k]``.

        Raises:
            BadRequestError: If the lists are shorter than k.
        """
        length = outcome.lists.shape[1]
        if length < self.k:
            raise BadRequestError(
                f"objective {self.name} needs lists of {self.k} items and these have {length}: "
                "make the lists longer or lower the number behind the @"
            )
        return outcome.lists[:, : self.k]

    def top_hits(self, outcome: Outcome) -> NDArray[np.bool_]:
        """Which of the first k places hold a relevant item ``[users, k]``.

        Raises:
            BadRequestError: If the lists are shorter than k, or the signal is not in the data.
        """
        return outcome.hits(self.signal)[:, : self.top(outcome).shape[1]]

    @abstractmethod
    def value(self, outcome: Outcome, /) -> float:
        """One number for the outcome; NaN where nothing could be measured."""


class UserObjective(Objective):
    """An objective with one value per user; its value is their mean."""

    @abstractmethod
    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Values ``[users]``; NaN for users that are left out."""

    def value(self, outcome: Outcome, /) -> float:
        """Mean over the users that are not left out."""
        values = self.per_user(outcome)
        kept = values[~np.isnan(values)]
        return float(kept.mean()) if len(kept) else float("nan")


class SetObjective(Objective):
    """An objective over all lists together; it has no per-user values to resample."""
