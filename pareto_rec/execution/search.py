"""Execution of one search, from its config to a finished run directory."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from pareto_rec.core.wording import lacking_in_words, repeats_in_words
from pareto_rec.data.history_length import check_truth, cold_start
from pareto_rec.data.table import warnings_of
from pareto_rec.evaluation.baselines import sweep_expert
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution import coverage as described
from pareto_rec.execution import lists, per_user
from pareto_rec.execution.callbacks import CallbackList, SearchCallback
from pareto_rec.execution.opened import opened_run, replayed_first
from pareto_rec.execution.resume import merged_info
from pareto_rec.execution.run_writer import RunWriter, first_info
from pareto_rec.execution.serving_stage import ServingStage
from pareto_rec.execution.stored_records import StoredRecords
from pareto_rec.execution.successive_halving import Fidelity, SuccessiveHalving
from pareto_rec.execution.trial_runner import TrialRunner
from pareto_rec.execution.tuned import tuned, with_choices_of
from pareto_rec.execution.two_levels import Listeners, TwoLevels
from pareto_rec.execution.workers.cluster import check_address
from pareto_rec.execution.workers.evaluation import Job, Workers
from pareto_rec.experiment.checks import check_objectives
from pareto_rec.experiment.config import Config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.extent import limited_by_size, measured_groups
from pareto_rec.runs import set_values
from pareto_rec.runs.directory import RunDirectory
from pareto_rec.runs.record import Record
from pareto_rec.runs.record_store import RECORDS
from pareto_rec.search import Progress, Searcher, run_search

AT_ONCE = 8  # fits whose scores of all users are held together, unless a single record has more


@dataclass(frozen=True)
class _Ready:
    """What is computed before the first fit."""

    evaluator: Evaluator
    info: Mapping[str, Any]
    seconds: Mapping[str, float]


def search_experiment(
    config: Config,
    out: Path,
    *,
    cache: Path,
    workers: int,
    callbacks: Sequence[SearchCallback] = (),
    resume: bool = False,
    backend: str | None = None,
) -> Path:
    """Search, and write a run directory.

    Args:
        config: The experiment.
        out: The run directory; must not exist, or be empty, unless `resume` is given.
        cache: Root of the cache.
        workers: Processes that evaluate packs; 1 evaluates in this process, unless packs have a
            time limit.
        callbacks: Told what happens, while it happens.
        resume: Go on with the search that `out` holds, if it holds any: the records, the front and
            the hypervolumes end as if it had never been interrupted.
        backend: ``dask://HOST:PORT`` of a scheduler whose workers evaluate instead.

    Returns:
        The run directory.

    Raises:
        BadRequestError: If the request is wrong, or would go on with the search differently;
            nothing is written then.
        RunFailedError: If every evaluation of the first generation failed, the run directory cannot
            be written any more, or workers keep dying; everything recorded so far stays.
        KeyboardInterrupt: After everything recorded so far has been written.
    """
    began = time.perf_counter()
    callback = CallbackList(callbacks)
    experiment = Experiment.of(config, cache, on_encoded=callback.on_encoded)
    if backend is not None:
        check_address(backend)
    searcher = Searcher(experiment.space, experiment.goals, experiment.settings, seed=config.seed)
    with opened_run(config, out, experiment.code_key, resume=resume) as (run, before), run.living():
        if before:
            config = with_choices_of(out, before, config)
            experiment = Experiment.of(config, cache, on_encoded=callback.on_encoded)
        experiment, ready = _prepare(experiment, before, callback)
        config = experiment.config
        with Workers(workers, config, cache, ready.evaluator, backend) as pool:
            info = merged_info(out, before, ready.info, run.stored.torn)
            journal = RunWriter(run, experiment, ready.evaluator.store, info, before, began)
            journal.seconds |= ready.seconds
            answers = _answers(experiment, pool, journal, run, callback)
            callback.on_start(config, out)
            with journal.closing():
                journal.begin(tomli_w.dumps(config.model_dump(exclude_none=True)))
                _search(searcher, experiment, pool, journal, answers, callback)
                callback.on_stage("measuring the front per user")
                answers.restore({name for record in journal.front for name in record.fit_ids})
                _measure_front(journal, run, pool)
    callback.on_end(out)
    return out


def _answers(
    experiment: Experiment,
    pool: Workers,
    journal: RunWriter,
    run: RunDirectory,
    callback: SearchCallback,
) -> TrialRunner:
    """Return what answers the search, the stored records first."""
    stored, name = run.stored, run.path / RECORDS
    config, goals = experiment.config, experiment.goals
    replay = StoredRecords(stored.records, name)

    def on_records(records: Sequence[Record]) -> None:
        callback.on_records(records, journal.counts)

    replayed_first(run, callback, journal)
    settings, halving = config.search.fidelity, None
    if settings is not None:
        fidelity = Fidelity(tuple(settings.rungs), settings.keep, settings.margin, goals)
        halving = SuccessiveHalving(fidelity, pool)
    return TrialRunner(replay, pool, journal, config.train.pack_size, on_records, halving)


def _prepare(
    experiment: Experiment, before: Mapping[str, Any], callback: SearchCallback
) -> tuple[Experiment, _Ready]:
    """Data, features and experts; only validation data goes any further than this.

    Returns:
        The experiment with the parameters that its baselines were tuned to, and what is ready.
    """
    began = time.perf_counter()
    callback.on_stage("reading data")
    config, split = experiment.config, experiment.split
    stage = split.validation
    check_objectives(config, experiment.objectives, stage)
    check_truth(stage, config.data.relevance)
    experiment.check_baselines(stage)
    callback.on_stage("encoding texts")
    hashes = experiment.hashes  # encodes the texts
    encoding_seconds = time.perf_counter() - began
    tuning_began = time.perf_counter()
    experts = before.get("experts") or {}
    experiment, choices = tuned(experiment, experts, callback.on_stage)
    tuning_seconds = time.perf_counter() - tuning_began
    callback.on_stage("preparing experts")
    evaluator = experiment.evaluator()
    if config.references:
        hashes["references"] = evaluator.store.data_key
    info = first_info(experiment, split.late_train_share, hashes, str(evaluator.device))
    info |= {"experts": choices} if choices else {}
    info["groups"] = measured_groups(experiment, evaluator)
    info["cold_start"] = cold_start(stage)
    info["truth"] = {stage.name: stage.truth_account}
    if words := repeats_in_words(stage.truth_account, stage.name):
        callback.on_note(words)
    info["lacking"] = described.lacking(experiment.objectives, evaluator.measuring.catalogue)
    for name, entry in info["lacking"].items():
        callback.on_note(lacking_in_words(name, entry))
    info |= {"data": dict(split.account)} if split.account else {}
    for warning in warnings_of(split.account or {}):
        callback.on_note(f"data: {warning}")
    if limits := limited_by_size(experiment, stage, evaluator):
        info["limits"] = limits
        for what, words in limits.items():
            callback.on_stage(f"{what}: {words}")
    return experiment, _Ready(
        evaluator, info, {"encoding": encoding_seconds, "tuning": tuning_seconds}
    )


def _search(
    searcher: Searcher,
    experiment: Experiment,
    pool: Workers,
    journal: RunWriter,
    answers: TrialRunner,
    callback: SearchCallback,
) -> None:
    """Sweep the baselines, then search, and journal everything the moment it exists."""
    began, config = time.perf_counter(), experiment.config
    callback.on_stage("sweeping baselines")
    swept = pool.map(sweep_expert, config.baselines)
    journal.set_baselines([row for rows in swept for row in rows])
    journal.seconds["baselines"] = time.perf_counter() - began
    callback.on_stage("searching")

    def on_generation(progress: Progress) -> None:
        journal.end_generation(progress, replayed=answers.replayed)
        callback.on_generation(progress, replayed=answers.replayed)

    if config.search.serving is None:
        run_search(searcher, answers, config.search.generations, on_generation=on_generation)
    else:
        stage = ServingStage(experiment, pool, journal, answers)
        listeners = Listeners(on_generation, callback.on_stage)
        levels = TwoLevels(searcher, stage, answers, config.search, listeners)
        levels.run()
        journal.add_info(worth=stage.history.worth(journal.generations))
        if levels.between:
            journal.add_info(between_generations=levels.between)
    if answers.differing:
        callback.on_note(
            f"{answers.differing:,} records that had been stored came out differently this time; "
            "what was stored has been kept"
        )


def _measure_front(journal: RunWriter, run: RunDirectory, pool: Workers) -> None:
    """Write what every point of the front is worth to each user, and lists of a few users."""
    stage, records = pool.evaluator.stage, journal.front
    measured = _of_points(per_user.measured_of, records, pool)
    values = [(key, one.values) for key, one in measured]
    run.write_bytes(per_user.FILE, per_user.table_of(values, stage.users.ids))
    run.write_bytes(per_user.PEOPLE, per_user.people_of(stage))
    if per_user.sets_over_users(pool.evaluator.measuring.measures):
        found = _of_points(per_user.influence_of, journal.selected, pool)
        sets = per_user.set_values(found, stage.users.ids)
        run.write_bytes(set_values.FILE, set_values.table_of(sets))
    run.write_text(lists.FILE, _lists(records, pool))
    if any(one.described for _, one in measured):
        journal.add_info(described={key: dict(one.described) for key, one in measured})


def _lists(records: Sequence[Record], pool: Workers) -> str:
    chosen = _of_points(lists.lists_of, records, pool)
    return json.dumps(lists.content(pool.evaluator, chosen), separators=(",", ":")) + "\n"


def _of_points(job: Job, records: Sequence[Record], pool: Workers) -> list[tuple[str, Any]]:
    """Return what a job finds of every record, by record id, in their order."""
    parts = pool.unordered(job, together(records))
    results = {key: values for part in parts for key, values in part}
    return [(record.id, results[record.id]) for record in records]


def together(records: Sequence[Record]) -> list[list[Record]]:
    """Return records in groups that share their fits, which are then scored once for a group.

    Records of several fits stand with others whose fits, all together, are no more than `AT_ONCE`,
    since the scores of all of them are held at once.
    """
    groups: list[list[Record]] = []
    fits: list[set[str]] = []
    for record in sorted(records, key=lambda record: (len(record.fit_ids), record.fit)):
        own = set(record.fit_ids)
        last = fits[-1] | own if fits else own
        alike = bool(groups) and groups[-1][0].fit == record.fit
        if alike or (len(own) > 1 and groups and len(last) <= AT_ONCE):
            groups[-1].append(record)
            fits[-1] = last
        else:
            groups.append([record])
            fits.append(own)
    return groups
