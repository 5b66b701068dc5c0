"""Serving settings that a fit is evaluated at, beside its candidate's own.

All of them are points ``[serve_dimension]`` of the unit cube. Quasi-random ones explore, copies
of settings that stand on the front carry over what worked for other fits, and variations of those
refine it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pareto_rec.search.variables import Choice, Floats, Integer

_CROSSED = 0.9  # share of variations with two parents, as in SBX's defaults
_WIDEST = 0.3  # largest standard deviation of a variation, in units of the cube
_DECADES = 1.5  # orders of magnitude from the widest to the finest variation

Axes = Sequence[tuple[int, Integer | Choice]]


def quasi_random(count: int, dimension: int, rng: np.random.Generator) -> Floats:
    """Return scrambled Sobol points ``[count, dimension]`` (Owen, 1998; scipy's generator)."""
    from scipy.stats import qmc  # half a second to import, and only a search needs it

    if count == 0 or dimension == 0:
        return np.zeros((count, dimension))
    power = (count - 1).bit_length()  # Sobol points are balanced in powers of two
    points = qmc.Sobol(dimension, scramble=True, seed=rng).random_base2(power)[:count]
    return np.asarray(points, dtype=np.float64)


def settle(before: Floats, after: Floats, axes: Axes, rng: np.random.Generator) -> Floats:
    """Make a mutation of integers and choices a change of value.

    A small step on the cube rarely leaves the bin of a choice between three options, and never
    sees the options that are not next to it. So an axis that was mutated at all takes another
    option, or at least the next integer.

    Args:
        before: Points of the cube ``[points, dimension]``.
        after: The same after mutation.
        axes: The discrete axes with their variables.
        rng: Source of randomness; not drawn from where no axis is discrete.

    Returns:
        New points ``[points, dimension]``.
    """
    settled = after.copy()
    for axis, variable in axes:
        for row in np.flatnonzero(before[:, axis] != after[:, axis]):
            settled[row, axis] = variable.moved(before[row, axis], after[row, axis], rng)
    return settled


def vary(pool: Floats, count: int, axes: Axes, rng: np.random.Generator) -> Floats:
    """Return children of random members of the pool: uniform crossover, then a small mutation.

    Args:
        pool: Parents ``[parents, dimension]``, at least one.
        count: Number of children.
        axes: The discrete axes with their variables.
        rng: Source of randomness.

    Returns:
        Points ``[count, dimension]`` of the cube: at least one coordinate of every child was
        stepped (and clipped to the cube), by a normal step of log-uniform width.
    """
    shape = (count, pool.shape[1])
    one, two = pool[rng.integers(len(pool), size=(2, count))]
    crossed = (rng.random(shape) < 0.5) & (rng.random((count, 1)) < _CROSSED)
    child = np.where(crossed, two, one)
    moved = rng.random(shape) < 1.0 / shape[1]
    moved[np.arange(count), rng.integers(shape[1], size=count)] = True
    width = _WIDEST * 10.0 ** -rng.uniform(0.0, _DECADES, size=(count, 1))
    step = np.where(moved, rng.normal(size=shape) * width, 0.0)
    after = np.clip(child + step, 0.0, 1.0)  # bounds (no penalty, no re-ranking) can be the best
    return settle(child, after, axes, rng)


def proposals(
    quasi: Floats,
    own: Floats,
    pool: Floats,
    *,
    copied: float,
    varied: float,
    axes: Axes,
    rng: np.random.Generator,
) -> Iterator[Floats]:
    """Yield serving points for one fit, the planned mix first and then spares without end.

    Args:
        quasi: Quasi-random points ``[count, dimension]``; as many as the sweep needs.
        own: The fit's own serving points ``[own, dimension]``.
        pool: Serving points of the front so far ``[front, dimension]``; may be empty.
        copied: Share of the count that copies members of the pool.
        varied: Share of the count that varies members of the pool and the own points.
        axes: The discrete axes with their variables.
        rng: Source of randomness.

    Yields:
        Points ``[dimension]``. Without a pool the planned ones are all quasi-random. Spares are
        there for what turns out to be a duplicate: variations and random points by turns.
    """
    count = len(quasi)
    copies = min(round(copied * count), len(pool))
    variations = round(varied * count) if len(pool) else 0
    parents = np.concatenate([pool, own])
    yield from pool[rng.permutation(len(pool))[:copies]]
    if variations:
        yield from vary(parents, variations, axes, rng)
    yield from quasi[: max(count - copies - variations, 0)]
    while True:
        yield from vary(parents, 1, axes, rng)
        yield rng.random((own.shape[1],))
