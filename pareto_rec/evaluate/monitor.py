"""What early stopping watches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.evaluate.sources import UserScorers
from pareto_rec.kernels.compiled import suits
from pareto_rec.kernels.lists import best
from pareto_rec.objectives import Catalogue, HeldOut, Outcome
from pareto_rec.objectives.ranking import NDCG
from pareto_rec.policy import HIDDEN, Parts, Scorers, largest
from pareto_rec.train.data import Relevance


@dataclass(frozen=True)
class ValidationMonitor:
    """NDCG@10 of relevance scores, what early stopping watches.

    Attributes:
        users: What has been seen.
        scorers: The same of all users at once, where they are held.
        catalogue: Items and users.
        truth: Held-out relevant items.
    """

    users: UserScorers
    scorers: Scorers | Parts
    catalogue: Catalogue
    truth: HeldOut

    def __call__(self, relevance: Relevance) -> float:
        """Mean over all users that have something held out."""
        parts = relevance.parts()
        values = np.concatenate([self.per_user(scores, rows) for rows, scores in parts])
        kept = values[~np.isnan(values)]
        return float(kept.mean()) if len(kept) else float("nan")

    def per_user(self, scores: Tensor, users: slice) -> NDArray[np.float64]:
        """Values ``[rows]`` of some users by their scores ``[rows, N]``; NaN: left out."""
        seen, count = self.seen(users), min(10, scores.shape[1])
        if suits(scores):
            ranks = self.users.ties.ranks.numpy()
            lists, values = best(scores.numpy(), seen.numpy(), count, ranks)
        else:
            top = largest(scores.masked_fill(seen, HIDDEN), count, self.users.ties)
            values, lists = (part.cpu().numpy() for part in top)
        truth = {"": HeldOut(self.truth.matrix[users])}
        return NDCG(10).per_user(Outcome(lists, values, truth, "", self.catalogue))

    def seen(self, users: slice) -> Tensor:
        """``[rows, N]``, True for items of the histories."""
        if isinstance(self.scorers, Scorers):
            return self.scorers.seen[users]
        return self.users.seen(users)
