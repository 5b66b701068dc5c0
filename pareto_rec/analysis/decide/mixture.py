"""Randomised policies over a front: each request is served by one of its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis.decide.bounds import Bound
from pareto_rec.analysis.decide.choose import choose
from pareto_rec.analysis.decide.pickers import Best
from pareto_rec.analysis.decide.points import Floats, Points
from pareto_rec.core.errors import BadRequestError, RunFailedError

LEAST = 1e-9  # smaller shares are rounding errors of the solver


@dataclass(frozen=True)
class Mixture:
    """Shares of requests that each point serves.

    Attributes:
        shares: Point -> share of the users; at most one point more than there are bounds.
        objectives: Expected values of the objectives that a mixture averages, natural units.
        prices: Bound -> what moving it by 1 towards the easier side would gain in the goal.
        single: The best single point under the same bounds; None where there is none.
        gain: Improvement over it in the goal, natural units; NaN where there is none.
        reason: What was found, in a sentence.
    """

    shares: dict[str, float]
    objectives: dict[str, float]
    prices: dict[str, float]
    single: str | None
    gain: float
    reason: str


def mix(points: Points, goal: str, bounds: Sequence[Bound]) -> Mixture:
    """Return the mixture with the best expected goal under bounds on expected values.

    A linear programme in the shares, solved by HiGHS: maximise (or minimise) the sum of
    ``share_i * goal_i`` with every bound on a sum of ``share_i * objective_i``. It assumes that a
    user is given to a point by chance, so that a mean over users is the mean of the points' means.

    Args:
        points: The front; not altered.
        goal: Objective to make the best of.
        bounds: What has to hold in expectation.

    Raises:
        BadRequestError: If an objective is not known or not a mean over users, or no mixture
            keeps the bounds.
        RunFailedError: If the solver gives up.
    """
    for name in (goal, *(bound.name for bound in bounds)):
        _linear(points, name)
    rows = _usable(points, [goal, *(bound.name for bound in bounds)])
    solved = _solve(points, rows, goal, bounds)
    shares = np.zeros(len(points.ids))
    shares[rows] = np.where(solved[0] > LEAST, solved[0], 0.0)
    shares /= shares.sum()
    means = {
        name: float(shares @ np.where(shares > 0, points.values[:, column], 0.0))
        for column, name in enumerate(points.names)
        if name in points.linear and np.isfinite(points.values[shares > 0, column]).all()
    }
    order = np.argsort(-shares, kind="stable")[: int((shares > 0).sum())]
    single, gain = _alone(points, goal, bounds, means[goal])
    return Mixture(
        {points.ids[row]: float(shares[row]) for row in order},
        means,
        {str(bound): price for bound, price in zip(bounds, solved[1], strict=True)},
        single,
        gain,
        _reason(goal, bounds, means[goal], single, gain),
    )


def _linear(points: Points, name: str) -> None:
    points.column(name)
    if name not in points.linear:
        usable = ", ".join(known for known in points.names if known in points.linear) or "none here"
        raise BadRequestError(
            f"{name} is not a mean over users, so its value under a mixture cannot be derived from "
            f"the points' values; with --mixture name {usable}"
        )


def _usable(points: Points, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    columns = [points.column(name) for name in names]
    rows = np.flatnonzero(np.isfinite(points.values[:, columns]).all(axis=1))
    if not len(rows):
        raise BadRequestError(f"no point has a value of each of {', '.join(names)}")
    return rows


def _solve(
    points: Points,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    goal: str,
    bounds: Sequence[Bound],
) -> tuple[Floats, list[float]]:
    """Return shares of the rows, and the price of each bound."""
    from scipy.optimize import linprog

    column = points.column(goal)
    sign = -1.0 if points.maximise[column] else 1.0
    cost = sign * points.values[rows, column]
    sides = np.array([-1.0 if bound.at_least else 1.0 for bound in bounds])
    left = np.array([points.values[rows, points.column(bound.name)] for bound in bounds])
    right = np.array([bound.limit for bound in bounds])
    # Rows on one scale, so that the solver's tolerance means the same for each of them.
    scale = np.array([_width(row - limit) for row, limit in zip(left, right, strict=True)])
    wide = _width(cost - cost.min())
    solved = linprog(
        (cost - cost.min()) / wide,
        A_ub=((left - right[:, None]) * sides[:, None] / scale[:, None]) if len(bounds) else None,
        b_ub=np.zeros(len(bounds)) if len(bounds) else None,
        A_eq=np.ones((1, len(rows))),
        b_eq=np.ones(1),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if solved.status == 2:
        raise BadRequestError(_infeasible(points, bounds))
    if solved.status != 0:
        raise RunFailedError(f"the linear programme was not solved: {solved.message}")
    prices = -np.asarray(solved.ineqlin.marginals) * wide / scale if len(bounds) else np.zeros(0)
    return np.asarray(solved.x, dtype=np.float64), [float(price) for price in prices]


def _width(values: Floats) -> float:
    """Return the largest absolute value; 1 where all are 0."""
    return float(np.abs(values).max()) or 1.0


def _infeasible(points: Points, bounds: Sequence[Bound]) -> str:
    for bound in bounds:
        values = points.values[:, points.column(bound.name)]
        if not bound.kept(values).any():
            best = int(np.nanargmax(values) if bound.at_least else np.nanargmin(values))
            word = "highest" if bound.at_least else "lowest"
            return (
                f"no mixture has {bound}; the {word} that any point has is {values[best]:.6g}, "
                f"point {points.ids[best]}"
            )
    conditions = " and ".join(str(bound) for bound in bounds)
    return f"no mixture has {conditions} together, though some point keeps each of them; relax one"


def _alone(
    points: Points, goal: str, bounds: Sequence[Bound], mixed: float
) -> tuple[str | None, float]:
    try:
        best = choose(points, Best(goal), bounds)
    except BadRequestError:  # the bounds hold in the mean alone
        return None, float("nan")
    gain = mixed - best.objectives[goal]
    return best.id, gain if points.maximise[points.column(goal)] else -gain


def _reason(
    goal: str, bounds: Sequence[Bound], value: float, single: str | None, gain: float
) -> str:
    conditions = " and ".join(str(bound) for bound in bounds)
    text = f"{goal} = {value:.6g} expected" + (f" with {conditions}" if conditions else "")
    if single is None:
        return f"{text}; no single point keeps the bounds"
    if gain <= 1e-9 * max(abs(value), 1e-9):
        return f"{text}; point {single} alone does as well"
    return f"{text}; {gain:.4g} better than the best single point, {single}"
