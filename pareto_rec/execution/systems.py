"""Execution of a search over several systems, from its config to a finished run directory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from pareto_rec.evaluation.candidates import CandidateEvaluator
from pareto_rec.execution.callbacks import CallbackList, SearchCallback
from pareto_rec.execution.opened import opened_run, replayed_first
from pareto_rec.execution.resume import merged_info
from pareto_rec.execution.run_writer import RunWriter, first_info
from pareto_rec.execution.stored_records import StoredRecords
from pareto_rec.execution.trial_runner import TrialRunner
from pareto_rec.execution.workers.cluster import check_address
from pareto_rec.execution.workers.evaluation import EvaluatorPool
from pareto_rec.experiment.config import SystemsConfig
from pareto_rec.experiment.config.systems import BASELINES
from pareto_rec.runs.directory import RunDirectory
from pareto_rec.runs.record_store import RECORDS
from pareto_rec.search import Progress, Searcher, run_search
from pareto_rec.systems.base import AT, of_system, without_system
from pareto_rec.systems.evaluator import SystemsEvaluator
from pareto_rec.systems.experiment import SystemsExperiment
from pareto_rec.systems.sharing import sharing


def search_systems(
    config: SystemsConfig,
    out: Path,
    *,
    cache: Path,
    workers: int,
    callbacks: Sequence[SearchCallback] = (),
    resume: bool = False,
    backend: str | None = None,
) -> Path:
    """Search, and write a run directory; arguments as in `execution.search.search_experiment`.

    Raises:
        BadRequestError, RunFailedError, KeyboardInterrupt: As there.
    """
    began = time.perf_counter()
    callback = CallbackList(callbacks)
    experiment = SystemsExperiment.of(config, cache)
    if backend is not None:
        check_address(backend)
    code = experiment.code_key
    with opened_run(config, out, code, resume=resume) as (run, before), run.living():
        info = _prepared(experiment, callback)
        evaluator = experiment.evaluator()
        pool = EvaluatorPool[CandidateEvaluator](
            workers, config, cache, evaluator, systems_evaluator, backend
        )
        with pool:
            info = merged_info(out, before, info, run.stored.torn)
            journal = RunWriter(run, experiment, evaluator.store, info, before, began)
            callback.on_start(config, out)
            with journal.closing():
                journal.begin(tomli_w.dumps(config.model_dump(exclude_none=True)))
                _search(experiment, pool, journal, run, callback, info["systems"])
    callback.on_end(out)
    return out


def _prepared(experiment: SystemsExperiment, callback: SearchCallback) -> dict[str, Any]:
    """Read the data and encode the texts; what run.json says from the beginning."""
    callback.on_stage("reading data")
    accounts = {system.name: {"data": dict(system.account)} for system in experiment.systems}
    callback.on_stage("encoding texts")
    device = str(experiment.evaluator().device)
    return {**first_info(experiment, None, experiment.hashes, device), "systems": accounts}


def _search(
    experiment: SystemsExperiment,
    pool: EvaluatorPool[CandidateEvaluator],
    journal: RunWriter,
    run: RunDirectory,
    callback: SearchCallback,
    systems: Mapping[str, Any],
) -> None:
    """Measure the baselines, search, and say what sharing gives; all of it is journaled."""
    config = experiment.config
    callback.on_stage("measuring baselines")
    baselines = measured_baselines(experiment)
    journal.add_info(systems=_with_sharing(systems, baselines, {}))
    journal.set_baselines(best_of_each(experiment, baselines))
    callback.on_stage("searching")
    replay = StoredRecords(run.stored.records, run.path / RECORDS)
    replayed_first(run, callback, journal)
    answers = TrialRunner(
        replay, pool, journal, 1, lambda records: callback.on_records(records, journal.counts)
    )

    def on_generation(progress: Progress) -> None:
        journal.end_generation(progress, replayed=answers.replayed)
        callback.on_generation(progress, replayed=answers.replayed)

    goals, space = experiment.goals, experiment.space
    searcher = Searcher(space, goals, experiment.settings, seed=config.seed)
    run_search(searcher, answers, config.search.generations, on_generation=on_generation)
    apart = sharing(journal.records, goals, space, experiment.fixed, config.names)
    journal.add_info(systems=_with_sharing(systems, baselines, apart))


def systems_evaluator(config_json: str, cache: Path) -> SystemsEvaluator:
    """Return the evaluator of a config in JSON, in a process of its own."""
    return SystemsExperiment.for_worker(config_json, cache).evaluator()


Baselines = Mapping[str, Mapping[str, Mapping[str, float]]]
"""System -> baseline -> objective (with its system) -> value."""


def measured_baselines(experiment: SystemsExperiment) -> Baselines:
    """Measure the simple opponents of every system on validation data."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for system in experiment.systems:
        names = of_system((one.name for one in experiment.objectives.all), system.name)
        measured = system.baselines([without_system(name) for name in names])
        found[system.name] = {
            baseline: {f"{name}{AT}{system.name}": value for name, value in values.items()}
            for baseline, values in measured.items()
        }
    return found


def best_of_each(experiment: SystemsExperiment, baselines: Baselines) -> list[dict[str, Any]]:
    """Return one row: the best baseline of every system, by its first searched objective.

    It is what somebody has who serves a simple model for every system and no network. Without a
    baseline of some system that has a searched objective there is no row.
    """
    row: dict[str, Any] = {"expert": BASELINES, "id": BASELINES}
    for system in experiment.systems:
        named = of_system((goal.name for goal in experiment.goals), system.name)
        if not named:
            continue
        [first] = [goal for goal in experiment.goals if goal.name == named[0]]
        options = {
            name: values
            for name, values in baselines.get(system.name, {}).items()
            if set(named) <= values.keys()
        }
        if not options:
            return []
        sign = 1.0 if first.maximise else -1.0
        best = max(options, key=lambda name: sign * options[name][first.name])
        row |= {**options[best], f"baseline of {system.name}": best}
    return [row]


def _with_sharing(
    systems: Mapping[str, Any], baselines: Baselines, apart: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what run.json says of each system: data, baselines, and what sharing gives it."""
    return {
        name: {**entry, "baselines": baselines.get(name, {}), "sharing": apart.get(name)}
        for name, entry in systems.items()
    }
