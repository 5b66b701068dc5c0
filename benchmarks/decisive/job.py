"""All arms and modes of one data set under one search seed, on validation data."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.decisive.arms import (
    ALONE,
    ARMS,
    MODES,
    ON,
    POOL,
    Arm,
    Context,
    Networks,
    conditioned_spec,
)
from benchmarks.decisive.cases import Case, centre_of, experiment_of, losses_of
from benchmarks.decisive.clock import Budget
from benchmarks.decisive.film import at_preference, train_conditioned
from benchmarks.decisive.settings import POPULATION, Measured, search_settings, variables_of
from pareto_rec.analysis.confirm.opponents import claimed
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.training.fit_store import FitStore

FORMAT = 1
_WARM_SECONDS = 1.0


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of results; what a kill cut short is left out."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line of results, in the place of half a line that a kill left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = "".join(json.dumps(one) + "\n" for one in lines_of(path))
    path.write_text(whole + json.dumps(line, allow_nan=False) + "\n")


def results_path(folder: Path, seed: int) -> Path:
    """Return where the results of a seed are, given the folder of its data set."""
    return folder / f"seed{seed}.jsonl"


def key_of(experiment: Experiment, seconds: float) -> str:
    """Return what names how results were made; others do not belong beside them."""
    content = [FORMAT, experiment.config.model_dump_json(), seconds, POPULATION, POOL]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def store_folder(folder: Path, seed: int, arm: str, mode: str) -> Path:
    """Return where the fits of an arm are; both modes share them unless they depend on it."""
    name = arm.replace(",", "").replace(" ", "-")
    return folder / f"seed{seed}" / (f"{name}-{mode}" if ARMS[arm].by_mode else name)


def run_job(case: Case, seed: int, folder: Path, cache: Path, seconds: float) -> None:
    """Search with every arm and mode that has no result yet.

    Args:
        case: The data set.
        seed: Of the search.
        folder: Of the data set's results.
        cache: Root of the cache.
        seconds: Processor seconds of every arm and mode.

    Raises:
        BadRequestError: If there are results that were made otherwise.
    """
    experiment, path = experiment_of(case, seed, cache), results_path(folder, seed)
    key, before = key_of(experiment, seconds), lines_of(path)
    if any(line["key"] != key for line in before):
        raise BadRequestError(
            f"{path} holds results of another config, budget or version: move it away, or give "
            "another --out"
        )
    known = {(line["arm"], line["mode"]) for line in before}
    lacking = [
        (arm, mode) for arm in ARMS.values() for mode in MODES if (arm.name, mode) not in known
    ]
    if lacking:
        _warm_up(experiment, folder / f"seed{seed}" / "warm")
    for arm, mode in lacking:
        line = _run_arm(arm, mode, experiment, store_folder(folder, seed, arm.name, mode), seconds)
        append(path, {"key": key, "seed": seed, "budget": seconds, **line})
        print(_in_words(line, seed), flush=True)


def _run_arm(
    arm: Arm, mode: str, experiment: Experiment, folder: Path, seconds: float
) -> dict[str, Any]:
    """Return the line of one arm and mode; networks that both modes share are made once."""
    with _context(experiment, mode, folder, seconds) as context:
        networks = _networks(arm, context, folder)
        budget = Budget(seconds, before=networks.seconds)
        measured = search_settings(arm.name, networks, replace(context, budget=budget))
    return _line(arm, mode, networks, measured, budget.spent, experiment)


@contextmanager
def _context(experiment: Experiment, mode: str, folder: Path, seconds: float) -> Iterator[Context]:
    evaluator = experiment.evaluator()
    store = FitStore(folder, evaluator.store.data_key)
    variables = variables_of(experiment, mode)
    with Workers(1, experiment.config, experiment.cache, evaluator.with_(store=store)) as pool:
        yield Context(experiment, pool, variables, Budget(seconds))


def _networks(arm: Arm, context: Context, folder: Path) -> Networks:
    """Return an arm's networks, made now or for the other mode; what a kill left is made again."""
    path = folder / "networks.json"
    stored = None if arm.by_mode else read_json(path)
    if stored is not None:
        return Networks.of_json(stored)
    shutil.rmtree(folder, ignore_errors=True)  # a fit that is there would cost nothing
    context = replace(context, budget=Budget(context.budget.seconds))
    networks = arm.make(context)
    networks = replace(networks, seconds=context.budget.spent)
    if not arm.by_mode:
        write_json(path, networks.to_json())
    return networks


def _line(
    arm: Arm,
    mode: str,
    networks: Networks,
    measured: Measured,
    spent: float,
    experiment: Experiment,
) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "mode": mode,
        "seconds": {"training": round(networks.seconds, 2), "total": round(spent, 2)},
        "trained": networks.trained,
        "settings": measured.settings,
        "hypervolume": claimed(measured.points, experiment.goals),
        "points": [
            {
                "id": one.id,
                "fits": sorted(one.networks),
                "serve": dict(one.serve),
                "claimed": {goal.name: one.claimed[goal.name] for goal in experiment.goals},
            }
            for one in measured.points
        ],
    }


def _in_words(line: Mapping[str, Any], seed: int) -> str:
    seconds = line["seconds"]
    return (
        f"seed {seed}, {line['arm']}, diversity {line['mode']}: {line['trained']} networks, "
        f"{line['settings']} settings, {seconds['total']:.1f} s ({seconds['training']:.1f} s "
        f"training), hypervolume {line['hypervolume']:.6g} of {len(line['points'])} points"
    )


def _warm_up(experiment: Experiment, folder: Path) -> None:
    """Compile, import and read what the first arm would pay for otherwise."""
    simplex = losses_of(experiment)
    with _context(experiment, ON, folder, _WARM_SECONDS) as context:
        evaluator = context.evaluator
        spec = replace(conditioned_spec(experiment), steps=2, check_every=2)
        fit = train_conditioned(spec, 0, evaluator.data, evaluator.monitor(), simplex)
        features = evaluator.data.item_features(fit.spec, fit.difference)
        evaluator.store.put("warm", at_preference(fit, simplex, centre_of(simplex), features))
        networks = ARMS[ALONE].make(context)
        search_settings("warm", networks, context)
    shutil.rmtree(folder, ignore_errors=True)
