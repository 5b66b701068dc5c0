"""Data sets of the decisive experiment: the experiments' own questions, with losses to match."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.files import beside
from pareto_rec.execution.tuned import tuned
from pareto_rec.experiment.config import Config
from pareto_rec.experiment.config.matched import OBJECTIVES
from pareto_rec.experiment.config.whole import parse_config
from pareto_rec.experiment.experiment import SOFTMAX, Experiment
from pareto_rec.search.space import Simplex
from pareto_rec.search.variables import Floats
from pareto_rec.tasks import BUILT_IN

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
WEIGHTS = "loss_weights"
FLOOR = 0.5  # of the softmax: below it a network no longer ranks by relevance


@dataclass(frozen=True)
class Case:
    """One data set.

    Attributes:
        path: Folder of the experiment's config.
        seconds: Processor seconds of every arm, seed and mode.
        search: Config keys that the search has otherwise, test data not: a sample of users.
    """

    path: Path
    seconds: float = 60.0
    search: Mapping[str, Any] = field(default_factory=dict)


CASES: Mapping[str, Case] = {
    name: Case(EXPERIMENTS / name)
    for name in (
        "movielens_accuracy_diversity_fairness",
        "retail_value_diversity",
        "grocery_fairness_price",
        "vehicle_coupon_acceptance",
    )
}


def case_of(name: str) -> Case:
    """Return a data set by its name, or by the folder of another experiment's config.

    Raises:
        BadRequestError: If there is no such config.
    """
    case = CASES.get(name, Case(Path(name)))
    if not (case.path / "config.toml").is_file():
        raise BadRequestError(
            f"no config at {case.path / 'config.toml'}: name one of {', '.join(CASES)}, or the "
            "folder of an experiment"
        )
    return case


def config_of(case: Case, seed: int, *, sampled: bool) -> Config:
    """Return the config of a case: its own, with the losses that match its objectives.

    Exponents of tasks that no loss trains go.

    Nothing is reported besides the searched objectives, which would cost time and change nothing.

    Args:
        case: Which.
        seed: Of the search.
        sampled: Whether the search's own keys apply; test data is measured without them.

    Raises:
        BadRequestError: If the config cannot be used.
    """
    source = case.path / "config.toml"
    table = tomllib.loads(source.read_text())
    beside(table.get("data"), case.path)
    space = table["space"]
    train = {**space.get("train", {}), WEIGHTS: OBJECTIVES}
    table |= {"seed": seed, "reported": [], "smoke": {}}
    table |= {"space": {**space, "train": train}, **(case.search if sampled else {})}
    config = parse_config(table, str(source))
    config.space.train[WEIGHTS].floor.update({SOFTMAX: FLOOR})
    for task in BUILT_IN:
        if task not in config.losses:  # nothing predicts it
            config.space.serve.pop(f"{task}_exponent", None)
    return config


def experiment_of(
    case: Case, seed: int, cache: Path, *, sampled: bool = True, tune: bool = True
) -> Experiment:
    """Return the experiment of a case, its baselines tuned; no arm pays for that.

    Args:
        case: Which.
        seed: Of the search.
        cache: Root of the cache, where tuned parameters are kept.
        sampled: As of `config_of`.
        tune: Whether baselines are tuned.

    Raises:
        BadRequestError: If the config or its data cannot be used.
    """
    experiment = Experiment.of(config_of(case, seed, sampled=sampled), cache)
    return tuned(experiment, {}, lambda _: None)[0] if tune else experiment


def losses_of(experiment: Experiment) -> Simplex:
    """Return the simplex of the loss weights."""
    simplex = experiment.space.train[WEIGHTS]
    assert isinstance(simplex, Simplex)
    return simplex


def centre_of(simplex: Simplex) -> list[float]:
    """Return the shares of losses that all have the same."""
    return [1.0 / len(simplex.names)] * len(simplex.names)


def weights_at(simplex: Simplex, shares: Sequence[float] | Floats) -> dict[str, float]:
    """Return loss weights at shares of what the floors leave free.

    Args:
        simplex: Names and floors.
        shares: One per name, summing to 1.
    """
    floors = [simplex.floor.get(name, 0.0) for name in simplex.names]
    free = 1.0 - sum(floors)
    return {
        name: float(floor + free * share)
        for name, floor, share in zip(simplex.names, floors, shares, strict=True)
    }
