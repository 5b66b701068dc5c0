"""Training of one fit of all systems: a step learns from examples of each."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto_rec.core.seeds import child_seed
from pareto_rec.losses import AGGREGATORS
from pareto_rec.losses.aggregation.loss_aggregation import LossAggregation
from pareto_rec.models.base import Params
from pareto_rec.systems.base import Learner, Read, System
from pareto_rec.systems.fit import TRUNK, JointFit
from pareto_rec.systems.spec import JointSpec
from pareto_rec.systems.trunk import initial_trunk, vectors
from pareto_rec.training.early_stopping import BestCheckpoint
from pareto_rec.training.optimizer import StackedAdamW, schedule

Own = Mapping[str, Mapping[str, Any]]


class JointTraining:
    """The state of one fit in training.

    A step takes its examples from all systems by their shares (``mixing``); the gradient of the
    trunk is composed of those of the systems' losses by the aggregation, weighted by
    ``system_weights``. A system of weight 0 takes no part: the fit of one system alone is the
    special case of a corner.
    """

    def __init__(
        self,
        spec: JointSpec,
        own: Own,
        systems: Sequence[System],
        features: Mapping[str, Tensor],
        seed: int,
        device: torch.device,
    ) -> None:
        """Draw the initial parameters.

        Args:
            spec: Training variables that the systems share.
            own: System -> its own training variables.
            systems: All systems of the config.
            features: System -> backbone features of its texts ``[texts, F]``.
            seed: Of the fit.
            device: Where tensors live.
        """
        self.spec, self.own, self.systems, self.features = spec, own, systems, features
        names = [system.name for system in systems]
        weights = spec.weights(names)
        self.trained = [system for system in systems if weights[system.name] > 0]
        width = next(iter(features.values())).shape[1]
        trunk = initial_trunk(spec, width, names, child_seed(seed, "trunk"))
        self.trunk: Params = {
            name: value.unsqueeze(0).to(device).requires_grad_() for name, value in trunk.items()
        }
        self.learners: dict[str, Learner] = {}
        for system in systems:
            shared = spec.shared(system.name, names, device)
            given = own.get(system.name, {})
            self.learners[system.name] = system.learner(
                shared, given, child_seed(seed, "system", system.name)
            )
        self.params = {f"{TRUNK}/{name}": value for name, value in self.trunk.items()}
        for name, learner in self.learners.items():
            self.params |= {f"{name}/{key}": value for key, value in learner.params.items()}
        self.weights = np.array([[weights[system.name] for system in self.trained]])
        self.descent = LossAggregation([AGGREGATORS[spec.aggregation]], self.weights, [seed])
        column = torch.ones(1, device=device)
        self.optimiser = StackedAdamW(
            self._learnt(), spec.learning_rate * column, spec.weight_decay * column
        )

    def _learnt(self) -> dict[str, Tensor]:
        """Return the parameters that the trained systems have, and the trunk's."""
        owners = {TRUNK, *(system.name for system in self.trained)}
        return {n: value for n, value in self.params.items() if n.partition("/")[0] in owners}

    def read(self, name: str) -> Read:
        """Return what reads a system's texts through the trunk."""
        features = self.features[name]

        def vectors_of(rows: Tensor | None) -> Tensor:
            return vectors(self.trunk, name, features if rows is None else features[rows])

        return vectors_of

    def run(self) -> JointFit:
        """Train until the last step, or until looks have long brought nothing."""
        began, spec = time.perf_counter(), self.spec
        kept = BestCheckpoint(self._copy(), spec.patience)
        step, learnt = 0, self._learnt()
        while step < spec.steps and kept.running:
            count = min(spec.check_every, spec.steps - step)
            for system in self.trained:
                self.learners[system.name].draw(step)
            for offset in range(count):
                if not self._step(step + offset, offset, learnt):
                    kept.fail(f"loss is not finite at step {step + offset}")
                    break
            else:
                step += count
                value = self._look()
                if not math.isfinite(value):
                    kept.fail(f"scores are not finite after step {step}")
                elif kept.improved(step, value):
                    kept.params = self._copy()
        best = max(kept.curve, key=lambda look: look[1])[0] if kept.curve else 0
        params = {} if kept.reason else kept.params
        seconds = time.perf_counter() - began
        return JointFit(spec, self.own, params, tuple(kept.curve), best, seconds, kept.reason)

    def _step(self, step: int, offset: int, learnt: Mapping[str, Tensor]) -> bool:
        """Make one step; return whether its losses are finite.

        Args:
            step: Its number.
            offset: Its number since the examples were drawn.
            learnt: Parameters that it moves.
        """
        losses = [self.learners[one.name].loss(offset, self.read(one.name)) for one in self.trained]
        together = torch.stack(losses).unsqueeze(0)
        finite = self.descent.backward(step, together, np.zeros_like(self.weights), learnt)
        self.optimiser.step(schedule(step, self.spec.steps))
        return bool(finite.all())

    @torch.no_grad()
    def _look(self) -> float:
        """Compute the mean of what the trained systems watch, by their weights."""
        watched = [
            self.learners[system.name].watch(self.read(system.name)(None))
            for system in self.trained
        ]
        return float(np.dot(self.weights[0], watched))

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach()[0].clone() for name, value in self.params.items()}
