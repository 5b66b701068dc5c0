"""Task predictions of a fit: for given rows, and for the whole catalogue for some users."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.data.schema import Interactions, Stage
from pareto_rec.models.head import ScoringHead
from pareto_rec.objectives import Predicted
from pareto_rec.tasks import BINARY, Task, key_of, outputs
from pareto_rec.training.data import Fit, TrainData
from pareto_rec.training.impressions import chain_known, condition_met, labels_of

Floats = NDArray[np.float32]
Part = tuple[float, Floats]
"""The share of a fit, and its values."""


@dataclass(frozen=True)
class TaskOutputs:
    """A fit, ready to say what its tasks predict.

    Attributes:
        tasks: Every task of the config.
        names: What is predicted: trained tasks, and products of chains.
        head: The fit.
        states: User states ``[1, users, D]``.
    """

    tasks: tuple[Task, ...]
    names: tuple[str, ...]
    head: ScoringHead
    states: Tensor

    @classmethod
    def of(cls, fit: Fit, data: TrainData, tasks: Sequence[Task]) -> TaskOutputs:
        """Return the tasks of a fit on the histories of the evaluated users."""
        head, states = data.head(fit)
        return cls(tuple(tasks), outputs(tasks, fit.shape.towers), head, states)

    def of_stage(self, stage: Stage) -> dict[str, Predicted]:
        """Return predicted and true values by output, each on the held-out rows it is about."""
        shown = stage.held_out if stage.held_out_shown is None else stage.held_out_shown
        met = {task.name for task in self.tasks if task.of_interactions}
        own = [name for name in self.names if name in met]
        other = [name for name in self.names if name not in met]
        return self.of_rows(stage.held_out, own) | self.of_rows(shown, other)

    def of_rows(self, rows: Interactions, names: Sequence[str]) -> dict[str, Predicted]:
        """Return predicted and true values of rows by output, those whose true value is known.

        A task that is conditional on another is predicted for the rows in which all of its
        conditions are met; a product such as ``"click*conversion"`` for all rows in which it is
        known whether the whole chain came about.
        """
        labels, found = labels_of(rows, self.tasks), {}
        for name in names:
            if "*" in name:
                true, known = chain_known([labels[part] for part in name.split("*")])
                values = true.astype(np.float32)
            else:
                known, values = condition_met(labels, self.tasks, name), labels[name]
            user, item = rows.user[known], rows.item[known]
            predicted = Predicted(user, self.at(name, user, item), values[known], item)
            found[output_name(self.tasks, name)] = predicted
        return found

    def at(self, name: str, user: NDArray[np.int64], item: NDArray[np.int64]) -> Floats:
        """Predict a task or a product for pairs of a user and an item ``[rows]``."""
        predicted = np.ones(len(user), dtype=np.float32)
        for part in name.split("*"):
            predicted *= self.head.pairs(key_of(part), self.states, user, item)
        return predicted

    def chances(self) -> Mapping[str, Callable[[slice], Floats]]:
        """Return probabilities of every item ``[slice, N]`` for some users, by outcome."""
        binary = {task.name for task in self.tasks if task.loss == BINARY}
        chains = {name: name.split("*") for name in self.names}
        return {
            output_name(self.tasks, name): _product(self, parts)
            for name, parts in chains.items()
            if set(parts) <= binary
        }

    def whole(self, name: str, users: slice) -> Floats:
        """Return what a task predicts at every item for some users ``[slice, N]``."""
        key = key_of(name)
        logits = self.head.logits([key], self.states[:, users])[key]
        return np.asarray(self.head.predicted(key, logits).cpu().numpy())


def _product(outputs_of: TaskOutputs, parts: Sequence[str]) -> Callable[[slice], Floats]:
    def chance(users: slice) -> Floats:
        product = outputs_of.whole(parts[0], users)
        for part in parts[1:]:
            product = product * outputs_of.whole(part, users)
        return product

    return chance


def weighted_mean(parts: Sequence[Part]) -> Floats:
    """Return the mean of the values of some fits, each weighted by its share.

    Args:
        parts: Shares above 0, of any sum, and values of one shape; at least one.
    """
    if len(parts) == 1:
        return parts[0][1]
    total = sum(share for share, _ in parts)
    mean = np.zeros(parts[0][1].shape)
    for share, values in parts:
        mean += share / total * values
    return mean.astype(np.float32)


def mean_predictions(
    by_fit: Mapping[str, tuple[float, Mapping[str, Predicted]]],
) -> dict[str, Predicted]:
    """Return the mean of what some fits predict, by output, over the fits that have the task.

    Args:
        by_fit: Name -> its share, and its predictions by output; those of one output are about
            the same rows.
    """
    means: dict[str, Predicted] = {}
    for output in dict.fromkeys(output for _, own in by_fit.values() for output in own):
        telling = [(share, own[output]) for share, own in by_fit.values() if output in own]
        means[output] = telling[0][1]
        if len(telling) > 1:
            mean = weighted_mean([(share, np.asarray(one.predicted)) for share, one in telling])
            means[output] = replace(telling[0][1], predicted=mean)
    return means


def predicted_by(tasks: Sequence[Task], losses: Collection[str]) -> dict[str, bool]:
    """Return what fits on these losses predict, by output, and whether as chances."""
    known = {task.name: task.loss == BINARY for task in tasks}
    return {
        output_name(tasks, name): all(known[part] for part in name.split("*"))
        for name in outputs(tasks, losses)
    }


def output_name(tasks: Sequence[Task], name: str) -> str:
    """Return what objectives call a task or a product of tasks."""
    return next((task.output for task in tasks if task.name == name), name)
