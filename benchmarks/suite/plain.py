"""Reference trainer: the same model and losses, one candidate at a time.

An ordinary module, PyTorch's AdamW, a batch put together by a loop over its examples. It is given
the cached features, the same early stopping and the same draws of dropout rates, so that what
differs is how it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pareto_rec.core.seeds import generator
from pareto_rec.training.batches import Sequences
from pareto_rec.training.data import Monitor, Relevance, TrainData
from pareto_rec.training.spec import TrainSpec

Examples = tuple[Tensor, Tensor, Tensor]  # histories [B, L], targets [B, H], liked [B, H]; -1 pads


class Plain(nn.Module):
    """Attention pooling, two task towers, losses on the whole predicted distribution."""

    def __init__(self, params: Mapping[str, Tensor], data: TrainData, spec: TrainSpec) -> None:
        """Create the model from given parameters, named as this package names them."""
        super().__init__()
        self.p = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(value.clone()) for name, value in params.items()}
        )
        self.data, self.spec = data, spec

    def table(self, features: Tensor) -> Tensor:
        """Return item vectors ``[N, D]``."""
        embed = self.p["item/embed"]
        if self.training and self.spec.item_dropout > 0:
            embed = embed * (torch.rand(len(embed), 1) >= self.spec.item_dropout)
        table: Tensor = features @ self.p["item/project"] + embed
        return table

    def states(self, table: Tensor, histories: Tensor) -> Tensor:
        """Return user states ``[B, D]``."""
        mask = (histories >= 0).unsqueeze(-1)
        vectors = table[histories.clamp(min=0)]
        logits = torch.tanh(vectors @ self.p["pool/key"]) @ self.p["pool/query"]
        logits = logits + self.p["pool/place"][-histories.shape[1] :]
        weights = torch.softmax(logits.masked_fill(~mask, -1e9), dim=1) * mask
        if self.training:
            weights = functional.dropout(weights, self.spec.dropout)
        heads = vectors.view(*vectors.shape[:2], self.spec.heads, -1)
        return torch.einsum("blh,blhd->bhd", weights, heads).flatten(1)

    def tower(self, task: str, states: Tensor) -> Tensor:
        """Apply a task tower, scaled as dot products are."""
        hidden = functional.gelu(states @ self.p[f"{task}/in"] + self.p[f"{task}/in_bias"])
        scaled: Tensor = (states + hidden @ self.p[f"{task}/out"]) * states.shape[-1] ** -0.5
        return scaled

    def relevance(
        self, table: Tensor, states: Tensor, items: Tensor | slice = slice(None)
    ) -> Tensor:
        """Return logits of all items of a table ``[B, N]``; `items` are those in its rows."""
        scaled = self.tower("relevance", states) / self.spec.temperature
        logits: Tensor = scaled @ table.T + self.p["relevance/item_bias"][items]
        return logits

    def losses(self, examples: Examples) -> dict[str, Tensor]:
        """Return every loss of the experiment, unweighted."""
        histories, targets, liked = examples
        table = self.table(self.data.features)
        states = self.states(table, histories)
        log_probs = torch.log_softmax(self.relevance(table, states), -1)
        mask, ids = targets >= 0, targets.clamp(min=0)

        def mean(values: Tensor) -> Tensor:
            return ((values * mask).sum(1) / mask.sum(1)).mean()

        second = (self.tower("liked", states).unsqueeze(1) * table[ids]).sum(-1)
        second = second + self.p["liked/item_bias"][ids]
        entropy = functional.binary_cross_entropy_with_logits(second, liked, reduction="none")
        probs, facts = log_probs.exp(), self.data.facts
        known = facts.categories.square().sum(1)  # 1; 0 for an item without categories
        # the pairs of two different items, of which those with an item without categories are alike
        pairs = (probs @ facts.categories).square().sum(1) + 1 - (probs @ known).square()
        return {
            "softmax": mean(-log_probs.gather(1, ids)),
            "liked": (entropy * mask).sum() / mask.sum(),
            "negative_entropy": (probs * log_probs).sum(1).mean(),
            "similarity": (pairs - probs.square().sum(1)).mean(),
            "popularity": (probs @ facts.log_popularity).mean(),
        }


def examples_of(
    data: TrainData, spec: TrainSpec, rng: np.random.Generator, chance: Any
) -> Examples:
    """Return a batch, put together example by example."""
    sequences, labels = data.sequences, data.labels.interactions.labels["liked"]
    rows = rng.choice(len(sequences.items), spec.batch, p=chance)
    histories = np.full((spec.batch, spec.history), -1)
    targets = np.full((spec.batch, spec.horizon), -1)
    liked = np.zeros((spec.batch, spec.horizon), dtype=np.float32)
    for index, row in enumerate(rows):
        past = sequences.items[max(sequences.start[row], row - spec.history) : row]
        ahead = slice(row, min(sequences.end[row], row + spec.horizon))
        histories[index, spec.history - len(past) :] = past
        targets[index, : ahead.stop - row] = sequences.items[ahead]
        liked[index, : ahead.stop - row] = labels[ahead]
    return torch.from_numpy(histories), torch.from_numpy(targets), torch.from_numpy(liked)


def chances(sequences: Sequences) -> Any:
    """Return the probability of every row to be drawn."""
    weight = (np.arange(len(sequences.items)) > sequences.start) / np.sqrt(
        sequences.end - sequences.start
    )
    return weight / weight.sum()


def train(
    params: Mapping[str, Tensor], data: TrainData, spec: TrainSpec, seed: int, monitor: Monitor
) -> dict[str, Tensor]:
    """Return one fit, from given initial parameters; what is returned has their names."""
    torch.manual_seed(seed)
    rng, chance = generator(seed, "plain"), chances(data.sequences)
    model = Plain(params, data, spec)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": spec.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=spec.learning_rate,
        betas=(0.9, 0.99),
    )
    warmup = max(1, spec.steps // 10)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warmup, 0.55 + 0.45 * math.cos(math.pi * step / spec.steps)),
    )
    units: dict[str, float] = {}
    best, best_params, since = -1.0, dict(params), 0
    for step in range(spec.steps):
        model.train()
        values = model.losses(examples_of(data, spec, rng, chance))
        units = units or {n: max(abs(float(v.detach())), 1e-6) for n, v in values.items()}
        weights = spec.loss_weights
        loss = torch.stack([weights[name] * values[name] / units[name] for name in weights]).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
        rate.step()
        if (step + 1) % spec.check_every == 0 or step + 1 == spec.steps:
            value = monitor(Relevance.whole(_validation(model)))
            since = 0 if value > best else since + 1
            if value > best:
                best = value
                best_params = {n.replace("/", "."): p.detach().clone() for n, p in model.p.items()}
            if since >= spec.patience:
                break
    return best_params


@torch.no_grad()
def _validation(model: Plain) -> Tensor:
    model.eval()
    table = model.table(model.data.features)
    states = model.states(table, model.data.histories[:, -model.spec.history :])
    return model.relevance(table, states)
