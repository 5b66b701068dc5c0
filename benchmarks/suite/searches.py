"""Hypervolume against seconds: this search, and Optuna's samplers on the same evaluator."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from benchmarks.suite.measure import Result, Row
from benchmarks.suite.optuna_adapter import Method, cube_of, with_optuna
from benchmarks.suite.task import Problem, problem
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.provenance import cores
from pareto_rec.core.seeds import generator
from pareto_rec.core.threads import one_thread
from pareto_rec.execution.workers.packs import packs_of
from pareto_rec.runs.record import Record
from pareto_rec.search import Failure, Searcher
from pareto_rec.search import Result as SearchResult
from pareto_rec.search.variables import Choice

Trace = list[tuple[float, float]]  # seconds, and the hypervolume x 1000 by then

POPULATION = 16  # of both genetic searches
SEARCH = {"population": POPULATION, "surrogate": "gaussian_process", "first": 6, "offspring": 2}
OURS, RIVAL = "this search", "Optuna NSGA-II"


def this_search(given: Problem, fits: int, seed: int) -> Iterator[list[Record]]:
    """Generations of packs, as `pareto-rec search` makes them; records of each pack."""
    searcher = Searcher(given.experiment.space, given.goals, given.experiment.settings, seed=seed)
    done = 0
    while done < fits:
        results: dict[str, SearchResult] = {}
        trials = searcher.ask()[: fits - done]
        for pack in packs_of(trials, given.evaluator, given.experiment.config.train.pack_size):
            records = given.evaluator.evaluate(pack)
            results.update((record.id, result_of(record)) for record in records)
            yield records
        done += len(trials)
        if done < fits:
            searcher.tell(results)


def result_of(record: Record) -> SearchResult:
    """Return the result of a record that a search learns from."""
    return record.objectives if record.status == "ok" else Failure(record.reason or "failed")


METHODS: Mapping[str, Method] = {
    OURS: this_search,
    RIVAL: with_optuna(lambda s, seed: s.NSGAIISampler(population_size=POPULATION, seed=seed)),
    "Optuna TPE": with_optuna(lambda s, seed: s.TPESampler(seed=seed)),
    "random": with_optuna(lambda s, seed: s.RandomSampler(seed=seed)),
}


def traced(given: Problem, method: Method, fits: int, seed: int) -> Trace:
    """Return processor seconds and hypervolume x 1000 after every fit, at no cost to them.

    Nothing is remembered from earlier searches: fits are trained again.
    """
    curve: Trace = []
    everything: list[Record] = []
    with tempfile.TemporaryDirectory() as folder, one_thread():
        steps = method(given.fresh(Path(folder)), fits, seed)
        spent, began = 0.0, time.process_time()  # of one thread: other processes have no say
        for records in steps:
            spent += time.process_time() - began
            everything += [replace(record, timing={}) for record in records]
            curve.append((spent, given.hypervolume(everything)))
            began = time.process_time()
    return curve


def run(*, quick: bool, given: Problem | None = None, fits: int = 0, seeds: int = 0) -> Result:
    """Return all methods, all seeds; in full as many searches at a time as there are cores.

    Args:
        quick: One seed and few fits.
        given: The experiment; None for the one of all benchmarks.
        fits: Fits per search; 0 for the usual.
        seeds: Searches per method; 0 for the usual.
    """
    own = given or _problem(quick=quick)
    fits, seeds = fits or (12 if quick else 64), seeds or (1 if quick else 5)
    checked = _check(own)
    jobs = [(name, seed) for seed in range(seeds) for name in METHODS]
    if quick or given:
        traces = [traced(own, METHODS[name], fits, seed) for name, seed in jobs]
    else:
        traces = Parallel(n_jobs=cores())(delayed(_alone)(*job, fits) for job in jobs)
    curves: dict[str, list[Trace]] = {name: [] for name in METHODS}
    for (name, _), curve in zip(jobs, traces, strict=True):
        curves[name].append(curve)
    rows = [_row(name, curves) for name in METHODS]
    notes = [
        f"{seeds} seeds of {fits} fits, {own.experiment.settings.sweep} serving settings each; "
        "each search in one thread, its processor time, no fit remembered. Hypervolume x 1000, "
        "median (quartiles).",
        "All methods share evaluator and sweep: Optuna's samplers are told the candidate that they "
        "asked for, and the sweep around it counts for the hypervolume as it does here.",
        "This search begins with 6 fits, the corners and the middle of the space, then trains 2 at "
        "a time, chosen by its surrogate among NSGA-II's children, neighbours of the front and "
        "random points; the surrogate's seconds are counted.",
    ]
    return Result("searches", checked, rows, notes, {"searches.png": _picture(curves)})


def _alone(name: str, seed: int, fits: int) -> Trace:
    """Return a search in a process of its own."""
    return traced(_problem(quick=False), METHODS[name], fits, seed)


def _problem(*, quick: bool) -> Problem:
    return problem(cache_dir(), search={**SEARCH, **({"population": 4} if quick else {})})


def _check(given: Problem) -> str:
    """Check that both ways into the evaluator give the same records for a candidate.

    Raises:
        AssertionError: If they do not.
    """
    space, kinds = given.experiment.space, dict(given.experiment.space.discrete)
    point = generator(0, "check").random(space.dimension)
    params = {
        f"{axis:03d}": kind.options.index(kind.from_cube(point[axis : axis + 1]))
        if isinstance(kind := kinds.get(axis), Choice)
        else float(value)
        for axis, value in enumerate(point)
    }
    if space.decode(cube_of(given, params)).id != space.decode(point).id:
        raise AssertionError("Optuna's coordinates decode to another candidate")
    return "a point of the unit cube is the same candidate for every method"


def seconds_to(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Return seconds until a curve reaches a hypervolume; infinite if it never does."""
    return next((seconds for seconds, volume in curve if volume >= target), float("inf"))


