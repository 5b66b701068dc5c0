"""Statistics of points: intervals, probabilities and hypervolumes from values per seed and user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Bools, Floats, Interval, Resample
from pareto_rec.analysis.confirm.measure import Values
from pareto_rec.analysis.confirm.reported_front import Point
from pareto_rec.search import Goal
from pareto_rec.search.constraints import violation

Answers = Mapping[tuple[int, int], Values | str]
"""(place of the point, place of the seed) -> values, or why there are none."""


@dataclass(frozen=True)
class Summary:
    """One objective of one point on one stage; NaN for what is not known."""

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class StageFigures:
    """Everything that is known of all points on one stage.

    Attributes:
        summaries: Objective -> one summary per point.
        means: Searched objectives of every point ``[points, objectives]``.
        draws: The same under each joint draw ``[draws, points, objectives]``.
        over: What each objective's interval covers: ``"users and seeds"``, ``"users"``,
            ``"seeds"`` or None.
        resampled: The same for the joint draws.
    """

    summaries: Mapping[str, list[Summary]]
    means: Floats
    draws: Floats
    over: Mapping[str, str | None]
    resampled: str | None


def _table(answers: Answers, name: str, points: int, seeds: int) -> NDArray[np.float64]:
    """Return values of an objective ``[points, seeds, users]``; set ones ``[points, seeds]``."""
    known = {
        at: np.asarray(values[name], dtype=np.float64)
        for at, values in answers.items()
        if not isinstance(values, str)
    }
    shape = next((values.shape for values in known.values()), ())
    table = np.full((points, seeds, *shape), np.nan)
    for at, values in known.items():
        table[at] = values
    return table


def _covers(by_user: bool, seeds: int) -> str | None:
    parts = [*(["users"] if by_user else []), *(["seeds"] if seeds > 1 else [])]
    return " and ".join(parts) or None


def figures(
    answers: Answers,
    points: int,
    seeds: int,
    *,
    names: Sequence[str],
    goals: Sequence[Goal],
    draws: int,
    seed: int,
) -> StageFigures:
    """Resample one stage.

    Where a searched objective has no value per user, the joint draws are over seeds alone, for
    all objectives: with some of them resampled they would look surer than they are.

    Args:
        answers: What was measured.
        points: Number of points.
        seeds: Number of fresh seeds; points without a fit have values of the first alone.
        names: Every objective that is written down.
        goals: The searched ones.
        draws: How often.
        seed: Of the randomness.
    """
    tables = {name: _table(answers, name, points, seeds) for name in names}
    users = max((table.shape[2] for table in tables.values() if table.ndim == 3), default=0)
    resample = Resample(users, seeds, draws, seed)
    by_user = all(tables[goal.name].ndim == 3 for goal in goals)
    searched = {goal.name for goal in goals}
    summaries, draws_of = {}, {}
    for name, table in tables.items():
        means = bootstrap.seed_means(table) if table.ndim == 3 else table
        drawn = (
            bootstrap.draw_means(table, resample)
            if table.ndim == 3
            else bootstrap.draw_seed_means(table, resample)
        )
        summaries[name] = _summaries(means, drawn)
        if name in searched:
            draws_of[name] = drawn if by_user else bootstrap.draw_seed_means(means, resample)
    means_of = [[summary.mean for summary in summaries[goal.name]] for goal in goals]
    return StageFigures(
        summaries,
        np.array(means_of).T.reshape(points, len(goals)),
        np.stack([draws_of[goal.name] for goal in goals], axis=2),
        {name: _covers(table.ndim == 3, seeds) for name, table in tables.items()},
        _covers(by_user, seeds),
    )


def _summaries(means: Floats, drawn: Floats) -> list[Summary]:
    middle, deviation = bootstrap.over_seeds(means)
    summaries = []
    for index, value in enumerate(middle):
        interval = bootstrap.interval(float(value), drawn[:, index])
        low, high = interval.low, interval.high
        summaries.append(Summary(interval.value, float(deviation[index]), low, high))
    return summaries


@dataclass(frozen=True)
class FrontFigures:
    """Hypervolume of one front on one stage.

    Attributes:
        volume: Of the points' means, with its interval.
        draws: Under each joint draw ``[draws]``.
    """

    volume: Interval
    draws: Floats


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
    return FrontFigures(bootstrap.interval(value, drawn), drawn)


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
    return bootstrap.interval(above.volume.value / below.volume.value, drawn)


def feasible(values: Floats, goals: Sequence[Goal]) -> Bools:
    """Return which values ``[points, goals]`` keep every bound; NaN never does."""
    known = np.asarray(~np.isnan(values).any(axis=1))
    is_feasible = violation(np.where(known[:, None], values, 0.0), goals) <= 0
    return np.asarray(known & is_feasible)


@dataclass(frozen=True)
class DominanceProbabilities:
    """Probabilities of dominance between the points on one stage, each ``[points]``.

    Attributes:
        share_own: Probability of being non-dominated among the points of the same front.
        share_all: The same among all points.
        by_own: Dominated by a point of the same front, by means.
        by_any: Dominated by any point.
        feasible: Keeps every bound, by means.
    """

    share_own: Floats
    share_all: Floats
    by_own: Bools
    by_any: Bools
    feasible: Bools


def standing(
    stage: StageFigures, points: Sequence[Point], goals: Sequence[Goal]
) -> DominanceProbabilities:
    """Compare all points with each other.

    Args:
        stage: What is known of all points.
        points: They know their fronts.
        goals: The searched objectives.
    """
    up = [goal.maximise for goal in goals]
    own, by_own = np.full(len(points), np.nan), np.zeros(len(points), dtype=bool)
    for name in dict.fromkeys(point.front for point in points):
        places = [index for index, point in enumerate(points) if point.front == name]
        own[places] = bootstrap.non_dominated_share(stage.draws[:, places], maximise=up)
        by_own[places] = bootstrap.dominated(stage.means[None, places], maximise=up)[0]
    return DominanceProbabilities(
        own,
        bootstrap.non_dominated_share(stage.draws, maximise=up),
        by_own,
        bootstrap.dominated(stage.means[None], maximise=up)[0],
        feasible(stage.means, goals),
    )
