"""Evaluator of several systems: from trials to records."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pareto_rec.experiment.config.systems import SEPARATOR
from pareto_rec.models.base import Params
from pareto_rec.runs.record import Record
from pareto_rec.search import Trial
from pareto_rec.search.space import SearchSpace, Value
from pareto_rec.search.variables import named_values
from pareto_rec.systems.base import System, SystemsObjectives, of_system, without_system
from pareto_rec.systems.fit import TRUNK, JointFit, JointStore
from pareto_rec.systems.spec import JointSpec, joint_spec
from pareto_rec.systems.training import JointTraining
from pareto_rec.systems.trunk import vectors


class SystemsEvaluator:
    """Everything that evaluating a candidate of several systems reads.

    Attributes:
        store: Where fits are kept.
        seed: Of the fits.
        device: Where tensors live.
    """

    def __init__(
        self,
        systems: Sequence[System],
        features: Mapping[str, Tensor],
        space: SearchSpace,
        fixed: Mapping[str, Any],
        objectives: SystemsObjectives,
        *,
        store: JointStore,
        seed: int,
        device: torch.device,
    ) -> None:
        """Take what was prepared.

        Args:
            systems: All systems.
            features: System -> backbone features of its texts ``[texts, F]``, on the device.
            space: Decision variables.
            fixed: Training variables that are not searched, those of a system as ``NAME.variable``.
            objectives: A record needs a finite value of those that are searched.
            store: Where fits are kept.
            seed: Of the fits.
            device: Where tensors live.
        """
        self.systems, self.features, self.space, self.fixed = systems, features, space, fixed
        self.objectives = objectives
        self.store, self.seed, self.device = store, seed, device

    def spec(self, trial: Trial) -> JointSpec:
        """Return the training variables that the systems of a trial share."""
        return joint_spec(self._values(trial.train)[""])

    def own(self, trial: Trial) -> dict[str, dict[str, Any]]:
        """Return the training variables of each system alone; those that are not given left out."""
        values = self._values(trial.train)
        return {one.name: values[one.name] for one in self.systems if values.get(one.name)}

    def _values(self, train: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
        return by_system({**self.fixed, **named_values(self.space.train, train)})

    def pack_key(self, trial: Trial) -> tuple[object, ...]:
        """Return what trials must have in common to share a pack: each is trained alone."""
        return (trial.train_id,)

    def fit_id(self, trial: Trial) -> str:
        """Return the id of a trial's fit."""
        return self.store.id(self.spec(trial), self.own(trial), self.seed)

    def evaluate(self, pack: Sequence[Trial]) -> list[Record]:
        """Return records of every candidate of some trials, in their order."""
        records: list[Record] = []
        for trial in pack:
            fit_id = self.fit_id(trial)
            fit = self.store.get(fit_id)
            if fit is None:
                fit = self.train(trial)
                self.store.put(fit_id, fit)
            records += self.records(trial, fit_id, fit, fit.reason)
        return records

    def train(self, trial: Trial) -> JointFit:
        """Return the fit of a trial, trained anew."""
        spec = self.spec(trial)
        seed = spec.seed(self.seed)
        given = self.own(trial)
        training = JointTraining(spec, given, self.systems, self.features, seed, self.device)
        return training.run()

    def records(
        self, trial: Trial, fit_id: str, fit: JointFit | None, reason: str | None
    ) -> list[Record]:
        """Return a record for every candidate of a trial: measured, or failed for a reason."""
        began, found = time.perf_counter(), [dict[str, float]() for _ in trial.candidates]
        if fit is not None and reason is None:
            found = self.measured(fit, [one.serve for one in trial.candidates])
        share = (time.perf_counter() - began) / len(trial.candidates)
        records = []
        for index, (candidate, values) in enumerate(zip(trial.candidates, found, strict=True)):
            why = reason or self._lacking(values)
            records.append(
                Record(
                    id=candidate.id,
                    fit=fit_id,
                    members={fit_id: 1.0},
                    seed=self.seed,
                    generation=trial.generation,
                    position=trial.position + index,
                    origin=trial.origin(index),
                    train=candidate.train,
                    serve=candidate.serve,
                    status="ok" if why is None else "failed",
                    objectives=values if why is None else {},
                    reason=why,
                    timing={
                        "train_seconds": fit.seconds if fit else 0.0,
                        "serve_seconds": share,
                        "train_steps": fit.steps if fit else 0,
                    },
                )
            )
        return records

    def _lacking(self, values: Mapping[str, float]) -> str | None:
        """Say which searched objectives have no value; None where all have one."""
        names = [one.name for one in self.objectives.searched]
        lacking = [name for name in names if name not in values]
        return f"{', '.join(lacking)} could not be measured" if lacking else None

    def measured(
        self, fit: JointFit, settings: Sequence[Mapping[str, Value]]
    ) -> list[dict[str, float]]:
        """Measure a fit at some serving settings: objective -> value, of each, where there is one.

        Args:
            fit: The fit.
            settings: Serving variables, those of a system as ``NAME.variable``.
        """
        found = [dict[str, float]() for _ in settings]
        trunk = self._placed(fit, TRUNK)
        for system in self.systems:
            wanted = of_system((one.name for one in self.objectives.all), system.name)
            if not wanted:
                continue
            serve = [by_system(one).get(system.name, {}) for one in settings]
            distinct = list({json.dumps(one, sort_keys=True): one for one in serve}.values())
            with torch.no_grad():
                texts = vectors(trunk, system.name, self.features[system.name])
            measured = system.measure(
                self._placed(fit, system.name),
                fit.spec.shared(system.name, [one.name for one in self.systems], self.device),
                fit.own.get(system.name, {}),
                texts,
                distinct,
                [without_system(name) for name in wanted],
            )
            for place, setting in enumerate(serve):
                values = measured[distinct.index(setting)]
                known = {name: values.get(without_system(name), math.nan) for name in wanted}
                found[place] |= {name: x for name, x in known.items() if math.isfinite(x)}
        return found

    def _placed(self, fit: JointFit, owner: str) -> Params:
        """Return the parameters of a system or of the trunk on the device, stacked ``[1, ...]``."""
        return {name: value.to(self.device) for name, value in fit.part(owner).items()}


def by_system(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return variables by the system that they belong to, and ``""`` for those of all."""
    found: dict[str, dict[str, Any]] = {"": {}}
    for name, value in values.items():
        system, dot, own = name.partition(SEPARATOR)
        found.setdefault(system if dot else "", {})[own if dot else name] = value
    return found
