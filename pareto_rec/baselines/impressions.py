"""Baselines that learn from impressions: from what was shown and not taken, too."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from pareto_rec.baselines.base import Baseline, ItemModel
from pareto_rec.baselines.impression_content import ItemContent, UserContent
from pareto_rec.baselines.impression_features import (
    LATE,
    NO_ORDER,
    Past,
    folds_of,
    histories_features,
    trends,
)
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray, Interactions, Stage, Users

MOST_READ = 1_000_000  # impressions that are looked at, spread evenly over all of them
MOST_OF_A_KIND = 50_000  # of those that were taken, and of the others, that are learnt from
BLOCK = 20_000_000  # numbers of a block of users and items that are scored at once

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """Impressions as rows of features.

    Attributes:
        numbers: Features that are numbers ``[rows, F]`` float32, NaN where not known.
        columns: Columns of 0 and 1 of the items ``[rows, C]`` float32.
        codes: Columns of the users ``[rows, attributes]``, -1 where none is theirs.
        people: What the columns of the users mean.
        trends: What more of each number can do to the odds: 1 raise, -1 lower, 0 either ``[F]``.
    """

    numbers: NDArray[np.float32]
    columns: NDArray[np.float32]
    codes: IntArray
    people: UserContent
    trends: tuple[int, ...]

    def dense(self) -> NDArray[np.float32]:
        """Return all features ``[rows, F + C + U]``."""
        own = self.people.indicators(self.codes)
        return np.concatenate([self.numbers, self.columns, own], axis=1)

    def __len__(self) -> int:
        return len(self.numbers)


class Predictor(Protocol):
    """A fitted classifier."""

    def log_odds(self, table: Table) -> Floats:
        """Return the log odds that an impression is taken ``[rows]``."""


@dataclass(frozen=True)
class ImpressionModel(ItemModel):
    """A fitted model of impressions. Scores are log odds, and not linear in the history.

    They are those at the first position, where the log has positions.

    Attributes:
        of_items: Features of the items after all training rows ``[items, 7]``.
        content: What is known of the items.
        people: Which values of users have a column.
        positions: Whether position is a feature.
        late: Rows that are the late part of a history.
        predictor: The fitted classifier.
        codes: Columns of the users whose histories are scored ``[users, attributes]``; None:
            nothing is known of them but their histories.
    """

    linear: ClassVar[bool] = False

    of_items: Floats
    content: ItemContent
    people: UserContent
    positions: bool
    late: int
    predictor: Predictor
    codes: IntArray | None = None

    def for_users(self, users: Users, chosen: IntArray) -> ImpressionModel:
        """Return the model that knows the attributes of some users."""
        return replace(self, codes=self.people.codes(users, chosen))

    def score(self, starts: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score the whole catalogue for each history, as `ItemModel.score`."""
        count, n_items = len(starts) - 1, len(self.of_items)
        codes = self.codes
        if codes is None:
            codes = np.full((count, len(self.people.values)), -1, dtype=np.int64)
        width = self.of_items.shape[1] + 2 * len(self.content.tags) + 4
        width += self.content.columns.shape[1] + self.people.width
        step = max(1, BLOCK // (width * max(n_items, 1)))
        scores = np.empty((count, n_items), dtype=np.float32)
        for begin in range(0, count, step):
            part = starts[begin : begin + step + 1]
            own = codes[begin : begin + step]
            table = self._table(part - part[0], items[part[0] : part[-1]], own)
            scores[begin : begin + step] = self.predictor.log_odds(table).reshape(-1, n_items)
        return scores

    def _table(self, starts: IntArray, items: IntArray, codes: IntArray) -> Table:
        """Return every item beside every history, those of a history together."""
        users, n_items = len(starts) - 1, len(self.of_items)
        lengths = np.diff(starts)
        late = np.maximum(starts[:-1], starts[1:] - self.late)
        counts = [_counts(starts, items, begin, n_items) for begin in (starts[:-1], late)]
        shared = [
            (history @ tags @ tags.T).toarray().reshape(-1)
            for tags in self.content.tags.values()
            for history in counts
        ]
        price = self.content.price
        own = np.full(len(items), -1) if price is None else price[items]
        spent, priced = (
            np.concatenate([[0], np.cumsum(values)])
            for values in (np.where(own >= 0, own, 0), (own >= 0).astype(np.int64))
        )
        beside = histories_features(
            shared,
            (np.repeat(lengths, n_items), np.repeat(np.minimum(lengths, self.late), n_items)),
            self.content,
            np.tile(np.arange(n_items), users),
            np.repeat(spent[starts[1:]] - spent[starts[:-1]], n_items),
            np.repeat(priced[starts[1:]] - priced[starts[:-1]], n_items),
        )
        parts = [np.tile(self.of_items, (users, 1)), beside]
        parts += [np.zeros((users * n_items, 1))] if self.positions else []
        return Table(
            np.concatenate(parts, axis=1).astype(np.float32),
            np.tile(self.content.columns, (users, 1)),
            np.repeat(codes, n_items, axis=0),
            self.people,
            trends(self.content, positions=self.positions),
        )


class ImpressionBaseline(Baseline):
    """A classifier of impressions: taken, or shown and not taken.

    It knows more than ids. Of the item: popularity, popularity of late, exposure, rate of answers
    and recency, counted on training rows before the impression; categories, attributes, price. Of
    the user: attributes and the length of the history. Of both: how much of the history shares the
    item's categories and attributes, and its price. Of the context: the position, where the log
    has it; scores are those at the first one. Without times, a row is judged by the rows of the
    other four fifths of the log.

    Taken is what the split calls an interaction: a row in which a signal is above 0, other than
    those that speak against the item. At most 50,000 impressions of either kind are learnt from,
    each weighed by how many it stands for. Rows are put in an order of their own, so neither ids
    nor their order have a say.

    No bundle holds it: its scores need the features of every request, which a bundle would have to
    compute with the code and the tables of the training rows, also for users it has never met.
    """

    most_settings: ClassVar[int | None] = 10
    needs_impressions: ClassVar[bool] = True
    exported: ClassVar[bool] = False

    @abstractmethod
    def fit_table(self, table: Table, taken: Mask, weight: Floats) -> Predictor:
        """Learn from impressions.

        Args:
            table: Their features, in an order that depends on nothing but these and `taken`.
            taken: Whether each was taken ``[rows]``.
            weight: How many impressions each stands for ``[rows]``.
        """

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:  # noqa: ARG002
        """Refuse rows that hold no impressions: see :meth:`learn`.

        Raises:
            BadRequestError: Always.
        """
        raise _refused(self.method)

    def learn(self, stage: Stage, /) -> ImpressionModel:
        """Learn from the impressions of a stage's training part.

        Raises:
            BadRequestError: If there are none, or none that was taken.
        """
        shown, taken = impressions_of(stage, self.method)
        content, people = ItemContent.of(stage.items), UserContent.of(stage.users)
        with threadpool_limits(1):  # sums in one order on every machine
            rows = _training_rows(stage, shown, taken, content, people)
            predictor = self.fit_table(*rows)
        of_items = Past(stage.train, shown, content).of_items(np.arange(stage.shape[1]), None)
        zero = np.zeros(stage.shape[1], dtype=np.float32)
        known = content, people, _has_positions(shown), _late(shown), predictor
        model = ImpressionModel(None, zero, None, of_items, *known)
        bias = model.score(np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64))[0]
        return replace(model, bias=bias)


