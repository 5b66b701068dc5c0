"""Serving stage of a search: thousands of settings of the fits and baselines that it has made.

After the last generation the most accurate fit is trained again with other random draws, its
replicas are averaged into one member, and the settings of the best fits, the replicas and the
baselines are searched together (`search.serving`); between generations, too, where the config asks
for it (`execution.two_levels`). Every setting is a record; the rounds count on from the
generations, and a resumed search answers them from its store like those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.seeds import child_seed
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.run_writer import RunWriter
from pareto_rec.execution.trial_runner import TrialRunner
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import Trouble, attempt
from pareto_rec.experiment.config import ServingSearchConfig
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record, joined
from pareto_rec.search import Goal, Progress, Trial
from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.serving import FUSION, ServingSearcher, ServingSpace, Slot
from pareto_rec.search.space import Candidate, Simplex, Value

BLOCK = 32  # settings of one job; the same for any number of workers, so that records are too
SERVING: Final = "serving"  # origin of the records of settings
REPLICA = "replica"  # the training variable that numbers them
_SETTINGS = 8  # of the replicated fit that each replica is measured at

Floats = NDArray[np.float64]


class Box(TypedDict):
    """What a hypervolume is computed with."""

    reference: list[float]
    maximise: list[bool]


def box_of(goals: Sequence[Goal]) -> Box:
    """Return what the hypervolume of some goals is computed with."""
    return {
        "reference": [goal.reference for goal in goals],
        "maximise": [goal.maximise for goal in goals],
    }


@dataclass(frozen=True)
class FitRecords:
    """One fit with its feasible records.

    Attributes:
        fit: Its id.
        records: They name no other fit.
        values: Their searched objectives ``[records, goals]``.
    """

    fit: str
    records: tuple[Record, ...]
    values: Floats


def by_fit(records: Iterable[Record], goals: Sequence[Goal]) -> list[FitRecords]:
    """Return the fits that have feasible records of their own, in the order of the search.

    A setting of the serving search is no record of a fit's own, even if it fuses no other.
    """
    ordered = sorted(records, key=lambda record: (record.generation, record.position))
    own: dict[str, list[Record]] = {}
    for record in ordered:
        if record.status == "ok" and record.origin != SERVING and len(record.fit_ids) == 1:
            own.setdefault(record.fit, []).append(record)
    fits = []
    for fit, members in own.items():
        values = values_of(members, goals)
        inside = np.flatnonzero(violation(values, goals) == 0.0)
        if len(inside):
            kept = tuple(members[index] for index in inside.tolist())
            fits.append(FitRecords(fit, kept, values[inside]))
    return fits


def values_of(records: Sequence[Record], goals: Sequence[Goal]) -> Floats:
    """Return searched objectives ``[records, goals]``, natural units."""
    rows = [[record.objectives[goal.name] for goal in goals] for record in records]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(goals))


def feasible(records: Iterable[Record], goals: Sequence[Goal]) -> tuple[list[Record], Floats]:
    """Return records that meet all constraints, and their values ``[records, goals]``."""
    usable = [record for record in records if record.status == "ok"]
    values = values_of(usable, goals)
    inside = np.flatnonzero(violation(values, goals) == 0.0)
    return [usable[index] for index in inside.tolist()], values[inside]


def warm_start(
    records: Iterable[Record], goals: Sequence[Goal], count: int
) -> list[Mapping[str, Value]]:
    """Return serving variables of the records that keep the most hypervolume, the best first.

    Args:
        records: In the order of the search.
        goals: What is searched for.
        count: How many at most.
    """
    inside, values = feasible(records, goals)
    chosen = front.select(values, count, **box_of(goals))
    return [_fused(inside[index]) for index in chosen.tolist()]


def most_accurate(fits: Sequence[FitRecords], goals: Sequence[Goal]) -> FitRecords:
    """Return the fit with the best record by the first objective."""
    sign = 1.0 if goals[0].maximise else -1.0
    return max(fits, key=lambda fit: float((sign * fit.values[:, 0]).max()))


def chosen_fits(fits: Sequence[FitRecords], count: int, goals: Sequence[Goal]) -> list[str]:
    """Return ids of the fits whose records together keep the most hypervolume.

    Args:
        fits: To choose from.
        count: How many; fewer where no other adds anything.
        goals: What is searched for.
    """
    nothing = np.zeros((0, len(goals)))
    picked = front.select_sets([one.values for one in fits], count, given=nothing, **box_of(goals))
    return [fits[index].fit for index in picked]


def measure_block(
    evaluator: Evaluator, questions: Sequence[Record], _: Path
) -> list[Record] | Trouble:
    """Return records of settings with their objectives, or failed ones.

    Args:
        evaluator: Of the stage that is searched on.
        questions: What the records will say, apart from results.
    """

    def measured() -> list[Record]:
        results = evaluator.measuring.values(*evaluator.fused(questions))
        return [
            replace(
                record,
                status="ok" if result.reason is None else "failed",
                objectives=result.objectives,
                reason=result.reason,
                timing={
                    "train_seconds": 0.0,
                    "serve_seconds": result.seconds,
                    "train_steps": 0,
                },
            )
            for record, result in zip(questions, results, strict=True)
        ]

    return attempt(measured)


def record_of(evaluator: Evaluator, candidate: Candidate, generation: int, position: int) -> Record:
    """Return what the record of a setting will say, apart from results.

    Args:
        evaluator: Knows which members are baselines.
        candidate: The setting; its fusion names fits by id.
        generation: Round that it is of.
        position: Place within the round.
    """
    fusion = candidate.serve[FUSION]
    assert isinstance(fusion, Mapping)
    fits = [name for name in fusion if name not in evaluator.users.experts]
    return Record(
        id=candidate.id,
        fit=joined(fits),
        members=dict(fusion),
        seed=evaluator.seed,
        generation=generation,
        position=position,
        origin=SERVING,
        train={},
        serve=candidate.serve,
        status="ok",
        objectives={},
    )


class ServingStage:
    """Replicas, then rounds of settings, from the records of the generations before."""

    def __init__(
        self, experiment: Experiment, pool: Workers, journal: RunWriter, answers: TrialRunner
    ) -> None:
        """Set up the stage of one run.

        Args:
            experiment: The experiment; its config says how much is searched.
            pool: Evaluates fits and settings.
            journal: Holds all records so far, and takes new ones.
            answers: Evaluates the replicas, and knows stored records.
        """
        config = experiment.config.search.serving
        assert config is not None
        self._config: ServingSearchConfig = config
        self._experiment, self._goals = experiment, experiment.goals
        self._pool, self._journal, self._answers = pool, journal, answers
        self._seed = experiment.config.seed
        self._box = box_of(self._goals)

    def _before(self, generation: int) -> list[Record]:
        """Return records of the generations before one, in the order of the search.

        A resumed run holds later ones already, which must not decide what is asked for.
        """
        earlier = [one for one in self._journal.records if one.generation < generation]
        return sorted(earlier, key=lambda record: (record.generation, record.position))

    def _feasible(self, generation: int) -> tuple[list[Record], Floats]:
        """Return feasible records before a generation, and their values ``[records, goals]``."""
        return feasible(self._before(generation), self._goals)

    def replicas(self, generation: int) -> list[Trial]:
        """Return the most accurate fit with other random draws, to be evaluated.

        Args:
            generation: What its records say.
        """
        fits = by_fit(self._before(generation), self._goals)
        if not fits or self._config.replicas < 2:
            return []
        best = most_accurate(fits, self._goals)
        keep = front.select(best.values, _SETTINGS, **self._box).tolist() or [0]
        trials: list[Trial] = []
        for number in range(1, self._config.replicas):
            train = {**best.records[0].train, REPLICA: number}
            candidates = tuple(Candidate(train, best.records[index].serve) for index in keep)
            trials.append(Trial(generation, number - 1, len(trials) * len(keep), candidates))
        return trials

    def evaluate(self, trials: Sequence[Trial]) -> None:
        """Train and measure trials, or take what is stored of them."""
        for _ in self._answers(trials):
            pass

    def space(self, generation: int) -> ServingSpace:
        """Return the settings of baselines, the best fits so far, and the averaged replicas."""
        fits = by_fit(self._before(generation), self._goals)
        replicated = _replicated(fits)
        single = self._pooled(fits, generation) if fits else []
        slots = [Slot.of(name, fits=0) for name in fused_baselines(self._experiment)]
        slots += [Slot.of(fit, fits=1) for fit in single]
        if 1 < len(replicated) <= self._config.members:
            slots.append(Slot.averaged(replicated))
        return ServingSpace(tuple(slots), self._experiment.space.serve, self._config.members)

    def _pooled(self, fits: Sequence[FitRecords], generation: int) -> list[str]:
        """Return the fits that lists may choose from.

        At first those whose own records keep the most hypervolume. Once settings of several fits
        were searched, these only say what fits that were left out of it are good for: at most half
        of the pool is for them, the rest for the fits that are worth most.
        """
        offered = self._offered(generation)
        if not offered:
            return chosen_fits(fits, self._config.pool, self._goals)
        others = [one for one in fits if one.fit not in offered]
        new = chosen_fits(others, -(-self._config.pool // 2), self._goals)
        worth = {fit: value for fit, value in self.worth(generation).items() if fit not in new}
        best = sorted(worth, key=lambda fit: (-worth[fit], fit))
        return [*best[: self._config.pool - len(new)], *new]

    def _offered(self, generation: int) -> set[str]:
        """Return the fits that settings before a generation were searched of."""
        searched = [one for one in self._before(generation) if one.origin == SERVING]
        return {fit for one in searched for fit in one.fit_ids}

    def searcher(self, space: ServingSpace, generation: int) -> ServingSearcher:
        """Return the search over a space, which begins at the front so far.

        Settings of that front which an earlier search measured are known, the others are tried.
        """
        records, values = self._feasible(generation)
        chosen = front.select(values, self._config.population, **self._box).tolist()
        searched = [one.id for one in self._before(generation) if one.origin == SERVING]
        label = [generation] if searched else []
        return ServingSearcher(
            space,
            self._goals,
            algorithm=self._config.algorithm,
            population=self._config.population,
            seed=child_seed(self._seed, "serving search", *label),
            initial=[_fused(records[i]) for i in chosen if records[i].origin != SERVING],
            known=[(_fused(records[i]), values[i]) for i in chosen if records[i].origin == SERVING],
            exclusions=searched,
        )

    def round(self, searcher: ServingSearcher, generation: int, left: int) -> int:
        """Measure the settings that a search asks for now, and tell it the results.

        Args:
            searcher: The search.
            generation: What the records say.
            left: Most settings.

        Returns:
            How many were measured, or found in the store; 0 where there is nothing new.
        """
        candidates = searcher.ask(left)
        if not candidates:
            return 0
        questions = [
            record_of(self._pool.evaluator, candidate, generation, position)
            for position, candidate in enumerate(candidates)
        ]
        records = self._answers.settings(questions, measure_block, BLOCK)
        searcher.tell(
            {
                record.id: values_of([record], self._goals)[0]
                for record in records
                if record.status == "ok"
            }
        )
        return len(candidates)

    def progress(self, generation: int) -> Progress:
        """Return where the search stands after a round, all records until then counted."""
        records = self._before(generation + 1)
        _, values = self._feasible(generation + 1)
        return Progress(
            generation=generation,
            fits=len({fit for record in records for fit in record.fit_ids}),
            evaluated=len(records),
            failed=sum(record.status == "failed" for record in records),
            front=int(front.non_dominated(values, maximise=self._box["maximise"]).sum()),
            hypervolume=front.hypervolume(values, **self._box),
            pruned=sum(record.status == "pruned" for record in records),
        )

    def worth(self, generation: int) -> dict[str, float]:
        """Return fit -> hypervolume that would be lost without the records that fuse it.

        Args:
            generation: Records before it count.

        Returns:
            The fits that stand on the front.
        """
        records, values = self._feasible(generation)
        whole = front.hypervolume(values, **self._box)
        on_front = np.flatnonzero(front.non_dominated(values, maximise=self._box["maximise"]))
        return {
            fit: whole - _without({fit}, records, values, self._box)
            for fit in sorted({name for i in on_front.tolist() for name in records[i].fit_ids})
        }

    def worth_of_training(self, generation: int) -> dict[str, float]:
        """Return the same by id of training variables (`Trial.train_id`)."""
        worth = self.worth(generation)
        return {
            Candidate(one.records[0].train, {}).train_id: worth[one.fit]
            for one in by_fit(self._before(generation), self._goals)
            if one.fit in worth
        }

    def gained(self, begin: int, middle: int, end: int) -> tuple[float, float]:
        """Return what fits, and the settings searched after them, added to the hypervolume.

        Args:
            begin: First generation of the fits.
            middle: First round of the settings.
            end: The generation after the last round.

        Returns:
            What would be lost without these fits, and what was gained besides.
        """
        before = front.hypervolume(self._feasible(begin)[1], **self._box)
        earlier = {fit for one in self._before(begin) for fit in one.fit_ids}
        new = {fit for one in self._before(middle) for fit in one.fit_ids} - earlier
        records, values = self._feasible(end)
        after = front.hypervolume(values, **self._box)
        without = _without(new, records, values, self._box)
        return after - without, max(without - before, 0.0)

    def counted(self, begin: int, end: int) -> int:
        """Return how many records the generations from `begin` until before `end` have."""
        return sum(begin <= record.generation < end for record in self._journal.records)

    def trained(self, begin: int, end: int) -> int:
        """Return how many fits came in the generations from `begin` until before `end`."""
        before, until = (
            {fit for one in self._before(number) for fit in one.fit_ids} for number in (begin, end)
        )
        return len(until) - len(before)

    def seconds(self, begin: int, end: int) -> float:
        """Return how long some generations took, by the stamps of the records.

        Args:
            begin: The first one.
            end: The one after the last.
        """
        return self._stamp(end) - self._stamp(begin)

    def _stamp(self, generation: int) -> float:
        """Return when the last record before a generation was written, seconds of the search."""
        return max(
            (one.timing.get("elapsed_s", 0.0) for one in self._before(generation)), default=0.0
        )


def fused_baselines(experiment: Experiment) -> tuple[str, ...]:
    """Return the baselines that lists may fuse: those of the fusion's simplex, or fixed ones."""
    fusion = experiment.space.serve.get(FUSION)
    if isinstance(fusion, Simplex):
        named: Iterable[str] = fusion.names
    else:
        named = experiment.variables.serving({}).fusion
    return tuple(name for name in named if name in experiment.experts)


def _fused(record: Record) -> dict[str, Any]:
    """Return the serving variables of a record, its fusion by the ids of its members."""
    return {**record.serve, FUSION: record.members}


def _without(fits: Collection[str], records: Sequence[Record], values: Floats, box: Box) -> float:
    """Return the hypervolume of the records that fuse none of some fits.

    Records behind those that do come to the front, so all are looked at.
    """
    rest = [i for i, one in enumerate(records) if not any(fit in fits for fit in one.fit_ids)]
    return front.hypervolume(values[rest], **box)


def _replicated(fits: Sequence[FitRecords]) -> list[str]:
    """Return the fits that differ in their number of replica alone, of which there are several."""
    groups: dict[str, list[str]] = {}
    for one in fits:
        train: dict[str, Any] = dict(one.records[0].train)
        train.pop(REPLICA, None)
        groups.setdefault(Candidate(train, {}).train_id, []).append(one.fit)
    return max(groups.values(), key=len, default=[])
