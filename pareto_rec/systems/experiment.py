"""An experiment on several systems: from a config to everything that evaluating needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto_rec.backbone.cached import Backbone
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.declarations import limits_of
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.limits import Limit
from pareto_rec.core.seeds import child_seed
from pareto_rec.evaluation.evaluator import resolve_device
from pareto_rec.experiment.config.sections import SpaceConfig, VariableConfig
from pareto_rec.experiment.config.systems import (
    SEPARATOR,
    RankSystem,
    RecommendSystem,
    SystemsConfig,
)
from pareto_rec.experiment.experiment import goals_of, settings_of
from pareto_rec.experiment.limits import check_table
from pareto_rec.search import Goal, Settings
from pareto_rec.search.space import SearchSpace
from pareto_rec.systems.base import AT, System, SystemObjective, SystemsObjectives
from pareto_rec.systems.evaluator import SystemsEvaluator, by_system
from pareto_rec.systems.fit import JointStore
from pareto_rec.systems.rank import Search
from pareto_rec.systems.recommend import Recommendation
from pareto_rec.systems.score import Scores
from pareto_rec.systems.spec import joint_limits
from pareto_rec.training.item_features import Projection


@dataclass(frozen=True)
class _Encoded:
    """Texts of all systems as the trunk reads them, and the keys of the states they come from."""

    features: Mapping[str, Tensor]
    state_keys: Mapping[str, str]


@dataclass(frozen=True)
class SystemsExperiment:
    """One config with what its candidates are evaluated on; each part is read when asked for.

    Attributes:
        config: What it was made from.
        space: Decision variables.
        settings: How to search.
        cache: Root of the cache.
    """

    config: SystemsConfig
    space: SearchSpace
    settings: Settings
    cache: Path

    @classmethod
    def of(cls, config: SystemsConfig, cache: Path) -> SystemsExperiment:
        """Resolve the names of a config.

        Raises:
            BadRequestError: If a variable, system or algorithm is not known.
        """
        space = config.space.build()
        experiment = cls(config, space, settings_of(config.search), cache)
        experiment._check_variables()
        for name in (*(one.name for one in config.objective), *config.reported):
            experiment._owner(name)
        return experiment

    @classmethod
    def for_worker(cls, config_json: str, cache: Path) -> SystemsExperiment:
        """The experiment of a config in JSON; a process keeps the last one."""
        return _of_json(config_json, cache)

    def _owner(self, name: str) -> tuple[str, str]:
        """Return an objective's name without its system, and the system.

        Raises:
            BadRequestError: If it names none of the config.
        """
        objective, at, system = name.rpartition(AT)
        if not at or system not in self.config.names:
            known = ", ".join(f'"{AT}{one}"' for one in self.config.names)
            raise BadRequestError(
                f'objective "{name}" does not say which system it is of: end it with {known}'
            )
        return objective, system

    def _check_variables(self) -> None:
        """Refuse variables that are not known or out of range.

        Those of a system that recommends are looked at where its own experiment is made.

        Raises:
            BadRequestError: Names the key.
        """
        config, train, serve = self.config, by_system(self.space.train), by_system(self.space.serve)
        names = config.names
        for key, given in (("train", train), ("serve", serve)):
            for name in given.keys() - {"", *names}:
                raise BadRequestError(f"space.{key}.{name}: {unknown('system', name, names)}")
        for name in serve[""]:
            raise BadRequestError(
                f"space.serve.{name}: a serving variable is of one system: put it into "
                f"[space.serve.{names[0]}], or that of another system"
            )
        kind, limits = "training variable", joint_limits(names)
        check_table("fixed", config.fixed, "space.train", train[""], limits, kind)
        for place, section in enumerate(config.system):
            if isinstance(section, RecommendSystem):
                continue
            system, name = (Search if isinstance(section, RankSystem) else Scores), section.name
            fixed, own = f"system.{place}.fixed", f"space.train.{name}"
            check_table(
                fixed, section.fixed, own, train.get(name, {}), _limits(system.variables), kind
            )
            own, searched = f"space.serve.{name}", serve.get(name, {})
            check_table("", {}, own, searched, _limits(system.serving), "serving variable")

    @cached_property
    def systems(self) -> tuple[System, ...]:
        """The systems; those that rank or score are read here."""
        config, built = self.config, list[System]()
        names: dict[str, list[str]] = {name: [] for name in config.names}
        for one in (*(section.name for section in config.objective), *config.reported):
            objective, system = self._owner(one)
            names[system].append(objective)
        for section in config.system:
            if isinstance(section, RecommendSystem):
                own = Recommendation(
                    section,
                    config.backbone.model_dump(),
                    self._space_of(section.name),
                    names[section.name],
                    config.seed,
                    self.cache,
                    config.train.device,
                )
                built.append(own)
            else:
                built.append(
                    Search(section) if isinstance(section, RankSystem) else Scores(section)
                )
        return tuple(built)

    def _space_of(self, system: str) -> SpaceConfig:
        """Return a system's own variables by their own names."""
        begin = f"{system}{SEPARATOR}"

        def own(given: Mapping[str, VariableConfig]) -> dict[str, VariableConfig]:
            return {
                name.removeprefix(begin): one.model_copy(
                    update={"when": {n.removeprefix(begin): v for n, v in one.when.items()}}
                )
                for name, one in given.items()
                if name.startswith(begin)
            }

        space = self.config.space
        return SpaceConfig.model_construct(train=own(space.train), serve=own(space.serve))

    @cached_property
    def objectives(self) -> SystemsObjectives:
        """Objectives, searched and reported."""
        by_name = {system.name: system for system in self.systems}

        def of(name: str) -> SystemObjective:
            objective, system = self._owner(name)
            return by_name[system].objective(objective)

        return SystemsObjectives(
            tuple(of(one.name) for one in self.config.objective),
            tuple(of(name) for name in self.config.reported),
        )

    @cached_property
    def goals(self) -> tuple[Goal, ...]:
        """What the search is told about its objectives."""
        return goals_of(self.config.objective, self.objectives.searched)

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """Training variables that are not searched, those of a system as ``NAME.variable``."""
        own = {
            f"{section.name}{SEPARATOR}{name}": value
            for section in self.config.system
            if not isinstance(section, RecommendSystem)
            for name, value in section.fixed.items()
        }
        return {**self.config.fixed, **own}

    @property
    def backbone(self) -> Backbone:
        """The backbone, opened anew."""
        return Backbone.load(self.config.backbone.name, self.cache)

    @property
    def features(self) -> Mapping[str, Tensor]:
        """What the trunk reads of every system's texts ``[texts, F]``, on the device."""
        return self._encoded.features

    @cached_property
    def _encoded(self) -> _Encoded:
        """Principal components of the backbone's features of every system's texts.

        One projection for all, of the texts of all systems together: what is alike in two systems
        is read alike by the trunk.
        """
        backbone, config, raw = self.backbone, self.config.backbone, {}
        for system in self.systems:
            found = backbone.encode(
                system.texts,
                max_length=config.max_length,
                cut=config.cut,
                cache=self.cache,
                device=self.config.train.device,
            )
            raw[system.name] = found
        together = np.concatenate([np.asarray(one.states) for one in raw.values()])
        projection = Projection.of(together, config.components)
        device = resolve_device(self.config.train.device)
        features = {
            name: torch.from_numpy(projection(np.asarray(one.states))).to(device)
            for name, one in raw.items()
        }
        return _Encoded(features, {name: one.key for name, one in raw.items()})

    @property
    def data_key(self) -> str:
        """Names everything but training variables, seed and code that fits are learnt from."""
        keys = {system.name: system.key for system in self.systems}
        return _digest([keys, self._encoded.state_keys, self.config.backbone.components])

    @property
    def hashes(self) -> dict[str, str]:
        """What records are computed from, as run.json has it."""
        stages = {system.name: system.key for system in self.systems}
        return {
            "stage": _digest(stages),
            "features": _digest(self._encoded.state_keys),
            "code": self.code_key,
        }

    @property
    def code_key(self) -> str:
        """Key of the code that decides records."""
        return code_key(__name__, "pareto_rec.search")

    def evaluator(self) -> SystemsEvaluator:
        """The evaluator of the validation parts."""
        return self._evaluator

    @cached_property
    def _evaluator(self) -> SystemsEvaluator:
        return SystemsEvaluator(
            self.systems,
            self.features,
            self.space,
            self.fixed,
            self.objectives,
            store=JointStore(self.cache / "fits", self.data_key),
            seed=child_seed(self.config.seed, "fit"),
            device=resolve_device(self.config.train.device),
        )


def _limits(variables: type | None) -> dict[str, Limit]:
    return {} if variables is None else limits_of(variables)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def _of_json(config_json: str, cache: Path) -> SystemsExperiment:
    return SystemsExperiment.of(SystemsConfig.model_validate_json(config_json), cache)
