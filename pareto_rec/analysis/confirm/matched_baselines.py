"""Baselines of equal budget: simple models, as many records each, no search.

Every rival is one fixed set of scores, swept over the same re-ranking that the search may use; its
points are then chosen on validation data by the rule that chose the search's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.analysis.confirm.measure import serving_of
from pareto_rec.analysis.confirm.reported_front import Point
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.core.seeds import generator
from pareto_rec.evaluation.baselines import DEPTHS, MEASURING, PENALTIES, TRADE_OFFS
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.summary import SELECTED
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.ranking import NETWORK
from pareto_rec.search import Goal
from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.space import (
    Integer,
    Real,
    SearchSpace,
    Simplex,
    Value,
    Variable,
)
from pareto_rec.search.sweep import quasi_random

FUSED, WITH_NETWORK = "fused_experts", "expert_and_network"
_HEAD = (  # what a head has beside losses and backbone
    *("width", "layers", "heads", "history", "steps", "horizon", "learning_rate", "weight_decay"),
    *("dropout", "item_dropout", "temperature"),
)
_SWEPT: Mapping[str, Variable] = {  # where the experiment does not search them itself
    "popularity_penalty": Real(-0.2, 1.8),
    "mmr": Real(0.0, 0.9),
    "depth": Integer(15, 320, log=True),
}
_AT_ONCE = 128  # settings of one job

Row = dict[str, Any]  # id, serving variables and objectives of one setting


@dataclass(frozen=True)
class MatchedBaseline:
    """One baseline.

    Attributes:
        name: Of its front.
        kind: ``"expert"``, ``"fusion"`` or ``"network"``.
        says: What it is, in a sentence.
        fusion: Scorer -> weight.
        networks: Name of a network in the fusion -> its training variables, those left out as the
            config or the defaults say.
    """

    name: str
    kind: str
    says: str
    fusion: Mapping[str, float]
    networks: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """Settings of one rival that are measured together.

    Attributes:
        rival: Whose.
        fits: Names of networks in its fusion -> ids of their fits; empty without one.
        ids: Of the settings.
        serve: Their serving variables.
    """

    rival: MatchedBaseline
    fits: Mapping[str, str]
    ids: tuple[str, ...]
    serve: tuple[Mapping[str, Any], ...]


def without_network(experiment: Experiment) -> list[MatchedBaseline]:
    """Every baseline of the config alone, and experts fused with equal weights."""
    alone = [
        MatchedBaseline(name, "expert", f"the expert {name} alone", {name: 1.0})
        for name in experiment.config.baselines
    ]
    fusion = experiment.space.serve.get("fusion")
    named = [one for one in fusion.names if one != NETWORK] if isinstance(fusion, Simplex) else []
    together = named if len(named) > 1 else list(experiment.config.baselines)
    if len(together) < 2:
        return alone
    says = f"the experts {', '.join(together)} fused with equal weights"
    return [
        *alone,
        MatchedBaseline(FUSED, "fusion", says, dict.fromkeys(together, 1.0 / len(together))),
    ]


def with_network(expert: str, space: SearchSpace) -> MatchedBaseline:
    """Return the best expert fused with one network of default variables.

    What one would train without a search: every hyperparameter of the head in the middle of its
    range, the loss on accuracy alone, the network weighing seven tenths.
    """
    middle = {
        name: variable.from_cube(np.full(variable.size, 0.5))
        for name, variable in space.train.items()
        if name in _HEAD and not variable.when
    }
    says = (
        f"{expert} and one network trained for accuracy alone, hyperparameters in the middle of "
        "their ranges, fused .3 and .7"
    )
    fusion = {NETWORK: 0.7, expert: 0.3}
    return MatchedBaseline(WITH_NETWORK, "network", says, fusion, {NETWORK: middle})


def settings(space: SearchSpace, count: int) -> list[dict[str, Any]]:
    """Return the serving variables of a rival's records, without the fusion.

    The first is plain; then comes the grid that is drawn beside every front, or an even selection
    from it where there are fewer records than its 279 settings; the rest is quasi-random over the
    ranges that the search has.

    Args:
        space: Whose ranges are used where it searches the same variables.
        count: How many records.
    """
    pairs = [(0.0, DEPTHS[0]), *product(TRADE_OFFS, DEPTHS)]
    grid = [
        {"popularity_penalty": penalty, "mmr": mmr, "depth": depth}
        for penalty, (mmr, depth) in product(PENALTIES, pairs)
    ]
    if count <= len(grid):
        return [grid[index] for index in np.linspace(0, len(grid) - 1, count).astype(int)]
    variables = {
        name: own if (own := space.serve.get(name)) is not None and not own.when else default
        for name, default in _SWEPT.items()
    }
    cube = quasi_random(count - len(grid), len(variables), generator(0, "rivals"))
    axes = list(zip(variables.items(), cube.T, strict=True))
    more = [
        {name: variable.from_cube(column[row : row + 1]) for (name, variable), column in axes}
        for row in range(len(cube))
    ]
    return [*grid, *more]


def sweeps(
    rival: MatchedBaseline, fits: Mapping[str, str], swept: Sequence[Mapping[str, Any]]
) -> Iterator[Sweep]:
    """Yield a rival's settings in jobs of a size that bounds memory.

    Args:
        rival: Whose.
        fits: Names of networks in its fusion -> ids of their fits; empty without one.
        swept: What :func:`settings` gave.
    """
    serve = [serving_of(rival.fusion, setting) for setting in swept]
    ids = [f"{rival.name}-{number:04d}" for number in range(len(serve))]
    for begin in range(0, len(serve), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        yield Sweep(rival, fits, tuple(ids[part]), tuple(serve[part]))


def sweep(evaluator: Evaluator, job: Sweep, cache: Path) -> tuple[str, list[Row]]:
    """Return rows of the settings that could be measured, with their rival's name."""
    own = evaluator.measuring
    names = [objective.name for objective in own.measures.all]
    chosen = [asdict(evaluator.serving(serve)) for serve in job.serve]
    fits = dict(job.fits)
    content = [fits, job.ids, job.serve, chosen, names, evaluator.store.data_key, own.relevance]
    text = json.dumps([*content, code_key(*MEASURING)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    path = cache / "baselines" / f"{job.rival.name}-{digest}.json"
    rows: list[Row] | None = read_json(path)
    if rows is None:
        rows = _measured(evaluator, job)
        write_json(path, rows)
    return job.rival.name, rows


def _measured(evaluator: Evaluator, job: Sweep) -> list[Row]:
    scorers, fits = evaluator.scorers_of(job.fits.values())
    chosen = [evaluator.serving(serve, job.fits) for serve in job.serve]
    measured = evaluator.measuring.values(scorers, chosen, fits)
    return [
        {"id": key, "serve": serve, "objectives": dict(values.objectives)}
        for key, serve, values in zip(job.ids, job.serve, measured, strict=True)
        if values.reason is None
    ]


def claimed(points: Sequence[Point], goals: Sequence[Goal]) -> float:
    """Return the hypervolume of the feasible points by the values that they were chosen by."""
    values, up, bound = _arrays([point.claimed for point in points], goals)
    return front.hypervolume(values[violation(values, goals) <= 0], reference=bound, maximise=up)


def choose(rival: MatchedBaseline, rows: Sequence[Row], goals: Sequence[Goal]) -> list[Point]:
    """Return the points of a rival that keep most hypervolume, as many as a front selects."""
    points = [
        Point(rival.name, row["id"], rival.networks, row["serve"], row["objectives"])
        for row in sorted(rows, key=lambda row: str(row["id"]))
    ]
    return select(points, goals)


def select(points: Sequence[Point], goals: Sequence[Goal]) -> list[Point]:
    """Return at most `SELECTED` feasible points that keep the most hypervolume."""
    values, up, bound = _arrays([point.claimed for point in points], goals)
    keep = np.flatnonzero(violation(values, goals) <= 0)
    chosen = keep[front.select(values[keep], SELECTED, reference=bound, maximise=up)]
    first = goals[0]
    order = sorted(chosen, key=lambda i: -values[i, 0] if first.maximise else values[i, 0])
    return [points[i] for i in order]


def _arrays(
    rows: Sequence[Mapping[str, float]], goals: Sequence[Goal]
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[bool], list[float]]:
    values = np.array([[row[goal.name] for goal in goals] for row in rows], dtype=np.float64)
    up, bound = [goal.maximise for goal in goals], [goal.reference for goal in goals]
    return values.reshape(len(rows), len(goals)), up, bound
