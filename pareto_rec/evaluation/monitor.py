"""Validation metric of early stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.kernels.compiled import is_cpu_float32
from pareto_rec.kernels.lists import best
from pareto_rec.objectives import Catalogue, HeldOut, Outcome
from pareto_rec.objectives.ranking import NDCG
from pareto_rec.ranking.ties import HIDDEN, Ties, largest
from pareto_rec.training.data import Relevance


@dataclass(frozen=True)
class ValidationMonitor:
    """NDCG@10 of relevance scores, what early stopping watches.

    Attributes:
        seen: Which items are in the histories of some users ``[rows, N]``.
        catalogue: Items and users.
        truth: Held-out relevant items.
        ties: Which of items of equal score stands first.
    """

    seen: Callable[[slice], Tensor]
    catalogue: Catalogue
    truth: HeldOut
    ties: Ties

    def __call__(self, relevance: Relevance) -> float:
        """Compute the mean over all users that have something held out."""
        parts = relevance.parts()
        values = np.concatenate([self.per_user(scores, rows) for rows, scores in parts])
        measured = values[~np.isnan(values)]
        return float(measured.mean()) if len(measured) else float("nan")

    def per_user(self, scores: Tensor, users: slice) -> NDArray[np.float64]:
        """Return values ``[rows]`` of some users by their scores ``[rows, N]``; NaN: left out."""
        seen, count = self.seen(users), min(10, scores.shape[1])
        if is_cpu_float32(scores):
            ranks = self.ties.ranks.numpy()
            lists, values = best(scores.numpy(), seen.numpy(), count, ranks)
        else:
            top = largest(scores.masked_fill(seen, HIDDEN), count, self.ties)
            values, lists = (part.cpu().numpy() for part in top)
        truth = {"": HeldOut(self.truth.matrix[users])}
        return NDCG(count).per_user(Outcome(lists, values, truth, "", self.catalogue))
