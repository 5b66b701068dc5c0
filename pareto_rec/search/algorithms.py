"""Search algorithms on the unit cube: pymoo's behind one small contract, and random search.

With ``decide.py`` the only module that imports pymoo, and only when a search starts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.registry import Registry
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.search import sweep
from pareto_rec.search.variables import Floats

Bools = NDArray[np.bool_]
Fresh = Callable[[Floats, Floats], Bools]

RETRIES = 20  # rounds of mating before fewer children than asked for are handed back


class Algorithm(Protocol):
    """What proposes points of the unit cube, minimises, and knows nothing of candidates."""

    def ask(self, fresh: Fresh) -> Floats:
        """Propose points ``[offspring, dimension]``, or fewer if no more are fresh.

        Args:
            fresh: Given points and the ones accepted before, which of the points are new.
        """
        ...

    def tell(self, X: Floats, F: Floats, G: Floats) -> None:
        """Learn objectives ``F`` (to minimise) and constraints ``G`` (at most 0) of points X."""
        ...


@dataclass(frozen=True)
class Task:
    """What an algorithm is built for."""

    dimension: int
    objectives: int
    constraints: int
    population: int
    offspring: int
    seed: int
    axes: sweep.Axes


class RandomSearch:
    """Uniform points; the control that every other algorithm has to beat."""

    def __init__(self, task: Task) -> None:
        self._rng = generator(task.seed, "random search")
        self._shape = (task.offspring, task.dimension)

    def ask(self, fresh: Fresh) -> Floats:
        """Draw points and drop the ones that are not fresh."""
        points = self._rng.random(self._shape)
        return points[fresh(points, points[:0])]

    def tell(self, X: Floats, F: Floats, G: Floats) -> None:
        """Learn nothing."""


class QuasiRandom:
    """Points of one scrambled Sobol sequence: an even sweep of the space, blind to results."""

    def __init__(self, task: Task) -> None:
        seed = child_seed(task.seed, "quasi-random search")
        self._points = sweep.quasi_random(1 << 12, task.dimension, np.random.default_rng(seed))
        self._offspring, self._next = task.offspring, 0

    def ask(self, fresh: Fresh) -> Floats:
        """Take the next points and drop the ones that are not fresh."""
        points = self._points[self._next : self._next + self._offspring]
        self._next += self._offspring
        return points[fresh(points, points[:0])]

    def tell(self, X: Floats, F: Floats, G: Floats) -> None:
        """Learn nothing."""


class _Unseen:
    """pymoo's duplicate elimination, answered by the searcher."""

    def __init__(self) -> None:
        self.fresh: Fresh | None = None

    def do(self, pop: Any, *others: Any, **_: object) -> Any:
        """Keep the fresh members of a pymoo population."""
        if len(pop) == 0 or self.fresh is None:
            return pop
        earlier = others[-1].get("X") if others and len(others[-1]) else pop.get("X")[:0]
        return pop[np.flatnonzero(self.fresh(pop.get("X"), earlier))]


class PymooAlgorithm:
    """A genetic algorithm of pymoo behind :class:`Algorithm`."""

    def __init__(self, build: Callable[..., Any], task: Task) -> None:
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination

        class Never(NoTermination):  # type: ignore[misc]  # pymoo has no types
            def update(self, _: object) -> float:  # not even where mating finds nothing new
                return 0.0

        self._unseen = _Unseen()
        problem = Problem(
            n_var=task.dimension,
            n_obj=task.objectives,
            n_ieq_constr=task.constraints,
            xl=np.zeros(task.dimension),
            xu=np.ones(task.dimension),
        )
        self._algorithm = build(
            pop_size=task.population,
            n_offsprings=task.offspring,
            mutation=_mutation(task.axes),
            eliminate_duplicates=self._unseen,
        ).setup(problem, seed=task.seed, termination=Never())
        self._algorithm.mating.n_max_iterations = RETRIES

    def ask(self, fresh: Fresh) -> Floats:
        """Mate survivors until enough children are fresh."""
        self._unseen.fresh = fresh
        children = self._algorithm.ask()
        if children is None:
            return np.zeros((0, self._algorithm.problem.n_var))
        return np.asarray(children.get("X"), dtype=np.float64)

    def tell(self, X: Floats, F: Floats, G: Floats) -> None:
        """Let the points compete with the survivors; the first points become the population."""
        from pymoo.core.initialization import Initialization
        from pymoo.core.population import Population

        population = Population.new("X", X, "F", F, "G", G)
        if not self._algorithm.is_initialized:
            self._algorithm.initialization = Initialization(population)
            self._algorithm.ask()
        self._algorithm.tell(infills=population)


def _mutation(axes: sweep.Axes) -> Any:
    """Return pymoo's polynomial mutation, with :func:`sweep.settle` on discrete axes."""
    from pymoo.operators.mutation.pm import PM

    class Mixed(PM):  # type: ignore[misc]  # pymoo has no types
        def _do(self, problem: Any, X: Any, *args: Any, random_state: Any, **kwargs: Any) -> Any:
            moved = super()._do(problem, X, *args, random_state=random_state, **kwargs)
            return sweep.settle(X, moved, axes, random_state)

    return Mixed(eta=20)


def _pymoo(module: str, name: str, **options: Callable[[Task], Any]) -> Callable[[Task], Algorithm]:
    """Return the factory of a pymoo algorithm; `options` are its arguments, given the task."""

    def factory(task: Task) -> Algorithm:
        algorithm = getattr(importlib.import_module(module), name)
        further = {key: option(task) for key, option in options.items()}
        return PymooAlgorithm(lambda **given: algorithm(**given, **further), task)

    return factory


def _directions(task: Task) -> Floats:
    """Return the finest Das-Dennis grid of directions that the population can cover."""
    from pymoo.util.ref_dirs import get_reference_directions

    best: Floats = np.eye(task.objectives)
    for parts in range(1, task.population + 1):
        grid = get_reference_directions("das-dennis", task.objectives, n_partitions=parts)
        if len(grid) > task.population:
            break
        best = grid
    return best


def _tournament(_: Task) -> Any:
    """Compare by violation, then dominance; NSGA-III's own tournament breaks ties unseeded."""
    from pymoo.algorithms.moo.sms import cv_and_dom_tournament
    from pymoo.operators.selection.tournament import TournamentSelection

    return TournamentSelection(func_comp=cv_and_dom_tournament)


ALGORITHMS: Registry[Callable[[Task], Algorithm]] = Registry(
    "algorithm",
    {
        "nsga2": _pymoo("pymoo.algorithms.moo.nsga2", "NSGA2"),
        "nsga3": _pymoo(
            "pymoo.algorithms.moo.nsga3", "NSGA3", ref_dirs=_directions, selection=_tournament
        ),
        "sms_emoa": _pymoo("pymoo.algorithms.moo.sms", "SMSEMOA"),
        "random": RandomSearch,
        "quasi_random": QuasiRandom,
    },
)