def check_impressions(
    names: Iterable[str], baselines: Mapping[str, Baseline], stage: Stage
) -> None:
    """Refuse baselines that learn from impressions where the data has none.

    Args:
        names: Baselines that are asked for.
        baselines: Every baseline.
        stage: What they would learn from.

    Raises:
        BadRequestError: Names the first one.
    """
    for name in names:
        if baselines[name].needs_impressions:
            impressions_of(stage, name)


def has_impressions(stage: Stage) -> bool:
    """Tell whether there are impressions of both kinds to learn from."""
    return stage.shown is not None and 0 < len(stage.train) < len(stage.shown)


def impressions_of(stage: Stage, name: str) -> tuple[Interactions, Mask]:
    """Return the impressions of the training part, and which of them were taken ``[rows]``.

    Args:
        stage: Whose.
        name: Of the baseline that wants them, for messages.

    Raises:
        BadRequestError: If there are none, or all or none of them were taken.
    """
    if stage.shown is None or not has_impressions(stage):
        raise _refused(name)
    train, shown = stage.train, stage.shown
    pairs = np.concatenate([rows.user * stage.shape[1] + rows.item for rows in (train, shown)])
    pairs = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    times = np.unique(np.concatenate([train.time, shown.time]), return_inverse=True)
    keys = pairs * len(times[0]) + times[1].reshape(-1)
    taken = np.isin(keys[len(train) :], keys[: len(train)])
    if taken.all() or not taken.any():
        raise _refused(name)
    return shown, taken


