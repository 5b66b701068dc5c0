"""Records that fuse several fits, made by hand from the fits of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import KEY
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution import lists, per_user
from pareto_rec.execution.run_writer import SUMMED_UP, checksums
from pareto_rec.execution.summary import front_rows, hypervolume_of
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.directory import RunDirectory
from pareto_rec.runs.record import Record, joined
from pareto_rec.search.space import Candidate
from pareto_rec.training.fit_store import FitStore


def fused_record(
    evaluator: Evaluator, weights: Mapping[str, float], generation: int = 0, **serve: Any
) -> Record:
    """A measured record of several members, as a search over a pool of fits writes it."""
    candidate = Candidate({}, {"fusion": dict(weights), **serve})
    scorers, fits = evaluator.scorers_of(weights)
    settings = [evaluator.serving(candidate.serve)]
    [measured] = evaluator.measuring.values(scorers, settings, fits)
    return Record(
        id=candidate.id,
        fit=joined(fits),
        members=evaluator.members(candidate.serve, joined(fits)),
        seed=evaluator.seed,
        generation=generation,
        position=10_000,
        origin="own",
        train={},
        serve=candidate.serve,
        status="ok" if measured.reason is None else "failed",
        objectives=measured.objectives,
        reason=measured.reason,
        timing={"train_seconds": 0.0, "serve_seconds": measured.seconds, "train_steps": 0},
    )


def with_fused_record(run: Path, cache: Path, count: int = 4) -> Record:
    """Add a point of several fits to the front of a finished run, with all that goes with it.

    Its lists are re-ranked for diversity alone among many items, so that no other point of a tiny
    run dominates it.
    """
    experiment = Experiment.from_run(run, cache)
    evaluator, info = experiment.evaluator(), json.loads((run / "run.json").read_text())
    with RunDirectory.open(run, signed=True) as directory:
        known = directory.stored.records
        fits = sorted({name for one in known if one.status == "ok" for name in one.fit_ids})[:count]
        assert len(fits) == count
        weights = {name: (1 + n) / 20 for n, name in enumerate(fits)} | {"ease_recency": 0.5}
        record = fused_record(evaluator, weights, mmr=0.98, depth=300)
        directory.append([record])
        names = [one.name for one in experiment.objectives.all]
        rows = front_rows([*known, record], experiment.goals, names, experiment.space)
        assert record.id in {row["id"] for row in rows}
        searched = [goal.name for goal in experiment.goals]
        directory.write_table("front.csv", rows, ["id", "selected", "fit", "seed", *searched])
        by_id = {one.id: one for one in (*known, record)}
        front = [by_id[str(row["id"])] for row in rows]
        values, chosen = [], []
        for one in front:
            [(key, measured)] = per_user.measured_of(evaluator, [one], cache)
            values.append((key, measured.values))
            chosen += lists.lists_of(evaluator, [one], cache)
        table = per_user.table_of(values, evaluator.stage.users.ids)
        directory.write_bytes(per_user.FILE, table)
        shown = lists.content(evaluator, chosen)
        directory.write_text(lists.FILE, json.dumps(shown, separators=(",", ":")) + "\n")
        kept = sorted({name for one in front for name in one.fit_ids})
        for name in kept:
            evaluator.store.copy(name, run / "fits")
        info.pop(KEY)
        info["counts"]["records"] += 1
        info["hypervolume"]["front"] = hypervolume_of(rows, experiment.goals)
        info["files"] |= checksums(
            run, [*SUMMED_UP, *(f"fits/{name}.safetensors" for name in kept)]
        )
        directory.write_json("run.json", info)
    assert all(FitStore(run / "fits", "").get(name) is not None for name in fits)
    return record
