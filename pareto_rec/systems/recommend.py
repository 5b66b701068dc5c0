"""Recommendation as a system: lists of items from histories, on the shared trunk.

All that an experiment on one system does is done by that experiment (`experiment.Experiment`):
data, split, baselines, serving and objectives. What differs is what a fit reads of the items: the
vectors of the shared trunk in place of features. A fit that was trained so is written down as an
ordinary one, the trunk's part of every item vector folded into the item's embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.seeds import child_seed
from pareto_rec.data.history_length import check_truth
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.measurement import ObjectiveEvaluator, ObjectiveSet
from pareto_rec.experiment.config import Config
from pareto_rec.experiment.config.sections import SpaceConfig
from pareto_rec.experiment.config.systems import RecommendSystem
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.models.base import Params
from pareto_rec.objectives import parse
from pareto_rec.objectives.cost import CostObjective
from pareto_rec.ranking import NETWORK
from pareto_rec.search.space import Value
from pareto_rec.search.variables import named_values
from pareto_rec.systems.base import AT, Learner, Read, System, SystemObjective
from pareto_rec.systems.spec import Shared
from pareto_rec.tasks import trained
from pareto_rec.training.data import Fit, TrainData, check_losses
from pareto_rec.training.pack import Pack, shape_of
from pareto_rec.training.spec import TrainSpec, train_spec

LEFT_TO_ALL = (
    *("width", "steps", "batch", "learning_rate", "weight_decay", "check_every", "patience"),
)

"""Training variables that are the whole model's."""
_OF_ONE_BACKBONE = ("exit_layer", "text_length", "encoder_precision", "tuned_layers")
_PAD = ("ndcg@10", "recall@10")  # a config needs two objectives


