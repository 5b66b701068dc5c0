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
from pareto_rec.costs import COSTS, Encoder
from pareto_rec.data import load
from pareto_rec.data.schema import Split, Stage
from pareto_rec.data.split import split, split_kind
from pareto_rec.errors import unknown
from pareto_rec.evaluate import Evaluator, Measures
from pareto_rec.experts import EXPERTS, expert_scores
from pareto_rec.features import Features
from pareto_rec.fitstore import FitStore
from pareto_rec.limits import check_variables
from pareto_rec.objectives import parse
from pareto_rec.search import Goal, Settings
from pareto_rec.seeds import child_seed
from pareto_rec.space import Choice, SearchSpace, Simplex
from pareto_rec.supplies import needs_of, predicted_signals

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
        """Experts that are fused, that fits are kept to, or that are drawn as baselines."""
        fusion, reference = self.space.serve.get("fusion"), self.space.train.get("reference")
        named = [
            *(fusion.names if isinstance(fusion, Simplex) else ()),
            *self.config.serving.get("fusion", ()),
            *(reference.options if isinstance(reference, Choice) else ()),
            self.config.fixed.get("reference"),
            *self.config.baselines,
        ]
        return tuple(name for name in dict.fromkeys(named) if name in EXPERTS)


def plan(config: Config) -> Plan:
    """Resolve every name in a config.

    Raises:
        BadRequestError: If an objective, expert, variable, model, loss or algorithm is not known.
    """
    split_kind(config.split.kind)
    space = config.space.build()
    measures = Measures(
        tuple(parse(one.name) for one in config.objective),
        tuple(parse(name) for name in config.reported),
    )
    goals = tuple(
        Goal(
            objective.name,
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
    for name in config.baselines:
        if name not in EXPERTS:
            raise unknown("expert in baselines", name, EXPERTS)
    check_variables(config.fixed, config.serving, space)
    return Plan(config, space, measures, goals, settings)


def read_split(config: Config, cache: Path) -> Split:
    """Load the data of a config and split it."""
    dataset = load(config.data.name, cache)
    for signal in (config.data.relevance, config.data.liked):
        if signal is not None and signal not in dataset.interactions.signals:
            raise unknown("signal", signal, dataset.interactions.signals)
    return split(
        dataset,
        config.split.kind,
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
    objectives = (*made.measures.searched, *made.measures.reported)
    check_objectives(made, stage)
    reading = [config.backbone.components, config.backbone.text]
    key = hashlib.sha256(
        json.dumps([stage.content_hash, features.key, signals, reading]).encode()
    ).hexdigest()
    return Evaluator(
        stage,
        features.states if config.backbone.text else np.zeros((len(stage.items), 1)),
        expert_scores(made.experts, stage, cache),
        made.space,
        config.fixed,
        made.measures,
        signals=signals,
        train=config.train,
        store=FitStore(cache / "fits", key),
        seed=child_seed(config.seed, "fit"),
        components=config.backbone.components,
        serving_fixed=config.serving,
        encoder=_waiting_encoder(config, cache) if needs_of(objectives) & COSTS else None,
    )


def _loss_names(made: Plan) -> tuple[str, ...]:
    """Losses that fits are trained on."""
    searched = made.space.train.get("loss_weights")
    if isinstance(searched, Simplex):
        return searched.names
    return tuple(made.config.fixed.get("loss_weights", ()))


def _waiting_encoder(config: Config, cache: Path) -> Encoder | None:
    """The backbone, where the experiment says that texts are encoded while a request waits."""
    if not config.latency.encode_text:
        return None
    backbone, chosen = Backbone.load(config.backbone.name, cache), config.backbone
    return Encoder.of(
        backbone, max_length=chosen.max_length, cut=chosen.cut, device=config.train.device
    )


@lru_cache(maxsize=1)
def worker_evaluator(config_json: str, cache: Path) -> Evaluator:
    """The evaluator of the validation stage, built once in every worker process."""
    made = plan(Config.model_validate_json(config_json))
    split = read_split(made.config, cache)
    features = read_features(made.config, split.validation.items.texts, cache)
    return build_evaluator(made, split.validation, cache, features)


def check_objectives(made: Plan, stage: Stage) -> None:
    """Refuse objectives on what the data does not have or the fits do not predict.

    Raises:
        BadRequestError: If a signal or an attribute of users is not there, or is not predicted.
    """
    predicted = predicted_signals(made.config.data.liked, _loss_names(made))
    for one in (*made.measures.searched, *made.measures.reported):
        one.check(
            signals=stage.held_out.signals,
            attributes=stage.users.attributes,
            predicted=predicted,
        )
