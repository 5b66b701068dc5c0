"""Constraints, and the choice of the records of a fit that become parents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pareto_rec.search import pareto as front
from pareto_rec.search.pareto import Ints
from pareto_rec.search.types import Goal
from pareto_rec.search.variables import Floats


def constraints(values: Floats, goals: Sequence[Goal]) -> Floats:
    """Compute constraint values ``[points, constraints]``, kept where they are at most zero.

    Args:
        values: Objective values ``[points, goals]``, natural units.
        goals: Their goals. Each bound is one constraint, in units of the bound's magnitude
            (natural units where that is zero), so that no objective outweighs another.
    """
    columns = []
    for column, goal in zip(values.T, goals, strict=True):
        if goal.at_least is not None:
            columns.append((goal.at_least - column) / (abs(goal.at_least) or 1.0))
        if goal.at_most is not None:
            columns.append((column - goal.at_most) / (abs(goal.at_most) or 1.0))
    return np.stack(columns, axis=1) if columns else np.zeros((len(values), 0))


def violation(values: Floats, goals: Sequence[Goal]) -> Floats:
    """Sum up the violation ``[points]`` of the constraints; zero where feasible."""
    total: Floats = np.maximum(constraints(values, goals), 0.0).sum(axis=1)
    return total


def choose_parents(values: Floats, count: int, goals: Sequence[Goal]) -> Ints:
    """Choose the records of one fit that stand for it in the population.

    Feasible records that together keep the most hypervolume; if none is better than the
    reference, the non-dominated feasible ones that miss it least; if none is feasible, those
    that violate the constraints least. Ties go to the record that comes first.

    Args:
        values: Objective values ``[records, goals]``, natural units.
        count: Largest number of parents.
        goals: Their goals.

    Returns:
        Indices of at most `count` records, the best first.
    """
    if len(values) <= 1:
        return np.arange(len(values))[:count]
    broken = violation(values, goals)
    feasible = np.flatnonzero(broken == 0.0)
    if len(feasible) == 0:
        return np.argsort(broken, kind="stable")[:count]
    maximise = [goal.maximise for goal in goals]
    reference = [goal.reference for goal in goals]
    rows = values[feasible]
    best = front.select(rows, count, reference=reference, maximise=maximise)
    if len(best) == 0:
        miss = np.where(maximise, reference - rows, rows - reference)
        scale = np.array([abs(goal.reference) or 1.0 for goal in goals])
        missed = (np.maximum(miss, 0.0) / scale).sum(axis=1)
        missed[~front.non_dominated(rows, maximise=maximise)] = np.inf
        best = np.argsort(missed, kind="stable")[:count]
        best = best[np.isfinite(missed[best])]
    chosen: Ints = feasible[best]
    return chosen
