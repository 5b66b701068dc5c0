"""Resampling of objectives over groups of users: worst group, gap and ratio.

Such a number is an extreme of noisy means, and so too extreme on average: the smallest of several
groups that fare alike lies below them all, and resampling it adds the same bias once more. A plain
percentile interval of it may hold the truth in none of a hundred cases. So tests are inverted along
a path of group means (DiCiccio and Romano, International Statistical Review 1990, least favourable
families): the path goes through the measured means, and a draw is the value at that place of the
path where the draw's noise would have given what was measured. The path

- of *gap* and *ratio* draws the groups together, to no difference at all, or further apart;
- of the *worst* group raises all groups to a level, the worst first, or lowers the worst (the
  multiplicity of the groups that come into question counts, as in Chernozhukov, Lee and Rosen,
  Intersection bounds, Econometrica 2013).

For a plain mean this is the bootstrap. The median of the draws is median-unbiased; what the value
lies beside it is the bias that is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis.bootstrap import Floats, Resample, over_seeds, seed_shift
from pareto_rec.objectives import Gap, GroupObjective, GroupValues, Ratio, WorstGroup

_STEPS = 33  # places of a path, between which is interpolated
_REACH = 6.0  # how far a path goes beyond the measured means, in standard errors

Path = Callable[[Floats, float], Floats]
"""Group means ``[seeds, groups]`` and their standard error -> a path ``[steps, seeds, groups]``."""


@dataclass(frozen=True)
class GroupTable:
    """Values of an objective over groups, for all points and seeds.

    Attributes:
        values: ``[points, seeds, entries]``, NaN where it was not measured.
        entries: Users and groups of the entries; its own values are not used.
    """

    values: Floats
    entries: GroupValues

    def means(self) -> Floats:
        """Return the groups' means ``[points, seeds, groups]``; NaN for groups left out."""
        everybody = np.ones((1, int(self.entries.user.max(initial=-1)) + 1))
        return np.asarray(self._means(everybody)[0])

    def drawn(self, resample: Resample) -> Floats:
        """Return the groups' means under each draw of users ``[draws, points, seeds, groups]``."""
        return np.concatenate([self._means(weights) for weights in resample.weights()])

    def _means(self, weights: Floats) -> Floats:
        """Return means under weights ``[draws, users]``: two matrix products for each group."""
        entries, (points, seeds, _) = self.entries, self.values.shape
        means = np.full((len(weights), points, seeds, entries.groups), np.nan)
        for group in range(entries.groups):
            own = np.flatnonzero(entries.group == group)
            values = self.values[:, :, own].reshape(points * seeds, len(own)).T
            known = ~np.isnan(values)
            weight = weights[:, entries.user[own]]
            total = weight @ np.where(known, values, 0.0)
            count = weight @ known.astype(np.float64)
            enough = (known.sum(axis=0) >= max(entries.minimum, 1)) & (count > 0)
            mean = np.where(enough, total / np.where(count > 0, count, 1.0), np.nan)
            means[..., group] = mean.reshape(len(weights), points, seeds)
        return means


@dataclass(frozen=True)
class GroupDraws:
    """An objective over groups, measured and resampled.

    Attributes:
        means: Its value ``[points, seeds]``; NaN for seeds that did not work.
        draws: Under each draw of users and seeds ``[draws, points]``.
    """

    means: Floats
    draws: Floats


def draw_groups(table: GroupTable, objective: GroupObjective, resample: Resample) -> GroupDraws:
    """Return an objective over groups under each draw of users and seeds.

    Args:
        table: The values that it is computed from.
        objective: Which.
        resample: Shared by all objectives that are looked at together.
    """
    measured = table.means()
    noise = table.drawn(resample) - measured
    # a group without a user in a draw says nothing there; few users spread too little by a share
    sizes = np.bincount(table.entries.group, minlength=table.entries.groups)
    noise = np.nan_to_num(noise) * np.sqrt(sizes / np.maximum(sizes - 1, 1))
    values = objective.combine_all(measured)
    plain = objective.combine_all(np.where(np.isnan(measured), np.nan, measured + noise))
    shift = _own_share(values, plain) * seed_shift(values, resample)
    path = _path_of(objective)
    draws = np.full((resample.draws, len(values)), np.nan)
    for point, worked in enumerate(~np.isnan(values)):
        if not worked.any():
            continue
        means, own = measured[point, worked], noise[:, point, worked]
        if path is None:
            draws[:, point] = plain[:, point, worked].mean(axis=1) + shift[:, point]
        else:
            draws[:, point] = _inverted(objective, path, means, own, shift[:, point])
    return GroupDraws(values, np.clip(draws, *objective.bounds))


