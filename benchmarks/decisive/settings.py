"""Search of serving settings on validation data, as long as the budget lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.decisive.arms import MEMBERS, OFF, Context, Networks
from pareto_rec.analysis.confirm.opponent_search import scorers_alone
from pareto_rec.analysis.confirm.opponents import select, serving_variables
from pareto_rec.analysis.confirm.reported_front import Point
from pareto_rec.core.seeds import child_seed
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.fit_worth import SERVING, values_of
from pareto_rec.execution.serving_stage import BLOCK, measure_block, record_of, warm_start
from pareto_rec.execution.workers.packs import Trouble
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record
from pareto_rec.search.serving import FUSION, ServingSearcher, ServingSpace
from pareto_rec.search.space import Candidate, Value, Variable

POPULATION = 24
ALGORITHM = "sms_emoa"


@dataclass(frozen=True)
class Measured:
    """What the search of an arm's settings found.

    Attributes:
        settings: How many were measured, those on the way to the networks included.
        points: The selected ones; their networks are fits by id.
    """

    settings: int
    points: tuple[Point, ...]


def variables_of(experiment: Experiment, mode: str) -> Mapping[str, Variable]:
    """Return the serving variables besides the fusion: none where diversity is off."""
    return {} if mode == OFF else serving_variables(experiment)


def search_settings(arm: str, networks: Networks, context: Context) -> Measured:
    """Search settings until the budget is spent, and choose points as those of a front are.

    Args:
        arm: Names the front, and the random draws.
        networks: What lists may fuse, and what is known of them.
        context: Of the arm.
    """
    experiment, evaluator = context.experiment, context.evaluator
    goals = experiment.goals
    space = ServingSpace(networks.slots, context.variables, MEMBERS)
    seed = child_seed(experiment.config.seed, "decisive", arm)
    began = context.budget.spent
    records: dict[str, Record] = {}
    _measure(evaluator, scorers_alone(space, POPULATION // 4, seed), records)
    searcher = ServingSearcher(
        space,
        goals,
        algorithm=ALGORITHM,
        population=POPULATION,
        seed=seed,
        initial=warm_start([*networks.records, *records.values()], goals, POPULATION),
    )
    while True:
        cost = (context.budget.spent - began) / max(len(records), 1)
        candidates = searcher.ask(context.budget.affords(cost, POPULATION))
        if not candidates:
            break
        _measure(evaluator, candidates, records)
        usable = [records[one.id] for one in candidates if records[one.id].status == "ok"]
        values = values_of(usable, goals)
        searcher.tell({one.id: row for one, row in zip(usable, values, strict=True)})
    known = [*networks.records, *records.values()]
    points = [_point(arm, one) for one in known if one.status == "ok"]
    return Measured(len(known), tuple(select(points, goals)))


def _measure(
    evaluator: Evaluator, candidates: Sequence[Candidate], records: dict[str, Record]
) -> None:
    """Add records of the settings that have none."""
    new = [one for one in candidates if one.id not in records]
    for begin in range(0, len(new), BLOCK):
        questions = [
            record_of(evaluator, candidate, 0, begin + index)
            for index, candidate in enumerate(new[begin : begin + BLOCK])
        ]
        measured = measure_block(evaluator, questions, Path())
        if isinstance(measured, Trouble):
            raise RuntimeError(f"settings could not be measured: {measured.reason}")
        records |= {one.id: one for one in measured}


def _point(arm: str, record: Record) -> Point:
    """Return a record as a point; its fusion names fits by id, and nothing without a weight."""
    serve = {**record.serve, FUSION: dict(record.members)}
    candidate = Candidate({}, serve)
    name = record.id if record.origin == SERVING else candidate.id
    networks: dict[str, dict[str, Value]] = {
        fit: {} for fit in record.fit_ids if fit in record.members
    }
    return Point(arm, name, networks, candidate.serve, record.objectives)
