"""Test data, opened once for the selected points of all arms, seeds and modes of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decisive.arms import ALONE, ARMS, MODES
from benchmarks.decisive.cases import Case, experiment_of
from benchmarks.decisive.job import lines_of, results_path, store_folder
from pareto_rec.analysis.bootstrap import Floats
from pareto_rec.analysis.confirm import ledger, statistics
from pareto_rec.analysis.confirm.fixed_values import at_fixed_values
from pareto_rec.analysis.confirm.measure import OpenedTest, Question, Values, measure
from pareto_rec.analysis.confirm.statistics import StageFigures
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import swapped
from pareto_rec.core.seeds import child_seed
from pareto_rec.core.threads import one_thread
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.opening import opening_of, write_down
from pareto_rec.experiment.openings import OpeningLedger
from pareto_rec.training.fit_store import FitStore

COMMAND = "benchmarks.decisive"
DRAWS = 4000  # the smallest p-value is 5e-4 of it, which Holm multiplies by all comparisons
Key = tuple[str, str]  # arm and mode


@dataclass(frozen=True)
class SeedFigures:
    """What test data says of one seed.

    Attributes:
        values: Arm and mode -> hypervolume on test data, and what its draws scatter around, since
            worst groups are too bad on average; hypervolume on validation data; the first objective
            at fixed values of the others, if any point reaches these; values of the points on both
            ``[points, objectives]``.
        draws: ``"arm|mode|hypervolume"`` or ``"arm|mode|accuracy"`` -> the same under each draw of
            users ``[draws]``.
    """

    values: Mapping[Key, Mapping[str, Any]]
    draws: Mapping[str, Floats]


def figure_paths(folder: Path, seed: int) -> tuple[Path, Path]:
    """Return where the figures of a seed are, and its draws."""
    return folder / f"test{seed}.json", folder / f"test{seed}.npz"


def is_searched(folder: Path, seed: int) -> bool:
    """Return whether every arm and mode of a seed has a result."""
    known = {(line["arm"], line["mode"]) for line in lines_of(results_path(folder, seed))}
    return known >= {(arm, mode) for arm in ARMS for mode in MODES}


def is_measured(folder: Path, seeds: Sequence[int]) -> bool:
    """Return whether every seed was measured on test data."""
    return all(path.is_file() for seed in seeds for path in figure_paths(folder, seed))


def measure_test(case: Case, seeds: Sequence[int], folder: Path, cache: Path) -> None:
    """Open test data once, after all searches, and measure what has not been measured yet.

    Args:
        case: The data set.
        seeds: Of the searches.
        folder: Of the data set's results.
        cache: Root of the cache.

    Raises:
        RunFailedError: If a search is lacking, or the opening cannot be written down; test data
            is not opened then.
    """
    lacking = [seed for seed in seeds if not is_searched(folder, seed)]
    if lacking:
        raise RunFailedError(f"{folder}: test data stays closed until seed {lacking[0]} is done")
    left = [seed for seed in seeds if not is_measured(folder, [seed])]
    if not left:
        return
    experiment = experiment_of(case, 0, cache, sampled=False)
    opening = write_down(opening_of(experiment, folder, COMMAND))
    ledger.note_opening(folder, len(seeds), opening.at)
    opened = OpenedTest(experiment.config.model_dump_json(), OpeningLedger(folder))
    with one_thread():
        for seed in left:
            _measure_seed(experiment, opened, folder, seed)
            print(f"seed {seed}: measured on test data", flush=True)


def _measure_seed(experiment: Experiment, opened: OpenedTest, folder: Path, seed: int) -> None:
    lines = {(one["arm"], one["mode"]): one for one in lines_of(results_path(folder, seed))}
    points: list[Mapping[str, Any]] = []
    places: dict[Key, list[int]] = {}
    answers: dict[tuple[int, int], Values | str] = {}
    for (arm, mode), line in lines.items():
        if arm not in ARMS:
            continue
        first = len(points)
        points += line["points"]
        places[arm, mode] = list(range(first, len(points)))
        store = store_folder(folder, seed, arm, mode)
        for index, values in enumerate(_measured(experiment, opened, store, line["points"])):
            answers[first + index, 0] = values
    figures = _figures(experiment, answers, points, places)
    values_path, draws_path = figure_paths(folder, seed)
    with swapped(draws_path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **dict(figures.draws))  # type: ignore[arg-type]  # keywords
    content = {"|".join(key): one for key, one in figures.values.items()}
    with swapped(values_path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _measured(
    experiment: Experiment, opened: OpenedTest, store: Path, points: Sequence[Mapping[str, Any]]
) -> list[Values | str]:
    """Return values of points on test data, their fits from an arm's own store."""
    if not points:
        return []
    evaluator = experiment.evaluator()
    evaluator = evaluator.with_(store=FitStore(store, evaluator.store.data_key))
    fits = {name: name for point in points for name in point["fits"]}
    question = Question("points", fits, [point["serve"] for point in points], opened)
    _, values = measure(evaluator, question, experiment.cache)
    return values


def _figures(
    experiment: Experiment,
    answers: statistics.Answers,
    points: Sequence[Mapping[str, Any]],
    places: Mapping[Key, Sequence[int]],
) -> SeedFigures:
    goals = experiment.goals
    named = {one.name: one for one in experiment.objectives.searched}
    test = statistics.figures(
        answers,
        len(points),
        1,
        names=list(named),
        objectives=named,
        goals=goals,
        draws=DRAWS,
        seed=child_seed(0, "decisive", "users"),  # the same users for all seeds
    )
    claimed = np.array([[one["claimed"][goal.name] for goal in goals] for one in points])
    validation = StageFigures({}, claimed, claimed[None], claimed, {}, None)
    values: dict[Key, dict[str, Any]] = {}
    draws: dict[str, Floats] = {}
    for key, own in places.items():
        front = statistics.front_figures(test, own, goals)
        draws["|".join((*key, "hypervolume"))] = front.draws
        values[key] = {
            "hypervolume": front.volume.value,
            "centre": front.volume.value if front.centre is None else front.centre,
            "validation": statistics.front_figures(validation, own, goals).volume.value,
            "test": test.means[list(own)].tolist(),
            "claimed": claimed[list(own)].tolist(),
        }
    for mode in MODES:
        fronts = {arm: list(own) for (arm, of), own in places.items() if of == mode}
        fixed = at_fixed_values(fronts, ALONE, {"validation": validation, "test": test}, goals)
        for row in fixed.fronts if fixed else ():
            values[row.front, mode]["bounds"] = dict(fixed.bounds) if fixed else {}
            if row.place is not None:
                values[row.front, mode]["accuracy"] = float(test.means[row.place, 0])
                draws["|".join((row.front, mode, "accuracy"))] = test.draws[:, row.place, 0]
    return SeedFigures(values, draws)


def read_figures(folder: Path, seed: int) -> SeedFigures:
    """Return what was measured of a seed."""
    values, draws = figure_paths(folder, seed)
    content = json.loads(values.read_text())
    with np.load(draws, allow_pickle=False) as file:
        arrays = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    split = {tuple(name.split("|")): one for name, one in content.items()}
    return SeedFigures({(arm, mode): one for (arm, mode), one in split.items()}, arrays)