def _own_share(values: Floats, drawn: Floats) -> Floats:
    """Return the part of the seeds' deviation that is not that of users ``[points]``, 0 to 1.

    Args:
        values: ``[points, seeds]``.
        drawn: Under each draw of users ``[draws, points, seeds]``.
    """
    count = (~np.isnan(values)).sum(axis=1)
    middle = np.where(count > 0, np.nansum(drawn, axis=2) / np.maximum(count, 1), np.nan)
    apart = np.where(np.isnan(drawn), 0.0, drawn - middle[:, :, None])
    chance = apart.var(axis=0).sum(axis=1) / np.maximum(count - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1.0 - chance / over_seeds(values)[1] ** 2
    return np.asarray(np.sqrt(np.clip(np.nan_to_num(share, nan=0.0, neginf=0.0), 0.0, 1.0)))


def _path_of(objective: GroupObjective) -> Path | None:
    """Return the path of means along which the objective changes; None where it is a mean."""
    if isinstance(objective, WorstGroup):
        return _levelled if objective.maximise else lambda means, error: -_levelled(-means, error)
    return _spread if isinstance(objective, Gap | Ratio) else None


def _levelled(means: Floats, error: float) -> Floats:
    """Raise all groups to a level above the lowest, or lower the lowest."""
    step = np.linspace(-_REACH * error, _REACH * error, _STEPS)[:, None, None]
    lowest = np.nanmin(means, axis=1, keepdims=True)
    lowered = np.where(means == lowest, means + step, means)
    return np.where(step < 0, lowered, np.fmax(means, lowest + step))


def _spread(means: Floats, error: float) -> Floats:
    """Draw the groups together to their mean, or apart."""
    middle = np.nanmean(means, axis=1, keepdims=True)
    gap = float((np.nanmax(means, axis=1) - np.nanmin(means, axis=1)).mean())
    most = 1.0 + 2.0 * _REACH * error / gap if gap > 0 else 1.0
    factor = np.linspace(0.0, most, _STEPS)[:, None, None]
    return np.asarray(middle + factor * (means - middle))


def _inverted(
    objective: GroupObjective, path: Path, means: Floats, noise: Floats, shift: Floats
) -> Floats:
    """Return the values on the path that each draw's noise turns into the measured one ``[draws]``.

    Args:
        objective: Which.
        path: Through the means.
        means: Measured ``[seeds, groups]``.
        noise: What each draw adds to them ``[draws, seeds, groups]``.
        shift: What its seeds add to the value ``[draws]``.
    """
    along = path(means, float(noise.std(axis=0).max()))
    values = objective.combine_all(along).mean(axis=1)
    seen = np.stack([objective.combine_all(place - noise).mean(axis=1) for place in along], axis=1)
    sign = 1.0 if values[-1] >= values[0] else -1.0
    wanted = sign * (float(objective.combine_all(means).mean()) + shift)
    rising = np.maximum.accumulate(np.nan_to_num(sign * seen, nan=-np.inf), axis=1)
    above = np.clip((rising < wanted[:, None]).sum(axis=1), 0, _STEPS - 1)
    below = np.maximum(above - 1, 0)
    rows = np.arange(len(rising))
    low, high = rising[rows, below], rising[rows, above]
    with np.errstate(invalid="ignore"):
        part = np.where(high > low, (wanted - low) / np.where(high > low, high - low, 1.0), 1.0)
    part = np.clip(np.nan_to_num(part, nan=1.0), 0.0, 1.0)
    return np.asarray(values[below] + part * (values[above] - values[below]))
