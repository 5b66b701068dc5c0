"""Quality indicators of fronts: pure functions of arrays in natural units."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np

from pareto_rec.analysis.bootstrap import Floats
from pareto_rec.search.pareto import hypervolume, non_dominated

SHARES = {"any": 0, "half": 50, "all": 100}  # of the runs; percentiles of the attainment function


def union_front(fronts: Sequence[Floats], *, maximise: Sequence[bool]) -> Floats:
    """Return non-dominated points of all fronts together ``[points, objectives]``."""
    points = np.concatenate(list(fronts))
    return points[non_dominated(points, maximise=maximise)]


def igd_plus(front: Floats, target: Floats, *, maximise: Sequence[bool]) -> float:
    """Return the modified inverted generational distance to a target front; 0 is best.

    Both are scaled so that the target spans [0, 1] in every objective.

    Args:
        front: ``[points, objectives]``.
        target: ``[points, objectives]``.
        maximise: Direction of each objective.

    Source: Ishibuchi et al., EMO 2015, equation 18.
    """
    low, span = target.min(axis=0), np.ptp(target, axis=0)
    span = np.where(span > 0, span, 1.0)
    scaled = [(points - low) / span for points in (front, target)]
    return float(moocore.igd_plus(scaled[0], scaled[1], maximise=list(maximise)))


def coverage(front: Floats, other: Floats, *, maximise: Sequence[bool]) -> float:
    """Return the share of the other front that some point of this one weakly dominates, 0 to 1.

    Source: Zitzler and Thiele (1999), the C-metric; C(A, B) and C(B, A) need not sum to 1.
    """
    sign = np.where(maximise, 1.0, -1.0)
    mine, theirs = front * sign, other * sign
    covered = (mine[:, None, :] >= theirs[None, :, :]).all(axis=2).any(axis=0)
    return float(covered.mean())


def attainment(fronts: Sequence[Floats], percentile: float, *, maximise: Sequence[bool]) -> Floats:
    """Return what at least a share of the runs attains, as the corners of the surface.

    Args:
        fronts: One front per run ``[points, objectives]``, two or three objectives.
        percentile: Of the runs; 0: any of them, 100: all.
        maximise: Direction of each objective.

    Returns:
        Corners ``[points, objectives]``.

    Source: Grunert da Fonseca, Fonseca and Hall, EMO 2001; algorithms of moocore.
    """
    sign = np.where(maximise, -1.0, 1.0)
    points = np.concatenate([front * sign for front in fronts])
    sets = np.repeat(np.arange(1, len(fronts) + 1), [len(front) for front in fronts])
    corners = moocore.eaf(points, sets, percentiles=[percentile])
    return np.asarray(corners[:, :-1] * sign, dtype=np.float64)


def attained_volumes(
    fronts: Sequence[Floats], *, reference: Sequence[float], maximise: Sequence[bool]
) -> dict[str, float] | None:
    """Return the hypervolume of what any, half and all runs attain; None above three objectives."""
    if not 2 <= len(maximise) <= 3:
        return None
    return {
        name: hypervolume(
            attainment(fronts, share, maximise=maximise), reference=reference, maximise=maximise
        )
        for name, share in SHARES.items()
    }
