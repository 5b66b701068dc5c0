"""What the tasks of a fit say: of given rows, and of the whole catalogue for some users."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.data.schema import Interactions
from pareto_rec.models.base import Params, item_table, tower
from pareto_rec.models.scoring import last_states, natural, whole_logits
from pareto_rec.objectives import Predicted
from pareto_rec.tasks import BINARY, PREFIX, Task, outputs
from pareto_rec.train.data import Fit, TrainData
from pareto_rec.train.shown import chain_known, condition_met, labels_of

ROWS = 100_000  # rows predicted at a time

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TaskOutputs:
    """A fit, ready to say what its tasks predict.

    Attributes:
        tasks: Every task of the config.
        names: What is predicted: trained tasks, and products of chains.
        params: Parameters with a leading dimension of one.
        table: Item vectors ``[1, N, D]``.
        states: User states ``[1, users, D]``.
    """

    tasks: tuple[Task, ...]
    names: tuple[str, ...]
    params: Params
    table: Tensor
    states: Tensor

    @classmethod
    def of(cls, one: Fit, data: TrainData, tasks: Sequence[Task]) -> TaskOutputs:
        """The tasks of a fit on the histories of the evaluated users."""
        device = data.features.device
        params = {name: value.unsqueeze(0).to(device) for name, value in one.params.items()}
        names = outputs(tasks, [PREFIX + name for name in one.shape.tasks])
        with torch.no_grad():
            table = item_table(params, data.item_features(one.spec, one.difference), None)
            histories = data.histories[:, -one.spec.history :]
            states = last_states(params, one.shape, table, histories)
        return cls(tuple(tasks), names, params, table, states)

    def of_rows(self, rows: Interactions) -> dict[str, Predicted]:
        """Predicted and true values of rows by name, those whose true value is known.

        A task that is conditional on another is predicted for the rows in which all of its
        conditions are met; a product such as ``"click*conversion"`` for all rows in which it is
        known whether the whole chain came about.
        """
        labels, found = labels_of(rows, self.tasks), {}
        for name in self.names:
            if "*" in name:
                true, known = chain_known([labels[part] for part in name.split("*")])
                values = true.astype(np.float32)
            else:
                known, values = condition_met(labels, self.tasks, name), labels[name]
            user, item = rows.user[known], rows.item[known]
            found[name] = Predicted(user, self.at(name, user, item), values[known], item)
        return found

    def at(self, name: str, user: NDArray[np.int64], item: NDArray[np.int64]) -> Floats:
        """What is predicted for pairs of a user and an item ``[rows]``, a task or a product."""
        found = np.ones(len(user), dtype=np.float32)
        for part in name.split("*"):
            found *= self._pairs(PREFIX + part, user, item)
        return found

    @torch.no_grad()
    def _pairs(self, task: str, user: NDArray[np.int64], item: NDArray[np.int64]) -> Floats:
        scaled = tower(self.params, task, self.states)[0] * self.states.shape[-1] ** -0.5
        bias, found = self.params[f"{task}.item_bias"][0], np.empty(len(user), dtype=np.float32)
        for begin in range(0, len(user), ROWS):
            part = slice(begin, begin + ROWS)
            users, items = (torch.from_numpy(ids[part]).to(bias.device) for ids in (user, item))
            logits = (scaled[users] * self.table[0, items]).sum(-1) + bias[items]
            found[part] = natural(self.params, task, logits.unsqueeze(0))[0].cpu().numpy()
        return found

    def chances(self) -> Mapping[str, Callable[[slice], Floats]]:
        """Name -> its chance at every item for some users ``[slice, N]``, outcomes alone."""
        binary = {task.name for task in self.tasks if task.loss == BINARY}
        chains = {name: name.split("*") for name in self.names}
        return {
            name: _product(self, parts) for name, parts in chains.items() if set(parts) <= binary
        }

    @torch.no_grad()
    def whole(self, name: str, users: slice) -> Floats:
        """What a task predicts at every item for some users ``[slice, N]``."""
        task = PREFIX + name
        logits = whole_logits(self.params, task, self.states[:, users], self.table)
        return np.asarray(natural(self.params, task, logits)[0].cpu().numpy())


def _product(outputs_of: TaskOutputs, parts: Sequence[str]) -> Callable[[slice], Floats]:
    def chance(users: slice) -> Floats:
        found = outputs_of.whole(parts[0], users)
        for part in parts[1:]:
            found = found * outputs_of.whole(part, users)
        return found

    return chance


def predicted_by(tasks: Sequence[Task], losses: Collection[str]) -> dict[str, bool]:
    """What fits on these losses predict, and whether as chances."""
    known = {task.name: task.loss == BINARY for task in tasks}
    return {name: all(known[part] for part in name.split("*")) for name in outputs(tasks, losses)}
