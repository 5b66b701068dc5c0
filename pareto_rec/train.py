"""Fit a batch of candidates together: one pack, stacked parameters, one step for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pareto_rec.batches import Sequences, draw
from pareto_rec.losses import COMBINE, LOSSES, ItemFacts, LossInputs
from pareto_rec.losses.base import resolve
from pareto_rec.models import MODELS
from pareto_rec.models.base import (
    Dropout,
    Noise,
    Shape,
    gather_items,
    init_shared,
    item_table,
    tower,
)
from pareto_rec.models.scoring import catalogue_scores, relevance_states, user_states
from pareto_rec.optimiser import StackedAdamW, schedule
from pareto_rec.seeds import child_seed, generator

Monitor = Callable[[Tensor], float]


@dataclass(frozen=True)
class TrainSpec:
    """Every training variable of one fit; those not searched keep the config's value.

    Attributes:
        model: Registered model.
        width: Width of item and user vectors.
        history: Number of last items read.
        layers: Blocks of self-attention.
        heads: Attention heads; must divide the width.
        steps: Most training steps.
        batch: Examples per step.
        places: Predicted places per example (self-attention).
        horizon: Items that follow, all of them targets.
        negatives: Items drawn per step for sampled losses.
        learning_rate: Peak of the schedule.
        weight_decay: Decoupled (AdamW).
        dropout: Share of history items dropped.
        item_dropout: Share of item embeddings dropped.
        temperature: Of the softmax.
        combine: Registered way to combine losses.
        loss_weights: Loss name -> weight, on the simplex.
        check_every: Steps between two looks at validation.
        patience: Looks without improvement before a fit stops.
    """

    model: str = "attention_pooling"
    width: int = 64
    history: int = 50
    layers: int = 2
    heads: int = 4
    steps: int = 150
    batch: int = 256
    places: int = 1
    horizon: int = 1
    negatives: int = 256
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    dropout: float = 0.1
    item_dropout: float = 0.1
    temperature: float = 1.0
    combine: str = "weighted_sum"
    loss_weights: Mapping[str, float] = field(default_factory=lambda: {"softmax": 1.0})
    check_every: int = 25
    patience: int = 3


@dataclass(frozen=True)
class TrainData:
    """What training reads, on the device.

    Attributes:
        sequences: Training rows.
        features: Backbone features of the items ``[N, F]``.
        facts: Facts about items.
        histories: Histories at validation ``[users, L_max]``.
        device: Where tensors live.
    """

    sequences: Sequences
    features: Tensor
    facts: ItemFacts
    histories: Tensor
    device: torch.device


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


SHARED = (
    *("model", "width", "history", "layers", "heads", "steps", "batch", "places", "horizon"),
    *("negatives", "check_every", "patience"),
)


def pack_key(spec: TrainSpec) -> tuple[object, ...]:
    """What candidates must have in common to be trained in one pack."""
    return (*(getattr(spec, name) for name in SHARED), *spec.loss_weights)


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
    """
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
        initial = []
        for seed in seeds:
            source = torch.Generator().manual_seed(child_seed(seed, "init"))
            shared = init_shared(self.shape, source)
            initial.append(shared | MODELS[common.model].init(self.shape, source))
        self.params = _stack(initial, data.device)
        self.losses = resolve(list(common.loss_weights), LOSSES)
        self.weights = self._column([list(spec.loss_weights.values()) for spec in specs])
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
                self._step(first + offset, *(part[:, offset] for part in batches))
            self._look(first + count, monitor)
            if not any(self.running):
                break
        share = (time.perf_counter() - began) / len(self.specs)
        return [self._result(index, share) for index in range(len(self.specs))]

    def _draw(self, first: int) -> tuple[Tensor, ...]:
        """Examples of the steps until the next look, ``[P, T, ...]`` each."""
        common, drawn, negatives = self.common, [], []
        frequency = np.cumsum(self.data.facts.log_frequency.exp().cpu().numpy())
        for seed in self.seeds:
            rng = generator(seed, "batches", first)
            drawn.append(
                draw(
                    self.data.sequences,
                    rng,
                    steps=common.check_every,
                    batch=common.batch,
                    history=common.history,
                    places=common.places,
                    horizon=common.horizon,
                )
            )
            uniform = rng.random((common.check_every, common.negatives)) * frequency[-1]
            negatives.append(np.searchsorted(frequency, uniform))
        arrays = [
            np.stack([getattr(batch, name) for batch in drawn])
            for name in ("histories", "at", "targets", "liked")
        ]
        arrays.append(np.stack(negatives))
        return tuple(torch.from_numpy(array).to(self.data.device) for array in arrays)

    def _step(
        self,
        step: int,
        histories: Tensor,
        at: Tensor,
        targets: Tensor,
        liked: Tensor,
        negatives: Tensor,
    ) -> None:
        losses = self._losses(histories, at, targets, liked, negatives)
        if self.scale is None:
            self.scale = losses.detach().abs().clamp(min=1e-6)
        scaled = losses / self.scale
        bounds = self._column([loss.lower_bound(self.shape.n_items) for loss in self.losses])
        total = torch.stack(
            [
                COMBINE[spec.combine](
                    scaled[i : i + 1], self.weights[i : i + 1], (bounds / self.scale)[i : i + 1]
                )
                for i, spec in enumerate(self.specs)
            ]
        )
        for index in torch.nonzero(~torch.isfinite(total.detach().view(-1))).view(-1).tolist():
            if self.reasons[index] is None:
                self.reasons[index] = f"loss is not finite at step {step}"
                self.running[index] = False
        total.sum().backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.optimiser.step(schedule(step, self.common.steps))

    def _losses(
        self, histories: Tensor, at: Tensor, targets: Tensor, liked: Tensor, negatives: Tensor
    ) -> Tensor:
        """Unscaled losses ``[P, M]``."""
        params, pack = self.params, len(self.specs)
        table = item_table(params, self.data.features, self.dropout)
        states = user_states(params, self.shape, table, histories, at, self.dropout)
        targets = targets.reshape(pack, -1, self.common.horizon)
        mask = targets >= 0
        ids = targets.clamp(min=0)
        flat = ids.reshape(pack, -1)
        liked_states = tower(params, "liked", states) * states.shape[-1] ** -0.5
        vectors = gather_items(table, ids)
        liked_logits = (liked_states.unsqueeze(2) * vectors).sum(-1)
        liked_logits = liked_logits + torch.gather(params["liked.item_bias"], 1, flat).view_as(ids)
        inputs = LossInputs(
            states=relevance_states(params, states, self.temperature),
            table=table,
            bias=params["relevance.item_bias"],
            targets=ids,
            mask=mask,
            liked_logits=liked_logits,
            liked=liked.reshape(ids.shape),
            negatives=negatives,
            items=self.data.facts,
        )
        return torch.stack([loss(inputs) for loss in self.losses], dim=-1)

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
