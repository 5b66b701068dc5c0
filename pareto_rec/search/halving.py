"""Successive halving: which unfinished fits are stopped at a rung, as a function of arrays.

Successive halving (Jamieson & Talwalkar, AISTATS 2016) on sets of points: a fit is worth the
hypervolume that its partial results reach beyond the reference point. That order agrees with
dominance: a set of points that another one dominates has no more hypervolume than it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.types import Goal
from pareto_rec.search.variables import Floats


def worth(values: Floats, goals: Sequence[Goal]) -> float:
    """Compute the hypervolume of what a fit reaches, natural units.

    Args:
        values: Objective values ``[settings, goals]``; what is not finite counts for nothing.
        goals: Their goals.
    """
    finite = values[np.isfinite(values).all(axis=1)]
    feasible = finite[violation(finite, goals) == 0.0]
    if not len(feasible):
        return 0.0
    reference, maximise = [goal.reference for goal in goals], [goal.maximise for goal in goals]
    return front.hypervolume(feasible, reference=reference, maximise=maximise)


def miss(values: Floats, goals: Sequence[Goal]) -> float:
    """Measure how far the best point misses the reference point and the bounds; at least 0.

    Args:
        values: Objective values ``[settings, goals]``, natural units.
        goals: Their goals. A miss is a share of the reference's magnitude.
    """
    finite = values[np.isfinite(values).all(axis=1)]
    if not len(finite):
        return math.inf
    behind = np.zeros(finite.shape)
    for axis, goal in enumerate(goals):
        gap = goal.reference - finite[:, axis]
        behind[:, axis] = np.maximum(gap if goal.maximise else -gap, 0.0)
        behind[:, axis] /= abs(goal.reference) or 1.0
    return float((behind.sum(axis=1) + violation(finite, goals)).min())


def survivors(
    partial: Sequence[Floats], goals: Sequence[Goal], *, keep: float, margin: float
) -> NDArray[np.bool_]:
    """Find which fits of a rung are trained on.

    The best `keep` of the fits go on, rounded up, and so does any other whose worth is within
    `margin` of the worst of these. Fits that are all worth nothing are ranked by what they miss,
    and ties go to the fit that comes first.

    Args:
        partial: Per fit, objective values ``[settings, goals]`` of the same settings, in natural
            units.
        goals: Their goals.
        keep: Share of the fits that go on at least, above 0.
        margin: Share of the worth of the last of these that another one may lack; 0 for none.

    Returns:
        ``[fits]``, True where the fit goes on.
    """
    worths = np.array([worth(values, goals) for values in partial])
    misses = np.array([miss(values, goals) for values in partial])
    order = np.lexsort((np.arange(len(partial)), misses, -worths))
    best = order[: math.ceil(keep * len(partial))]
    goes_on = np.zeros(len(partial), dtype=np.bool_)
    goes_on[best] = True
    if margin > 0.0 and len(best) and worths[best[-1]] > 0.0:
        goes_on |= worths >= (1.0 - margin) * worths[best[-1]]
    return goes_on
