"""Preferences, and the operating point that each asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pareto_rec.bundle.data import BundleManifest
from pareto_rec.core.errors import BadRequestError, unknown

_AUGMENTED = 1e-3  # breaks ties of the largest loss by the sum of losses


def achievement(
    values: NDArray[np.float64], weights: Sequence[float], *, maximise: Sequence[bool]
) -> NDArray[np.float64]:
    """Return the augmented achievement scalarising function; the smallest value is best.

    ``max_m w_m loss_m + 0.001 sum_m w_m loss_m``, where a loss is the distance to the best value of
    any point, divided by the range over the points (0 where they are all equal).

    Args:
        values: Objective values ``[points, objectives]``, natural units.
        weights: How much each objective counts, at least one above 0.
        maximise: Direction of each objective.

    Returns:
        ``[points]``.

    Source: Wierzbicki, The use of reference objectives in multiobjective optimization, 1980, with
    the front's best values as the reference.
    """
    losses = np.where(maximise, -values, values)
    losses = losses - losses.min(axis=0)
    widths = losses.max(axis=0)
    losses = losses / np.where(widths > 0, widths, 1.0)
    weighed = losses * (np.asarray(weights, dtype=np.float64) / sum(weights))
    return np.asarray(weighed.max(axis=1) + _AUGMENTED * weighed.sum(axis=1))


def preferred(about: BundleManifest, weights: Mapping[str, float]) -> str:
    """Return the point that a preference asks for.

    Args:
        about: What the bundle says of its points.
        weights: Objective -> weight; objectives that are left out do not count.

    Raises:
        BadRequestError: If an objective is not known, or the weights make no sense.
    """
    measured = [o for o in about.objectives if all(o.name in p.objectives for p in about.points)]
    known = {objective.name: objective for objective in measured}
    for name, weight in weights.items():
        if name not in known:
            raise unknown("objective in prefer", name, known)
        if isinstance(weight, bool) or not math.isfinite(weight) or weight < 0:
            raise BadRequestError(f"prefer: the weight of {name} must be a number of at least 0")
    weighted = [name for name, weight in weights.items() if weight > 0]
    if not weighted:
        raise BadRequestError("prefer: give at least one objective a weight above 0")
    values = np.array([[point.objectives[name] for name in weighted] for point in about.points])
    losses = achievement(
        values, [weights[name] for name in weighted], maximise=[known[n].maximise for n in weighted]
    )
    return about.points[int(np.argmin(losses))].id
