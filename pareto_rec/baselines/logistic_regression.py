"""Logistic regression over the features of impressions, and over pairs of user and item."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.impression_content import ITEM_COLUMNS, USER_COLUMNS
from pareto_rec.baselines.impressions import ImpressionBaseline, Table
from pareto_rec.baselines.parameters import Parameter

_NUMBERS = 30  # about as many features are numbers
_STEPS = 300  # of the solver
_TINY = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Standard:
    """Unit of the features that are numbers.

    Attributes:
        mean: Of those that are known ``[F]``, which stands for those that are not.
        deviation: Of those that are known ``[F]``.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, numbers: NDArray[np.float32], weight: Floats) -> Standard:
        """Measure the columns ``[rows, F]``, rows weighed ``[rows]``."""
        known = ~np.isnan(numbers) * weight[:, None]
        count = np.maximum(known.sum(axis=0), _TINY)
        values = np.nan_to_num(numbers.astype(np.float64), nan=0.0)
        mean = (known * values).sum(axis=0) / count
        square = (known * (values - mean) ** 2).sum(axis=0) / count
        return cls(mean, np.maximum(np.sqrt(square), _TINY))

    def apply(self, numbers: NDArray[np.float32]) -> Floats:
        """Return the columns in this unit ``[rows, F]``."""
        return np.nan_to_num((numbers - self.mean) / self.deviation, nan=0.0)


@dataclass(frozen=True)
class Linear:
    """A fitted logistic regression.

    Attributes:
        standard: Unit of the numbers.
        numbers: Weights of the numbers ``[F]``.
        items: Weights of the columns of items ``[C]``.
        users: Weights of the columns of users ``[U]``.
        pairs: Weights of a column of users beside one of items ``[U, C]``.
        intercept: Log odds where everything is at its mean.
    """

    standard: Standard
    numbers: Floats
    items: Floats
    users: Floats
    pairs: Floats
    intercept: float

    def log_odds(self, table: Table) -> Floats:
        """Return the log odds that an impression is taken ``[rows]``."""
        total = self.standard.apply(table.numbers) @ self.numbers + table.columns @ self.items
        total += self.intercept
        for own in table.codes.T:
            rows = np.flatnonzero(own >= 0)
            weights = self.pairs[own[rows]]
            total[rows] += self.users[own[rows]] + (weights * table.columns[rows]).sum(axis=1)
        return np.asarray(total)


@dataclass(frozen=True)
class LogisticRegression(ImpressionBaseline):
    """Logistic regression that tells impressions that were taken from others.

    Its features are those of `ImpressionBaseline`, numbers in standard deviations, a number that is
    not known at its mean; and every column of the user beside every column of the item, so that
    different users get different lists. Solved by L-BFGS, by scikit-learn.

    Source: Richardson, Dominowska and Ragno, Predicting clicks: estimating the click-through rate
    for new ads, WWW 2007; pairs of columns as in Chapelle, Manavoglu and Rosales, Simple and
    scalable response prediction for display advertising, TIST 2014.

    Attributes:
        l2: Strength of the penalty, beside the sum of the log losses of all impressions.
        pairs_l2: Strength of the penalty of pairs of columns.
    """

    l2: float = 10.0
    pairs_l2: float = 30.0

    method: ClassVar[str] = "logistic_regression"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "l2": Parameter(0.1, 1000.0, log=True, open_least=True),
            "pairs_l2": Parameter(1.0, 10000.0, log=True, open_least=True),
        }
    )

    def most_weights(self, n_items: int) -> int:  # noqa: ARG002  # see the base
        """Return a weight for each feature and each pair of columns."""
        return _NUMBERS + ITEM_COLUMNS + USER_COLUMNS + ITEM_COLUMNS * USER_COLUMNS

    def score_flops(self, n_items: int, history: int) -> int:  # noqa: ARG002  # see the base
        """Return two for each number and column of an item, the user's weights added once."""
        return 2 * n_items * (_NUMBERS + ITEM_COLUMNS)

    def fit_table(self, table: Table, taken: NDArray[np.bool_], weight: Floats) -> Linear:
        """Fit the weights, on one thread."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Regression

        standard = Standard.of(table.numbers, weight)
        # pairs are scaled instead of penalised apart: the same optimum
        scale = np.sqrt(self.l2 / self.pairs_l2)
        columns = sparse.csr_array(table.columns.astype(np.float64))
        own = sparse.csr_array(table.people.indicators(table.codes).astype(np.float64))
        parts = [sparse.csr_array(standard.apply(table.numbers)), columns, own]
        parts.append(_pairs(table, columns) * scale)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough after all steps
            fitted = Regression(C=1 / self.l2, max_iter=_STEPS).fit(
                sparse.csr_matrix(sparse.hstack(parts)), taken, weight
            )
        weights = np.asarray(fitted.coef_[0], dtype=np.float64)
        ends = np.cumsum([part.shape[1] for part in parts])[:-1]
        numbers, items, users, pairs = np.split(weights, ends)
        shape = table.people.width, table.columns.shape[1]
        known = numbers, items, users, scale * pairs.reshape(shape)
        return Linear(standard, *known, float(fitted.intercept_[0]))


def _pairs(table: Table, columns: sparse.csr_array) -> sparse.csr_array:
    """Return columns of users beside columns of items ``[rows, U * C]``, 1 where both are there."""
    width = columns.shape[1]
    lengths = np.diff(columns.indptr)
    rows, places = [], []
    for own in table.codes.T:
        code = np.repeat(own, lengths)
        known = code >= 0
        rows.append(np.repeat(np.arange(len(table)), lengths)[known])
        places.append((code * width + columns.indices)[known])
    if not rows:
        return sparse.csr_array((len(table), table.people.width * width))
    row, place = np.concatenate(rows), np.concatenate(places)
    shape = len(table), table.people.width * width
    return sparse.csr_array((np.ones(len(row)), (row, place)), shape=shape)
