"""Losses of tasks, on interactions or on impressions with their outcome."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from pareto_rec.losses.base import Loss, LossInputs, TaskRows
from pareto_rec.tasks import BINARY, Task


class TaskLoss(Loss):
    """The loss of one task: its mean over the drawn rows whose label is known.

    Rows are shown ones, or for tasks of interactions (``liked``, ``rating``) the targets of the
    ranking, so that it says: liked, given met.

    Binary cross-entropy in nats, or the squared error of a value in variances of its training
    labels. A task that is conditional on another is learnt in one of two ways. ``"conditional"``:
    on the rows in which the condition is met. ``"esmm"``: through the product of its chance with
    those of its conditions, on the entire space of impressions: with click y and conversion z,
    ``pCTCVR = p(y = 1, z = 1 | x) = p(y = 1 | x) p(z = 1 | y = 1, x)``, and its loss is the
    cross-entropy of ``y & z`` with pCTCVR; the click has a loss of its own. Values are always
    learnt on the rows in which the condition is met.

    Values are divided by what always saying the base rate costs, which is about the loss at
    initialisation: a batch of a rare outcome says little about it.

    Source: Ma et al., Entire space multi-task model, SIGIR 2018, eqs. 1-3.
    """

    catalogue = False

    def __init__(self, chain: Sequence[Task], *, entire_space: bool, unit: float) -> None:
        """Make the loss of the last task of a chain.

        Args:
            chain: The task, after everything that it is conditional on.
            entire_space: Whether it is learnt through the product.
            unit: What values are divided by, above 0.
        """
        self.chain, self.own_unit = tuple(chain), unit
        self.task = self.chain[-1]
        self.name = self.task.key
        self.entire = entire_space and len(self.chain) > 1 and self.task.loss == BINARY

    def unit(self, n_items: int) -> float:
        """Return the loss of a constant prediction at the base rate."""
        del n_items
        return self.own_unit

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``; 0 where no drawn row has a usable label."""
        rows = inputs.interactions if self.task.of_interactions else inputs.shown
        if rows is None:
            raise ValueError(f"loss inputs have no rows for {self.name}")
        values, usable = self._entire(rows) if self.entire else self._own(rows)
        usable_values = torch.where(usable, values, 0.0)
        return usable_values.sum(-1) / usable.sum(-1).clamp(min=1)

    def _own(self, rows: TaskRows) -> tuple[Tensor, Tensor]:
        """Compute values ``[P, S]`` and mark the rows in which every condition is met."""
        logits, labels = rows.logits[self.task.name], rows.labels[self.task.name]
        usable = ~labels.isnan()
        for condition in self.chain[:-1]:
            usable = usable & (rows.labels[condition.name] > 0)
        labels = torch.where(usable, labels, 0.0)
        if self.task.loss != BINARY:
            return (logits - labels).square(), usable
        true = (labels > 0).to(logits.dtype)
        return binary_cross_entropy_with_logits(logits, true, reduction="none"), usable

    def _entire(self, rows: TaskRows) -> tuple[Tensor, Tensor]:
        """Compute the cross-entropy ``[P, S]`` of the chain's outcome with the product."""
        names = [task.name for task in self.chain]
        true, usable = chain_labels([rows.labels[name] for name in names])
        log_chance, log_rest = log_product([rows.logits[name] for name in names])
        return -torch.where(true, log_chance, log_rest), usable


def chain_labels(labels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Tell whether all outcomes of a chain occurred, and where that is known.

    Args:
        labels: Labels of a chain ``[...]`` each, NaN where they are not known. Where one of them is
            known and not positive the chain did not occur, independent of the others.
    """
    every = torch.stack(list(labels))
    true = (every > 0).all(0)
    return true, true | (every <= 0).any(0)


def log_product(logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Compute the log of ``prod_i p_i`` and of ``1 - prod_i p_i`` without cancellation.

    ``1 - prod_i p_i = sum_i (prod_{j < i} p_j) (1 - p_i)``, all terms positive.
    """
    so_far = torch.zeros_like(logits[0])
    terms = []
    for logit in logits:
        terms.append(so_far + logsigmoid(-logit))
        so_far = so_far + logsigmoid(logit)
    return so_far, torch.logsumexp(torch.stack(terms), dim=0)
