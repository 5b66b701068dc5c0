"""Sparse training steps: losses on sampled items update the touched rows of the catalogue only.

Where no loss of a pack reads the whole predicted distribution, a step needs the items of its
histories, its targets and its negatives and no others. It then runs on a small catalogue of those,
with the same model and the same losses, and no pass over all items is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto_rec.losses import ItemFacts
from pareto_rec.training.optimizer import BETA1, BETA2, EPS

# parts of a batch that hold item indices, the last two only where tasks are trained
ITEM_IDS = ("histories", "targets", "negatives", "shown_histories", "shown_items")


@dataclass(frozen=True)
class CatalogueSlice:
    """What the losses of a step read of the catalogue: all of it, or the items that it touches.

    Attributes:
        params: Stacked parameters.
        features: Features of the items ``[N, F]`` or ``[P, N, F]``.
        facts: Facts about them.
        batch: Examples; their item indices are those of the part.
    """

    params: Mapping[str, Tensor]
    features: Tensor
    facts: ItemFacts
    batch: Mapping[str, Tensor]


class SparseItemStep:
    """The item embeddings and biases of a pack, updated where a step touches them.

    Moments, decay and rates apply to the rows of a step alone, as in the sparse form of Adam: an
    item that is never drawn keeps its initial embedding and is scored from its text.
    """

    def __init__(
        self, params: Mapping[str, Tensor], rate: Tensor, decay: Tensor, capacity: int
    ) -> None:
        """Start with moments of zero.

        Args:
            params: Stacked parameters, leaves; those with a row per item are taken over.
            rate: Learning rates ``[P]``.
            decay: Decoupled weight decays ``[P]``, of embeddings alone.
            capacity: Most items of a step and candidate; every step is padded to it, so that what
                is drawn for one candidate does not depend on its pack.
        """
        names = ["item.embed", *(name for name in params if name.endswith(".item_bias"))]
        self.params, self.rate, self.decay, self.capacity = params, rate, decay, capacity
        self.moments = {name: (_zeros(params[name]), _zeros(params[name])) for name in names}
        self.count = 0
        self.rows = self.real = torch.zeros(0)
        self.leaves: dict[str, Tensor] = {}

    def begin(
        self, batch: Mapping[str, Tensor], features: Tensor, facts: ItemFacts
    ) -> CatalogueSlice:
        """Return the part of the catalogue that a step touches.

        Args:
            batch: Examples of the step.
            features: Features of all items ``[N, F]``.
            facts: Facts about all items.
        """
        pack, n_items = self.params["item.embed"].shape[:2]
        named = [name for name in ITEM_IDS if name in batch]
        ids = torch.cat([batch[name].reshape(pack, -1) for name in named], dim=1)
        rows = torch.full((pack, self.capacity), n_items, dtype=torch.long, device=ids.device)
        for candidate, own in enumerate(ids):
            met = torch.unique(own)
            met = met[met >= 0]
            rows[candidate, : len(met)] = met
        self.real, self.rows = rows < n_items, rows.clamp(max=n_items - 1)
        self.leaves = {name: self._taken(name).requires_grad_() for name in self.moments}
        moved = {name: _moved(batch[name], rows) for name in named}
        own_facts = ItemFacts(
            facts.categories[:0], facts.log_popularity[self.rows], facts.log_frequency[self.rows]
        )
        params = {**self.params, **self.leaves}
        return CatalogueSlice(params, features[self.rows].float(), own_facts, {**batch, **moved})

    def _taken(self, name: str) -> Tensor:
        """Return rows of a parameter ``[P, capacity, ...]``, a copy."""
        values = self.params[name].detach()
        candidate = torch.arange(len(values), device=values.device).unsqueeze(1)
        return values[candidate, self.rows]

    @torch.no_grad()
    def end(self, schedule: float) -> None:
        """Update the touched rows; `schedule` multiplies every learning rate."""
        self.count += 1
        correct = float((1 - BETA2**self.count) ** 0.5 / (1 - BETA1**self.count))
        candidate, slot = torch.nonzero(self.real, as_tuple=True)
        item = self.rows[candidate, slot]
        rate = self.rate[candidate] * schedule
        for name, (first, second) in self.moments.items():
            taken = self.leaves[name].grad
            if taken is None:
                continue
            gradient, values = taken[candidate, slot], self.leaves[name].detach()[candidate, slot]
            step = rate.view(-1, *[1] * (gradient.dim() - 1))
            mean = torch.lerp(gradient, first[candidate, item], BETA1)
            square = torch.lerp(gradient.square(), second[candidate, item], BETA2)
            if gradient.dim() > 1:
                values = values * (1 - step * self.decay[candidate].view(-1, 1))
            values = values - step * correct * mean / (square.sqrt() + EPS)
            for target, content in ((first, mean), (second, square), (self.params[name], values)):
                target.detach()[candidate, item] = content

    def state(self, index: int) -> dict[str, Tensor]:
        """Return moments of one candidate: ``first/NAME`` and ``second/NAME`` of each parameter."""
        return {
            f"{moment}/{name}": values[index].clone()
            for name, pair in self.moments.items()
            for moment, values in zip(("first", "second"), pair, strict=True)
        }

    def load(self, count: int, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Go on after `count` steps with the moments of every candidate."""
        self.count = count
        for name, pair in self.moments.items():
            for moment, values in zip(("first", "second"), pair, strict=True):
                values.copy_(torch.stack([state[f"{moment}/{name}"] for state in states]))


def _zeros(like: Tensor) -> Tensor:
    """Return zeros of that shape; on a CPU no memory is taken until a row is touched."""
    return torch.from_numpy(np.zeros(like.shape, dtype=np.float32)).to(like.device)


def _moved(ids: Tensor, rows: Tensor) -> Tensor:
    """Return item indices ``[P, ...]`` as places in the sorted ``rows [P, capacity]``; -1 stays."""
    places = torch.searchsorted(rows, ids.reshape(len(ids), -1).contiguous()).view_as(ids)
    return torch.where(ids < 0, -1, places)
