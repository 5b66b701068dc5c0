"""Gradient-boosted trees over the features of impressions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pareto_rec.baselines.impressions import ImpressionBaseline, Table
from pareto_rec.baselines.parameters import Parameter

_NODE = 5  # numbers of a node: feature, threshold, both children, value


@dataclass(frozen=True)
class Ensemble:
    """Fitted trees.

    Attributes:
        classifier: Of scikit-learn.
    """

    classifier: Any  # scikit-learn ships no types

    def log_odds(self, table: Table) -> NDArray[np.float64]:
        """Return the log odds that an impression is taken ``[rows]``."""
        with threadpool_limits(1):  # on busy cores, waiting for each other takes far longer
            return np.asarray(self.classifier.decision_function(table.dense()), dtype=np.float64)


@dataclass(frozen=True)
class BoostedTrees(ImpressionBaseline):
    """Gradient-boosted trees that tell impressions that were taken from others.

    Their features are those of `ImpressionBaseline`. Where it is plain what more of one can do
    (more answers so far never speak against an item), trees may not say otherwise: a log has few
    items at few moments, which trees would otherwise learn by heart. Histogram-based boosting of
    the log loss by scikit-learn, without early stopping: tuning chooses the number of trees.

    Source: Friedman, Greedy function approximation: a gradient boosting machine, Annals of
    Statistics 2001; histograms as in Ke et al., LightGBM: a highly efficient gradient boosting
    decision tree, NIPS 2017.

    Attributes:
        trees: Number of trees.
        leaves: Most leaves of a tree.
        least_rows: Fewest impressions of a leaf.
        rate: Learning rate.
    """

    trees: int = 60
    leaves: int = 6
    least_rows: int = 200
    rate: float = 0.05

    method: ClassVar[str] = "boosted_trees"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "trees": Parameter(10, 300, log=True, whole=True, least=1),
            "leaves": Parameter(2, 63, log=True, whole=True, least=2),
            "least_rows": Parameter(10, 4000, log=True, whole=True, least=1),
            "rate": Parameter(0.02, 0.3, log=True, open_least=True),
        }
    )

    def most_weights(self, n_items: int) -> int:  # noqa: ARG002  # see the base
        """Return the numbers of all nodes."""
        return _NODE * self.trees * (2 * self.leaves - 1)

    def score_flops(self, n_items: int, history: int) -> int:  # noqa: ARG002  # see the base
        """Return a comparison for every level of a balanced tree, for each item and tree."""
        return n_items * self.trees * math.ceil(math.log2(max(self.leaves, 2)))

    def fit_table(
        self, table: Table, taken: NDArray[np.bool_], weight: NDArray[np.float64]
    ) -> Ensemble:
        """Fit the trees, on one thread."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        others = table.columns.shape[1] + table.people.width
        classifier = HistGradientBoostingClassifier(
            learning_rate=self.rate,
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.least_rows,
            monotonic_cst=[*table.trends, *(0 for _ in range(others))],
            early_stopping=False,
            random_state=0,  # draws the rows that set the bins, where there are very many
        )
        return Ensemble(classifier.fit(table.dense(), taken, weight))
