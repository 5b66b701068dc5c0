"""Resampling of fronts: intervals of objectives and hypervolumes, from values per seed and user.

`confirm` and `compare` both use it, so that their intervals mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Bools, Floats, Interval, Resample
from pareto_rec.analysis.group_draws import GroupTable, draw_groups
from pareto_rec.objectives import (
    Gap,
    GroupObjective,
    GroupValues,
    Objective,
    Ratio,
    SetObjective,
    WorstGroup,
)
from pareto_rec.search import Goal
from pareto_rec.search.constraints import violation

CHANCE_OF_SETS = 0.75  # influence values overstate what users and seeds have together

ByUser = Floats | GroupValues | float
"""Values ``[users]`` whose mean is the objective's value, values by group, or one number."""

Answers = Mapping[tuple[int, int], Mapping[str, ByUser] | str]
"""(place of the point, place of the seed) -> values, or why there are none."""


@dataclass(frozen=True)
class Summary:
    """One objective of one point on one stage; NaN for what is not known.

    Attributes:
        mean: Over seeds.
        deviation: Between seeds.
        low: Of the interval.
        high: Of the interval.
        bias: What the mean lies above its median-unbiased estimate, for objectives over groups,
            whose extremes are too extreme on average; None for others.
    """

    mean: float
    deviation: float
    low: float
    high: float
    bias: float | None = None


@dataclass(frozen=True)
class StageFigures:
    """Everything that is known of all points on one stage.

    Attributes:
        summaries: Objective -> one summary per point.
        means: Searched objectives of every point ``[points, objectives]``.
        draws: The same under each joint draw ``[draws, points, objectives]``.
        centres: What the draws scatter around ``[points, objectives]``: the means, without the bias
            of objectives over groups.
        over: What each objective's interval covers: ``"users and seeds"``, ``"users"``,
            ``"seeds"`` or None.
        resampled: The same for the joint draws.
    """

    summaries: Mapping[str, list[Summary]]
    means: Floats
    draws: Floats
    centres: Floats
    over: Mapping[str, str | None]
    resampled: str | None


@dataclass(frozen=True)
class _Drawn:
    """One objective, measured and resampled.

    Attributes:
        means: ``[points, seeds]``.
        draws: ``[draws, points]``.
        centres: What the draws scatter around ``[points]``.
        by_user: Whether users are resampled.
        is_extreme: Whether it is an extreme of groups, which is biased.
    """

    means: Floats
    draws: Floats
    centres: Floats
    by_user: bool
    is_extreme: bool = False


def _table(known: Mapping[tuple[int, int], Floats], points: int, seeds: int) -> Floats:
    """Return values ``[points, seeds, ...]``; NaN for what was not measured."""
    shape = max((values.shape for values in known.values()), key=len, default=())
    table = np.full((points, seeds, *shape), np.nan)
    for at, values in known.items():
        table[at] = values
    return table


def _draw(
    known: Mapping[tuple[int, int], ByUser],
    points: int,
    objective: Objective | None,
    resample: Resample,
) -> _Drawn:
    """Resample one objective.

    Args:
        known: (place of the point, place of the seed) -> what was measured.
        points: Number of points.
        objective: Which; None for one whose values need nothing but a mean.
        resample: Of the stage.
    """
    first = next(iter(known.values()), None)
    if isinstance(first, GroupValues) and isinstance(objective, GroupObjective):
        groups = {at: one.values for at, one in known.items() if isinstance(one, GroupValues)}
        table = _table(groups, points, resample.seeds)
        drawn = draw_groups(GroupTable(table, first), objective, resample)
        middle = bootstrap.over_seeds(drawn.means)[0]
        if not isinstance(objective, WorstGroup | Gap | Ratio):
            return _Drawn(drawn.means, drawn.draws, middle, by_user=True)
        return _Drawn(drawn.means, drawn.draws, _medians(drawn.draws), True, is_extreme=True)
    numbers = {at: np.asarray(one, dtype=np.float64) for at, one in known.items()}
    table = _table(numbers, points, resample.seeds)
    by_user = table.ndim == 3
    means = bootstrap.seed_means(table) if by_user else table
    chance = CHANCE_OF_SETS if isinstance(objective, SetObjective) else 1.0
    draws = (
        bootstrap.draw_means(table, resample, chance=chance)
        if by_user
        else bootstrap.draw_seed_means(table, resample)
    )
    return _Drawn(means, draws, bootstrap.over_seeds(means)[0], by_user)


def _medians(draws: Floats) -> Floats:
    """Return the median of each point's draws ``[points]``; NaN without any."""
    known = ~np.isnan(draws).all(axis=0)
    medians = np.full(draws.shape[1], np.nan)
    medians[known] = np.nanmedian(draws[:, known], axis=0)
    return medians


def _covers(by_user: bool, seeds: int) -> str | None:
    parts = [*(["users"] if by_user else []), *(["seeds"] if seeds > 1 else [])]
    return " and ".join(parts) or None


def _users(answers: Answers) -> int:
    """Return how many users were measured; 0 where nothing is known per user."""
    measured = (
        one for values in answers.values() if not isinstance(values, str) for one in values.values()
    )
    return max(
        (
            int(one.user.max(initial=-1)) + 1 if isinstance(one, GroupValues) else len(one)
            for one in measured
            if isinstance(one, GroupValues | np.ndarray)
        ),
        default=0,
    )


