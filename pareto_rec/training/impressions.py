"""Impressions with labels: rows of shown items as training examples of tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Stage
from pareto_rec.tasks import BINARY, Task, chain_of, trained
from pareto_rec.training.batches import Sequences

_LEAST_DEVIATION = 1e-6

Labels = Mapping[str, NDArray[np.float32]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Rows of the training part with the labels of tasks.

    Attributes:
        tasks: The tasks that these rows may have labels of.
        labels: Task -> labels ``[rows]`` as the log has them, NaN where they are not known.
    """

    tasks: tuple[Task, ...]
    labels: Labels

    @classmethod
    def interactions(cls, rows: Interactions, tasks: Sequence[Task]) -> Labelled:
        """Return training rows with the labels of the tasks of interactions."""
        own = tuple(task for task in tasks if task.of_interactions)
        return cls(own, labels_of(rows, own))

    @cached_property
    def _usable(self) -> dict[str, Mask]:
        return {}

    def own_rows(self, name: str) -> Mask:
        """Find the rows ``[rows]`` where a task's label is known and its conditions are met."""
        if name not in self._usable:
            self._usable[name] = condition_met(self.labels, self.tasks, name)
        return self._usable[name]

    def scale(self, task: Task) -> tuple[float, float]:
        """Compute the mean and deviation of the labels that a task is learnt from.

        Raises:
            BadRequestError: If there are none, or an outcome is the same everywhere.
        """
        known = self.labels[task.name][self.own_rows(task.name)]
        values = (known > 0).astype(np.float64) if task.loss == BINARY else known
        chained = task.condition and not task.of_interactions
        where = f' where "{task.condition}" came about' if chained else ""
        if not len(values):
            raise BadRequestError(
                f'task {task.name}: signal "{task.signal}" is known in no training row{where}'
            )
        mean, deviation = float(values.mean()), float(values.std())
        if task.loss == BINARY and not 0 < mean < 1:
            what = "positive" if mean else "never positive"
            raise BadRequestError(
                f'task {task.name}: signal "{task.signal}" is {what} in each of the {len(values)} '
                f"training rows that hold it{where}; a task needs rows of both kinds"
                + ("" if task.of_interactions else " (impressions)")
            )
        return mean, max(deviation, _LEAST_DEVIATION)

    def unit(self, task: Task, *, entire_space: bool) -> float:
        """Return what always saying the base rate costs: the entropy of the rate, or one variance.

        Args:
            task: The task.
            entire_space: Whether it is learnt through the product with its conditions.
        """
        if task.loss != BINARY:
            return 1.0
        rate = self.scale(task)[0]
        chain = chain_of(self.tasks, task.name)
        if entire_space and len(chain) > 1:
            true, known = chain_known([self.labels[link.name] for link in chain])
            rate = float(true[known].mean())
        return float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))

    def rows_for(self, losses: Collection[str], *, entire_space: bool) -> NDArray[np.int64]:
        """Return the rows that some loss can learn from.

        Args:
            losses: Names of the losses of a fit.
            entire_space: Whether chains are learnt through products.
        """
        needed = np.zeros(len(next(iter(self.labels.values()))), dtype=bool)
        for task in trained(self.tasks, losses):
            chain = chain_of(self.tasks, task.name)
            if entire_space and len(chain) > 1 and task.loss == BINARY:
                needed |= chain_known([self.labels[link.name] for link in chain])[1]
            else:
                needed |= self.own_rows(task.name)
        return np.flatnonzero(needed)

    def standard(self, task: Task, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return labels of a task for some rows, in the unit that it is learnt in."""
        values = self.labels[task.name][rows]
        if task.loss == BINARY:
            return values
        mean, deviation = self.scale(task)
        return np.asarray((values - np.float32(mean)) / np.float32(deviation))


@dataclass(frozen=True)
class Impressions(Labelled):
    """Shown rows of the training part, each with where its history ends.

    Attributes:
        tasks: The tasks of what is shown.
        items: ``[rows]`` items shown.
        first: ``[rows]`` first training row of the row's user.
        last: ``[rows]`` one past the last training row that came before it.
        labels: Task -> labels ``[rows]`` as the log has them, NaN where they are not known.
        untimed: Whether rows have no times: then a history is all of the user's rows but those of
            the item shown.
    """

    items: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    untimed: bool

    @classmethod
    def of(cls, stage: Stage, tasks: Sequence[Task]) -> Impressions:
        """Return shown rows of a stage.

        A row's history are the training rows of its user at earlier times: rows of the same moment
        belong to the same answer and would give it away.
        """
        own = tuple(task for task in tasks if not task.of_interactions)
        rows, train = stage.train if stage.shown is None else stage.shown, stage.train
        both = np.concatenate([train.time, rows.time])
        untimed = not len(both) or bool(both.min() == both.max())
        moments, rank = np.unique(both, return_inverse=True)
        rank = rank.reshape(-1) if not untimed else np.zeros(len(both), dtype=np.int64)
        size = max(len(moments), 1)
        met = train.user * size + rank[: len(train)]
        at = rows.user * size + rank[len(train) :]
        last = np.searchsorted(met, (rows.user + 1) * size if untimed else at)
        first = np.searchsorted(met, rows.user * size)
        return cls(own, labels_of(rows, own), rows.item, first, last, untimed)

    def draw(
        self,
        rows: NDArray[np.int64],
        sequences: Sequences,
        rng: np.random.Generator,
        *,
        steps: int,
        batch: int,
        history: int,
    ) -> dict[str, NDArray[Any]]:
        """Return rows drawn uniformly, so that chances keep their base rates.

        Args:
            rows: The rows that some loss can learn from.
            sequences: Training rows.
            rng: Source of the draws.
            steps: Number of steps T.
            batch: Rows per step S.
            history: Length of the histories L.

        Returns:
            ``shown_histories [T, S, L]``, right-aligned, oldest first, -1 where there is none;
            ``shown_items [T, S]``; and for every task ``label:NAME [T, S]``, values standardised.
        """
        own = rows[rng.integers(0, len(rows), (steps, batch))]
        items = self.items[own]
        source = self.last[own][..., None] - np.arange(history + self.untimed, 0, -1)
        inside = source >= self.first[own][..., None]
        kept = np.maximum(source, 0)
        kept = sequences.items[kept] if len(sequences.items) else np.zeros_like(kept)
        histories = np.where(inside, kept, -1)
        if self.untimed:
            histories[histories == items[..., None]] = -1
            order = np.argsort(histories >= 0, axis=-1, kind="stable")
            histories = np.take_along_axis(histories, order, axis=-1)[..., -history:]
        found = {"shown_histories": histories, "shown_items": items}
        return found | {f"label:{t.name}": self.standard(t, own) for t in self.tasks}


def labels_of(rows: Interactions, tasks: Sequence[Task]) -> Labels:
    """Return labels by task ``[rows]``: 0, 1 and NaN for outcomes, the values themselves else."""
    labels = {}
    for task in tasks:
        values = rows.signals[task.signal].astype(np.float32)
        if task.loss == BINARY:
            values = np.where(np.isnan(values), values, values > 0).astype(np.float32)
        labels[task.name] = values
    return labels


def condition_met(labels: Labels, tasks: Sequence[Task], name: str) -> Mask:
    """Find the rows ``[rows]`` where a task's label is known and all of its conditions are met."""
    *before, task = chain_of(tasks, name)
    met = ~np.isnan(labels[task.name])
    for condition in before:
        met &= labels[condition.name] > 0
    return np.asarray(met)


def chain_known(labels: Sequence[NDArray[np.float32]]) -> tuple[Mask, Mask]:
    """Tell whether all outcomes of a chain came about ``[rows]``, and where that is known.

    It is known where all labels are, and where one of them is known not to be positive.
    """
    true = np.logical_and.reduce([values > 0 for values in labels])
    return true, true | np.logical_or.reduce([values <= 0 for values in labels])
