"""From a config to everything that evaluating its candidates needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import islice, product
from pathlib import Path

import numpy as np

from pareto_rec.backbone.features import Features
from pareto_rec.baselines import (
    BASELINES,
    expert_key,
    expert_scores,
    scores_on_demand,
    stand_ins,
)
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.seeds import child_seed
from pareto_rec.data.sample import sample_users, users_to_ask
from pareto_rec.data.schema import Stage
from pareto_rec.data.split import split_kind
from pareto_rec.evaluation.costs import COSTS, Encoders
from pareto_rec.evaluation.evaluator import Evaluator, resolve_device
from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.evaluation.outcome_inputs import needs_of
from pareto_rec.evaluation.task_predictions import predicted_by
from pareto_rec.experiment.config import Config
from pareto_rec.experiment.inputs import open_backbone, read_features, read_split
from pareto_rec.experiment.limits import check_rungs, check_smoke, check_variables
from pareto_rec.experiment.plugins import load_plugins
from pareto_rec.experiment.references import read_references
from pareto_rec.objectives import GroupObjective, parse
from pareto_rec.objectives.catalogue import OF_ITEMS
from pareto_rec.search import Goal, Settings
from pareto_rec.search.space import Choice, Integer, SearchSpace, Simplex
from pareto_rec.tasks import BUILT_IN, EXPONENT, check_losses, check_tasks, trained
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.spec import TrainSpec, train_spec
from pareto_rec.training.tuned.source import TextSource

MOST_STORED = 200_000_000  # scores of an expert that are kept on disk (800 MB); above, on demand
_SHORT = 100  # places of a list that may be more than there are items; the rest stays empty
_MOST_DEPTHS = 100  # ways of reading texts that are prepared before the search


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
    measures: ObjectiveSet
    goals: tuple[Goal, ...]
    settings: Settings

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

    @property
    def reference_experts(self) -> tuple[str, ...]:
        """Experts that fits may be kept to."""
        reference = self.space.train.get("reference")
        options = reference.options if isinstance(reference, Choice) else ()
        named = dict.fromkeys([*options, self.config.fixed.get("reference")])
        return tuple(str(name) for name in named if name in BASELINES)


def plan(config: Config) -> Plan:
    """Resolve every name in a config.

    Raises:
        BadRequestError: If an objective, expert, variable, model, loss or algorithm is not known,
            or a plugin cannot be used.
    """
    load_plugins(config.plugins)
    split_kind(config.split.kind)
    check_tasks(config.tasks)
    space = config.space.build()
    measures = ObjectiveSet(
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
        first=search.first,
        sweep=search.sweep,
        start=search.start,
        corners=search.corners,
        surrogate=search.surrogate,
    )
    for name in config.baselines:
        if name not in BASELINES:
            raise unknown("expert in baselines", name, BASELINES)
    check_variables(config.fixed, config.serving, space, config.tasks)
    check_smoke(config.smoke)
    check_rungs(config.fixed, space, search.fidelity.rungs if search.fidelity else ())
    made = Plan(config, space, measures, goals, settings)
    _check_task_losses(made)
    return made


def _check_task_losses(made: Plan) -> None:
    """Refuse chains that lack a part, and the name of a task that a signal predicted has."""
    config, searched = made.config, made.space.train.get("chain")
    ways = searched.options if isinstance(searched, Choice) else [config.fixed.get("chain", "esmm")]
    for way in ways:
        check_losses(config.tasks, config.losses, str(way))
    own = [one for one in config.tasks if one.name not in BUILT_IN]
    if any(one.name == config.data.liked for one in own):
        raise BadRequestError(
            f'task "{config.data.liked}": data.liked has this name; call the task otherwise'
        )
    if own and not any(one.key in config.losses for one in own):
        keys = ", ".join(f'"{one.key}"' for one in own)
        raise BadRequestError(f"no loss trains a task: add {keys} to loss_weights")
    for one in config.tasks:
        name = one.name + EXPONENT
        given = name in {**config.serving, **made.space.serve}
        if given and one.name in BUILT_IN and one.key not in config.losses:
            raise BadRequestError(
                f'{name} has no effect, as no loss trains the task: add "{one.key}" to '
                f"loss_weights, or remove {name}"
            )


def build_evaluator(made: Plan, stage: Stage, cache: Path, features: Features) -> Evaluator:
    """The evaluator of one stage, or of a sample of its users where all would be too many.

    Raises:
        BadRequestError: If the data lacks what an objective, a task or a reference needs.
    """
    config, learn = made.config, stage
    count = users_to_ask(stage, config.evaluate.users)
    stage = sample_users(stage, count, seed=child_seed(config.seed, "evaluated users"))
    objectives = made.measures.all
    check_objectives(made, stage)
    references = (
        read_references(config, read_split(config, cache).validation, features.key)
        if config.references
        else {}
    )
    hashes = {name: one.sha256 for name, one in references.items()}
    key = data_key(made, stage.content_hash, features.key, hashes)
    stored = stage.shape[0] * stage.shape[1] <= MOST_STORED
    scores = expert_scores if stored else scores_on_demand
    evaluator = Evaluator(
        stage,
        features.states if config.backbone.text else np.zeros((len(stage.items), 1)),
        scores(made.experts, stage, cache, learn=learn),
        made.space,
        config.fixed,
        made.measures,
        relevance=config.data.relevance,
        train=config.train,
        store=FitStore(cache / "fits", key),
        seed=child_seed(config.seed, "fit"),
        components=config.backbone.components,
        serving_fixed=config.serving,
        encoders=_waiting_encoders(config, cache) if needs_of(objectives) & COSTS else None,
        learn=learn,
        texts=text_source(made, stage.items.texts, cache),
        references={name: one.fit for name, one in references.items()},
        tasks=config.tasks,
    )
    labels = evaluator.data.labels
    for task in trained(config.tasks, config.losses):
        labels.of_task(task).scale(task)  # refuses labels that teach nothing, before any fit
    return evaluator


def data_key(made: Plan, stage: str, features: str, references: Mapping[str, str]) -> str:
    """Names everything but training variables, seed and code that fits are learnt from.

    Args:
        made: The experiment.
        stage: Content hash of the stage.
        features: Key of the features.
        references: Fit that others may be kept to -> SHA-256 of its file.
    """
    config = made.config
    content = {
        "stage": stage,
        "features": features,
        "relevance": config.data.relevance,
        "reading": [config.backbone.components, config.backbone.text],
        "references": dict(references),
        "experts": {name: expert_key(BASELINES[name]) for name in made.reference_experts},
        "tasks": [asdict(one) for one in config.tasks],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def text_source(made: Plan, texts: tuple[str, ...], cache: Path) -> TextSource | None:
    """Item features at any depth and by tuned layers, those that the search may read computed.

    Returns:
        None where models read no text.

    Raises:
        BadRequestError: If the backbone has fewer layers than are asked for.
    """
    config = made.config
    if not config.backbone.text:
        return None
    source = TextSource(
        partial(open_backbone, config, cache),
        texts,
        max_length=config.backbone.max_length,
        cut=config.backbone.cut,
        components=config.backbone.components,
        device=resolve_device(config.train.device),
        cache=cache,
    )
    source.prepare(list(_depths(made)))
    return source


def _depths(made: Plan) -> Iterator[TrainSpec]:
    """Every way of reading texts that the search may meet, as specs."""
    ways = []
    for name in ("exit_layer", "text_length", "encoder_precision", "tuned_layers"):
        variable = made.space.train.get(name)
        fixed = [made.config.fixed[name]] if name in made.config.fixed else []
        match variable:
            case Choice(options=options):
                ways.append([(name, value) for value in options])
            case Integer(low=low, high=high):
                ways.append([(name, value) for value in range(low, high + 1)])
            case _:
                ways.append([(name, value) for value in fixed or [getattr(TrainSpec(), name)]])
    for values in islice(product(*ways), _MOST_DEPTHS):
        yield train_spec({}, dict(values))


def limited_by_size(made: Plan, stage: Stage, evaluator: Evaluator) -> dict[str, str]:
    """What large data is not given in full, in words: whom is measured, which experts stand in."""
    asked, users = evaluator.stage.shape[0], len(stage.users)
    found = stand_ins(made.experts, len(stage.items))
    said = {f"expert {name}": f"{words}" for name, words in found.items()}
    chosen = made.config.sample
    bounds = {"users": chosen.users, "items": chosen.items}
    if any(bounds.values()):
        words = " and ".join(f"{most:,} {what}" for what, most in bounds.items() if most)
        said["data"] = f"a sample, of {words} at most"
    if asked < users:
        said["evaluated users"] = f"a seeded sample of {asked:,} out of {users:,}"
    return said


def _waiting_encoders(config: Config, cache: Path) -> Encoders | None:
    """The backbone, where the experiment says that texts are encoded while a request waits."""
    if not config.latency.encode_text:
        return None
    backbone, chosen = open_backbone(config, cache), config.backbone
    return Encoders(
        backbone, max_length=chosen.max_length, cut=chosen.cut, device=config.train.device
    )


@lru_cache(maxsize=1)
def worker_evaluator(config_json: str, cache: Path) -> Evaluator:
    """The evaluator of the validation stage, built once in every worker process."""
    made = plan(Config.model_validate_json(config_json))
    split = read_split(made.config, cache)
    features = read_features(made.config, split.validation.items.texts, cache)
    return build_evaluator(made, split.validation, cache, features)


def measured_groups(made: Plan, evaluator: Evaluator) -> dict[str, dict[str, dict[str, int]]]:
    """Measured users of every group that an objective compares, and of those that are too small.

    Returns:
        Objective -> ``measured`` and ``left_out`` -> group -> users.
    """
    own, found = evaluator.measuring, {}
    fewest = max(own.catalogue.users.min_group, 1)
    for one in made.measures.all:
        if isinstance(one, GroupObjective):
            truth = own.held_out.get(one.signal or own.relevance, own.held_out[own.relevance])
            sizes = one.sizes(own.catalogue, truth)
            found[one.name] = {
                "measured": {name: n for name, n in sizes.items() if n >= fewest},
                "left_out": {name: n for name, n in sizes.items() if n < fewest},
            }
    return found


def check_objectives(made: Plan, stage: Stage) -> None:
    """Refuse objectives on what the data does not have or the fits do not predict.

    Raises:
        BadRequestError: If a signal or an attribute of users is not there, or is not predicted.
    """
    predicted = predicted_by(made.config.tasks, made.config.losses)
    attributes = {**stage.users.attributes}
    attributes |= {f"{OF_ITEMS}{name}": of for name, of in stage.items.attributes.items()}
    for one in made.measures.all:
        one.check(
            signals=stage.held_out.signals,
            attributes=attributes,
            predicted=predicted,
        )
        if "categories" in one.reads and not stage.items.categories.any():
            raise BadRequestError(
                f"objective {one.name} looks at categories of items and no item of this data has "
                "one: name their column in data.items.categories, or leave the objective out"
            )
        if "price" in one.needs and stage.items.prices is None:
            raise BadRequestError(
                f"objective {one.name} needs prices of items and this data has none: name their "
                "column in data.items.price"
            )
        if "shown" in one.needs and stage.held_out_shown is None:
            raise BadRequestError(
                f"objective {one.name} compares answered impressions with unanswered ones and this "
                "data has no row without an answer: leave it out, or bring the impressions too"
            )
    for one in made.measures.all:
        if one.takes_k and one.k > max(len(stage.items), _SHORT):
            raise BadRequestError(
                f"objective {one.name} looks at the first {one.k:,} places and this data has "
                f"{len(stage.items):,} items: lower the number behind the @"
            )
