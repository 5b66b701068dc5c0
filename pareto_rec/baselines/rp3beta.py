"""RP3beta: random walks of three steps over the graph of users and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from scipy import sparse

from pareto_rec.baselines.base import TAU, Baseline, ItemModel, presence
from pareto_rec.baselines.knn import blocks_of, shortened, strongest
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.data.schema import Interactions
from pareto_rec.data.ties import row_ranks


@dataclass(frozen=True)
class RP3Beta(Baseline):
    """Where a walk from item to user to item ends, popular ends weighed down.

    ``weight(i, j) = sum over users u of both of (1 / users(i))^alpha (1 / items(u))^alpha``,
    divided by ``users(j)^beta``; each item keeps its `neighbours` largest weights. The walk's first
    step, from the user to an item of the history, is the history's weight.

    Source: Paudel et al., Updatable, accurate, diverse, and scalable recommendations for
    interactive applications, TiiS 2017; alpha as in Cooper et al., Random walks in recommender
    systems, WWW 2014.

    Attributes:
        alpha: Power of the probability of a step.
        beta: Power of the popularity of the item that is scored.
        neighbours: Weights that each item keeps.
        tau: Recency of the history (see `ItemModel.tau`); it does not enter the fit.
    """

    alpha: float = 0.8
    beta: float = 0.6
    neighbours: int = 200
    tau: float | None = None

    method: ClassVar[str] = "rp3beta"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "alpha": Parameter(0.2, 2.0),
            "beta": Parameter(0.0, 1.2),
            "neighbours": Parameter(5, 1000, log=True, whole=True, least=1),
            "tau": TAU,
        }
    )
    only_scores: ClassVar[frozenset[str]] = frozenset({"tau"})

    def most_weights(self, n_items: int) -> int:
        """Return how many neighbours all items keep at most."""
        return min(self.neighbours, n_items) * n_items

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Multiply the two steps, a block of items at a time; the matrix stays sparse."""
        met = presence(shortened(train, shape[0]), shape)
        of_user = np.maximum(np.asarray(met.sum(axis=1)), 1.0)
        of_item = np.maximum(np.asarray(met.sum(axis=0)), 1.0)
        to_item = sparse.csr_array(sparse.diags_array(of_user**-self.alpha) @ met)
        to_item = sparse.csr_array(to_item @ sparse.diags_array(of_item**-self.beta))
        transposed = sparse.csr_array(met.T)
        to_user = sparse.csr_array(sparse.diags_array(of_item**-self.alpha) @ transposed)
        ties = row_ranks(train, shape[1])
        blocks = [
            strongest(sparse.csr_array(to_user[begin:end] @ to_item), self.neighbours, ties, begin)
            for begin, end in blocks_of(met, transposed)
        ]
        weights = sparse.csr_array(sparse.vstack(blocks)).astype(np.float32)
        weights.sort_indices()
        return ItemModel(weights, np.zeros(shape[1], dtype=np.float32), self.tau)
