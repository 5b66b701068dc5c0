"""Validation metrics of early stopping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.data.schema import Stage
from pareto_rec.kernels.compiled import is_cpu_float32
from pareto_rec.kernels.lists import best
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, UserObjective
from pareto_rec.objectives.ranking import NDCG, TailNDCG
from pareto_rec.objectives.value import ValueNDCG
from pareto_rec.ranking.ties import HIDDEN, Ties, largest
from pareto_rec.tasks import BINARY, RELEVANCE, Task
from pareto_rec.training.data import Relevance
from pareto_rec.training.spec import TAIL

LENGTH = 10  # of the lists that are looked at


@dataclass(frozen=True)
class Watched:
    """One thing that early stopping may watch.

    Attributes:
        metric: Makes what is measured on lists of a length.
        truth: Held-out items that count as hits.
    """

    metric: Callable[[int], UserObjective]
    truth: HeldOut


def watchable(
    stage: Stage, catalogue: Catalogue, relevance: str, tasks: Sequence[Task]
) -> dict[str, Watched]:
    """Return all that may be watched, by the values of `TrainSpec.watched`.

    Relevance stands in for what has nothing held out: a task without a held-out positive outcome,
    a tail without a relevant item.

    Args:
        stage: Says what is held out.
        catalogue: Says which items are the tail.
        relevance: Signal that counts as relevant.
        tasks: Tasks of the config.
    """
    plain = Watched(NDCG, HeldOut(stage.relevance(relevance)))
    found = {RELEVANCE: plain, TAIL: plain}
    if not catalogue.head[plain.truth.matrix.indices].all():
        found[TAIL] = Watched(TailNDCG, plain.truth)
    for task in tasks:
        metric = NDCG if task.loss == BINARY else ValueNDCG
        own = Watched(metric, HeldOut(stage.relevance(task.signal)))
        found[task.key] = own if own.truth.matrix.nnz else plain
    return found


@dataclass(frozen=True)
class ValidationMonitor:
    """A metric of lists of ten, what early stopping watches.

    Attributes:
        seen: Which items are in the histories of some users ``[rows, N]``.
        catalogue: Items and users.
        watched: What may be watched, by name.
        ties: Which of items of equal score stands first.
    """

    seen: Callable[[slice], Tensor]
    catalogue: Catalogue
    watched: Mapping[str, Watched]
    ties: Ties

    def __call__(self, relevance: Relevance) -> float:
        """Compute the mean over all users that have something held out."""
        of = self.watched[relevance.watched]
        values = np.concatenate(
            [self.per_user(scores, rows, of) for rows, scores in relevance.parts()]
        )
        measured = values[~np.isnan(values)]
        return float(measured.mean()) if len(measured) else float("nan")

    def per_user(self, scores: Tensor, users: slice, of: Watched) -> NDArray[np.float64]:
        """Return values ``[rows]`` of some users by their scores ``[rows, N]``; NaN: left out."""
        seen, count = self.seen(users), min(LENGTH, scores.shape[1])
        if is_cpu_float32(scores):
            ranks = self.ties.ranks.numpy()
            lists, values = best(scores.numpy(), seen.numpy(), count, ranks)
        else:
            top = largest(scores.masked_fill(seen, HIDDEN), count, self.ties)
            values, lists = (part.cpu().numpy() for part in top)
        truth = {"": HeldOut(of.truth.matrix[users])}
        outcome = Outcome(lists, values, truth, "", self.catalogue)
        return of.metric(count).per_user(outcome)
