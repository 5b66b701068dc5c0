"""Fit a batch of candidates together: one pack, stacked parameters, one step for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.batches import Batch, People, Sequences, draw
from pareto_rec.errors import BadRequestError, unknown
from pareto_rec.losses import COMBINE, LOSSES, ItemFacts, LossInputs
from pareto_rec.losses.base import resolve
from pareto_rec.losses.combine.descent import Descent
from pareto_rec.models import MODELS
from pareto_rec.models.base import RATING, TASKS, Dropout, Noise, Shape, init_shared, item_table
from pareto_rec.models.scoring import (
    catalogue_scores,
    relevance_states,
    task_logits,
    user_states,
)
from pareto_rec.optimiser import StackedAdamW, schedule
from pareto_rec.seeds import child_seed, generator
from pareto_rec.spec import POPULARITY, TrainSpec, pack_key

Monitor = Callable[[Tensor], float]


@dataclass(frozen=True)
class TrainData:
    """What training reads, on the device.

    Attributes:
        sequences: Training rows.
        features: Backbone features of the items ``[N, F]``.
        facts: Facts about items.
        histories: Histories at validation ``[users, L_max]``.
        device: Where tensors live.
        people: Groups and tastes of users; None where no loss asks for them.
        references: Name -> log-probabilities of a fixed policy ``[users, N]``.
    """

    sequences: Sequences
    features: Tensor
    facts: ItemFacts
    histories: Tensor
    device: torch.device
    people: People | None = None
    references: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """The result of one fine-tune.

    Attributes:
        spec: Its training variables.
        shape: Its shape.
        params: Its parameters (no leading dimension); empty if it failed.
        curve: ``(step, validation value)`` at every look.
        best_step: Step of the parameters kept.
        seconds: Share of the pack's training time.
        reason: Why it failed, or None.
    """

    spec: TrainSpec
    shape: Shape
    params: Mapping[str, Tensor]
    curve: tuple[tuple[int, float], ...]
    best_step: int
    seconds: float
    reason: str | None = None


def check_losses(spec: TrainSpec, data: TrainData) -> None:
    """Refuse a loss that asks for what the data does not have.

    Raises:
        BadRequestError: Names the loss and what it needs.
    """
    needs = {need for loss in resolve(list(spec.loss_weights), LOSSES) for need in loss.needs}
    if RATING in needs and data.sequences.ratings is None:
        raise BadRequestError('loss "rating" needs a signal "rating", which the data does not have')
    if needs & {"group", "taste"} and data.people is None:
        raise BadRequestError("losses on groups or tastes need users, which the data does not have")
    if "group" in needs and data.people is not None and spec.group not in data.people.groups:
        groups = data.people.groups
        if not spec.group:
            raise BadRequestError(
                'loss "group_gap" needs an attribute of users: set the training variable "group" '
                f"to one of {', '.join(sorted(groups)) or 'those in the data (it has none)'}"
            )
        raise unknown("user attribute in group", spec.group, groups)
    if "reference" in needs and spec.reference not in (POPULARITY, *data.references):
        raise unknown("policy in reference", spec.reference, (POPULARITY, *data.references))


def fit(
    specs: Sequence[TrainSpec],
    seeds: Sequence[int],
    data: TrainData,
    monitor: Monitor,
    *,
    pack_size: int,
) -> list[Fit]:
    """Fit every candidate, those of equal shape together.

    Args:
        specs: Training variables, one per candidate.
        seeds: One seed per candidate; initial values and draws depend on it alone.
        data: What training reads.
        monitor: Validation value of relevance scores ``[users, N]``, larger is better.
        pack_size: Most candidates trained together.

    Returns:
        One fit per candidate, in the order given. A candidate whose loss is not finite fails alone.

    Raises:
        BadRequestError: If a loss asks for what the data does not have.
    """
    for spec in specs:
        check_losses(spec, data)
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, spec in enumerate(specs):
        groups.setdefault(pack_key(spec), []).append(index)
    fits: dict[int, Fit] = {}
    for members in groups.values():
        for begin in range(0, len(members), pack_size):
            part = members[begin : begin + pack_size]
            pack = _Pack([specs[i] for i in part], [seeds[i] for i in part], data)
            fits |= dict(zip(part, pack.run(monitor), strict=True))
    return [fits[index] for index in range(len(specs))]


def _stack(parts: Sequence[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    return {
        name: torch.stack([part[name] for part in parts]).to(device).requires_grad_()
        for name in parts[0]
    }


class _Pack:
    """The state of one pack in training."""

    def __init__(self, specs: Sequence[TrainSpec], seeds: Sequence[int], data: TrainData) -> None:
        self.specs, self.seeds, self.data = specs, seeds, data
        self.common = specs[0]
        n_items, feature_dim = data.features.shape
        common = self.common
        self.shape = Shape(
            common.model,
            n_items,
            feature_dim,
            common.width,
            common.history,
            common.layers,
            common.heads,
        )
        self.losses = resolve(list(common.loss_weights), LOSSES)
        self.needs = frozenset(need for loss in self.losses for need in loss.needs)
        self.params = _stack([self._initial(seed) for seed in seeds], data.device)
        accurate = [loss.accuracy for loss in self.losses]
        self.descent = Descent(
            [COMBINE[spec.combine] for spec in specs],
            np.array([list(spec.loss_weights.values()) for spec in specs], dtype=np.float64),
            seeds,
            primary=accurate.index(True) if any(accurate) else 0,
        )
        self.temperature = self._column([spec.temperature for spec in specs])
        noise = Noise([child_seed(seed, "noise") for seed in seeds], data.device)
        self.dropout = Dropout(
            noise,
            self._column([spec.dropout for spec in specs]),
            self._column([spec.item_dropout for spec in specs]),
        )
        self.optimiser = StackedAdamW(
            self.params,
            self._column([spec.learning_rate for spec in specs]),
            self._column([spec.weight_decay for spec in specs]),
        )
        self.scale: Tensor | None = None
        self.best = [
            {name: p.detach()[i].clone() for name, p in self.params.items()}
            for i in range(len(specs))
        ]
        self.curves: list[list[tuple[int, float]]] = [[] for _ in specs]
        self.reasons: list[str | None] = [None] * len(specs)
        self.running = [True] * len(specs)

    def _initial(self, seed: int) -> dict[str, Tensor]:
        """Parameters of one candidate; a rating task only where its loss is trained on."""
        source = torch.Generator().manual_seed(child_seed(seed, "init"))
        tasks = (*TASKS, RATING) if RATING in self.needs else TASKS
        params = init_shared(self.shape, source, tasks)
        if RATING in self.needs:
            params[f"{RATING}.stars"] = torch.tensor(self._stars())
        return params | MODELS[self.common.model].init(self.shape, source)

    def _stars(self) -> tuple[float, float]:
        """Mean and deviation of the training ratings."""
        ratings = self.data.sequences.ratings
        assert ratings is not None
        return float(ratings.mean()), max(float(ratings.std()), 1e-6)

    def _column(self, values: Sequence[float] | Sequence[list[float]]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.data.device)

    def run(self, monitor: Monitor) -> list[Fit]:
        """Train until the last step or until every candidate has stopped."""
        began = time.perf_counter()
        common = self.common
        for first in range(0, common.steps, common.check_every):
            batches = self._draw(first)
            count = min(common.check_every, common.steps - first)
            for offset in range(count):
                self._step(first + offset, {name: x[:, offset] for name, x in batches.items()})
            self._look(first + count, monitor)
            if not any(self.running):
                break
        share = (time.perf_counter() - began) / len(self.specs)
        return [self._result(index, share) for index in range(len(self.specs))]

    def _draw(self, first: int) -> dict[str, Tensor]:
        """Examples of the steps until the next look, ``[P, T, ...]`` each."""
        common, sequences = self.common, self.data.sequences
        drawn: list[dict[str, NDArray[Any]]] = []
        frequency = np.cumsum(self.data.facts.log_frequency.exp().cpu().numpy())
        for seed in self.seeds:
            rng = generator(seed, "batches", first)
            batch = draw(
                sequences,
                rng,
                steps=common.check_every,
                batch=common.batch,
                history=common.history,
                places=common.places,
                horizon=common.horizon,
            )
            arrays = {name: getattr(batch, name) for name in ("histories", "at", "targets")}
            uniform = rng.random((common.check_every, common.negatives)) * frequency[-1]
            arrays["negatives"] = np.searchsorted(frequency, uniform)
            drawn.append(arrays | {"liked": batch.liked} | self._optional(batch))
        return {
            name: torch.from_numpy(np.stack([one[name] for one in drawn])).to(self.data.device)
            for name in drawn[0]
        }

    def _optional(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """What only some losses need, of the examples' targets and of their users ``[T, B]``."""
        found: dict[str, NDArray[Any]] = {}
        sequences, people = self.data.sequences, self.data.people
        if RATING in self.needs and sequences.ratings is not None:
            mean, deviation = self._stars()
            found["rating"] = (sequences.ratings[batch.rows] - np.float32(mean)) / deviation
        if sequences.users is not None and people is not None:
            users = sequences.users[batch.rows[..., 0, 0]]
            if "group" in self.needs:
                found["group"] = people.groups[self.common.group][users]
            if "taste" in self.needs:
                found["taste"] = people.tastes[users]
            if "reference" in self.needs and self.common.reference != POPULARITY:
                found["users"] = users
        return found

    def _step(self, step: int, batch: Mapping[str, Tensor]) -> None:
        losses = self._losses(batch)
        n_items = self.shape.n_items
        if self.scale is None:
            units = [loss.unit(n_items) for loss in self.losses]
            own = losses.detach().abs().clamp(min=1e-6)
            parts = [own[:, m] if u is None else own[:, m] * 0 + u for m, u in enumerate(units)]
            self.scale = torch.stack(parts, dim=-1)
        bounds = self._column([loss.lower_bound(n_items) for loss in self.losses])
        ideal = (bounds / self.scale).cpu().double().numpy()
        finite = self.descent.backward(step, losses / self.scale, ideal, self.params)
        for index in np.flatnonzero(~finite).tolist():
            if self.reasons[index] is None:
                self.reasons[index] = f"loss is not finite at step {step}"
                self.running[index] = False
        self.optimiser.step(schedule(step, self.common.steps))

    def _losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Unscaled losses ``[P, M]``."""
        params, pack = self.params, len(self.specs)
        table = item_table(params, self.data.features, self.dropout)
        states = user_states(
            params, self.shape, table, batch["histories"], batch["at"], self.dropout
        )
        targets = batch["targets"].reshape(pack, -1, self.common.horizon)
        ids = targets.clamp(min=0)
        inputs = LossInputs(
            states=relevance_states(params, states, self.temperature),
            table=table,
            bias=params["relevance.item_bias"],
            targets=ids,
            mask=targets >= 0,
            liked=batch["liked"].reshape(ids.shape),
            negatives=batch["negatives"],
            items=self.data.facts,
            **self._optional_inputs(batch, states, table, ids),
        )
        return torch.stack([loss(inputs) for loss in self.losses], dim=-1)

    def _optional_inputs(
        self, batch: Mapping[str, Tensor], states: Tensor, table: Tensor, ids: Tensor
    ) -> dict[str, Tensor]:
        """Inputs that some loss of the pack needs; an example has several rows of states."""
        found: dict[str, Tensor] = {}
        if "liked_logits" in self.needs:
            found["liked_logits"] = task_logits(self.params, "liked", states, table, ids)
        if RATING in self.needs:
            found["rating"] = batch["rating"].reshape(ids.shape)
            found["predicted_rating"] = task_logits(self.params, RATING, states, table, ids)
        for name in ("group", "taste"):
            if name in self.needs:
                found[name] = batch[name].repeat_interleave(self.common.places, dim=1)
        if "users" in batch:
            users = batch["users"].repeat_interleave(self.common.places, dim=1)
            found["reference"] = self.data.references[self.common.reference][users]
        return found

    @torch.no_grad()
    def _look(self, step: int, monitor: Monitor) -> None:
        """Score validation histories; keep what improved, stop what has not for long."""
        histories = self.data.histories[:, -self.common.history :]
        relevance, _ = catalogue_scores(
            self.params, self.shape, self.data.features, histories, self.temperature, liked=False
        )
        for index in range(len(self.specs)):
            if not self.running[index]:
                continue
            if not bool(torch.isfinite(relevance[index]).all()):
                self.reasons[index] = f"scores are not finite after step {step}"
                self.running[index] = False
                continue
            value = monitor(relevance[index])
            curve = self.curves[index]
            if not curve or value > max(seen for _, seen in curve):
                self.best[index] = {name: p[index].clone() for name, p in self.params.items()}
            curve.append((step, value))
            values = [seen for _, seen in curve]
            self.running[index] = len(values) - 1 - int(np.argmax(values)) < self.common.patience

    def _result(self, index: int, seconds: float) -> Fit:
        curve, reason = self.curves[index], self.reasons[index]
        best = max(curve, key=lambda look: look[1])[0] if curve else 0
        params = {} if reason else self.best[index]
        return Fit(self.specs[index], self.shape, params, tuple(curve), best, seconds, reason)
