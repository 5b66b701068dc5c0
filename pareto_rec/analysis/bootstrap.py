"""Confidence intervals of fronts: users and seeds resampled jointly, for all points at once.

Values are ``[points, seeds, users]`` per objective, NaN where a user is left out (no relevant item)
or where a point has no fit of that seed. Every draw takes one sample of users and one seed effect,
the same for all points, so that what points have in common cancels where they are compared.

*Users* are drawn with replacement (Efron, 1979). *Seeds* are too few for that: resampling three
values gives a spread that is too small by a third and has no tails. Instead a draw moves every
point by ``sum_s g_s (m_s - mean m) / sqrt(S (S - 1)) / sqrt(chi2 / (S - 1))``, with ``m_s`` its
mean under seed s, normal g and one chi-square of S - 1 degrees of freedom, all of them shared by
the points: for each linear function of the points this is Student's t, the exact interval for S
normal values, and it keeps what the seeds have in common (Weerahandi, 1993, generalized pivots).
What only seems to be due to seeds, since each meets other luck with each user, is taken out first:
the users' draws hold it already.

Intervals are percentiles with the correction for median bias of Efron (1981), since the
hypervolume of noisy points is too large on average, and that of resampled ones twice so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import moocore
import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.seeds import generator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL = 0.95
DRAWS = 2000
_CHUNK = 4_000_000  # most weights or comparisons held at once


@dataclass(frozen=True)
class Interval:
    """A value and where it may lie; `low` and `high` are NaN where nothing could be resampled."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resample:
    """One joint resample: the same users and seed effects for every statistic.

    Attributes:
        users: Number of users.
        seeds: Number of seeds; with one there is no seed effect.
        draws: How often.
        seed: Of the randomness.
    """

    users: int
    seeds: int
    draws: int = DRAWS
    seed: int = 0

    def weights(self) -> Iterator[Floats]:
        """Yield how often each user is drawn, ``[chunk, users]`` at a time, `draws` rows in all."""
        step = max(1, _CHUNK // max(self.users, 1))
        for begin in range(0, self.draws, step):
            rng = generator(self.seed, "users", begin)
            count = min(step, self.draws - begin)
            drawn = rng.integers(self.users, size=(count, self.users))
            drawn += self.users * np.arange(count)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=count * self.users)
            yield counts.reshape(count, self.users).astype(np.float64)

    def seed_effects(self) -> Floats:
        """Return multipliers of the seeds' deviations ``[draws, seeds]``; 0 for a single seed."""
        if self.seeds < 2:
            return np.zeros((self.draws, self.seeds))
        rng = generator(self.seed, "seeds")
        freedom = self.seeds - 1
        scale = np.sqrt(rng.chisquare(freedom, size=(self.draws, 1)) / freedom)
        return np.asarray(rng.standard_normal((self.draws, self.seeds)) / scale)


