"""Paired comparisons of arms over seeds and users, corrected by Holm over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.decisive.arms import (
    ACCURATE,
    ALONE,
    ARMS,
    CONDITIONED,
    FIXED,
    MODES,
    SEARCHED,
    SOUP,
)
from benchmarks.decisive.opening import Key, SeedFigures
from pareto_rec.analysis.bootstrap import LEVEL, Floats, Interval, holm, interval, p_value
from pareto_rec.analysis.confirm.box import box_of
from pareto_rec.analysis.confirm.search_seeds import pooled
from pareto_rec.search import Goal

PAIRS = (
    *((arm, ALONE) for arm in ARMS if arm != ALONE),
    (SEARCHED, ACCURATE),
    (SEARCHED, FIXED),
    (SOUP, SEARCHED),
    (CONDITIONED, SEARCHED),
)


@dataclass(frozen=True)
class Standing:
    """One arm on one data set, over seeds.

    Attributes:
        share: Hypervolume on test data as a share of the box.
        validation: The same on validation data, the mean of the seeds.
        accuracy: The first objective where the others are at least the medians of the baselines
            alone; None where no seed has such a point.
        reached: In how many seeds there is one.
    """

    share: Interval
    validation: float
    accuracy: Interval | None
    reached: int


@dataclass(frozen=True)
class Comparison:
    """Two arms on one data set in one mode.

    Attributes:
        data: Name of the data set.
        mode: Serving diversity, on or off.
        above: An arm.
        below: What it is compared with.
        difference: Of the shares of the box, paired by seed and user.
        ratio: Of the mean hypervolumes; None where the lower one is 0.
        accuracy: Difference of the first objective at fixed values, over the seeds in which both
            have it; None where there is none.
        seeds: In how many the first has more.
        p: Of no difference in hypervolume; 1 where nothing differs.
        p_holm: Corrected over all comparisons.
    """

    data: str
    mode: str
    above: str
    below: str
    difference: Interval
    ratio: float | None
    accuracy: Interval | None
    seeds: tuple[int, int]
    p: float
    p_holm: float = 1.0

    @property
    def is_shown(self) -> bool:
        """Whether it holds at the level of the intervals."""
        return self.p_holm <= 1.0 - LEVEL


def box_volume(figures: Sequence[SeedFigures], goals: Sequence[Goal]) -> float:
    """Return the volume of the box of all points of a data set, by both stages.

    Args:
        figures: Of the seeds.
        goals: The searched objectives.
    """
    rows = [
        np.array(one[stage], dtype=np.float64).reshape(-1, len(goals))
        for seed in figures
        for one in seed.values.values()
        for stage in ("test", "claimed")
    ]
    return box_of(rows, goals).volume


def standings(figures: Sequence[SeedFigures], volume: float) -> dict[Key, Standing]:
    """Return every arm and mode of a data set over its seeds.

    Args:
        figures: Of the seeds.
        volume: Of the box.
    """
    found = {}
    for key in figures[0].values:
        accuracy = _accuracies(figures, key)
        found[key] = Standing(
            _shares(figures, key, volume).interval(),
            float(np.mean([one.values[key]["validation"] for one in figures])) / volume,
            accuracy.interval() if len(accuracy.values) else None,
            len(accuracy.values),
        )
    return found


def compare(data: str, figures: Sequence[SeedFigures], volume: float) -> list[Comparison]:
    """Return all comparisons of a data set, not corrected yet.

    Args:
        data: Its name.
        figures: Of the seeds.
        volume: Of the box.
    """
    return [
        _compared(data, figures, volume, mode, above, below)
        for mode in MODES
        for above, below in PAIRS
        if all((arm, mode) in one.values for arm in (above, below) for one in figures)
    ]


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with p-values corrected for all of them (Holm 1979)."""
    adjusted = holm([one.p for one in comparisons])
    return [replace(one, p_holm=p) for one, p in zip(comparisons, adjusted, strict=True)]


def _compared(
    data: str, figures: Sequence[SeedFigures], volume: float, mode: str, above: str, below: str
) -> Comparison:
    upper, lower = (_shares(figures, (arm, mode), volume) for arm in (above, below))
    both = [one for one in figures if _have_accuracy(one, mode, above, below)]
    accuracy = None
    if both:
        high, low = (_accuracies(both, (arm, mode)) for arm in (above, below))
        accuracy = high.less(low).interval()
    difference, middle = upper.less(lower), float(lower.values.mean())
    return Comparison(
        data,
        mode,
        above,
        below,
        difference.interval(),
        float(upper.values.mean()) / middle if middle > 0 else None,
        accuracy,
        (int((difference.values > 0).sum()), len(figures)),
        difference.p_value(),
    )


@dataclass(frozen=True)
class _Sample:
    """A figure under every seed, and resampled.

    Attributes:
        values: ``[seeds]``.
        draws: Under each draw of users ``[seeds, draws]``.
        centres: What the draws scatter around ``[seeds]``.
    """

    values: Floats
    draws: Floats
    centres: Floats

    def less(self, other: _Sample) -> _Sample:
        """Return the paired difference."""
        return _Sample(
            self.values - other.values, self.draws - other.draws, self.centres - other.centres
        )

    def interval(self) -> Interval:
        """Return the mean over seeds with its interval over seeds and users."""
        value, drawn, centre = self._pooled()
        return interval(value, drawn, centre=centre)

    def p_value(self) -> float:
        """Return the p-value of a mean of 0; 1 where nothing was resampled."""
        value, drawn, centre = self._pooled()
        p = p_value(value, drawn, 0.0, centre=centre)
        return 1.0 if p is None else p

    def _pooled(self) -> tuple[float, Floats, float | None]:
        value, centre = float(self.values.mean()), float(self.centres.mean())
        return value, pooled(self.values, self.draws)[1], None if centre == value else centre


def _have_accuracy(figures: SeedFigures, mode: str, above: str, below: str) -> bool:
    return all("accuracy" in figures.values[arm, mode] for arm in (above, below))


def _shares(figures: Sequence[SeedFigures], key: Key, volume: float) -> _Sample:
    """Return shares of the box."""
    draws = np.stack([one.draws["|".join((*key, "hypervolume"))] for one in figures])
    values, centres = (
        np.array([one.values[key][what] for one in figures], dtype=np.float64)
        for what in ("hypervolume", "centre")
    )
    return _Sample(values / volume, draws / volume, centres / volume)


def _accuracies(figures: Sequence[SeedFigures], key: Key) -> _Sample:
    """Return the first objective at fixed values, of the seeds that have it."""
    known = [one for one in figures if "accuracy" in one.values[key]]
    values = np.array([one.values[key]["accuracy"] for one in known], dtype=np.float64)
    draws = [one.draws["|".join((*key, "accuracy"))] for one in known]
    return _Sample(values, np.stack(draws) if draws else np.zeros((0, 0)), values)


def shown_by_pair(comparisons: Sequence[Comparison]) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return pair -> on how many data sets and modes the first is shown to be better, and worse."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for one in comparisons:
        better, worse = counts.get((one.above, one.below), (0, 0))
        more = one.is_shown and one.difference.value > 0
        less = one.is_shown and one.difference.value < 0
        counts[one.above, one.below] = better + more, worse + less
    return counts
