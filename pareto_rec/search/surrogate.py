"""Surrogate model: predicts the objectives of a candidate from all records."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pareto_rec.search.sweep import Axes
from pareto_rec.search.variables import Choice, Floats

_LEARNT = 200  # records that the kernel is fitted to
_KNOWN = 1000  # records that predictions are made from
_STEPS = 8  # of L-BFGS, from scales of 2 each time: more make no better predictions
_SCALES = (0.5, 5.0)  # with wider bounds few records would call an axis idle, and err
_AT_ONCE = 128  # points; ten times as fast as thousands, whose tables are new memory each time
_APART = 0.7  # coordinate of the option that is taken: two options are 1 apart


class Surrogate:
    """Gaussian processes over the unit cube, one for each objective, with one kernel.

    Matern's kernel of order 5/2 with a length scale for each axis, and noise; scales are found by
    maximum likelihood (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006,
    equations 2.25 and 5.8; scikit-learn's `GaussianProcessRegressor`). Options of a choice have a
    coordinate each, as their order means nothing.
    """

    def __init__(self, axes: Axes) -> None:
        """Start without records.

        Args:
            axes: The discrete axes of the cube with their variables.
        """
        self._choices = {axis: kind for axis, kind in axes if isinstance(kind, Choice)}
        self._model: Any = None  # scikit-learn ships no types

    def learn(self, cubes: Floats, values: Floats) -> None:
        """Learn from records, of many only from the first; those that matter most come first.

        Args:
            cubes: Points of the cube ``[records, dimension]``.
            values: Their objectives ``[records, objectives]``.
        """
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern, WhiteKernel

        coded, values = self._coded(cubes[:_KNOWN]), values[:_KNOWN]
        scales = np.full(coded.shape[1], 2.0)
        kernel = Matern(scales, _SCALES, nu=2.5) + WhiteKernel(0.05, (1e-4, 1.0))
        with _quietly():
            fitted = GaussianProcessRegressor(
                kernel, alpha=1e-6, optimizer=_optimise, normalize_y=True
            ).fit(coded[:_LEARNT], values[:_LEARNT])
            self._model = GaussianProcessRegressor(
                fitted.kernel_, alpha=1e-6, optimizer=None, normalize_y=True
            ).fit(coded, values)

    def believe(self, cubes: Floats, values: Floats) -> None:
        """Learn from other records with the scales that are known already; as `learn` otherwise."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        with _quietly():
            self._model = GaussianProcessRegressor(
                self._model.kernel_, alpha=1e-6, optimizer=None, normalize_y=True
            ).fit(self._coded(cubes[:_KNOWN]), values[:_KNOWN])

    def spread(self, cubes: Floats) -> tuple[Floats, Floats]:
        """Predict one objective ``[points]``, and the standard deviation of that."""
        with _quietly():
            mean, deviation = self._model.predict(self._coded(cubes), return_std=True)
        return mean.reshape(len(cubes)), deviation.reshape(len(cubes))

    def predict(self, cubes: Floats) -> Floats:
        """Predict objectives ``[points, objectives]``, in blocks that fit a processor's cache."""
        coded = self._coded(cubes)
        with _quietly():
            parts = [
                self._model.predict(coded[begin : begin + _AT_ONCE])
                for begin in range(0, len(coded), _AT_ONCE)
            ]
        return np.concatenate(parts).astype(np.float64).reshape(len(cubes), -1)

    def _coded(self, cubes: Floats) -> Floats:
        columns = []
        for axis in range(cubes.shape[1]):
            kind = self._choices.get(axis)
            if kind is None:
                columns.append(cubes[:, axis])
            else:
                count = len(kind.options)
                taken = np.minimum((cubes[:, axis] * count).astype(np.int64), count - 1)
                columns += [_APART * (taken == option) for option in range(count)]
        return np.stack(columns, axis=1).astype(np.float64)


def _optimise(loss: Any, start: Floats, bounds: Any) -> tuple[Floats, float]:
    """Minimise by a few iterations of L-BFGS, with scikit-learn's signature."""
    from scipy.optimize import minimize

    result = minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    return result.x, float(result.fun)


@contextmanager
def _quietly() -> Iterator[None]:
    """Use one thread, so that sums have the same order on any number of cores; hide warnings.

    That a scale ends at its bound, or that L-BFGS stopped early, is no news here.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
