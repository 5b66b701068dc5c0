"""Plain fine-tuning: the frozen backbone encodes the items of every batch again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.suite.plain import Examples, Plain, chances, examples_of
from benchmarks.suite.task import Problem
from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.features import Features
from pareto_rec.core.seeds import generator
from pareto_rec.training.item_features import Projection
from pareto_rec.training.spec import TrainSpec


class Encoder:
    """The frozen backbone in the loop: padded batches of tokens, as its documentation shows."""

    def __init__(
        self, given: Problem, texts: Sequence[str], features: Features, cache: Path
    ) -> None:
        """Load the backbone and tokenise; what is cached is used for nothing but the projection."""
        chosen = given.experiment.config.backbone
        backbone = Backbone.load(chosen.name, cache)
        self.model, self.pad = backbone.model, int(backbone.tokenizer.pad_token_id or 0)
        tokens = backbone.tokenizer(list(texts), truncation=True, max_length=chosen.max_length)
        self.ids: list[list[int]] = tokens["input_ids"]
        self.projection = Projection.of(features.states, chosen.components)

    @torch.no_grad()
    def __call__(self, items: Tensor) -> Tensor:
        """Return features of some items ``[items, F]`` as models read them."""
        rows = [self.ids[item] for item in items.tolist()]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return torch.from_numpy(self.projection(pooled.numpy()))


def step_loss(model: Plain, encoder: Encoder, examples: Examples) -> Tensor:
    """Return the cross-entropy of the targets among the items of the batch, all encoded for it."""
    histories, targets, _ = examples
    met = torch.unique(torch.cat([histories.flatten(), targets.flatten()]))
    met = met[met >= 0]
    table = encoder(met) @ model.p["item/project"] + model.p["item/embed"][met]
    where = torch.searchsorted(met, histories.clamp(min=0))
    states = model.states(table, torch.where(histories >= 0, where, -1))
    logits = model.relevance(table, states, met)
    mask = targets >= 0
    wanted = torch.searchsorted(met, targets.clamp(min=0))
    chosen = functional.log_softmax(logits, -1).gather(1, wanted.clamp(max=len(met) - 1))
    return -((chosen * mask).sum(1) / mask.sum(1)).mean()


def seconds_per_step(model: Plain, encoder: Encoder, spec: TrainSpec, steps: int) -> float:
    """Return the median seconds of a step of training, the first one left out."""
    sequences = model.data.sequences
    rng, chance = generator(0, "in loop"), chances(sequences)
    optimiser = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate)
    spent = []
    for _ in range(steps + 1):
        examples = examples_of(model.data, spec, rng, chance)
        began = time.perf_counter()
        loss = step_loss(model, encoder, examples)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
        spent.append(time.perf_counter() - began)
    return float(np.median(spent[1:]))
