"""Opponents of a search: simple models with the same serving search and as many settings.

All of them fuse the baselines that lists of the run may fuse; they differ in the networks beside
these: none, one that nobody tuned, or the most accurate of as many fits as the search trained.
Where there are impressions, boosted trees that learn from them are one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from pareto_rec.analysis.confirm.reported_front import Point
from pareto_rec.execution.serving_stage import REPLICA, fused_baselines
from pareto_rec.execution.summary import SELECTED
from pareto_rec.experiment.config import ServingSearchConfig
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.search import Goal, Searcher, Settings
from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.serving import FUSION, ServingSpace, Slot
from pareto_rec.search.space import Integer, Real, SearchSpace, Value, Variable
from pareto_rec.tasks import exponent_names

TREE = "boosted_trees"  # the baseline that is an opponent wherever there are impressions
ALONE, ONE_FIT = "baselines alone", "baselines and one plain fit"
MOST_FITS = 4  # of the accuracy-only ones that lists may fuse
ACCURACY_ALONE: Mapping[str, Value] = {"loss_weights": {"softmax": 1.0}}
_HEAD = (  # what a head has beside losses and backbone
    *("width", "layers", "heads", "history", "steps", "horizon", "learning_rate", "weight_decay"),
    *("dropout", "item_dropout", "temperature"),
)
_SWEPT: Mapping[str, Variable] = {  # where the experiment searches no serving variable
    "popularity_penalty": Real(-0.2, 1.8),
    "mmr": Real(0.0, 0.9),
    "depth": Integer(15, 320, log=True),
}
_LEAST, _ROUNDS = 8, 20  # smallest population, and rounds aimed at, where no config says otherwise

Train = Mapping[str, Value]


@dataclass(frozen=True)
class Opponent:
    """One opponent.

    Attributes:
        name: Of its front.
        kind: ``"baselines"``, ``"tree"``, ``"one_fit"`` or ``"fits"``.
        says: What it is, in a few words.
        slots: What its lists may fuse; fits by id.
        networks: Fit id -> the training variables of the fit, those left out as the config or the
            defaults say.
    """

    name: str
    kind: str
    says: str
    slots: tuple[Slot, ...]
    networks: Mapping[str, Train] = field(default_factory=dict)


def baselines_of(experiment: Experiment) -> tuple[str, ...]:
    """Return the baselines that lists may fuse; where there are none, those beside the front."""
    return fused_baselines(experiment) or tuple(dict.fromkeys(experiment.config.baselines))


def alone(baselines: Sequence[str]) -> Opponent:
    """Return the baselines together, without any network."""
    slots = tuple(Slot.of(name, fits=0) for name in baselines)
    return Opponent(ALONE, "baselines", f"{', '.join(baselines)}; no network", slots)


def with_tree(baselines: Sequence[str]) -> Opponent:
    """Return the baselines with boosted trees over impressions, without any network.

    Where these are among the baselines, which stand for themselves, they are an opponent alone.

    Args:
        baselines: Their names.
    """
    beside = () if TREE in baselines else baselines
    name = "baselines and boosted trees" if beside else "boosted trees alone"
    slots = tuple(Slot.of(one, fits=0) for one in (*beside, TREE))
    says = f"{_listed(beside)}gradient-boosted trees over impressions; no network"
    return Opponent(name, "tree", says, slots)


def with_one_fit(baselines: Sequence[str], fit: str, train: Train) -> Opponent:
    """Return the baselines with one network that nobody tuned.

    Args:
        baselines: Their names.
        fit: Id of the network's fit.
        train: Its training variables, from :func:`middle`.
    """
    says = (
        f"{_listed(baselines)}one network trained for accuracy alone, "
        "hyperparameters in the middle of their ranges"
    )
    slots = (*alone(baselines).slots, Slot.of(fit, fits=1))
    name = ONE_FIT if baselines else "one plain fit"
    return Opponent(name, "one_fit", says, slots, {fit: train})


def with_best_fits(
    baselines: Sequence[str], fits: Mapping[str, Train], trained: int, members: int
) -> Opponent:
    """Return the baselines with the most accurate of many fits.

    Args:
        baselines: Their names.
        fits: Id -> training variables of the chosen fits.
        trained: How many there were to choose from.
        members: Most networks of one list.
    """
    says = (
        f"{_listed(baselines)}the {len(fits)} most accurate of {trained} networks trained for "
        "accuracy alone, hyperparameters drawn from the space"
    )
    slots = [*alone(baselines).slots, *(Slot.of(fit, fits=1) for fit in fits)]
    if 1 < len(fits) <= members:
        slots.append(Slot.averaged(list(fits)))
    name = f"best {len(fits)} of {trained} accuracy-only fits"
    return Opponent(name, "fits", says, tuple(slots), fits)


def _listed(baselines: Sequence[str]) -> str:
    return f"{', '.join(baselines)}, and " if baselines else ""


def middle(space: SearchSpace) -> dict[str, Value]:
    """Return training variables as one would have them without a search.

    Every hyperparameter of the head stands in the middle of its range, the loss is on accuracy
    alone.
    """
    own = {
        name: value
        for name, value in space.middle({}).train.items()
        if name in _HEAD and not space.train[name].when
    }
    return {**own, **ACCURACY_ALONE}


def accuracy_only(experiment: Experiment, number: int) -> list[Train]:
    """Return training variables of different fits for accuracy alone.

    They are drawn from the space without the weights of losses as the search draws its first
    generation; where the space has fewer, the same ones are repeated with other random draws.

    Args:
        experiment: Whose space, settings and seed.
        number: How many.
    """
    variables = {
        name: one for name, one in experiment.space.train.items() if name not in ACCURACY_ALONE
    }
    drawn: list[Train] = [{}]
    if variables:
        plain = Settings(
            algorithm="random",
            population=max(2, number),
            first=number,
            sweep=1,
            start=experiment.settings.start,
        )
        space = SearchSpace(variables, {})
        searcher = Searcher(space, experiment.goals, plain, seed=experiment.config.seed)
        drawn = [trial.train for trial in searcher.ask()]
    repeated = (one if copy == 0 else {**one, REPLICA: copy} for copy in count() for one in drawn)
    return [{**one, **ACCURACY_ALONE} for one, _ in zip(repeated, range(number), strict=False)]


def serving_variables(experiment: Experiment) -> Mapping[str, Variable]:
    """Return the serving variables that every opponent's search has, besides the fusion.

    Those of the run's space, without exponents of tasks, which networks for accuracy alone do not
    predict, and without what depends on training variables; where nothing is left, the usual ones.
    """
    left_out = {FUSION, *exponent_names(experiment.config.tasks)}
    own = {name: one for name, one in experiment.space.serve.items() if name not in left_out}
    return ServingSpace((), own, 1).space.serve or _SWEPT


def serving_search(experiment: Experiment, settings: int) -> ServingSearchConfig:
    """Return how opponents are searched: as the run, or by the defaults where it was not.

    Args:
        experiment: Of the run.
        settings: As many as the run has records.
    """
    own = experiment.config.search.serving
    if own is not None:
        return own.model_copy(update={"settings": settings})
    plain = ServingSearchConfig(settings=settings)
    population = min(plain.population, max(_LEAST, settings // _ROUNDS))
    return plain.model_copy(update={"population": population})


def claimed(points: Sequence[Point], goals: Sequence[Goal]) -> float:
    """Return the hypervolume of the feasible points by the values that they were chosen by."""
    values, up, bound = _arrays([point.claimed for point in points], goals)
    return front.hypervolume(values[violation(values, goals) <= 0], reference=bound, maximise=up)


def select(points: Sequence[Point], goals: Sequence[Goal]) -> list[Point]:
    """Return at most `SELECTED` feasible points that keep the most hypervolume."""
    values, up, bound = _arrays([point.claimed for point in points], goals)
    keep = np.flatnonzero(violation(values, goals) <= 0)
    chosen = keep[front.select(values[keep], SELECTED, reference=bound, maximise=up)]
    first = goals[0]
    order = sorted(chosen, key=lambda i: -values[i, 0] if first.maximise else values[i, 0])
    return [points[i] for i in order]


def _arrays(
    rows: Sequence[Mapping[str, float]], goals: Sequence[Goal]
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[bool], list[float]]:
    values = np.array([[row[goal.name] for goal in goals] for row in rows], dtype=np.float64)
    up, bound = [goal.maximise for goal in goals], [goal.reference for goal in goals]
    return values.reshape(len(rows), len(goals)), up, bound
