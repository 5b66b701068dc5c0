"""Task heads of a pack in training: initial biases, batches and inputs of their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.core.seeds import generator
from pareto_rec.data.schema import Stage
from pareto_rec.losses import LOSSES, TaskLoss, TaskRows
from pareto_rec.losses.base import Loss, resolve
from pareto_rec.models.base import Dropout, Params, Shape
from pareto_rec.models.scoring import log_natural, task_logits, user_states, whole_logits
from pareto_rec.tasks import BINARY, Task, chain_of, trained
from pareto_rec.training.batches import Sequences
from pareto_rec.training.impressions import Impressions, Labelled
from pareto_rec.training.spec import TrainSpec


@dataclass(frozen=True)
class TaskLabels:
    """Labels of all tasks of a config.

    Attributes:
        interactions: Those of the tasks of interactions, for training rows.
        shown: Those of the others, for rows that say what was shown; None without such tasks.
    """

    interactions: Labelled
    shown: Impressions | None = None

    @classmethod
    def of(cls, stage: Stage, tasks: Sequence[Task]) -> TaskLabels:
        """Return labels of a stage's training rows."""
        impressions = any(not task.of_interactions for task in tasks)
        shown = Impressions.of(stage, tasks) if impressions else None
        return cls(Labelled.interactions(stage.train, tasks), shown)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks."""
        return (*self.interactions.tasks, *(self.shown.tasks if self.shown else ()))

    def of_task(self, task: Task) -> Labelled:
        """Return the rows that hold the labels of a task."""
        if task.of_interactions:
            return self.interactions
        assert self.shown is not None
        return self.shown


NO_LABELS = TaskLabels(Labelled((), {}))


def losses_of(spec: TrainSpec, labels: TaskLabels) -> list[Loss]:
    """Return the losses of a fit, in the order of its weights.

    Raises:
        BadRequestError: If one is not known, or a task has no labels to learn from.
    """
    known, entire = dict(LOSSES), spec.chain == "esmm"
    for task in trained(labels.tasks, spec.loss_weights):
        chain = chain_of(labels.tasks, task.name)
        unit = labels.of_task(task).unit(task, entire_space=entire)
        known[task.key] = TaskLoss(chain, entire_space=entire, unit=unit)
    return resolve(list(spec.loss_weights), known)


class TaskHeads:
    """The trained tasks of a pack; without any nothing is drawn."""

    def __init__(self, spec: TrainSpec, labels: TaskLabels) -> None:
        """Select the rows to learn from.

        Args:
            spec: Training variables; what concerns tasks is shared by a pack.
            labels: Labels of the tasks of the config.
        """
        self.spec, self.labels, self.shown = spec, labels, labels.shown
        self.own = trained(labels.tasks, spec.loss_weights)
        self.met = tuple(task for task in self.own if task.of_interactions)
        self.impressions = tuple(task for task in self.own if not task.of_interactions)
        self.rows = np.zeros(0, dtype=np.int64)
        if self.shown is not None:
            entire = spec.chain == "esmm"
            self.rows = self.shown.rows_for(spec.loss_weights, entire_space=entire)

    def base_rates(self, n_items: int) -> dict[str, Tensor]:
        """Compute initial biases: logits of base rates for every item, or mean and deviation."""
        biases: dict[str, Tensor] = {}
        for task in self.own:
            mean, deviation = self.labels.of_task(task).scale(task)
            if task.loss == BINARY:
                logit = torch.tensor(mean).logit()
                biases[f"{task.key}.item_bias"] = logit.expand(n_items).clone()
            else:
                biases[f"{task.key}.stars"] = torch.tensor([mean, deviation])
        return biases

    def of_targets(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Look up labels of the tasks of interactions for training rows, the targets of a batch."""
        known = self.labels.interactions
        return {f"met:{task.name}": known.standard(task, rows) for task in self.met}

    def draw(self, sequences: Sequences, seed: int, first: int) -> dict[str, NDArray[Any]]:
        """Return shown rows of the steps until the next look, from a stream of their own.

        Args:
            sequences: Training rows.
            seed: Of the candidate.
            first: Number of the first of these steps.
        """
        if self.shown is None or not self.impressions:
            return {}
        return self.shown.draw(
            self.rows,
            sequences,
            generator(seed, "shown rows", first),
            steps=self.spec.check_every,
            batch=self.spec.task_batch,
            history=self.spec.history,
        )

    def inputs(
        self,
        params: Params,
        shape: Shape,
        table: Tensor,
        batch: Mapping[str, Tensor],
        dropout: Dropout | None,
    ) -> TaskRows | None:
        """Collect loss inputs of tasks for the impressions of a step; None where none is trained.

        A chance is that of a user state and an item vector: ``logit = tower(state) . item / sqrt(D)
        + bias of the item``, as for every other task, so that it is had for a whole catalogue by
        one matrix product. The biases start at the logit of the base rate.
        """
        if self.shown is None or not self.impressions:
            return None
        histories, ids = batch["shown_histories"], batch["shown_items"].unsqueeze(-1)
        at = torch.full_like(ids, histories.shape[-1] - 1)
        states = user_states(params, shape, table, histories, at, dropout)
        logits = {
            task.name: task_logits(params, task.key, states, table, ids).squeeze(-1)
            for task in self.impressions
        }
        return TaskRows(
            logits, {task.name: batch[f"label:{task.name}"] for task in self.shown.tasks}
        )

    def interactions(
        self,
        params: Params,
        states: Tensor,
        table: Tensor,
        targets: Tensor,
        batch: Mapping[str, Tensor],
    ) -> TaskRows | None:
        """Collect loss inputs of tasks for the targets of a step; None where none is trained.

        Args:
            params: Stacked parameters.
            states: States of the shared bottom ``[P, R, D]``.
            table: Item vectors ``[P, N, D]``.
            targets: Items that follow ``[P, R, H]``, -1 where there is none.
            batch: Examples, with their labels.
        """
        if not self.met:
            return None
        ids, pack = targets.clamp(min=0), len(targets)
        there = (targets >= 0).reshape(pack, -1)
        logits = {
            task.name: task_logits(params, task.key, states, table, ids).reshape(pack, -1)
            for task in self.met
        }
        labels = {task.name: batch[f"met:{task.name}"].reshape(pack, -1) for task in self.met}
        labels = {name: of.masked_fill(~there, torch.nan) for name, of in labels.items()}
        return TaskRows(logits, labels)

    def ranking(self, params: Params, states: Tensor, table: Tensor) -> Tensor:
        """Compute the log of the product of all tasks' powers by their weights ``[P, R, N]``.

        What validation looks at where no loss ranks.
        """
        parts = [
            task.weight
            * log_natural(params, task.key, whole_logits(params, task.key, states, table))
            for task in self.own
            if task.weight
        ]
        return torch.stack(parts).sum(0)

    def log_chance(self, key: str, params: Params, states: Tensor, table: Tensor) -> Tensor:
        """Compute the log of what a task and its trained conditions together predict ``[P, R, N]``.

        Args:
            key: Name of its loss, which is trained on.
            params: Stacked parameters.
            states: States of the shared bottom ``[P, R, D]``.
            table: Item vectors ``[P, N, D]``.
        """
        [name] = [task.name for task in self.own if task.key == key]
        parts = [
            log_natural(params, task.key, whole_logits(params, task.key, states, table))
            for task in chain_of(self.labels.tasks, name)
            if task in self.own
        ]
        return torch.stack(parts).sum(0)
