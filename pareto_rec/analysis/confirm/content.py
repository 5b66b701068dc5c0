"""Content of confirm.json, from measured values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pareto_rec.analysis.bootstrap import DRAWS, LEVEL, Floats
from pareto_rec.analysis.confirm import statistics, tables, words
from pareto_rec.analysis.confirm.box import Box, box_of
from pareto_rec.analysis.confirm.fixed_values import FixedValues, at_fixed_values
from pareto_rec.analysis.confirm.measure import recorded
from pareto_rec.analysis.confirm.opponent_search import Searched
from pareto_rec.analysis.confirm.opponents import claimed, select
from pareto_rec.analysis.confirm.reported_front import SEARCH, Point, ReportedFront
from pareto_rec.analysis.confirm.tables import ALL, Front
from pareto_rec.analysis.front_draws import Answers, StageFigures
from pareto_rec.core.seeds import child_seed
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.objectives import UserObjective
from pareto_rec.search import Goal


def report(
    claim: ReportedFront,
    against: Sequence[Searched],
    points: Sequence[Point],
    answers: Mapping[str, Answers],
    *,
    seeds: Sequence[int],
    hashes: Mapping[str, str],
    earlier: Sequence[str],
    truth: Mapping[str, int],
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return what confirm.json says, without its openings, and the draws behind it.

    Args:
        claim: What is confirmed.
        against: The opponents.
        points: The search's points and those of each opponent.
        answers: Stage -> what was measured.
        seeds: Fresh seeds.
        hashes: Of both stages and the features.
        earlier: When test data had been opened before.
        truth: Test rows that are left out of the truth (`Stage.truth_account`).

    Returns:
        The draws are hypervolumes on test data, by kind of front.
    """
    experiment = claim.experiment
    stages = {
        stage: _figures(experiment, answers[stage], len(points), len(seeds), stage)
        for stage in tables.STAGES
    }
    compared = _fronts(claim, against, points, stages)
    box = _box(points, stages, experiment.goals)
    fronts = tables.front_rows(compared, points, box)
    where = statistics.standing(stages["test"], points, experiment.goals)
    worked = [_worked(answers["test"], place) for place in range(len(points))]
    rows = tables.point_rows(points, worked, stages, where)
    described = _objectives(experiment, stages["test"])
    best = _strongest(fronts)
    fixed = tables.fixed_row(_at_fixed(compared, best, stages, experiment.goals), points)
    resampled = stages["test"].resampled
    content = {
        "experiment": experiment.config.name,
        "hashes": dict(hashes),
        "seeds": list(seeds),
        "level": LEVEL,
        "draws": DRAWS,
        "resampled": resampled,
        "truth": {"test": dict(truth)},
        "objectives": described,
        "best_baseline": best,
        "box": {"reference": list(box.reference), "ideal": list(box.ideal)},
        "fronts": fronts,
        "at_fixed": fixed,
        "answer": words.answer(
            fronts, rows, best, described, earlier, truth, fixed=fixed, resampled=resampled
        ),
        "points": rows,
    }
    return content, {front.kind: front.stages["test"].draws for front in compared}


def _box(points: Sequence[Point], stages: Mapping[str, StageFigures], goals: Sequence[Goal]) -> Box:
    """Return the box of all points, by what they were chosen by and by means of both stages."""
    claimed = [[point.claimed.get(goal.name, np.nan) for goal in goals] for point in points]
    return box_of([np.array(claimed), *(stage.means for stage in stages.values())], goals)


def _at_fixed(
    fronts: Sequence[Front],
    best: str | None,
    stages: Mapping[str, StageFigures],
    goals: Sequence[Goal],
) -> FixedValues | None:
    if best is None:
        return None
    places = {front.name: front.places for front in fronts if front.name != ALL}
    return at_fixed_values(places, best, stages, goals)


def _worked(answers: Answers, index: int) -> int:
    """Return how many seeds a point has values of."""
    return sum(at[0] == index and not isinstance(values, str) for at, values in answers.items())


def _figures(
    experiment: Experiment, answers: Answers, points: int, seeds: int, stage: str
) -> StageFigures:
    named = {one.name: one for one in recorded(experiment.objectives)}
    return statistics.figures(
        answers,
        points,
        seeds,
        names=list(named),
        objectives=named,
        goals=experiment.goals,
        draws=DRAWS,
        seed=child_seed(0, "resample", stage),  # the same users for runs of all seeds
    )


def _objectives(experiment: Experiment, stage: StageFigures) -> list[dict[str, Any]]:
    goals = {goal.name: goal for goal in experiment.goals}
    return [
        {
            "name": objective.name,
            "maximise": objective.maximise,
            "unit": objective.unit,
            "searched": objective.name in goals,
            "kind": "user" if isinstance(objective, UserObjective) else "set",
            "interval_over": stage.over[objective.name],
        }
        | {
            key: getattr(goals.get(objective.name), key, None)
            for key in ("reference", "at_least", "at_most")
        }
        for objective in recorded(experiment.objectives)
    ]


def _strongest(fronts: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the opponent with the most hypervolume on test data, the hardest to beat."""
    singles = [front for front in fronts if front["name"] not in (SEARCH, ALL)]
    volumes = {str(one["name"]): one["hypervolume"]["test"]["value"] or 0.0 for one in singles}
    best = max(volumes, key=lambda name: volumes[name], default=None)
    return best if best is not None and volumes[best] > 0 else None


def _fronts(
    claim: ReportedFront,
    against: Sequence[Searched],
    points: Sequence[Point],
    stages: Mapping[str, StageFigures],
) -> list[Front]:
    """The search's front, each opponent's, and the best of all opponents' points together."""
    goals = claim.experiment.goals
    heads = [(SEARCH, "search", "the selected points of the search", claim.records)]
    heads += [
        (one.opponent.name, one.opponent.kind, one.opponent.says, one.settings) for one in against
    ]
    members = {name: [point for point in points if point.front == name] for name, *_ in heads}
    if len(against) > 1:
        rest = [point for point in points if point.front != SEARCH]
        members[ALL] = select(rest, goals)
        together = sum(one.settings for one in against)
        heads.append((ALL, "union", "the best points of all opponents", together))
    position = {(point.front, point.id): number for number, point in enumerate(points)}
    fronts = []
    for name, kind, says, records in heads:
        places = tuple(position[point.front, point.id] for point in members[name])
        figures = {
            stage: statistics.front_figures(stages[stage], places, goals) for stage in tables.STAGES
        }
        volume = claimed(members[name], goals)
        fronts.append(Front(name, kind, says, records, places, volume, figures))
    return fronts
