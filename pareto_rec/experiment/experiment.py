"""An experiment: from a config to everything that evaluating its candidates needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.features import Features
from pareto_rec.baselines import (
    BASELINES,
    Baseline,
    check_impressions,
    expert_key,
    expert_scores,
    scores_on_demand,
    with_given_parameters,
)
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.seeds import child_seed
from pareto_rec.data.identity import RowsIdentity
from pareto_rec.data.sample import sample_users, users_to_ask
from pareto_rec.data.schema import Dataset, Interactions, Stage
from pareto_rec.data.split import split_kind
from pareto_rec.evaluation.costs import COSTS, Encoders
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.inputs import CandidateVariables, EvaluationData
from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.evaluation.outcome_inputs import needs_of
from pareto_rec.evaluation.tuning import check_metric
from pareto_rec.experiment.checks import (
    check_objectives,
    check_serving_search,
    check_task_losses,
)
from pareto_rec.experiment.config import Config, SearchConfig, load_config
from pareto_rec.experiment.config.sections import ObjectiveConfig
from pareto_rec.experiment.identity import code_hash
from pareto_rec.experiment.inputs import (
    EncodeProgress,
    encode_texts,
    open_backbone,
    read_dataset,
    read_split,
    split_dataset,
)
from pareto_rec.experiment.limits import check_rungs, check_smoke, check_variables
from pareto_rec.experiment.openings import OpeningLedger, SealedSplit
from pareto_rec.experiment.plugins import load_plugins
from pareto_rec.experiment.references import Reference, read_references
from pareto_rec.experiment.texts import text_source
from pareto_rec.objectives import parse
from pareto_rec.runs.files import read_info
from pareto_rec.search import Goal, Settings
from pareto_rec.search.space import Candidate, Choice, SearchSpace, Simplex
from pareto_rec.tasks import check_tasks, trained
from pareto_rec.training.fit_store import FitStore

SOFTMAX = "softmax"  # the loss on accuracy alone
MOST_STORED = 200_000_000  # scores of an expert that are kept on disk (800 MB); above, on demand


@dataclass(frozen=True)
class Experiment:
    """One config with what its candidates are evaluated on; each part is read when asked for.

    Attributes:
        config: What it was made from.
        space: Decision variables.
        objectives: Objectives, searched and reported.
        goals: What the search is told about the searched ones.
        settings: How to search.
        cache: Root of the cache.
        run: The run directory that it was read from, if any; data and features must be those that
            the run was searched on.
        on_encoded: Told how far the encoding of texts is.
    """

    config: Config
    space: SearchSpace
    objectives: ObjectiveSet
    goals: tuple[Goal, ...]
    settings: Settings
    cache: Path
    run: Path | None = None
    on_encoded: EncodeProgress | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        config: Config,
        cache: Path | None = None,
        *,
        run: Path | None = None,
        on_encoded: EncodeProgress | None = None,
    ) -> Experiment:
        """Resolve every name in a config; no data is read yet.

        Args:
            config: The config.
            cache: Root of the cache; None for the user's.
            run: The run directory that the config comes from, if any.
            on_encoded: Told how far the encoding of texts is.

        Raises:
            BadRequestError: If an objective, expert, variable, model, loss or algorithm is not
                known, or a plugin cannot be used.
        """
        load_plugins(config.plugins)
        split_kind(config.split.kind)
        check_tasks(config.tasks)
        space = config.space.build()
        objectives = ObjectiveSet(
            tuple(parse(objective.name) for objective in config.objective),
            tuple(parse(name) for name in config.reported),
        )
        settings = _settings_of(config, space)
        check_serving_search(config)
        for name in config.baselines:
            if name not in BASELINES:
                raise unknown("expert in baselines", name, BASELINES)
        with_given_parameters(config.baseline_parameters)
        check_metric(config.tuning.metric)
        check_variables(config.fixed, config.serving, space, config.tasks)
        rungs = config.search.fidelity.rungs if config.search.fidelity else ()
        check_rungs(config.fixed, space, rungs)
        check_smoke(config.smoke)
        check_task_losses(config, space)
        goals = goals_of(config.objective, objectives.searched)
        cache = cache_dir() if cache is None else cache
        return cls(config, space, objectives, goals, settings, cache, run, on_encoded)

    @classmethod
    def from_run(
        cls, path: Path, cache: Path | None = None, *, on_encoded: EncodeProgress | None = None
    ) -> Experiment:
        """The experiment of a run directory, by the config that it was searched with.

        Raises:
            BadRequestError: If there is no such run directory, or its config cannot be used.
        """
        return cls.of(load_config(path), cache, run=path, on_encoded=on_encoded)

    @classmethod
    def for_worker(cls, config_json: str, cache: Path) -> Experiment:
        """The experiment of a config in JSON; a process keeps the last one."""
        return _of_json(config_json, cache)

    @property
    def experts(self) -> tuple[str, ...]:
        """Experts that are fused, that fits are kept to, or that are drawn as baselines."""
        fusion = self.space.serve.get("fusion")
        named = [
            *(fusion.names if isinstance(fusion, Simplex) else ()),
            *self.config.serving.get("fusion", ()),
            *self.reference_experts,
            *self.config.baselines,
        ]
        return tuple(name for name in dict.fromkeys(named) if name in BASELINES)

    @cached_property
    def baselines(self) -> Mapping[str, Baseline]:
        """Every registered baseline, with the parameters that the config gives."""
        return with_given_parameters(self.config.baseline_parameters)

    def with_baseline_parameters(
        self, parameters: Mapping[str, Mapping[str, float | int]]
    ) -> Experiment:
        """The same experiment with other parameters of some baselines; data is not read again.

        Args:
            parameters: Name -> all parameters that the config shall give.
        """
        given = {**self.config.baseline_parameters, **{n: dict(v) for n, v in parameters.items()}}
        return self._with_config(baseline_parameters=given)

    def with_baseline(self, name: str) -> Experiment:
        """The same experiment with one more baseline beside the front; data is not read again."""
        if name in self.experts:
            return self
        return self._with_config(baselines=[*self.config.baselines, name])

    def _with_config(self, **update: object) -> Experiment:
        changed = replace(self, config=self.config.model_copy(update=update))
        for name in ("dataset", "split", "features"):
            if name in self.__dict__:  # cached properties
                changed.__dict__[name] = self.__dict__[name]
        return changed

    def check_baselines(self, stage: Stage) -> None:
        """Refuse baselines that the data has not enough for, before any of them learns.

        Raises:
            BadRequestError: If one learns from impressions and there are none.
        """
        check_impressions(self.experts, self.baselines, stage)

    @property
    def reference_experts(self) -> tuple[str, ...]:
        """Experts that fits may be kept to."""
        reference = self.space.train.get("reference")
        options = reference.options if isinstance(reference, Choice) else ()
        named = dict.fromkeys([*options, self.config.fixed.get("reference")])
        return tuple(str(name) for name in named if name in BASELINES)

    @property
    def variables(self) -> CandidateVariables:
        """What the values of candidates mean."""
        config = self.config
        return CandidateVariables(self.space, config.fixed, config.serving, config.tasks)

    @cached_property
    def dataset(self) -> Dataset:
        """All data, before it is split; whoever needs no more than a part takes `split`."""
        return read_dataset(self.config, self.cache)

    @cached_property
    def split(self) -> SealedSplit:
        """The split; its test stage is sealed (`open_test`)."""
        return SealedSplit.of(read_split(self.config, self.cache))

    def open_test(self, ledger: OpeningLedger) -> Stage:
        """The test stage.

        Args:
            ledger: Where it was written down that test data is opened.

        Raises:
            BadRequestError: If that was not written down.
        """
        ledger.check()
        test = read_split(self.config, self.cache).test
        ledger.check_rows(_held_out(test).sha256)
        return test

    def test_rows(self) -> tuple[RowsIdentity, RowsIdentity]:
        """Which rows the test stage holds out, and of which data; no more is told of them."""
        dataset = read_dataset(self.config, self.cache)
        users, items = dataset.users.ids, dataset.items.ids
        everything = RowsIdentity.of(dataset.interactions, users, items)
        return _held_out(split_dataset(self.config, dataset).test), everything

    def rows_before_test(self) -> Interactions:
        """Training and validation rows: the histories that test data are predicted from."""
        return read_split(self.config, self.cache).test.history

    @property
    def backbone(self) -> Backbone:
        """The backbone, opened anew: whoever asks decides how long its weights stay in memory."""
        return open_backbone(self.config, self.cache, lambda: self.split.validation)

    @cached_property
    def features(self) -> Features:
        """Backbone features of the item texts, computed once.

        Raises:
            BadRequestError: If the backbone has fewer layers than a candidate may run.
        """
        texts = self.split.validation.items.texts
        return encode_texts(self.config, self.backbone, texts, self.cache, self.on_encoded)

    @property
    def code_key(self) -> str:
        """Key of the code that decides records."""
        return code_hash()

    @property
    def hashes(self) -> dict[str, str]:
        """What records are computed from, as run.json has it."""
        stage, features = self.split.validation.content_hash, self.features.key
        return {"stage": stage, "features": features, "code": self.code_key}

    def check_unchanged(self) -> None:
        """Refuse data or features that are not those that the run was searched on.

        Raises:
            BadRequestError: If one differs.
        """
        if self.run is None:
            return
        stored, hashes = read_info(self.run).get("hashes") or {}, self.hashes
        for name, what in (("stage", "data or split"), ("features", "features of the item texts")):
            if stored.get(name) != hashes[name]:
                raise BadRequestError(
                    f"{self.run}: the {what} differ from those that it was searched on "
                    f"({name} {hashes[name][:12]} instead of {str(stored.get(name))[:12]}): "
                    "bring the old ones back, or search again"
                )

    def evaluator(self, stage: Stage | None = None, features: Features | None = None) -> Evaluator:
        """The evaluator of one stage, or of a sample of its users where all would be too many.

        Args:
            stage: The stage; None for the validation stage, whose evaluator is kept.
            features: Of the stage's items; None for the experiment's own.

        Raises:
            BadRequestError: If the data lacks what an objective, a task or a reference needs, or is
                not what the run was searched on.
        """
        if stage is None:
            return self._validation_evaluator
        return self._evaluator_of(stage, features or self.features)

    @cached_property
    def _validation_evaluator(self) -> Evaluator:
        self.check_unchanged()
        return self._evaluator_of(self.split.validation, self.features)

    def _evaluator_of(self, stage: Stage, features: Features) -> Evaluator:
        config, cache, learn = self.config, self.cache, stage
        count = users_to_ask(stage, config.evaluate.users)
        stage = sample_users(stage, count, seed=child_seed(config.seed, "evaluated users"))
        check_objectives(config, self.objectives, stage)
        self.check_baselines(learn)
        references = self._references(features)
        hashes = {name: reference.sha256 for name, reference in references.items()}
        key = self.data_key(stage.content_hash, features.key, hashes)
        stored = stage.shape[0] * stage.shape[1] <= MOST_STORED
        scores = expert_scores if stored else scores_on_demand
        texts = stage.items.texts
        evaluator = Evaluator(
            EvaluationData(
                stage,
                features.states if config.backbone.text else np.zeros((len(stage.items), 1)),
                scores(self.experts, stage, cache, learn=learn, baselines=self.baselines),
                config.data.relevance,
                learn=learn,
                components=config.backbone.components,
                texts=text_source(config, self.space, texts, cache, lambda: self.backbone),
                references={name: reference.fit for name, reference in references.items()},
                encoders=self._waiting_encoders(),
                baselines=self.baselines,
            ),
            self.variables,
            self.objectives,
            train=config.train,
            store=FitStore(cache / "fits", key),
            seed=child_seed(config.seed, "fit"),
        )
        labels = evaluator.data.labels
        for task in trained(config.tasks, config.losses):
            labels.of_task(task).scale(task)  # refuses labels that teach nothing, before any fit
        return evaluator

    def data_key(self, stage: str, features: str, references: Mapping[str, str]) -> str:
        """Names everything but training variables, seed and code that fits are learnt from.

        Args:
            stage: Content hash of the stage.
            features: Key of the features.
            references: Fit that others may be kept to -> SHA-256 of its file.
        """
        config = self.config
        content = {
            "stage": stage,
            "features": features,
            "relevance": config.data.relevance,
            "reading": [config.backbone.components, config.backbone.text],
            "references": dict(references),
            "experts": {name: expert_key(self.baselines[name]) for name in self.reference_experts},
            "tasks": [asdict(task) for task in config.tasks],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _references(self, features: Features) -> Mapping[str, Reference]:
        if not self.config.references:
            return {}
        return read_references(self.config, self.split.validation, features.key)

    def _waiting_encoders(self) -> Encoders | None:
        """The backbone, where the cost of encoding texts while a request waits is measured."""
        config = self.config
        if not (config.latency.encode_text and needs_of(self.objectives.all) & COSTS):
            return None
        length, cut = config.backbone.max_length, config.backbone.cut
        return Encoders(self.backbone, max_length=length, cut=cut, device=config.train.device)


def _held_out(test: Stage) -> RowsIdentity:
    rows = test.held_out if test.held_out_shown is None else test.held_out_shown
    return RowsIdentity.of(rows, test.users.ids, test.items.ids)


@lru_cache(maxsize=1)
def _of_json(config_json: str, cache: Path) -> Experiment:
    return Experiment.of(Config.model_validate_json(config_json), cache)


def _settings_of(config: Config, space: SearchSpace) -> Settings:
    """Settings of the search.

    Where serving settings are searched at the end, the first fit is a plain one: what accuracy
    alone and the middle of every range give is a member that most lists want.
    """
    losses = space.train.get("loss_weights")
    initial: tuple[Candidate, ...] = ()
    if config.search.serving and isinstance(losses, Simplex) and SOFTMAX in losses.names:
        initial = (space.middle({"loss_weights": SOFTMAX}),)
    return replace(settings_of(config.search), initial=initial)


def settings_of(search: SearchConfig) -> Settings:
    """Return every setting that a config has, the others at their defaults."""
    names = {one.name for one in fields(Settings)} & type(search).model_fields.keys()
    return Settings(**{name: getattr(search, name) for name in names})


class Searchable(Protocol):
    """What makes a goal of an objective."""

    @property
    def name(self) -> str:
        """Of the objective."""

    @property
    def maximise(self) -> bool:
        """Whether more is better."""

    @property
    def reference(self) -> float:
        """Worst value that counts, where a config gives none."""


def goals_of(
    sections: Sequence[ObjectiveConfig], objectives: Sequence[Searchable]
) -> tuple[Goal, ...]:
    """Return what the search is told about its objectives: a config's references over defaults."""
    return tuple(
        Goal(
            objective.name,
            objective.maximise,
            objective.reference if section.reference is None else section.reference,
            section.at_least,
            section.at_most,
        )
        for section, objective in zip(sections, objectives, strict=True)
    )