def _refused(name: str) -> BadRequestError:
    return BadRequestError(
        f'baseline "{name}" learns from impressions, shown items with and without an answer, and '
        "the training part of this data has no row without one: leave it out, or bring the "
        "impressions too"
    )


def _has_positions(shown: Interactions) -> bool:
    return shown.position is not None and bool((shown.position > 0).any())


def _late(shown: Interactions) -> int:
    """Return how many rows are the late part of a history: all where no times are known."""
    return LATE if shown.time.min() != shown.time.max() else NO_ORDER


def _counts(starts: IntArray, items: IntArray, first: IntArray, n_items: int) -> sparse.csr_array:
    """Count the items of histories from `first` on ``[users, items]``."""
    owner = np.repeat(np.arange(len(first)), np.diff(starts))
    own = np.arange(len(items)) >= first[owner]
    ones = np.ones(int(own.sum()))
    return sparse.csr_array((ones, (owner[own], items[own])), shape=(len(first), n_items))


def _training_rows(
    stage: Stage, shown: Interactions, taken: Mask, content: ItemContent, people: UserContent
) -> tuple[Table, Mask, Floats]:
    """Return impressions, whether they were taken, and weights, in an order of their own."""
    read = _spread(np.arange(len(shown)), MOST_READ)
    rows, answers = shown.take(read), taken[read]
    features = _numbers(stage, shown, rows, content)
    if _has_positions(shown) and rows.position is not None:
        position = np.where(rows.position > 0, rows.position, 1)
        logs = np.where(rows.position > 0, np.log(position), np.nan)
        features = np.concatenate([features, logs[:, None]], axis=1)
    codes = people.codes(stage.users, np.arange(stage.shape[0]))[rows.user]
    numbers = features.astype(np.float32) + np.float32(0)  # -0 is 0
    order = _order(numbers, content.patterns[rows.item], codes, answers)
    kinds = [order[answers[order]], order[~answers[order]]]
    parts = [_spread(kind, MOST_OF_A_KIND) for kind in kinds]
    weights = [np.full(len(p), len(kind) / len(p)) for kind, p in zip(kinds, parts, strict=True)]
    chosen = np.concatenate(parts)
    parts_of = numbers[chosen], content.columns[rows.item[chosen]], codes[chosen]
    table = Table(*parts_of, people, trends(content, positions=_has_positions(shown)))
    return table, answers[chosen], np.concatenate(weights)


def _spread(rows: IntArray, most: int) -> IntArray:
    """Return at most so many of some rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def _numbers(stage: Stage, shown: Interactions, rows: Interactions, content: ItemContent) -> Floats:
    """Return features of rows out of what stood before them ``[rows, F]``."""
    if _late(shown) != NO_ORDER:
        past = Past(stage.train, shown, content)
        return _of_rows(past, rows, rows.time)
    folds, of_train, of_shown = (
        folds_of(part.user, part.item, stage.items, shown) for part in (rows, stage.train, shown)
    )
    numbers: Floats | None = None
    for fold in np.unique(folds).tolist():
        past = Past(
            stage.train.take(of_train != fold), shown.take(of_shown != fold), content, NO_ORDER
        )
        own = np.flatnonzero(folds == fold)
        found = _of_rows(past, rows.take(own), None)
        if numbers is None:
            numbers = np.empty((len(rows), found.shape[1]))
        numbers[own] = found
    assert numbers is not None  # there are rows, so there is a fold
    return numbers


def _of_rows(past: Past, rows: Interactions, moments: IntArray | None) -> Floats:
    parts = (past.of_items(rows.item, moments), past.at_rows(rows.user, rows.item, moments))
    return np.concatenate(parts, axis=1)


def _order(
    numbers: NDArray[np.float32], patterns: IntArray, codes: IntArray, taken: Mask
) -> IntArray:
    """Return an order of rows by their features, byte for byte."""
    keys = np.concatenate(
        [numbers, patterns[:, None], codes, taken[:, None]], axis=1, dtype=np.float32
    )
    keys[np.isnan(keys)] = np.nan  # one pattern of bits
    width = keys.shape[1] * keys.itemsize
    return np.argsort(np.ascontiguousarray(keys).view(f"V{width}").reshape(-1), kind="stable")