class Recommendation(System):
    """A system that recommends."""

    kind = "recommend"

    def __init__(
        self,
        config: RecommendSystem,
        backbone: Mapping[str, Any],
        space: SpaceConfig,
        names: Sequence[str],
        seed: int,
        cache: Path,
        device: str,
    ) -> None:
        """Resolve its config; data is read when it is asked for.

        Args:
            config: Its part of the config.
            backbone: That part of the config.
            space: Its own variables, by their own names.
            names: Objectives to measure, without the system's name.
            seed: Root of every seed.
            cache: Root of the cache.
            device: Of torch.

        Raises:
            BadRequestError: If a name or a variable is not known, or is the whole model's.
        """
        self.name, self.config, self.names = config.name, config, tuple(names)
        for variable in (*config.fixed, *space.train):
            if variable in (*LEFT_TO_ALL, *_OF_ONE_BACKBONE):
                raise BadRequestError(
                    f'system "{config.name}": {variable} is one value for all systems: set it in '
                    "[fixed] or [space.train] of the whole config"
                )
        objectives = [*names, *(one for one in _PAD if one not in names)]
        self.experiment = Experiment.of(
            Config.model_validate(
                {
                    "name": config.name,
                    "question": "one of several systems",
                    "seed": seed,
                    "data": config.data.model_dump(),
                    "split": config.split.model_dump(),
                    "sample": config.sample.model_dump(),
                    "evaluate": config.evaluate.model_dump(),
                    "backbone": dict(backbone),
                    "fixed": dict(config.fixed),
                    "serving": dict(config.serving),
                    "tuning": config.tuning.model_dump(),
                    "baselines": list(config.baselines),
                    "space": space.model_dump(),
                    "objective": [{"name": one} for one in objectives[: max(2, len(names))]],
                    "train": {"device": device},
                }
            ),
            cache,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of the items."""
        return self.experiment.split.validation.items.texts

    @cached_property
    def key(self) -> str:
        """What identifies data, split and options."""
        stage, config = self.experiment.split.validation.content_hash, self.config
        content = [stage, config.model_dump_json(), code_key(__name__)]
        return hashlib.sha256(repr(content).encode()).hexdigest()

    @property
    def account(self) -> Mapping[str, Any]:
        """Where every row went, and rows per stage."""
        split = self.experiment.split
        stage = split.validation
        return {
            **(split.account or {}),
            "users": len(stage.users),
            "items": len(stage.items),
            "training_rows": len(stage.train),
            "truth": stage.truth_account,
        }

    def objective(self, name: str) -> SystemObjective:
        """Return any objective of an experiment on one system but costs.

        What a fit costs is what the whole model costs: the system's part alone would mislead.
        """
        one = parse(name)
        if isinstance(one, CostObjective):
            raise BadRequestError(
                f'system "{self.name}": {name} is a cost of the whole model and not of one system'
            )
        return SystemObjective(
            f"{name}{AT}{self.name}", one.maximise, one.unit, one.reference, one.recorded
        )

    @cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator of the validation stage."""
        stage = self.experiment.split.validation
        check_truth(stage, self.config.data.relevance)
        return self.experiment.evaluator()

    def data(self, width: int) -> TrainData:
        """Return what a pack reads, the vectors of the trunk to be put in place of the features."""
        data = self.evaluator.data
        nothing = torch.zeros(len(data.features), width, device=data.device)
        return replace(data, features=nothing)

    def spec(self, shared: Shared, own: Mapping[str, Any]) -> TrainSpec:
        """Return the training variables of its pack."""
        whole = {
            "width": shared.width,
            "steps": shared.steps,
            "batch": shared.rows,
            "check_every": shared.check_every,
        }
        return train_spec(
            {**self.config.fixed, **whole}, named_values(self.experiment.space.train, own)
        )

    def learner(self, shared: Shared, own: Mapping[str, Any], seed: int) -> Learner:
        """Begin a fit."""
        return _RecommendationLearner(self, shared, own, seed)

    def fit(self, head: Params, shared: Shared, own: Mapping[str, Any], vectors: Tensor) -> Fit:
        """Return a fit that reads the experiment's own features, as every other fit does.

        The trunk's part of an item's vector is added to the item's embedding, and the features are
        read with weights of zero: for items of the catalogue the scores are the same.
        """
        spec, features = self.spec(shared, own), self.evaluator.data.features
        params = {name: value.detach()[0].clone() for name, value in head.items()}
        text = vectors @ params["item.project"]
        params["item.embed"] = params["item.embed"] + text
        params["item.project"] = torch.zeros(features.shape[1], shared.width).to(text)
        tasks = trained(self.evaluator.data.labels.tasks, spec.loss_weights)
        shape = shape_of(spec, len(features), features.shape[1], tasks)
        return Fit(spec, shape, params, ((spec.steps, float("nan")),), spec.steps, 0.0)

    def measure(
        self,
        head: Params,
        shared: Shared,
        own: Mapping[str, Any],
        vectors: Tensor,
        serve: Sequence[Mapping[str, Value]],
        wanted: Sequence[str],
    ) -> list[dict[str, float]]:
        """Measure lists of every serving setting on the validation stage."""
        with torch.no_grad():
            fits = {NETWORK: self.fit(head, shared, own, vectors)}
        evaluator = self.evaluator
        settings = [evaluator.serving(one) for one in serve]
        results = self._measuring(wanted).values(evaluator.with_fits(fits), settings, fits)
        return [dict(one.objectives) for one in results]

    def baselines(self, wanted: Sequence[str]) -> dict[str, dict[str, float]]:
        """Measure every baseline of the config alone, as a list of it alone is served."""
        names, evaluator = self.config.baselines, self.evaluator
        if not names:
            return {}
        settings = [evaluator.serving({"fusion": {name: 1.0}}) for name in names]
        results = self._measuring(wanted).values(evaluator.scorers, settings)
        return {name: dict(one.objectives) for name, one in zip(names, results, strict=True)}

    def _measuring(self, wanted: Sequence[str]) -> ObjectiveEvaluator:
        """Return what measures some objectives, each by itself: one that has no value is absent."""
        measures = ObjectiveSet((), tuple(parse(name) for name in wanted))
        return replace(self.evaluator.measuring, measures=measures)


class _RecommendationLearner(Learner):
    """The recommending system's part of a fit: a pack of one that somebody else steps."""

    def __init__(
        self, system: Recommendation, shared: Shared, own: Mapping[str, Any], seed: int
    ) -> None:
        spec = system.spec(shared, own)
        data = system.data(shared.width)
        check_losses(spec, data)
        self.pack = Pack([spec], [child_seed(seed, "fit")], data)
        self.params = self.pack.params
        self.monitor = system.evaluator.monitor()
        self.weights = torch.tensor(list(spec.loss_weights.values())).to(shared.device)
        self.batches: Mapping[str, Tensor] = {}

    def draw(self, first: int) -> None:
        """Draw examples as a pack does."""
        self.batches = self.pack.examples.draw(first)

    def loss(self, offset: int, read: Read) -> Tensor:
        """Compute the weighted losses, each in its unit."""
        batch = {name: one[:, offset] for name, one in self.batches.items()}
        losses = self.pack.losses_on(read(None), batch)[0]
        return (self.weights * losses).sum()

    def watch(self, vectors: Tensor) -> float:
        """Compute NDCG@10 of the validation stage, or what the losses have it watch."""
        value = self.pack.value_on(vectors, self.monitor)
        return float("nan") if value is None else value
