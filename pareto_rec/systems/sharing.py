"""What sharing one model costs and brings each system: its best fits beside those of it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pareto_rec.runs.record import Record
from pareto_rec.search import Goal
from pareto_rec.search.space import SearchSpace
from pareto_rec.search.variables import named_values
from pareto_rec.systems.base import of_system
from pareto_rec.systems.evaluator import by_system
from pareto_rec.systems.spec import joint_spec


@dataclass(frozen=True)
class BestRecord:
    """The best record of some fits by one objective.

    Attributes:
        value: Of the objective.
        record: Its id.
        fits: How many fits it is the best of.
        seconds: Mean training time of these.
    """

    value: float
    record: str
    fits: int
    seconds: float


@dataclass(frozen=True)
class Sharing:
    """One system beside the others.

    Attributes:
        objective: Its first searched objective.
        alone: Of the fits that were trained on it alone; None without one.
        shared: Of the fits that were trained on it and on others; None without one.
    """

    objective: str
    alone: BestRecord | None
    shared: BestRecord | None


def sharing(
    records: Sequence[Record],
    goals: Sequence[Goal],
    space: SearchSpace,
    fixed: Mapping[str, object],
    systems: Sequence[str],
) -> dict[str, dict[str, object]]:
    """Compare, for each system that has a searched objective, fits of it alone with shared ones.

    Both come from the same search, with steps of as many examples; a fit of one system alone spends
    all of them on it.

    Args:
        records: Of the whole search.
        goals: Searched objectives.
        space: Decision variables.
        fixed: Training variables that are not searched.
        systems: Names of all systems.

    Returns:
        System -> `Sharing`, ready for JSON.
    """
    usable = [record for record in records if record.status == "ok"]
    trained = {record.fit: _trained(record, space, fixed, systems) for record in usable}
    found: dict[str, dict[str, object]] = {}
    for name in systems:
        named = of_system((goal.name for goal in goals), name)
        own = [goal for goal in goals if goal.name in named]
        if own:
            alone = [record for record in usable if trained[record.fit] == {name}]
            shared = [r for r in usable if name in trained[r.fit] and len(trained[r.fit]) > 1]
            entry = Sharing(own[0].name, _best(alone, own[0]), _best(shared, own[0]))
            found[name] = asdict(entry)
    return found


def _trained(
    record: Record, space: SearchSpace, fixed: Mapping[str, object], systems: Sequence[str]
) -> set[str]:
    """Return the systems that a record's fit was trained on."""
    values = by_system({**fixed, **named_values(space.train, record.train)})[""]
    weights = joint_spec(values).weights(systems)
    return {name for name, weight in weights.items() if weight > 0}


def _best(records: Sequence[Record], goal: Goal) -> BestRecord | None:
    if not records:
        return None
    sign = 1.0 if goal.maximise else -1.0
    best = max(records, key=lambda record: sign * record.objectives[goal.name])
    seconds = {record.fit: record.timing.get("train_seconds", 0.0) for record in records}
    mean = sum(seconds.values()) / len(seconds)
    return BestRecord(best.objectives[goal.name], best.id, len(seconds), mean)
