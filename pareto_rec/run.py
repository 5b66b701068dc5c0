"""One search, from its config to a finished run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

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
from pareto_rec.provenance import provenance
from pareto_rec.records import Record, RunDirectory
from pareto_rec.search import Failure, Progress, Result, Searcher, Trial, run_search
from pareto_rec.summary import baseline_rows, front_rows, hypervolume_of
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


@dataclass
class _Counts:
    fits: int = 0
    records: int = 0
    failed: int = 0


class _Store:
    """Writes records the moment they exist and counts them."""

    def __init__(self, run: RunDirectory, began: float, watch: Watch) -> None:
        self.run, self.began, self.watch = run, began, watch
        self.records: list[Record] = []
        self.fits: set[str] = set()

    def add(self, records: Sequence[Record]) -> None:
        elapsed = round(time.perf_counter() - self.began, 3)
        stamped = [replace(r, timing={**r.timing, "elapsed_s": elapsed}) for r in records]
        self.run.append(stamped)
        self.records += stamped
        self.fits.update(record.fit for record in stamped)
        self.watch.evaluated(len(self.fits), len(self.records), self.failed)

    @property
    def failed(self) -> int:
        return sum(record.status != "ok" for record in self.records)

    @property
    def ordered(self) -> list[Record]:
        """Records in the order of the search, whatever order they arrived in."""
        return sorted(self.records, key=lambda record: (record.generation, record.position))


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
        RunFailedError: If every evaluation of the first generation failed.
        KeyboardInterrupt: After everything recorded so far has been written.
    """
    began = time.perf_counter()
    watch = watch or Watch()
    made = plan(config)
    watch.stage("reading data")
    split = read_split(config, cache)
    stage, leak = split.validation, split.late_train_share
    check_objectives((*made.measures.searched, *made.measures.reported), stage)
    watch.stage("encoding texts")
    features = read_features(config, stage.items.texts, cache, watch.encoded)
    encoded = time.perf_counter()
    watch.stage("preparing experts")
    evaluator = build_evaluator(made, stage, cache, features)
    run = RunDirectory.create(out)
    run.write_text("config.toml", tomli_w.dumps(config.model_dump(exclude_none=True)))
    info = _info(made, evaluator, leak) | {
        "hashes": {"stage": stage.content_hash, "features": features.key}
    }
    store = _Store(run, began, watch)
    status, baselines = "failed", []
    seconds = {"encoding": encoded - began}
    run.write_json("run.json", info | {"status": "running"})
    searcher = Searcher(made.space, made.goals, made.settings, seed=config.seed)
    try:
        with Workers(workers, config, cache, evaluator) as pool:
            watch.stage("sweeping baselines")
            baselines = [row for rows in pool.map(sweep_expert, config.baselines) for row in rows]
            seconds["baselines"] = time.perf_counter() - encoded
            watch.stage("searching")
            size = config.train.pack_size

            def evaluate(trials: Sequence[Trial]) -> Iterator[tuple[str, Result]]:
                for records in pool.evaluate(packs_of(trials, evaluator, size)):
                    store.add(records)
                    yield from ((record.id, _result(record)) for record in records)

            run_search(
                searcher, evaluate, config.search.generations, on_generation=watch.generation
            )
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        seconds["total"] = time.perf_counter() - began
        counts = {
            "generations": searcher.generation,
            "fits": len(store.fits),
            "records": len(store.records),
            "failed": store.failed,
        }
        info |= {"status": status, "counts": counts, "seconds": seconds}
        _finish(run, made, info, store.ordered, baselines, evaluator)
        run.close()
    return out


def _result(record: Record) -> Result:
    return record.objectives if record.status == "ok" else Failure(record.reason or "failed")


def _info(made: Plan, evaluator: Evaluator, leak: float) -> dict[str, Any]:
    config, measures = made.config, made.measures
    searched = [
        {**asdict(goal), "unit": objective.unit}
        for goal, objective in zip(made.goals, measures.searched, strict=True)
    ]
    reported = [
        {"name": one.name, "maximise": one.maximise, "unit": one.unit}
        for one in measures.reported
        if not one.measured
    ]
    return {
        "experiment": config.name,
        "question": config.question,
        "status": "running",
        "objectives": searched,
        "reported": reported,
        "seed": config.seed,
        "leak": {"late_train_share": leak},
        **provenance(str(evaluator.device)),
    }


def _finish(
    run: RunDirectory,
    made: Plan,
    info: Mapping[str, Any],
    records: Sequence[Record],
    baselines: Sequence[Mapping[str, Any]],
    evaluator: Evaluator,
) -> None:
    """Write the front, the baselines and run.json."""
    goals = made.goals
    names = [one.name for one in (*made.measures.searched, *made.measures.reported)]
    rows = front_rows(records, goals, names, made.space)
    columns = ["id", "selected", "fit", "seed", *(goal.name for goal in goals)]
    run.write_table("front.csv", rows, columns)
    marked = baseline_rows(baselines, goals)
    columns = ["expert", "id", "on_front", *(goal.name for goal in goals)]
    run.write_table("baselines.csv", marked, columns)
    by_expert = {
        name: hypervolume_of([row for row in marked if row["expert"] == name], goals)
        for name in made.config.baselines
    }
    hypervolume = {
        "front": hypervolume_of(rows, goals),
        "baselines": by_expert,
        "all_baselines": hypervolume_of(marked, goals),
    }
    for fit_id in dict.fromkeys(row["fit"] for row in rows):
        evaluator.store.copy(fit_id, run.path / "fits")
    run.write_json("run.json", {**info, "hypervolume": hypervolume})
