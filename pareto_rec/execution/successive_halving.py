"""Successive halving driver: which trials of a generation train to the end, and which stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pareto_rec.evaluation.candidates import failed
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.rung_packs import Partial, RungHistory, keys_of, panel
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import Pack, measure_pack
from pareto_rec.runs.record import Record
from pareto_rec.search import Goal, Trial
from pareto_rec.search.halving import survivors
from pareto_rec.training.checkpoints import CheckpointStore

SETTINGS = 6  # serving settings at which fits are compared


@dataclass(frozen=True)
class Fidelity:
    """When fits are compared, and which go on; see the config's ``search.fidelity``.

    Attributes:
        rungs: Steps after which fits are compared, ascending.
        keep: Share of the compared fits that go on at least.
        margin: Share of the worth of the last of these that others may lack.
        goals: What the search looks for.
    """

    rungs: tuple[int, ...]
    keep: float
    margin: float
    goals: tuple[Goal, ...]


class SuccessiveHalving:
    """Takes the packs of a generation from rung to rung.

    What stops depends on the generation alone: on results that are computed anew, or read back,
    whenever they are asked for. Neither the number of workers, nor which result comes first, nor
    what is cached has a say. A trial of which a record is stored already stays what it was.
    """

    def __init__(self, fidelity: Fidelity, pool: Workers) -> None:
        """Set up the halving of one search."""
        self._fidelity, self._pool = fidelity, pool
        self._passed: list[RungHistory] = []

    def through(
        self, packs: Sequence[Pack], stored: Mapping[str, Record]
    ) -> Iterator[tuple[list[Record], list[RungHistory]]]:
        """Pass the rungs.

        Args:
            packs: The trials of a generation.
            stored: Records of the generation that are there already, by candidate id.

        Yields:
            After each rung, the records of the trials that stop there, and what is left.
        """
        evaluator = self._pool.evaluator
        trials = [trial for pack in packs for trial in pack]
        settings = panel(trials, evaluator.space, SETTINGS)
        fates = {trial.index: _fate(trial, stored) for trial in trials}
        left = [RungHistory(tuple(pack)) for pack in packs]
        for step in self._fidelity.rungs if evaluator.trains else ():
            here = [climb.up_to(step, settings) for climb in left]
            self._passed += here
            if None in fates.values():
                partial, records = self._measured(here)
                stopped = self._stopped(partial, fates)
                records += [
                    record
                    for trial in trials
                    if trial.index in stopped
                    for record in pruned(evaluator, trial, partial[trial.index], step)
                ]
                out = stopped | {index for index, one in partial.items() if one.reason}
            else:  # all is known: only which trials went on together has to be found out
                out = {i for i, fate in fates.items() if fate and _ended(fate, step)}
                records = []
            left = [climb for one in here if len(climb := one.without(out))]
            yield records, left

    def _measured(self, climbs: Sequence[RungHistory]) -> tuple[dict[int, Partial], list[Record]]:
        """Return partial results by position in the generation, and records of failed trials."""
        partial: dict[int, Partial] = {}
        records: list[Record] = []
        evaluator = self._pool.evaluator
        for climb, results in self._pool.settled(measure_pack, climbs):
            for index, trial in enumerate(climb):
                result = Partial(trial.index, (), 0, False, 0.0, results)  # type: ignore[arg-type]
                if not isinstance(results, str):
                    result = results[index]
                partial[trial.index] = result
                if result.reason is not None:
                    records += failed(evaluator, trial, result.reason, result.steps)
        return partial, records

    def _stopped(
        self, partial: Mapping[int, Partial], fates: Mapping[int, Record | None]
    ) -> set[int]:
        """Return places of the trials that stop at a rung."""
        compared = [partial[index] for index in sorted(partial) if partial[index].reason is None]
        goes_on = survivors(
            [np.array(one.values, dtype=np.float64) for one in compared],
            self._fidelity.goals,
            keep=self._fidelity.keep,
            margin=self._fidelity.margin,
        )
        stopped = set()
        for one, stays in zip(compared, goes_on, strict=True):
            fate = fates[one.index]
            stops = one.running and not stays  # what has ended already costs no more steps
            if fate is not None:
                stops = fate.status == "pruned" and _ended(fate, one.steps)
            if stops:
                stopped.add(one.index)
        return stopped

    def forget(self) -> None:
        """Drop the unfinished fits of the last generation, which has all its records."""
        evaluator = self._pool.evaluator
        store = CheckpointStore(evaluator.store.folder)
        for climb in self._passed:
            store.drop(keys_of(evaluator, climb))
        self._passed = []


def _fate(trial: Trial, stored: Mapping[str, Record]) -> Record | None:
    """Return a stored record of a trial; all of them share status and steps."""
    return next((stored[c.id] for c in trial.candidates if c.id in stored), None)


def _ended(fate: Record, step: int) -> bool:
    """Tell whether a trial came to its end at a rung or before it, other than by being finished."""
    return fate.status != "ok" and fate.timing.get("train_steps", 0.0) <= step


def pruned(evaluator: Evaluator, trial: Trial, partial: Partial, step: int) -> list[Record]:
    """Return records of a trial that stops at a rung; without values, as its fit is unfinished."""
    steps = evaluator.spec(trial).steps
    reason = f"stopped after {partial.steps} of {steps} steps, behind its generation"
    timing = {"train_seconds": partial.seconds, "serve_seconds": 0.0, "train_steps": partial.steps}
    return [
        replace(record, status="pruned", timing=timing)
        for record in failed(evaluator, trial, reason, step)
    ]
