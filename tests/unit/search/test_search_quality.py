"""Hypervolume on pymoo's ZDT and DTLZ problems against pymoo's own NSGA-II, same budget."""

from __future__ import annotations

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.problems import get_problem
from pymoo.termination import get_termination

from pareto_rec.core.seeds import generator
from pareto_rec.search import Goal, Searcher, Settings, run_search
from pareto_rec.search import pareto as front
from pareto_rec.search.space import Real, SearchSpace

SEEDS = range(5)
REFERENCE = 1.1  # in every objective, as customary for these problems


def volume(values):
    m = values.shape[1]
    return front.hypervolume(values, reference=[REFERENCE] * m, maximise=[False] * m)


def ours(problem, population, generations, seed):
    """Hypervolume of everything that our search evaluated."""
    bounds = zip(problem.xl, problem.xu, strict=True)
    space = SearchSpace({f"x{i}": Real(*map(float, pair)) for i, pair in enumerate(bounds)}, {})
    goals = [Goal(f"f{i}", False, REFERENCE) for i in range(problem.n_obj)]

    def evaluate(trials):
        points = np.array([list(trial.train.values()) for trial in trials])
        for trial, row in zip(trials, problem.evaluate(points), strict=True):
            yield trial.candidates[0].id, {f"f{i}": value for i, value in enumerate(row)}

    searcher = Searcher(space, goals, Settings(population=population), seed=seed)
    last = run_search(searcher, evaluate, generations)[-1]
    assert last.evaluated == population * generations
    return last.hypervolume


def plain(problem, population, generations, seed):
    """Hypervolume of everything that pymoo's NSGA-II with its defaults evaluated."""
    algorithm = NSGA2(pop_size=population)
    budget = get_termination("n_gen", generations + 1)
    algorithm.setup(problem, seed=seed, termination=budget)
    told = []
    for _ in range(generations):
        children = algorithm.ask()
        told.append(problem.evaluate(children.get("X")))
        children.set("F", told[-1])
        algorithm.tell(infills=children)
    return volume(np.concatenate(told))


@pytest.mark.parametrize(
    ("name", "population", "generations"),
    [("zdt1", 50, 120), ("zdt2", 50, 160), ("zdt3", 50, 120), ("dtlz2", 60, 40)],
)
def test_reaches_plain_nsga2(name, population, generations):
    problem = get_problem(name)
    reached = np.median([ours(problem, population, generations, seed) for seed in SEEDS[:3]])
    expected = np.median([plain(problem, population, generations, seed) for seed in SEEDS[:3]])
    print(f"{name}: {reached:.4f} of {expected:.4f} ({reached / expected:.4f})")
    assert expected > 0.0
    assert reached >= 0.98 * expected


def test_a_guided_sweep_beats_a_quasi_random_one_and_random_search():
    # ZDT1-like; the best serving variables depend on a training variable
    space = SearchSpace(
        {f"t{i}": Real(0.0, 1.0) for i in range(6)}, {f"s{i}": Real(0.0, 1.0) for i in range(6)}
    )
    goals = [Goal("a", False, 1.1), Goal("b", False, 3.0)]

    def measure(candidate):
        t, s = (np.array(list(part.values())) for part in (candidate.train, candidate.serve))
        g = 1 + 4 * np.mean(np.abs(t[1:] - 0.3)) + 4 * np.mean(np.abs(s[1:] - t[0] / 2 - 0.2))
        x = (t[0] + s[0]) / 2
        return {"a": x, "b": g * (1 - np.sqrt(x / g))}

    def evaluate(trials):
        return ((c.id, measure(c)) for trial in trials for c in trial.candidates)

    def median(**changes):
        settings = Settings(population=20, sweep=12, **changes)
        runs = [Searcher(space, goals, settings, seed=seed) for seed in SEEDS]
        return np.median([run_search(run, evaluate, 6)[-1].hypervolume for run in runs])

    guided, unguided = median(), median(copied=0.0, varied=0.0)
    random = median(algorithm="random", copied=0.0, varied=0.0)
    assert guided > 1.03 * unguided > 1.03 * random


def test_zdt1_reference_volume():
    # the front b = 1 - sqrt(a) bounds 1.1^2 - 1/3 = .8767 against (1.1, 1.1), less what is left out
    a = generator(0, "zdt1").random(4000)
    assert volume(np.stack([a, 1 - np.sqrt(a)], axis=1)) == pytest.approx(1.21 - 1 / 3, rel=1e-2)
