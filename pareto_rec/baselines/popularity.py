"""Popularity: the same scores for all users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from pareto_rec.baselines.base import Baseline, ItemModel
from pareto_rec.baselines.parameters import Parameter
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
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"tau": Parameter(0.005, 2.0, log=True, open_least=True)}
    )

    def most_weights(self, n_items: int) -> int:
        """Return the number of items: one score each."""
        return n_items

    def score_flops(self, n_items: int, history: int) -> int:  # noqa: ARG002  # see the base
        """Return 0: scores are read."""
        return 0

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Count training rows per item. The history does not matter."""
        weight = None if self.tau is None else late_weights(train.time, tau=self.tau)
        counts = np.bincount(train.item, weights=weight, minlength=shape[1])
        return ItemModel(weights=None, bias=counts.astype(np.float32), tau=None)
