"""Search of an opponent's serving settings on validation data, by the searcher of the runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.analysis.confirm.opponents import (
    Opponent,
    select,
    serving_search,
    serving_variables,
)
from pareto_rec.analysis.confirm.reported_front import Point
from pareto_rec.baselines import expert_key
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.evaluation.baselines import MEASURING
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.fit_worth import values_of
from pareto_rec.execution.serving_stage import BLOCK, measure_block, record_of, warm_start
from pareto_rec.execution.settings import measured_blocks
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import Trouble
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record
from pareto_rec.search import sweep
from pareto_rec.search.serving import ServingSearcher, ServingSpace
from pareto_rec.search.space import Candidate

# Settings of scorers alone are at most this share of a population, and of all settings: with a
# whole population of them an opponent was found 1 % weaker (docs/serving-search.md).
_ALONE = 1 / 4


@dataclass(frozen=True)
class Searched:
    """An opponent after its search.

    Attributes:
        opponent: Which.
        settings: How many were measured, failed ones included.
        points: The chosen ones.
    """

    opponent: Opponent
    settings: int
    points: tuple[Point, ...]


def search(
    opponent: Opponent,
    experiment: Experiment,
    pool: Workers,
    settings: int,
    on_settings: Callable[[int], None] = lambda _: None,
) -> Searched:
    """Search an opponent's settings, and choose points as those of a front are chosen.

    Args:
        opponent: Whose fits are stored.
        experiment: Whose space, goals and seed.
        pool: Measures; the number of its workers changes nothing.
        settings: As many as the run has records; fewer are measured where no more differ.
        on_settings: Told after every round how many are measured.
    """
    config = serving_search(experiment, settings)
    goals, seed = experiment.goals, child_seed(experiment.config.seed, "opponent", opponent.kind)
    space = ServingSpace(opponent.slots, serving_variables(experiment), config.members)
    records: dict[str, Record] = {}  # in the order asked
    alone = scorers_alone(space, int(_ALONE * min(config.population, settings)), seed)
    _measure(pool, alone, records)
    searcher = ServingSearcher(
        space,
        goals,
        algorithm=config.algorithm,
        population=config.population,
        seed=seed,
        initial=warm_start(records.values(), goals, config.population),
    )
    while len(records) < settings:
        candidates = searcher.ask(settings - len(records))
        if not candidates:
            break
        _measure(pool, candidates, records)
        usable = [one for candidate in candidates if (one := records[candidate.id]).status == "ok"]
        values = values_of(usable, goals)
        searcher.tell({one.id: row for one, row in zip(usable, values, strict=True)})
        on_settings(len(records))
    points = [_point(opponent, one) for one in records.values() if one.status == "ok"]
    return Searched(opponent, len(records), tuple(select(points, goals)))


def scorers_alone(space: ServingSpace, count: int, seed: int) -> list[Candidate]:
    """Return settings of every scorer by itself, the other variables spread over their ranges.

    Args:
        space: The settings.
        count: How many; fewer where no more differ.
        seed: Root of the random draws.
    """
    slots = len(space.slots)
    points = sweep.quasi_random(count, space.dimension, generator(seed, "scorers alone"))
    # neighbours share a scorer: every other point of a Sobol sequence fills half of the cube only
    points[:, :slots] = np.eye(slots)[np.arange(count) * slots // max(count, 1)]
    candidates = [space.decode(point) for point in points]
    return list({one.id: one for one in candidates}.values())


def _measure(pool: Workers, candidates: Sequence[Candidate], records: dict[str, Record]) -> None:
    """Add records of the settings that have none, in the order asked."""
    new = [one for one in candidates if one.id not in records]
    questions = [
        record_of(pool.evaluator, candidate, 0, place)
        for place, candidate in enumerate(new, len(records))
    ]
    records |= {one.id: one for one in questions}
    for found in measured_blocks(pool, measure_once, questions, BLOCK, {}):
        records |= {one.id: one for one in found}


def _point(opponent: Opponent, record: Record) -> Point:
    networks = {
        name: opponent.networks[name] for name in record.members if name in opponent.networks
    }
    return Point(opponent.name, record.id, networks, record.serve, record.objectives)


def measure_once(
    evaluator: Evaluator, questions: Sequence[Record], cache: Path
) -> list[Record] | Trouble:
    """Return records of settings with their objectives, from the cache where it has them.

    Args:
        evaluator: Of the validation stage.
        questions: What the records will say, apart from results.
        cache: Root of the cache.
    """
    path = cache / "baselines" / f"settings-{_digest(evaluator, questions)}.json"
    rows: list[dict[str, Any]] | None = read_json(path)
    if rows is not None:
        return [replace(one, **row) for one, row in zip(questions, rows, strict=True)]
    found = measure_block(evaluator, questions, cache)
    if not isinstance(found, Trouble):
        kept = ("status", "objectives", "reason")
        write_json(path, [{name: getattr(one, name) for name in kept} for one in found])
    return found


def _digest(evaluator: Evaluator, questions: Sequence[Record]) -> str:
    """Return a key of everything that decides what some settings are worth."""
    own = evaluator.measuring
    baselines = evaluator.baselines.keys() & {name for one in questions for name in one.members}
    content = [
        [[one.fit, one.serve] for one in questions],
        {name: expert_key(evaluator.baselines[name]) for name in sorted(baselines)},
        [objective.name for objective in own.measures.all],
        evaluator.store.data_key,
        own.relevance,
        asdict(evaluator.serving({})),
        code_key(measure_block.__module__, *MEASURING),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
