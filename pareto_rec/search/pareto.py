"""Dominance, hypervolume and selection on arrays of objective values.

Every function takes `values` as ``[points, objectives]`` in natural units and the direction of
each objective as the keyword `maximise`; nothing is negated by the caller and nothing is mutated.
The geometry is moocore's; this module adds the checks, the single-objective case and the choice
of a few points that stand for many.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_NOISE = 1e-12  # gains below this share of the total are rounding errors of the hypervolume


def non_dominated(values: ArrayLike, *, maximise: Sequence[bool]) -> Bools:
    """Mark the points that no other point dominates.

    Args:
        values: Objective values ``[points, objectives]``.
        maximise: Direction of each objective.

    Returns:
        Mask ``[points]``. Of equal points only the first is marked.

    Raises:
        ValueError: If a value is not finite or the shapes disagree.
    """
    points, up = _checked(values, maximise)
    if len(points) == 0:
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, maximise=up), dtype=np.bool_)


def hypervolume(
    values: ArrayLike, *, reference: Sequence[float], maximise: Sequence[bool]
) -> float:
    """Compute the volume of the region that the points dominate, bounded by the reference.

    Args:
        values: Objective values ``[points, objectives]``; dominated points do not matter.
        reference: Reference value of each objective. Points that are not better than it in
            every objective count for nothing.
        maximise: Direction of each objective.

    Returns:
        Hypervolume in the product of the objectives' units; 0 for no points.

    Raises:
        ValueError: If a value is not finite or the shapes disagree.

    Source: Zitzler and Thiele (1998), the S-metric; exact algorithms of moocore.
    """
    points, up = _checked(values, maximise)
    bound = _reference(reference, up)
    if len(points) == 0:
        return 0.0
    return float(moocore.hypervolume(points, ref=bound, maximise=up))


def contributions(
    values: ArrayLike, *, reference: Sequence[float], maximise: Sequence[bool]
) -> Floats:
    """Compute the hypervolume that would be lost with each point, among the non-dominated ones.

    Args:
        values: Objective values ``[points, objectives]``.
        reference: Reference value of each objective.
        maximise: Direction of each objective.

    Returns:
        Losses ``[points]``; 0 for dominated points and for points that occur twice.

    Raises:
        ValueError: If a value is not finite or the shapes disagree.
    """
    points, up = _checked(values, maximise)
    bound = _reference(reference, up)
    if len(points) == 0:
        return np.zeros(0)
    if points.shape[1] == 1:  # moocore starts at two: a constant second side leaves the volume
        points, up = np.column_stack([points, np.ones(len(points))]), np.append(up, True)
        bound = np.append(bound, 0.0)
    lost = moocore.hv_contributions(points, ref=bound, maximise=up)
    return np.asarray(lost, dtype=np.float64)


def ranks(values: ArrayLike, *, maximise: Sequence[bool]) -> Ints:
    """Sort by dominance: 0 for the front, 1 for the front without it, and so on.

    Args:
        values: Objective values ``[points, objectives]``.
        maximise: Direction of each objective.

    Returns:
        Ranks ``[points]``; equal points share their rank.

    Raises:
        ValueError: If a value is not finite or the shapes disagree.

    Source: Deb et al. (2002), NSGA-II.
    """
    points, up = _checked(values, maximise)
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points, maximise=up), dtype=np.int64)


def select(
    values: ArrayLike, count: int, *, reference: Sequence[float], maximise: Sequence[bool]
) -> Ints:
    """Choose at most `count` points that together keep much of the hypervolume.

    Greedy: the point that adds the most comes next. Hypervolume is monotone and submodular, so
    the choice keeps at least 1 - 1/e of what the best `count` points would (Nemhauser, Wolsey
    and Fisher, 1978), and a gain computed earlier bounds the gain now, which spares most
    evaluations (Minoux, 1978). Ties go to the point that comes first.

    Args:
        values: Objective values ``[points, objectives]``.
        count: Largest number of points to choose.
        reference: Reference value of each objective.
        maximise: Direction of each objective.

    Returns:
        Indices in the order of choice. Fewer than `count` when no other point adds anything
        (it is dominated, equal to a chosen one, or not better than the reference).

    Raises:
        ValueError: If a value is not finite, the shapes disagree or `count` is negative.
    """
    points, up = _checked(values, maximise)
    bound = _reference(reference, up)
    if count < 0:
        raise ValueError(f"count must not be negative: {count}")
    edges = np.maximum(np.where(up, points - bound, bound - points), 0.0)  # [points, objectives]
    useful = np.flatnonzero(non_dominated(points, maximise=maximise) & (edges > 0.0).all(axis=1))
    # the first gain of a point is its own box; later ones are only computed when they may win
    queue = [(-float(edges[i].prod()), int(i), 0) for i in useful]
    heapq.heapify(queue)
    chosen: list[int] = []
    volume_so_far = 0.0
    while queue and len(chosen) < count:
        gain, point, known_at = heapq.heappop(queue)
        if known_at < len(chosen):
            kept_with = moocore.hypervolume(points[[*chosen, point]], ref=bound, maximise=up)
            gain = volume_so_far - float(kept_with)
            if -gain > _NOISE * volume_so_far:
                heapq.heappush(queue, (gain, point, len(chosen)))
            continue
        chosen.append(point)
        volume_so_far = float(moocore.hypervolume(points[chosen], ref=bound, maximise=up))
    return np.array(chosen, dtype=np.int64)


def select_sets(
    sets: Sequence[Floats],
    count: int,
    *,
    given: Floats,
    reference: Sequence[float],
    maximise: Sequence[bool],
) -> list[int]:
    """Choose sets of points that together add most to the hypervolume of others.

    Greedy and lazy as `select`, with the same bound; ties go to the set that comes first.

    Args:
        sets: Objective values ``[points, objectives]`` each; they may be empty.
        count: Largest number of sets to choose.
        given: Points that are there already ``[points, objectives]``.
        reference: Reference value of each objective.
        maximise: Direction of each objective.

    Returns:
        Their places in the order of choice. Fewer than `count` when no other set adds anything.

    Raises:
        ValueError: As `select`.
    """
    if count < 0:
        raise ValueError(f"count must not be negative: {count}")

    def volume(points: Floats) -> float:
        return hypervolume(points, reference=reference, maximise=maximise)

    there, reached = given, volume(given)
    queue = [(-np.inf, index, -1) for index, one in enumerate(sets) if len(one)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < count:
        gain, index, known_at = heapq.heappop(queue)
        if known_at < len(chosen):
            gain = reached - volume(np.concatenate([there, sets[index]]))
            if -gain > _NOISE * reached:
                heapq.heappush(queue, (gain, index, len(chosen)))
            continue
        chosen.append(index)
        there = np.concatenate([there, sets[index]])
        there = there[non_dominated(there, maximise=maximise)]
        reached = volume(there)
    return chosen


def _checked(values: ArrayLike, maximise: Sequence[bool]) -> tuple[Floats, Bools]:
    points = np.asarray(values, dtype=np.float64)
    up = np.array(maximise, dtype=np.bool_)
    if points.ndim != 2 or up.ndim != 1 or points.shape[1] != len(up) or len(up) == 0:
        raise ValueError(
            f"values must be [points, objectives] with one direction per objective: "
            f"got values of shape {points.shape} and {up.size} directions"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise ValueError(f"objective values must be finite: row {bad[0]} is {points[bad[0]]}")
    return points, up


def _reference(reference: Sequence[float], up: Bools) -> Floats:
    bound = np.array(reference, dtype=np.float64)
    if bound.shape != up.shape or not np.isfinite(bound).all():
        raise ValueError(f"reference must be {len(up)} finite numbers: got {reference}")
    return bound
