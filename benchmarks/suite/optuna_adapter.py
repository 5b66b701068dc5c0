"""Optuna's samplers on the evaluator and the sweep of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.task import Problem
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.runs.record import Record
from pareto_rec.search import Trial, sweep
from pareto_rec.search import pareto as front
from pareto_rec.search.space import Candidate
from pareto_rec.search.variables import Choice

Method = Callable[[Problem, int, int], Iterator[list[Record]]]


def with_optuna(make: Callable[[Any, int], Any]) -> Method:
    """Return a search by one of Optuna's samplers: one fit at a time, the same sweep around it."""

    def search(given: Problem, fits: int, seed: int) -> Iterator[list[Record]]:
        optuna = import_optuna()
        own = _distributions(given, optuna)
        sampler = make(optuna.samplers, child_seed(seed, "optuna") % 2**32)
        directions = ["maximize" if goal.maximise else "minimize" for goal in given.goals]
        study = optuna.create_study(directions=directions, sampler=sampler)
        known: list[tuple[NDArray[np.float64], Record]] = []
        for index in range(fits):
            trial = study.ask(own)
            cube = cube_of(given, trial.params)
            candidates, cubes = _with_sweep(given, cube, known, seed, index)
            records = given.evaluator.evaluate([Trial(index, 0, 0, tuple(candidates))])
            known = _front(given, [*known, *zip(cubes, records, strict=True)])
            if records[0].status == "ok":
                _tell(given, study, trial, records[0])
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            yield records

    return search


def import_optuna() -> Any:
    """Import Optuna with its log silenced.

    Raises:
        BadRequestError: If it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise BadRequestError(
            'this benchmark needs Optuna: pip install "pareto_rec[optuna]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distributions(given: Problem, optuna: Any) -> dict[str, Any]:
    """The coordinates of the unit cube; options stay options."""
    space, kinds = given.experiment.space, dict(given.experiment.space.discrete)
    distributions: dict[str, Any] = {}
    for axis in range(space.dimension):
        kind = kinds.get(axis)
        if isinstance(kind, Choice):
            choices = list(range(len(kind.options)))
            distributions[f"{axis:03d}"] = optuna.distributions.CategoricalDistribution(choices)
        else:
            distributions[f"{axis:03d}"] = optuna.distributions.FloatDistribution(0.0, 1.0)
    return distributions


def cube_of(given: Problem, params: Mapping[str, float]) -> NDArray[np.float64]:
    """The point ``[dimension]`` of the unit cube that Optuna's parameters stand for."""
    kinds = dict(given.experiment.space.discrete)
    cube = np.array([params[name] for name in sorted(params)], dtype=np.float64)
    for axis, kind in kinds.items():
        if isinstance(kind, Choice):
            cube[axis] = (cube[axis] + 0.5) / len(kind.options)
    return cube


def _tell(given: Problem, study: Any, trial: Any, record: Record) -> None:
    """Tell the study a record's values and constraints; above 0 is a violation."""
    for goal in given.goals:
        if goal.at_least is not None:
            trial.set_constraint(goal.name, goal.at_least - record.objectives[goal.name])
    study.tell(trial, [record.objectives[goal.name] for goal in given.goals])


def _with_sweep(
    given: Problem,
    cube: NDArray[np.float64],
    known: Sequence[tuple[NDArray[np.float64], Record]],
    seed: int,
    index: int,
) -> tuple[list[Candidate], list[NDArray[np.float64]]]:
    """The candidate and its sweep, proposed as this search proposes them."""
    space, settings = given.experiment.space, given.experiment.settings
    head, own = np.split(cube, [space.train_dimension])
    pool = np.array([cube[space.train_dimension :] for cube, _ in known]).reshape(-1, len(own))
    rng, more = generator(seed, "sweep", index), settings.sweep - 1
    shift = space.train_dimension
    points = sweep.proposals(
        sweep.quasi_random(more, len(own), rng),
        own[None],
        pool,
        copied=settings.copied,
        varied=settings.varied,
        axes=[(axis - shift, kind) for axis, kind in space.discrete if axis >= shift],
        rng=rng,
    )
    first = space.decode(cube)
    candidates, cubes, taken = [first], [cube], {first.id}
    for point in islice(points, 8 * more):
        candidate = Candidate(first.train, space.decode_serve(point, first.train))
        if candidate.id not in taken and len(candidates) <= more:
            taken.add(candidate.id)
            candidates.append(candidate)
            cubes.append(np.concatenate([head, point]))
    return candidates, cubes


def _front(
    given: Problem, known: list[tuple[NDArray[np.float64], Record]]
) -> list[tuple[NDArray[np.float64], Record]]:
    feasible = [pair for pair in known if given.feasible(pair[1])]
    values = np.array([[r.objectives[goal.name] for goal in given.goals] for _, r in feasible])
    up = [goal.maximise for goal in given.goals]
    keep = front.non_dominated(values.reshape(len(feasible), len(up)), maximise=up)
    return [pair for pair, stays in zip(feasible, keep, strict=True) if stays]
