"""Trade-offs between neighbouring points, and the price of each objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis.decide.points import Bools, Floats, Points

RADIUS = 0.125  # of the ranges; neighbours lie within it
STEP = 0.05  # share of a range; a smaller gain is no step worth naming


def tradeoffs(losses: Floats) -> Floats:
    """Return the least that is given up per unit gained in going from each point to a neighbour.

    Neighbours lie within `RADIUS`, or are the two nearest per objective where there are fewer than
    that. For each of them, what is lost over all objectives is divided by what is gained.

    Args:
        losses: Points on the front's range ``[points, objectives]``, 0 the best; not altered.

    Returns:
        Trade-offs ``[points]``; inf or NaN where no neighbour is better in anything.

    Source: Rachmawati and Srinivasan (2009), "Multiobjective evolutionary algorithm with
    controllable focus on the knees of the Pareto front", and the neighbourhoods of pymoo.
    """
    count, dimensions = losses.shape
    least = min(2 * dimensions, count - 1)
    rates = np.full(count, np.nan)
    for row in range(count):
        steps = losses - losses[row]
        distance = np.sqrt((steps**2).sum(axis=1))
        near = distance <= RADIUS
        if near.sum() < least:  # the point itself counts, as it does there
            near = np.zeros(count, dtype=bool)
            near[np.argsort(distance, kind="stable")[: least + 1]] = True
        near &= distance > 0
        given = np.maximum(steps[near], 0).sum(axis=1)
        gained = np.maximum(-steps[near], 0).sum(axis=1)
        ratio = np.divide(given, gained, out=np.full(len(given), np.inf), where=gained > 0)
        rates[row] = ratio.min(initial=np.inf)
    return rates


@dataclass(frozen=True)
class Exchange:
    """The cheapest step from the chosen point that gains in one objective.

    Attributes:
        gains: Objective that gets better.
        row: The neighbour.
        change: Searched objective -> value there minus value here, natural units.
    """

    gains: str
    row: int
    change: dict[str, float]


def exchanges(points: Points, row: int, allowed: Bools | None = None) -> list[Exchange]:
    """Find, for each searched objective, the step that gains in it at the lowest price.

    Only steps of at least `STEP` of the objective's range count; where none is that long, the
    longest does. An objective in which the point is the best of all is left out.

    Args:
        points: The front.
        row: The chosen point.
        allowed: Points that may be gone to ``[points]``; None for all.
    """
    change = points.losses - points.losses[row]
    given = np.maximum(change, 0).sum(axis=1)
    may = np.ones(len(points.ids), dtype=bool) if allowed is None else allowed
    steps = []
    for column, name in enumerate(points.names[: points.searched]):
        gain = -change[:, column]
        rows = np.flatnonzero(may & (gain > 0))
        if not len(rows):
            continue
        far = rows[gain[rows] >= STEP]
        if len(far):
            best = int(far[np.argmin(given[far] / gain[far])])
        else:
            best = int(rows[np.argmax(gain[rows])])
        delta = (points.values[best] - points.values[row])[: points.searched].tolist()
        steps.append(Exchange(name, best, dict(zip(points.names, delta, strict=False))))
    return steps
