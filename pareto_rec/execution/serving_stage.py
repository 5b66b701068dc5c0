"""Serving stage of a search: thousands of settings of the fits and baselines that it has made.

After the last generation the most accurate fit is trained again with other random draws, its
replicas are averaged into one member, and the settings of the best fits, the replicas and the
baselines are searched together (`search.serving`); between generations, too, where the config asks
for it (`execution.two_levels`). Every setting is a record; the rounds count on from the
generations, and a resumed search answers them from its store like those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pareto_rec.core.seeds import child_seed
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.fit_worth import (
    SERVING,
    FitRecords,
    SearchHistory,
    box_of,
    by_fit,
    chosen_fits,
    feasible,
    most_accurate,
    values_of,
)
from pareto_rec.execution.run_writer import RunWriter
from pareto_rec.execution.trial_runner import TrialRunner
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import Trouble, attempt
from pareto_rec.experiment.config import ServingSearchConfig
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record, joined
from pareto_rec.search import Goal, Progress, Trial
from pareto_rec.search import pareto as front
from pareto_rec.search.serving import FUSION, ServingSearcher, ServingSpace, Slot
from pareto_rec.search.space import Candidate, Simplex, Value

BLOCK = 32  # settings of one job; the same for any number of workers, so that records are too
REPLICA = "replica"  # the training variable that numbers them
_SETTINGS = 8  # of the replicated fit that each replica is measured at


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
    """Replicas, then rounds of settings, from the records of the generations before.

    Attributes:
        history: The records so far, and what they say fits are worth.
    """

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
        self._pool, self._answers = pool, answers
        self.history = SearchHistory(journal, experiment.goals)
        self._seed = experiment.config.seed

    def replicas(self, generation: int) -> list[Trial]:
        """Return the most accurate fit with other random draws, to be evaluated.

        Args:
            generation: What its records say.
        """
        fits = by_fit(self.history.before(generation), self._goals)
        if not fits or self._config.replicas < 2:
            return []
        best = most_accurate(fits, self._goals)
        keep = front.select(best.values, _SETTINGS, **self.history.box).tolist() or [0]
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
        fits = by_fit(self.history.before(generation), self._goals)
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
        offered = self.history.offered(generation)
        if not offered:
            return chosen_fits(fits, self._config.pool, self._goals)
        others = [one for one in fits if one.fit not in offered]
        new = chosen_fits(others, -(-self._config.pool // 2), self._goals)
        worth = {
            fit: value for fit, value in self.history.worth(generation).items() if fit not in new
        }
        best = sorted(worth, key=lambda fit: (-worth[fit], fit))
        return [*best[: self._config.pool - len(new)], *new]

    def searcher(self, space: ServingSpace, generation: int) -> ServingSearcher:
        """Return the search over a space, which begins at the front so far.

        Settings of that front which an earlier search measured are known, the others are tried.
        """
        records, values = self.history.feasible(generation)
        chosen = front.select(values, self._config.population, **self.history.box).tolist()
        searched = [one.id for one in self.history.before(generation) if one.origin == SERVING]
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
        records = self.history.before(generation + 1)
        _, values = self.history.feasible(generation + 1)
        return Progress(
            generation=generation,
            fits=len({fit for record in records for fit in record.fit_ids}),
            evaluated=len(records),
            failed=sum(record.status == "failed" for record in records),
            front=int(front.non_dominated(values, maximise=self.history.box["maximise"]).sum()),
            hypervolume=front.hypervolume(values, **self.history.box),
            pruned=sum(record.status == "pruned" for record in records),
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


def _replicated(fits: Sequence[FitRecords]) -> list[str]:
    """Return the fits that differ in their number of replica alone, of which there are several."""
    groups: dict[str, list[str]] = {}
    for one in fits:
        train: dict[str, Any] = dict(one.records[0].train)
        train.pop(REPLICA, None)
        groups.setdefault(Candidate(train, {}).train_id, []).append(one.fit)
    return max(groups.values(), key=len, default=[])
