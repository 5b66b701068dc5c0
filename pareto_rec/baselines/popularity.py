"""Popularity: the same scores for all users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pareto_rec.baselines.base import Baseline, ItemModel
from pareto_rec.baselines.recency import late_weights
from pareto_rec.data.schema import Interactions


@dataclass(frozen=True)
class Popularity(Baseline):
    """Training rows per item, each row weighed by how recent it is in the whole log.

    With recency it means "what is trending". Where each user's rows come from one short session,
    as in MovieLens 100K, and the split is per user, it is worse than the plain count.

    Attributes:
        tau: A row weighs ``exp(-share of rows strictly later / tau)``; None: every row weighs 1.
    """

    tau: float | None = None

    method: ClassVar[str] = "popularity"

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Count training rows per item. The history does not matter."""
        weight = None if self.tau is None else late_weights(train.time, tau=self.tau)
        counts = np.bincount(train.item, weights=weight, minlength=shape[1])
        return ItemModel(weights=None, bias=counts.astype(np.float32), tau=None)