def figures(
    answers: Answers,
    points: int,
    seeds: int,
    *,
    names: Sequence[str],
    goals: Sequence[Goal],
    draws: int,
    seed: int,
    objectives: Mapping[str, Objective] = MappingProxyType({}),
) -> StageFigures:
    """Resample one stage.

    Per-user objectives are resampled by their values, set objectives by influence values
    (`SetObjective.influence`), objectives over groups by their groups' means
    (`pareto_rec.analysis.group_draws`), all under the same users and seeds. A cost does not depend
    on users. Where it is not known how a searched objective depends on them, the joint draws are
    over seeds alone, for all objectives: with some of them resampled they would look surer than
    they are.

    Args:
        answers: What was measured.
        points: Number of points.
        seeds: Number of fresh seeds; points without a fit have values of the first alone.
        names: Every objective that is written down.
        goals: The searched ones.
        draws: How often.
        seed: Of the randomness.
        objectives: Name -> objective; those left out are means over users, or one number.
    """
    resample = Resample(_users(answers), seeds, draws, seed)
    drawn = {
        name: _draw(_measured(answers, name), points, objectives.get(name), resample)
        for name in names
    }
    searched = [drawn[goal.name] for goal in goals]
    over_users = all(
        one.by_user or not getattr(objectives.get(goal.name), "of_users", True)
        for one, goal in zip(searched, goals, strict=True)
    )
    joint = [
        one.draws if over_users else bootstrap.draw_seed_means(one.means, resample)
        for one in searched
    ]
    means = [bootstrap.over_seeds(one.means)[0] for one in searched]
    centres = [one.centres for one in searched] if over_users else means
    by_user = over_users and any(one.by_user for one in searched)
    return StageFigures(
        {name: _summaries(one) for name, one in drawn.items()},
        np.stack(means, axis=1),
        np.stack(joint, axis=2),
        np.stack(centres, axis=1),
        {name: _covers(one.by_user, seeds) for name, one in drawn.items()},
        _covers(by_user, seeds),
    )


def _measured(answers: Answers, name: str) -> dict[tuple[int, int], ByUser]:
    return {at: values[name] for at, values in answers.items() if not isinstance(values, str)}


def _summaries(drawn: _Drawn) -> list[Summary]:
    middle, deviation = bootstrap.over_seeds(drawn.means)
    summaries = []
    for index, value in enumerate(middle.tolist()):
        centre = float(drawn.centres[index]) if drawn.is_extreme else None
        interval = bootstrap.interval(value, drawn.draws[:, index], centre=centre)
        low, high = interval.low, interval.high
        bias = None if centre is None else value - centre
        summaries.append(Summary(value, float(deviation[index]), low, high, bias))
    return summaries


@dataclass(frozen=True)
class FrontFigures:
    """Hypervolume of one front on one stage.

    Attributes:
        volume: Of the points' means, with its interval.
        draws: Under each joint draw ``[draws]``.
        centre: Of the centres that the points' draws scatter around; None for that of the means.
    """

    volume: Interval
    draws: Floats
    centre: float | None = None


def front_figures(
    stage: StageFigures, places: Sequence[int], goals: Sequence[Goal]
) -> FrontFigures:
    """Return the hypervolume of some of the points.

    Args:
        stage: What is known of all points.
        places: Those of the front.
        goals: The searched objectives.
    """
    volumes = _volumes(goals)
    drawn = volumes(stage.draws[:, list(places)])
    value = float(volumes(stage.means[None, list(places)])[0])
    centre = float(volumes(stage.centres[None, list(places)])[0])
    shifted = None if centre == value else centre
    return FrontFigures(bootstrap.interval(value, drawn, centre=shifted), drawn, shifted)


def _volumes(goals: Sequence[Goal]) -> Callable[[Floats], Floats]:
    reference, up = [goal.reference for goal in goals], [goal.maximise for goal in goals]

    def of(values: Floats) -> Floats:
        usable = feasible(values.reshape(-1, len(goals)), goals).reshape(values.shape[:2])
        return bootstrap.hypervolumes(values, usable, reference=reference, maximise=up)

    return of


def paired(above: FrontFigures, below: FrontFigures) -> Interval | None:
    """Return the ratio of two hypervolumes with its interval; None where the lower one is 0."""
    if not below.volume.value > 0:
        return None
    drawn = bootstrap.ratio(above.draws, below.draws)
    value = above.volume.value / below.volume.value
    return bootstrap.interval(value, drawn, centre=_centre_of_ratio(above, below))


def p_of_ratio(above: FrontFigures, below: FrontFigures) -> float | None:
    """Return the p-value of two equal hypervolumes; None where nothing was resampled."""
    ratio = paired(above, below)
    if ratio is None:
        return None
    drawn = bootstrap.ratio(above.draws, below.draws)
    centre = _centre_of_ratio(above, below)
    return bootstrap.p_value(ratio.value, drawn, 1.0, centre=centre)


def _centre_of_ratio(above: FrontFigures, below: FrontFigures) -> float | None:
    """Return what the drawn ratios scatter around; None where that is the ratio of the values."""
    if above.centre is None and below.centre is None:
        return None
    centres = [one.volume.value if one.centre is None else one.centre for one in (above, below)]
    return centres[0] / centres[1] if centres[1] > 0 else None


def feasible(values: Floats, goals: Sequence[Goal]) -> Bools:
    """Return which values ``[points, goals]`` keep every bound; NaN never does."""
    known = np.asarray(~np.isnan(values).any(axis=1))
    is_feasible = violation(np.where(known[:, None], values, 0.0), goals) <= 0
    return np.asarray(known & is_feasible)