def _row(name: str, curves: Mapping[str, Sequence[Trace]]) -> Row:
    final = np.array([curve[-1][1] for curve in curves[name]])
    spent = np.array([curve[-1][0] for curve in curves[name]])
    low, middle, high = np.quantile(final, [0.25, 0.5, 0.75])
    targets = [curve[-1] for curve in curves[RIVAL]]
    shares = [
        seconds_to(curve, volume) / seconds
        for curve, (seconds, volume) in zip(curves[name], targets, strict=True)
    ]
    return {
        "method": name,
        "final hypervolume": f"{middle:.3f} ({low:.3f}-{high:.3f})",
        "processor seconds": round(float(np.median(spent)), 1),
        f"share of {RIVAL}'s seconds to its final hypervolume": f"{np.median(shares):.2f}",
    }


def _picture(curves: Mapping[str, Sequence[Trace]]) -> bytes:
    """Return medians and quartiles over seeds, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    longest = max(curve[-1][0] for runs in curves.values() for curve in runs)
    grid = np.linspace(0, longest, 200)
    for name, runs in curves.items():
        table = np.array([_at(curve, grid) for curve in runs])
        low, middle, high = np.quantile(table, [0.25, 0.5, 0.75], axis=0)
        end = float(np.median([curve[-1][0] for curve in runs]))
        shown = grid <= end
        (line,) = axes.plot(grid[shown], middle[shown], label=name)
        axes.fill_between(
            grid[shown], low[shown], high[shown], color=line.get_color(), alpha=0.2, linewidth=0
        )
    axes.set(xlabel="processor seconds", ylabel="hypervolume x 1000")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    target = BytesIO()
    figure.savefig(target, format="png", dpi=120)
    return target.getvalue()


def _at(curve: Sequence[tuple[float, float]], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    seconds, volumes = np.array(curve).T
    index = np.searchsorted(seconds, grid, "right") - 1
    return np.where(index >= 0, volumes[np.maximum(index, 0)], 0.0)
