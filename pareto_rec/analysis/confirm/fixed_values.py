"""Accuracy at fixed values of the other objectives, beside the hypervolume.

Small gains in several objectives multiply in a hypervolume: 10 % in two of them make a third more.
What they are worth is easier to see in the first objective of points that are at least so good in
all others. The others are fixed at the medians of the strongest opponent's points, and every front
gives the point that is best by validation data, as one would choose it; its values are from test
data then, without the luck of having been chosen by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Floats, Interval
from pareto_rec.analysis.front_draws import StageFigures, feasible
from pareto_rec.search import Goal

LEVELS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""Quantiles of the opponent's points, from the best: the first that one of its points reaches."""


@dataclass(frozen=True)
class FixedValue:
    """The first objective of one front at the fixed values.

    Attributes:
        front: Its name.
        place: The chosen point, a place in the list of all points; None where none is so good.
        value: On test data.
        more: What the search's point has above it on test data, paired.
        percent: The same in per cent of this front's value.
    """

    front: str
    place: int | None
    value: Interval | None
    more: Interval | None = None
    percent: Interval | None = None


@dataclass(frozen=True)
class FixedValues:
    """The first objective of every front at the same values of the others.

    Attributes:
        opponent: Whose points say which values.
        level: The quantile of its points.
        bounds: Objective -> the value that points have to reach on validation data.
        fronts: The search's first.
    """

    opponent: str
    level: float
    bounds: Mapping[str, float]
    fronts: tuple[FixedValue, ...]


def at_fixed_values(
    fronts: Mapping[str, Sequence[int]],
    opponent: str,
    stages: Mapping[str, StageFigures],
    goals: Sequence[Goal],
) -> FixedValues | None:
    """Compare the first objective where all others are at least so good.

    Args:
        fronts: Name -> places of its points in the list of all points, the search's first.
        opponent: Whose points say which values.
        stages: Figures of ``"validation"`` and ``"test"``.
        goals: The searched objectives.

    Returns:
        None where there is but one objective, or no point of the opponent is feasible.
    """
    sign = np.array([1.0 if goal.maximise else -1.0 for goal in goals])
    values = stages["validation"].means * sign
    usable = feasible(stages["validation"].means, goals)
    own = values[[place for place in fronts[opponent] if usable[place]]]
    if len(goals) < 2 or not len(own):
        return None
    level, bound = _reached(own[:, 1:])
    chosen = {}
    for name, places in fronts.items():
        good = [at for at in places if usable[at] and (values[at, 1:] >= bound).all()]
        chosen[name] = max(good, key=lambda at: values[at, 0], default=None)
    test = stages["test"]
    search = next(iter(fronts))
    rows = [_row(name, place, chosen[search], test) for name, place in chosen.items()]
    bounds = {
        goal.name: float(value) for goal, value in zip(goals[1:], bound * sign[1:], strict=True)
    }
    return FixedValues(opponent, level, bounds, tuple(rows))


def _reached(values: Floats) -> tuple[float, Floats]:
    """Return the first level at which some point has all of its quantiles, and these."""
    for level in LEVELS:
        bound = np.quantile(values, level, axis=0, method="lower")
        if (values >= bound).all(axis=1).any():
            return level, bound
    return 0.0, values.min(axis=0)


def _row(name: str, point: int | None, search: int | None, test: StageFigures) -> FixedValue:
    if point is None:
        return FixedValue(name, None, None)
    value = _interval(test.means[point, 0], test.draws[:, point, 0], test.centres[point, 0])
    if search is None or point == search:
        return FixedValue(name, point, value)
    means, draws, centres = test.means[:, 0], test.draws[:, :, 0], test.centres[:, 0]
    more = _interval(
        means[search] - means[point],
        draws[:, search] - draws[:, point],
        centres[search] - centres[point],
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = _interval(
            100 * (means[search] / means[point] - 1),
            100 * (draws[:, search] / draws[:, point] - 1),
            100 * (centres[search] / centres[point] - 1),
        )
    return FixedValue(name, point, value, more, percent)


def _interval(value: float, draws: Floats, centre: float) -> Interval:
    shifted = None if centre == value or not np.isfinite(centre) else float(centre)
    return bootstrap.interval(float(value), draws, centre=shifted)
