"""From a config to everything that evaluating its candidates needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pareto_rec.backbone import Backbone
from pareto_rec.config import Config
from pareto_rec.data import load
from pareto_rec.data.schema import Split, Stage
from pareto_rec.data.split import split_per_user
from pareto_rec.errors import BadRequestError, unknown
from pareto_rec.evaluate import Evaluator, Measures, serving, train_spec
from pareto_rec.experts import EXPERTS, expert_scores
from pareto_rec.features import Features
from pareto_rec.fitstore import FitStore
from pareto_rec.objectives import Objective, parse
from pareto_rec.policy import NETWORK
from pareto_rec.search import Goal, Settings
from pareto_rec.seeds import child_seed
from pareto_rec.space import SearchSpace, Simplex
from pareto_rec.variables import named_values

EncodeProgress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Plan:
    """A config, checked as far as it can be without data.

    Attributes:
        config: What it was made from.
        space: Decision variables.
        measures: Objectives.
        goals: What the search is told about the searched ones.
        settings: How to search.
    """

    config: Config
    space: SearchSpace
    measures: Measures
    goals: tuple[Goal, ...]
    settings: Settings

    @property
    def experts(self) -> tuple[str, ...]:
        """Experts that are fused or drawn as baselines."""
        fusion = self.space.serve.get("fusion")
        fused = fusion.names if isinstance(fusion, Simplex) else ()
        return tuple(dict.fromkeys([n for n in fused if n != NETWORK] + self.config.baselines))


def plan(config: Config) -> Plan:
    """Resolve every name in a config.

    Raises:
        BadRequestError: If an objective, expert, variable, model, loss or algorithm is not known.
    """
    space = config.space.build()
    measures = Measures(
        tuple(parse(one.name) for one in config.objective),
        tuple(parse(name) for name in config.reported),
    )
    goals = tuple(
        Goal(
            one.name,
            objective.maximise,
            objective.reference if one.reference is None else one.reference,
            one.at_least,
            one.at_most,
        )
        for one, objective in zip(config.objective, measures.searched, strict=True)
    )
    search = config.search
    settings = Settings(
        algorithm=search.algorithm,
        population=search.population,
        offspring=search.offspring,
        sweep=search.sweep,
        start=search.start,
        corners=search.corners,
    )
    made = Plan(config, space, measures, goals, settings)
    for name in made.experts:
        if name not in EXPERTS:
            raise unknown("expert", name, [*EXPERTS, NETWORK])
    middle = space.decode(np.full(space.dimension, 0.5))
    _middle_of(made, middle.train, middle.serve)
    return made


def _middle_of(made: Plan, train: object, serve: object) -> None:
    """Refuse unknown variables before anything is computed: build the middle of the space."""
    assert isinstance(train, dict)
    assert isinstance(serve, dict)
    spec = train_spec(made.config.fixed, named_values(made.space.train, train))
    serving(named_values(made.space.serve, serve))
    if spec.width % spec.heads:
        raise BadRequestError(f"width {spec.width} must be a multiple of heads {spec.heads}")


def read_split(config: Config, cache: Path) -> Split:
    """Load the data of a config and split it."""
    dataset = load(config.data.name, cache)
    for signal in (config.data.relevance, config.data.liked):
        if signal is not None and signal not in dataset.interactions.signals:
            raise unknown("signal", signal, dataset.interactions.signals)
    return split_per_user(
        dataset,
        validation=config.split.validation,
        test=config.split.test,
        seed=config.split.seed,
    )


def read_features(
    config: Config, texts: tuple[str, ...], cache: Path, progress: EncodeProgress | None = None
) -> Features:
    """Backbone features of the item texts, computed once."""
    backbone = Backbone.load(config.backbone.name, cache)
    return backbone.encode(
        texts,
        max_length=config.backbone.max_length,
        cut=config.backbone.cut,
        cache=cache,
        device=config.train.device,
        progress=progress,
    )


def build_evaluator(made: Plan, stage: Stage, cache: Path, features: Features) -> Evaluator:
    """The evaluator of one stage."""
    config = made.config
    signals = (config.data.relevance, config.data.liked)
    key = hashlib.sha256(
        json.dumps([stage.content_hash, features.key, signals]).encode()
    ).hexdigest()
    return Evaluator(
        stage,
        features.states,
        expert_scores(made.experts, stage, cache),
        made.space,
        config.fixed,
        made.measures,
        signals=signals,
        train=config.train,
        store=FitStore(cache / "fits", key),
        seed=child_seed(config.seed, "fit"),
    )


@lru_cache(maxsize=1)
def worker_evaluator(config_json: str, cache: Path) -> Evaluator:
    """The evaluator of the validation stage, built once in every worker process."""
    made = plan(Config.model_validate_json(config_json))
    split = read_split(made.config, cache)
    features = read_features(made.config, split.validation.items.texts, cache)
    return build_evaluator(made, split.validation, cache, features)


def check_objectives(objectives: tuple[Objective, ...], stage: Stage) -> None:
    """Refuse objectives on signals that the data does not have.

    Raises:
        BadRequestError: If a signal is not in the data.
    """
    for one in objectives:
        if one.signal is not None and one.signal not in stage.held_out.signals:
            raise unknown(f"signal of objective {one.name}", one.signal, stage.held_out.signals)
