"""A pack in training: stacked parameters, one step for all candidates."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.core.seeds import child_seed
from pareto_rec.losses import AGGREGATORS, LossInputs
from pareto_rec.losses.aggregation.loss_aggregation import LossAggregation
from pareto_rec.models import MODELS
from pareto_rec.models.base import Dropout, Noise, Params, Shape, init_shared, item_table
from pareto_rec.models.scoring import (
    last_states,
    relevance_scores,
    relevance_states,
    user_states,
)
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.tasks import Task, is_task
from pareto_rec.training.data import (
    Checkpoint,
    Fit,
    Monitor,
    Relevance,
    TrainData,
)
from pareto_rec.training.early_stopping import BestCheckpoint
from pareto_rec.training.examples import Examples
from pareto_rec.training.matmul_dtype import matmul_dtype_of
from pareto_rec.training.optimizer import StackedAdamW, schedule
from pareto_rec.training.pack_tasks import TaskHeads, losses_of
from pareto_rec.training.sparse_step import CatalogueSlice, SparseItemStep
from pareto_rec.training.spec import IDLE, TrainSpec
from pareto_rec.training.tuned.live import LiveTable, needed_items

NAMED = ("histories", "targets", "shown_histories", "shown_items")  # items whose text is read


def _stack(parts: Sequence[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    return {
        name: torch.stack([part[name] for part in parts]).to(device).requires_grad_()
        for name in parts[0]
    }


def _under(part: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": value for name, value in state.items()}


def _below(part: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    begin = f"{part}/"
    return {name[len(begin) :]: x for name, x in state.items() if name.startswith(begin)}


def shape_of(spec: TrainSpec, n_items: int, feature_dim: int, tasks: Sequence[Task]) -> Shape:
    """Return what the parameters of a fit are like.

    Args:
        spec: Its training variables.
        n_items: Size of the catalogue.
        feature_dim: Width of what it reads of an item.
        tasks: Those that it is trained on.
    """
    return Shape(
        spec.model,
        n_items,
        feature_dim,
        spec.width,
        spec.history,
        spec.layers,
        spec.heads,
        spec.trunk,
        spec.trunk_experts,
        tuple(task.name for task in tasks),
    )


class Pack:
    """The state of one pack in training."""

    def __init__(
        self,
        specs: Sequence[TrainSpec],
        seeds: Sequence[int],
        data: TrainData,
        starts: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        self.specs, self.seeds, self.data = specs, seeds, data
        self.facts = data.facts.choosing(specs[0].gain)
        horizons = [spec.horizon for spec in specs]
        self.common = common = replace(specs[0], horizon=max(horizons))
        # frozen features at first; a live table replaces them step by step
        self.features = data.item_features(replace(common, tuned_layers=0), {})
        self.live: LiveTable | None = None
        if common.tuned_layers:
            self.live = data.source.live(specs, [child_seed(seed, "backbone") for seed in seeds])
        self.tasks = TaskHeads(common, data.labels)
        n_items, feature_dim = self.features.shape
        self.shape = shape_of(common, n_items, feature_dim, self.tasks.own)
        self.losses = losses_of(common, data.labels)
        self.needs = frozenset(need for loss in self.losses for need in loss.needs)
        self.examples = Examples(common, horizons, seeds, data, self.tasks, self.needs)
        self.params = _stack(starts or [self._initial(seed) for seed in seeds], data.device)
        self.descent = self._descent()
        self.temperature = self._column([spec.temperature for spec in specs])
        # a generator per candidate: its draws are the same in any pack
        noise = Noise([child_seed(seed, "noise") for seed in seeds], data.device)
        self.dropout = Dropout(
            noise,
            self._column([spec.dropout for spec in specs]),
            self._column([spec.item_dropout for spec in specs]),
        )
        rate = self._column([spec.learning_rate for spec in specs])
        decay = self._column([spec.weight_decay for spec in specs])
        self.optimiser = StackedAdamW(self.params, rate, decay)
        self.touched: SparseItemStep | None = None
        if self._samples():
            self.touched = SparseItemStep(self.params, rate, decay, common.touched)
        self.scale: Tensor | None = None
        self.kept = [
            BestCheckpoint(self._copy(index), common.patience) for index in range(len(specs))
        ]
        self.step = 0

    def _descent(self) -> LossAggregation:
        """Return each candidate's loss aggregation, with its preference."""
        accurate = [loss.accuracy for loss in self.losses]
        return LossAggregation(
            [AGGREGATORS[spec.aggregation] for spec in self.specs],
            np.array([list(spec.loss_weights.values()) for spec in self.specs], dtype=np.float64),
            self.seeds,
            primary=accurate.index(True) if any(accurate) else 0,
        )

    def _samples(self) -> bool:
        """Tell whether steps run on the touched items alone: where these are less than half."""
        reads_all = any(loss.catalogue for loss in self.losses) or self.common.item_inputs in IDLE
        few = 2 * self.common.touched < self.shape.n_items
        return self.live is None and not reads_all and few

    def _initial(self, seed: int) -> dict[str, Tensor]:
        """Return parameters of one candidate."""
        source = torch.Generator().manual_seed(child_seed(seed, "init"))
        params = init_shared(self.shape, source)
        params |= self.tasks.base_rates(self.shape.n_items)
        idle = IDLE.get(self.common.item_inputs)
        if idle:
            params[idle].zero_()
        params |= MODELS[self.common.model].init(self.shape, source)
        width, experts = self.shape.width, self.shape.experts
        return params | TRUNKS[self.shape.trunk].init(width, experts, self.shape.towers, source)

    def _column(self, values: Sequence[float] | Sequence[list[float]]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.data.device)

    def run(self, monitor: Monitor, until: int | None = None) -> list[Fit]:
        """Train until the last step, a given one, or until every candidate has stopped."""
        began = time.perf_counter()
        common = self.common
        end = common.steps if until is None else min(until, common.steps)
        while self.step < end and any(checkpoint.running for checkpoint in self.kept):
            first = self.step
            batches = self.examples.draw(first)
            count = min(common.check_every, common.steps - first)
            for offset in range(count):
                self._step(first + offset, {name: x[:, offset] for name, x in batches.items()})
            self.step = first + count
            self._look(self.step, monitor)
        share = (time.perf_counter() - began) / len(self.specs)
        checkpoints = zip(self.kept, self.specs, strict=True)
        return [checkpoint.fit(spec, self.shape, share) for checkpoint, spec in checkpoints]

    def standing(self, index: int, fit: Fit) -> Checkpoint:
        """Return where a candidate stands after a look."""
        assert self.scale is not None
        state = {f"params/{name}": p.detach()[index].clone() for name, p in self.params.items()}
        state |= _under("optimiser", self.optimiser.state(index))
        state |= _under("way", {k: torch.from_numpy(v) for k, v in self.ways_of(index).items()})
        state["scale"] = self.scale[index].clone()
        state["noise"] = self.dropout.noise.generators[index].get_state()
        if self.touched is not None:
            state |= _under("touched", self.touched.state(index))
        if self.live is not None:
            state |= _under("live", self.live.state(index))
        return Checkpoint(fit, self.step, self.kept[index].running, state)

    def ways_of(self, index: int) -> Mapping[str, NDArray[np.float64]]:
        """Return what a candidate's loss aggregation remembers."""
        return {name: np.array(value) for name, value in self.descent.states[index].items()}

    @torch.no_grad()
    def go_on(self, standings: Sequence[Checkpoint]) -> None:
        """Take the candidates from where they stand; before the first step of this pack."""
        states = [standing.state for standing in standings]
        self.step = standings[0].step
        for name, param in self.params.items():
            param.copy_(torch.stack([state[f"params/{name}"] for state in states]))
        self.optimiser.load(self.step, [_below("optimiser", state) for state in states])
        self._set_scale(torch.stack([state["scale"] for state in states]).to(self.data.device))
        if self.touched is not None:
            self.touched.load(self.step, [_below("touched", state) for state in states])
        if self.live is not None:
            self.live.load([_below("live", state) for state in states])
        for index, standing in enumerate(standings):
            memory = _below("way", standing.state)
            self.descent.states[index] = {name: value.numpy() for name, value in memory.items()}
            self.dropout.noise.generators[index].set_state(standing.state["noise"])
            device = self.data.device
            checkpoint = self.kept[index]
            checkpoint.params = {
                name: value.to(device) for name, value in standing.fit.params.items()
            }
            checkpoint.go_on(standing.fit, running=standing.running)

    def _step(self, step: int, batch: Mapping[str, Tensor]) -> None:
        learnt = dict(self.params)
        if self.live is not None:
            seen = [batch[name] for name in NAMED if name in batch]
            self.features = self.live.begin(step, needed_items(seen))
            # gradient-based aggregators also see the tuned layers' gradients
            learnt["features"] = self.features
        part = CatalogueSlice(self._moving, self.features, self.facts, batch)
        if self.touched is not None:
            part = self.touched.begin(batch, self.features, self.facts)
            learnt.update(self.touched.leaves)
        losses = self._scaled(self._losses(part))
        # candidates share no parameter, so one whose loss is not finite leaves the others alone
        finite = self.descent.backward(step, losses, self.ideal, learnt)
        for index in np.flatnonzero(~finite).tolist():
            self.kept[index].fail(f"loss is not finite at step {step}")
        self.optimiser.step(schedule(step, self.common.steps))
        if self.touched is not None:
            self.touched.end(schedule(step, self.common.steps))
        if self.live is not None:
            self.live.end(step, [checkpoint.running for checkpoint in self.kept])

    def losses_on(self, features: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Compute the losses of a step ``[P, M]`` in their units, for whoever trains the pack.

        Args:
            features: What is read of the items in place of the data's features ``[N, F]``.
            batch: Examples of the step ``[P, ...]``.
        """
        return self._scaled(self._losses(CatalogueSlice(self._moving, features, self.facts, batch)))

    @torch.no_grad()
    def value_on(self, features: Tensor, monitor: Monitor) -> float | None:
        """Compute the validation value of the first candidate; None where a score is not finite.

        Args:
            features: What is read of the items in place of the data's features ``[N, F]``.
            monitor: Validation value of relevance scores.
        """
        return self._value(0, *self._validation(features), monitor)

    def _scaled(self, losses: Tensor) -> Tensor:
        """Return losses ``[P, M]`` in their units, which the first step sets."""
        if self.scale is None:
            n_items = self.shape.n_items
            units = [loss.unit(n_items) for loss in self.losses]
            # losses differ by orders of magnitude: each is divided by its unit or, without one, by
            # its value at initialisation, so that weights mean shares; fixed from then on
            own = losses.detach().abs().clamp(min=1e-6)
            parts = [own[:, m] if u is None else own[:, m] * 0 + u for m, u in enumerate(units)]
            self._set_scale(torch.stack(parts, dim=-1))
        assert self.scale is not None
        return losses / self.scale

    def _set_scale(self, scale: Tensor) -> None:
        """Set the units of the losses ``[P, M]``, and their smallest values in these."""
        self.scale = scale
        bounds = self._column([loss.lower_bound(self.shape.n_items) for loss in self.losses])
        self.ideal = (bounds / scale).cpu().double().numpy()

    def _losses(self, part: CatalogueSlice) -> Tensor:
        """Return unscaled losses ``[P, M]``."""
        params, batch, pack = part.params, part.batch, len(self.specs)
        table = item_table(params, part.features, self.dropout)
        states = user_states(
            params, self.shape, table, batch["histories"], batch["at"], self.dropout
        )
        targets = batch["targets"].reshape(pack, -1, self.common.horizon)
        ids = targets.clamp(min=0)
        all_rows = self.common.regularizer_rows >= ids.shape[1]
        inputs = LossInputs(
            states=relevance_states(params, states, self.temperature),
            table=table,
            bias=params["relevance.item_bias"],
            targets=ids,
            mask=targets >= 0,
            negatives=batch["negatives"],
            items=part.facts,
            # statistics of all rows share the matmul of the cross-entropy, so they cost little more
            beyond=all_rows and any(loss.figure for loss in self.losses),
            matmul_dtype=matmul_dtype_of(self.common.matmul_dtype, self.data.device),
            shown=self.tasks.inputs(params, self.shape, table, batch, self.dropout),
            interactions=self.tasks.interactions(params, states, table, targets, batch),
            **self._optional_inputs(batch),
        )
        # losses on the whole distribution need a row of N logits per example: an estimate on the
        # first rows, which are as random as any, saves most of that
        sampled = inputs.first(self.common.regularizer_rows)
        values = [loss(sampled if loss.distribution else inputs) for loss in self.losses]
        return torch.stack(values, dim=-1)

    def _optional_inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return inputs that some loss of the pack needs; an example has several rows of states."""
        inputs: dict[str, Tensor] = {}
        for name in ("group", "taste"):
            if name in self.needs:
                inputs[name] = batch[name].repeat_interleave(self.common.positions, dim=1)
        if "users" in batch:
            users = batch["users"].repeat_interleave(self.common.positions, dim=1)
            inputs["reference"] = self.data.references[self.common.reference][users]
        return inputs

    @property
    def _moving(self) -> Mapping[str, Tensor]:
        """The parameters; the part of the item vectors that is left out stays zero."""
        idle = IDLE.get(self.common.item_inputs)
        return {**self.params, idle: self.params[idle].detach()} if idle else self.params

    @torch.no_grad()
    def _look(self, step: int, monitor: Monitor) -> None:
        """Score validation histories; keep what improved, stop what has not for long."""
        if self.live is not None:
            self.features = self.live.refresh()
        table, states = self._validation(self.features)
        for index, checkpoint in enumerate(self.kept):
            if not checkpoint.running:
                continue
            value = self._value(index, table, states, monitor)
            if value is None:
                checkpoint.fail(f"scores are not finite after step {step}")
            elif checkpoint.improved(step, value):
                checkpoint.params = self._copy(index)
                if self.live is not None:
                    checkpoint.difference = self.live.difference(index)

    def _validation(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return item vectors ``[P, N, D]`` and states of validation histories ``[P, R, D]``."""
        table = item_table(self.params, features, None)
        histories = self.data.histories[:, -self.common.history :]
        return table, last_states(self.params, self.shape, table, histories)

    def _copy(self, index: int) -> dict[str, Tensor]:
        """Return a candidate's parameters as they are now."""
        return {name: p.detach()[index].clone() for name, p in self.params.items()}

    def _value(self, index: int, table: Tensor, states: Tensor, monitor: Monitor) -> float | None:
        """Return the validation value of a candidate; None where a score is not finite."""
        candidate = slice(index, index + 1)
        params = {name: value[candidate] for name, value in self.params.items()}
        # one sum instead of a pass with a mask: NaN and inf both survive addition
        finite = bool(torch.isfinite(states[index].sum() + table[index].sum()))

        def of(rows: slice) -> Tensor:
            nonlocal finite
            shown = self._watched_scores(index, params, states[candidate, rows], table[candidate])
            finite = finite and bool(torch.isfinite(shown.sum()))
            return shown[0]

        shape, watched = (states.shape[1], table.shape[1]), self.specs[index].watched
        value = monitor(Relevance(shape, of, watched)) if finite else None
        return value if finite else None

    def _watched_scores(self, index: int, params: Params, states: Tensor, table: Tensor) -> Tensor:
        """Compute the scores ``[1, R, N]`` of what early stopping watches of a candidate.

        Args:
            index: The candidate.
            params: Its parameters, with a leading dimension of one as the rest.
            states: States ``[1, R, D]``.
            table: Item vectors ``[1, N, D]``.
        """
        if self.common.by_tasks_alone:
            return self.tasks.ranking(params, states, table)
        temperature, watched = self.temperature[index : index + 1], self.specs[index].watched
        scores = relevance_scores(params, states, table, temperature)
        if is_task(watched):
            scores = scores + self.tasks.log_chance(watched, params, states, table)
        return scores