def seed_means(values: Floats) -> Floats:
    """Return means over the users that are not left out ``[points, seeds]``; NaN without any.

    Args:
        values: ``[points, seeds, users]``.
    """
    valid = ~np.isnan(values)
    count = valid.sum(axis=2)
    total = np.where(valid, values, 0.0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def over_seeds(means: Floats) -> tuple[Floats, Floats]:
    """Return the mean and standard deviation over the seeds that worked, each ``[points]``.

    Args:
        means: ``[points, seeds]``, NaN for seeds that did not work.

    Returns:
        NaN for points without any seed; the deviation also for those with one.
    """
    valid = ~np.isnan(means)
    count = valid.sum(axis=1)
    mean = np.where(valid, means, 0.0).sum(axis=1) / np.maximum(count, 1)
    square = np.where(valid, (means - mean[:, None]) ** 2, 0.0).sum(axis=1)
    deviation = np.sqrt(square / np.maximum(count - 1, 1))
    return np.where(count > 0, mean, np.nan), np.where(count > 1, deviation, np.nan)


def draw_means(values: Floats, resample: Resample, *, chance: float = 1.0) -> Floats:
    """Return means of every point under each draw of users and seeds ``[draws, points]``.

    One matrix product of ``[draws, users]`` and ``[users, points * seeds]``, in chunks.

    Args:
        values: Per-user values of one objective ``[points, seeds, users]``; of a set objective its
            value plus the influence values of the users.
        resample: Shared by all objectives that are looked at together.
        chance: Share of the residual of users and seeds that is taken out of the seeds' spread.

    Raises:
        ValueError: If the shapes disagree. One number per seed has no users to resample: it is
            refused here and goes to :func:`draw_seed_means`.
    """
    if values.ndim != 3 or values.shape[1:] != (resample.seeds, resample.users):
        raise ValueError(
            f"users can be resampled only where there is a value per user: expected "
            f"[points, {resample.seeds}, {resample.users}], got {list(values.shape)} "
            "(one number per seed carries intervals over seeds only)"
        )
    points, seeds, users = values.shape
    flat = values.reshape(points * seeds, users).T
    valid = ~np.isnan(flat)
    filled, mask = np.where(valid, flat, 0.0), valid.astype(np.float64)
    parts = []
    for weights in resample.weights():
        total, count = weights @ filled, weights @ mask
        mean = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
        parts.append(_mean_of_seeds(mean.reshape(len(weights), points, seeds)))
    share = np.sqrt(1.0 - chance * (1.0 - _own_share(values) ** 2))
    return np.concatenate(parts) + share * seed_shift(seed_means(values), resample)


def draw_seed_means(means: Floats, resample: Resample) -> Floats:
    """Return means of every point under each draw of seeds alone ``[draws, points]``.

    Args:
        means: One value per point and seed ``[points, seeds]``, NaN for seeds that did not work.
        resample: Only its seed effects are used.
    """
    return over_seeds(means)[0] + seed_shift(means, resample)


def _own_share(values: Floats) -> Floats:
    """Return the part of the seeds' deviation that is not that of users ``[points]``, 0 to 1.

    Means under two seeds differ even where the seeds are alike on average, by what each user adds
    to one of them; that part the users' resample has already. Its variance is estimated by the
    residual of users and seeds (two-way layout; Searle, Casella and McCulloch, 1992).
    """
    valid = ~np.isnan(values)
    seeds = np.maximum(valid.any(axis=2).sum(axis=1), 1)
    middle = seed_means(values)
    spread = over_seeds(middle)[1] ** 2
    filled = np.where(valid, values - np.where(np.isnan(middle), 0.0, middle)[:, :, None], 0.0)
    count = np.maximum(valid.sum(axis=1), 1)
    residual = np.where(valid, filled - (filled.sum(axis=1) / count)[:, None, :], 0.0)
    users = np.maximum(valid.any(axis=1).sum(axis=1), 1)
    freedom = np.maximum((seeds - 1) * (users - 1), 1)
    chance = (residual**2).sum(axis=(1, 2)) / freedom / users
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1.0 - chance / spread
    kept_share = np.clip(np.nan_to_num(share, nan=0.0, neginf=0.0), 0.0, 1.0)
    return np.asarray(np.sqrt(kept_share))


def _mean_of_seeds(means: Floats) -> Floats:
    """Return the mean of the last axis over what is not NaN; NaN where nothing is left."""
    valid = ~np.isnan(means)
    count = valid.sum(axis=-1)
    total = np.where(valid, means, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def seed_shift(means: Floats, resample: Resample) -> Floats:
    """Return what the seeds of each draw add to each point ``[draws, points]``.

    Args:
        means: One value per point and seed ``[points, seeds]``, NaN for seeds that did not work.
        resample: Only its seed effects are used.
    """
    valid = ~np.isnan(means)
    count = np.maximum(valid.sum(axis=1), 1)
    deviation = np.where(valid, means - over_seeds(means)[0][:, None], 0.0)
    scale = np.where(count > 1, 1.0 / np.sqrt(count * np.maximum(count - 1, 1)), 0.0)
    return np.asarray(resample.seed_effects() @ (deviation * scale[:, None]).T)


def interval(
    value: float, draws: Floats, level: float = LEVEL, *, centre: float | None = None
) -> Interval:
    """Return a bias-corrected percentile interval.

    Args:
        value: What was measured.
        draws: The same under each draw ``[draws]``; draws that are NaN do not count.
        level: Probability that the interval is meant to hold.
        centre: What the draws scatter around, where that is not the value, since the value is
            biased in a known way and they are not. The interval is widened to hold the value.

    Returns:
        Without any spread in the draws the bounds are NaN: nothing was resampled.

    Source: Efron, Canadian Journal of Statistics 1981, section 7.
    """
    known = draws[~np.isnan(draws)]
    if not len(known) or not np.isfinite(value) or known.min() == known.max():
        return Interval(value, float("nan"), float("nan"))
    normal = NormalDist()
    bias = _median_bias(known, value if centre is None else centre)
    half = normal.inv_cdf(0.5 + level / 2.0)
    shares = [normal.cdf(2.0 * bias - half), normal.cdf(2.0 * bias + half)]
    places = np.floor(np.array(shares) * len(known)).astype(int).clip(0, len(known) - 1)
    low, high = np.sort(known)[places]  # no interpolation: a ratio to nothing is infinite
    if centre is not None:
        low, high = min(low, value), max(high, value)
    return Interval(value, float(low), float(high))


def p_value(
    value: float, draws: Floats, null: float, *, centre: float | None = None
) -> float | None:
    """Return the two-sided p-value of a null: 1 less the level of the interval that ends there.

    Args:
        value: What was measured.
        draws: The same under each draw ``[draws]``; draws that are NaN do not count.
        null: The value that is tested.
        centre: As in :func:`interval`.

    Returns:
        None without any spread in the draws: nothing was resampled.

    Source: tests by inverting the interval, Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 15.4.
    """
    known = draws[~np.isnan(draws)]
    if not len(known) or not np.isfinite(value) or known.min() == known.max():
        return None
    bias = _median_bias(known, value if centre is None else centre)
    return 2.0 * NormalDist().cdf(-abs(2.0 * bias - _median_bias(known, null)))


def _median_bias(draws: Floats, value: float) -> float:
    """Return the normal quantile of the share of draws below a value, ties half."""
    edge = 0.5 / len(draws)
    below = float((draws < value).mean() + 0.5 * (draws == value).mean())
    return NormalDist().inv_cdf(min(max(below, edge), 1.0 - edge))


def dominated(values: Floats, *, maximise: Sequence[bool]) -> Bools:
    """Return which points some other point dominates, in each draw ``[draws, points]``.

    Args:
        values: ``[draws, points, objectives]``, natural units; points with NaN neither dominate
            nor are dominated.
        maximise: Direction of each objective.
    """
    signed = np.where(np.asarray(maximise), values, -values)
    draws, points = signed.shape[:2]
    is_dominated = np.zeros((draws, points), dtype=bool)
    step = max(1, _CHUNK // max(points * points, 1))
    for begin in range(0, draws, step):
        part = signed[begin : begin + step]
        better = np.zeros((len(part), points, points), dtype=bool)  # [draw, dominating, dominated]
        no_worse = np.ones_like(better)
        for column in np.moveaxis(part, 2, 0):
            no_worse &= column[:, :, None] >= column[:, None, :]
            better |= column[:, :, None] > column[:, None, :]
        is_dominated[begin : begin + step] = (no_worse & better).any(axis=1)
    return is_dominated


def non_dominated_share(values: Floats, *, maximise: Sequence[bool]) -> Floats:
    """Return the probability that each point is non-dominated ``[points]``; NaN without values.

    Args:
        values: Joint draws ``[draws, points, objectives]``, natural units.
        maximise: Direction of each objective.
    """
    known = ~np.isnan(values).any(axis=(0, 2))
    return np.where(known, 1.0 - dominated(values, maximise=maximise).mean(axis=0), np.nan)


def hypervolumes(
    values: Floats, usable: Bools, *, reference: Sequence[float], maximise: Sequence[bool]
) -> Floats:
    """Return the hypervolume of the points in each draw ``[draws]``.

    Args:
        values: ``[draws, points, objectives]``, natural units.
        usable: Points that count ``[draws, points]``; those with NaN never do.
        reference: Reference value of each objective.
        maximise: Direction of each objective.
    """
    up, bound = np.asarray(maximise, dtype=bool), np.asarray(reference, dtype=np.float64)
    better = np.where(up, values > bound, values < bound).all(axis=2) & usable
    measure = moocore.Hypervolume(ref=bound, maximise=up)
    return np.array(
        [
            float(measure(points[keep])) if keep.any() else 0.0
            for points, keep in zip(values, better, strict=True)
        ]
    )


def ratio(above: Floats, below: Floats) -> Floats:
    """Return the paired ratio in each draw; infinite or NaN where the lower one is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the chance of any false claim among them stays at the level.

    Args:
        p_values: Of all comparisons that are made together.

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
