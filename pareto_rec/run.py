"""One search, from its config to a finished run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from pareto_rec import per_user
from pareto_rec.baselines import sweep_expert
from pareto_rec.config import Config
from pareto_rec.evaluate import Evaluator
from pareto_rec.experiment import (
    EncodeProgress,
    Plan,
    build_evaluator,
    check_objectives,
    plan,
    read_features,
    read_split,
)
from pareto_rec.journal import Journal, first_info
from pareto_rec.records import Record, RunDirectory
from pareto_rec.search import Failure, Progress, Result, Searcher, Trial, run_search
from pareto_rec.workers import Workers


@dataclass(frozen=True)
class Watch:
    """Where progress is shown; every part may be left out.

    Attributes:
        encoded: Told texts done, texts in all, texts per second.
        stage: Told in a few words what is done now.
        evaluated: Told fits, records and failed records so far.
        generation: Told when a generation has ended.
    """

    encoded: EncodeProgress | None = None
    stage: Callable[[str], None] = lambda _: None
    evaluated: Callable[[int, int, int], None] = lambda *_: None
    generation: Callable[[Progress], None] = lambda _: None


def packs_of(trials: Sequence[Trial], evaluator: Evaluator, size: int) -> list[list[Trial]]:
    """Trials of equal shape in packs of at most `size`, composed from the generation alone."""
    groups: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        groups.setdefault(evaluator.pack_key(trial), []).append(trial)
    return [
        group[begin : begin + size]
        for group in groups.values()
        for begin in range(0, len(group), size)
    ]


@dataclass(frozen=True)
class _Ready:
    """What is computed before the first fit."""

    evaluator: Evaluator
    info: Mapping[str, Any]
    encoding_seconds: float


def search_experiment(
    config: Config, out: Path, *, cache: Path, workers: int, watch: Watch | None = None
) -> Path:
    """Search, and write a run directory.

    Args:
        config: The experiment.
        out: The run directory; must not exist, or be empty.
        cache: Root of the cache.
        workers: Processes that evaluate packs; 1 evaluates in this process.
        watch: Where progress is shown.

    Returns:
        The run directory.

    Raises:
        BadRequestError: If the request is wrong; nothing is written then.
        RunFailedError: If every evaluation of the first generation failed, the run directory cannot
            be written any more, or a worker died; everything recorded so far stays.
        KeyboardInterrupt: After everything recorded so far has been written.
    """
    began = time.perf_counter()
    watch = watch or Watch()
    made = plan(config)
    searcher = Searcher(made.space, made.goals, made.settings, seed=config.seed)
    RunDirectory.check(out)
    ready = _prepare(made, cache, watch)
    with RunDirectory.create(out) as run:
        run.write_text("config.toml", tomli_w.dumps(config.model_dump(exclude_none=True)))
        journal = Journal(run, made, ready.evaluator.store, ready.info, began)
        journal.seconds["encoding"] = ready.encoding_seconds
        journal.write("running")
        with journal.closing(), Workers(workers, config, cache, ready.evaluator) as pool:
            _search(searcher, config, pool, journal, watch)
            watch.stage("measuring the front per user")
            run.write_bytes(per_user.FILE, _per_user(journal.front, pool))
    return out


def _prepare(made: Plan, cache: Path, watch: Watch) -> _Ready:
    """Data, features and experts; only validation data goes any further than this."""
    began = time.perf_counter()
    watch.stage("reading data")
    split = read_split(made.config, cache)
    stage = split.validation
    check_objectives(made, stage)
    watch.stage("encoding texts")
    features = read_features(made.config, stage.items.texts, cache, watch.encoded)
    seconds = time.perf_counter() - began
    watch.stage("preparing experts")
    evaluator = build_evaluator(made, stage, cache, features)
    hashes = {"stage": stage.content_hash, "features": features.key}
    info = first_info(made, split.late_train_share, hashes, str(evaluator.device))
    return _Ready(evaluator, info, seconds)


def _search(
    searcher: Searcher, config: Config, pool: Workers, journal: Journal, watch: Watch
) -> None:
    """Sweep the baselines, then search, and journal everything the moment it exists."""
    began = time.perf_counter()
    watch.stage("sweeping baselines")
    swept = pool.map(sweep_expert, config.baselines)
    journal.set_baselines([row for rows in swept for row in rows])
    journal.seconds["baselines"] = time.perf_counter() - began
    watch.stage("searching")

    def evaluate(trials: Sequence[Trial]) -> Iterator[tuple[str, Result]]:
        packs = packs_of(trials, pool.evaluator, config.train.pack_size)
        for records in pool.evaluate(packs):
            journal.add(records)
            watch.evaluated(len(journal.fits), len(journal.records), journal.failed)
            yield from ((record.id, _result(record)) for record in records)

    def on_generation(progress: Progress) -> None:
        journal.end_generation(searcher.generation)
        watch.generation(progress)

    run_search(searcher, evaluate, config.search.generations, on_generation=on_generation)


def _per_user(records: Sequence[Record], pool: Workers) -> bytes:
    by_fit: dict[str, list[Record]] = {}
    for record in records:
        by_fit.setdefault(record.fit, []).append(record)
    parts = pool.unordered(per_user.values_of, list(by_fit.values()))
    found = {key: values for part in parts for key, values in part}
    ordered = [(record.id, found[record.id]) for record in records]
    return per_user.table_of(ordered, pool.evaluator.stage.users.ids)


def _result(record: Record) -> Result:
    return record.objectives if record.status == "ok" else Failure(record.reason or "failed")
