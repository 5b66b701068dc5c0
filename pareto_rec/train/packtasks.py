"""The tasks of a pack in training: where they start, what they draw, what their losses see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.losses import LOSSES, Shown, TaskLoss
from pareto_rec.losses.base import Loss, resolve
from pareto_rec.models.base import Dropout, Params, Shape
from pareto_rec.models.scoring import log_natural, task_logits, user_states, whole_logits
from pareto_rec.seeds import generator
from pareto_rec.tasks import BINARY, Task, chain_of, trained
from pareto_rec.train.batches import Sequences
from pareto_rec.train.shown import ShownRows
from pareto_rec.train.spec import TrainSpec


def losses_of(spec: TrainSpec, shown: ShownRows | None) -> list[Loss]:
    """The losses of a fit, in the order of its weights.

    Raises:
        BadRequestError: If one is not known, or a task has no labels to learn from.
    """
    known, entire = dict(LOSSES), spec.chain == "esmm"
    if shown is not None:
        for task in trained(shown.tasks, spec.loss_weights):
            chain = chain_of(shown.tasks, task.name)
            unit = shown.unit(task, entire_space=entire)
            known[task.key] = TaskLoss(chain, entire_space=entire, unit=unit)
    return resolve(list(spec.loss_weights), known)


class PackTasks:
    """The trained tasks of a pack; a config without tasks has none, and nothing is drawn."""

    def __init__(self, spec: TrainSpec, shown: ShownRows | None) -> None:
        """Find the rows to learn from.

        Args:
            spec: Training variables; what concerns tasks is shared by a pack.
            shown: Shown rows with the labels of the config's tasks; None without tasks.
        """
        self.spec, self.shown = spec, shown
        self.own: tuple[Task, ...] = ()
        self.rows = np.zeros(0, dtype=np.int64)
        if shown is not None:
            self.own = trained(shown.tasks, spec.loss_weights)
            entire = spec.chain == "esmm"
            self.rows = shown.rows_for(spec.loss_weights, entire_space=entire)

    def base_rates(self, n_items: int) -> dict[str, Tensor]:
        """Where tasks start: the logit of its base rate for every item, or mean and deviation."""
        found: dict[str, Tensor] = {}
        for task in self.own:
            assert self.shown is not None
            mean, deviation = self.shown.scale(task)
            if task.loss == BINARY:
                logit = torch.tensor(mean).logit()
                found[f"{task.key}.item_bias"] = logit.expand(n_items).clone()
            else:
                found[f"{task.key}.stars"] = torch.tensor([mean, deviation])
        return found

    def draw(self, sequences: Sequences, seed: int, first: int) -> dict[str, NDArray[Any]]:
        """Shown rows of the steps until the next look, from a stream of their own.

        Args:
            sequences: Training rows.
            seed: Of the candidate.
            first: Number of the first of these steps.
        """
        if self.shown is None or not self.own:
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
    ) -> Shown | None:
        """What the losses of tasks see of a step; None where none is trained on.

        A chance is that of a user state and an item vector: ``logit = tower(state) . item / sqrt(D)
        + bias of the item``, as for every other task, so that it is had for a whole catalogue by
        one matrix product. The biases start at the logit of the base rate.
        """
        if self.shown is None or not self.own:
            return None
        histories, ids = batch["shown_histories"], batch["shown_items"].unsqueeze(-1)
        at = torch.full_like(ids, histories.shape[-1] - 1)
        states = user_states(params, shape, table, histories, at, dropout)
        logits = {
            one.name: task_logits(params, one.key, states, table, ids).squeeze(-1)
            for one in self.own
        }
        return Shown(logits, {one.name: batch[f"label:{one.name}"] for one in self.shown.tasks})

    def ranking(self, params: Params, states: Tensor, table: Tensor) -> Tensor:
        """Log of the product of all tasks' powers by their weights ``[P, R, N]``.

        What validation looks at where no loss ranks.
        """
        parts = [
            one.weight * log_natural(params, one.key, whole_logits(params, one.key, states, table))
            for one in self.own
        ]
        return torch.stack(parts).sum(0)
