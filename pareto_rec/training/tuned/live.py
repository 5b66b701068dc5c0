"""Table of item features that follows the layers above the cut while they are trained.

A step needs the features of nearly all items and can afford to encode few texts anew. So the table
holds every item's features as they were when last encoded; each step encodes some of the texts that
its batch needs, puts them into the table and passes the loss's gradient on to the layers through
these rows alone. The whole table is encoded anew every so many steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.backbone.features import RowArray
from pareto_rec.core.seeds import generator
from pareto_rec.training.item_features import Projection
from pareto_rec.training.optimizer import schedule
from pareto_rec.training.tuned.layers import UpperLayers
from pareto_rec.training.tuned.tokens import TokenStates

CHUNK_TOKENS = 2048  # most tokens, padding included, that are encoded at once


@dataclass(frozen=True)
class Pace:
    """How the layers are trained; candidates of one pack agree on it, rates apart.

    Attributes:
        steps: Steps of the whole training.
        texts: Most texts that a step encodes for each candidate.
        refresh: Steps between two encodings of the whole table.
        accumulate: Steps whose gradients make one update of the layers.
        warmup: Share of the steps in which the rate rises.
    """

    steps: int
    texts: int = 64
    refresh: int = 25
    accumulate: int = 1
    warmup: float = 0.1


@dataclass(frozen=True)
class Rates:
    """Rates of one candidate.

    Attributes:
        rate: Peak learning rate of the topmost layer.
        decay: Every layer further down learns at this share of the rate of the one above it.
        weight_decay: Decoupled (AdamW), of matrices.
    """

    rate: float
    decay: float = 0.9
    weight_decay: float = 0.01


class LiveTable:
    """Features of all items for every candidate of a pack, and the training of their layers.

    Attributes:
        table: Features as they were last encoded ``[P, N, F]``.
    """

    def __init__(
        self,
        layers: UpperLayers,
        tokens: TokenStates,
        projection: Projection,
        pace: Pace,
        rates: Sequence[Rates],
        seeds: Sequence[int],
        device: torch.device,
        frozen: Tensor | None = None,
    ) -> None:
        """Begin with the features of the frozen layers, or encode all items.

        Args:
            layers: The layers of all candidates.
            tokens: States of all texts at the cut.
            projection: From pooled features to what models read.
            pace: How the layers are trained.
            rates: One per candidate.
            seeds: One per candidate; which texts are encoded depends on it alone.
            device: Where to compute.
            frozen: Features of all items without tuning ``[N, F]``, where nothing was learnt yet;
                None to encode them by the layers as they are.
        """
        self.layers, self.tokens, self.pace, self.seeds = layers, tokens, pace, seeds
        self.device = device
        self.reduce = Reduction(projection, device)
        self.optimisers = [_optimiser(layers, index, rate) for index, rate in enumerate(rates)]
        if frozen is None:
            self.table = self.encode_all()
        else:
            self.table = frozen.unsqueeze(0).repeat(layers.pack, 1, 1)
        self.fresh = True
        self.leaf: Tensor | None = None
        self.live: list[tuple[Tensor, NDArray[np.int64], RowArray]] = []

    @torch.no_grad()
    def encode_all(self) -> Tensor:
        """Return features of all items by every candidate's present layers ``[P, N, F]``."""
        self.layers.draw([0] * self.layers.pack)
        everything = np.arange(len(self.tokens))
        owners = np.repeat(np.arange(self.layers.pack), len(everything))
        texts = np.tile(everything, self.layers.pack)
        table: Tensor | None = None
        for rows, features in self._encoded(owners, texts):
            if table is None:
                table = features.new_empty(len(texts), features.shape[1])
            table[torch.from_numpy(rows).to(self.device)] = features
        assert table is not None
        return table.view(self.layers.pack, len(everything), -1)

    def refresh(self) -> Tensor:
        """Return the table ``[P, N, F]``, encoded anew unless no layer has moved since."""
        if not self.fresh:
            self.table, self.fresh = self.encode_all(), True
        return self.table

    def _encoded(
        self, owners: NDArray[np.int64], texts: RowArray
    ) -> Iterator[tuple[RowArray, Tensor]]:
        """Yield places in the two lists and the features there, texts of like length together."""
        for places in chunks(self.tokens.lengths[texts], CHUNK_TOKENS):
            states, here = self.tokens.padded(texts[places], self.device)
            yield places, self.reduce(self.layers(states, here, owners[places].tolist()))

    def begin(self, step: int, needed: Sequence[NDArray[np.int64]]) -> Tensor:
        """Return features for a step ``[P, N, F]``; :meth:`end` must follow its backward pass.

        Args:
            step: Number of the step, from 0.
            needed: For each candidate, items that its batch looks at (any shape, -1 for none); an
                item that comes up more often is more likely to be encoded.
        """
        if step % self.pace.refresh == 0:
            self.refresh()
        chosen = [
            chosen_texts(items, self.pace.texts, generator(seed, "live", step))
            for items, seed in zip(needed, self.seeds, strict=True)
        ]
        self.layers.draw([len(texts) for texts in chosen])
        owners = np.repeat(np.arange(len(chosen)), [len(texts) for texts in chosen])
        texts = np.concatenate(chosen)
        # rows of a candidate keep their order in every pack, so that its draws are the same
        order = np.argsort(self.tokens.lengths[texts], kind="stable")
        owners, texts = owners[order], texts[order]
        self.live = [
            (features, owners[places], texts[places])
            for places, features in self._encoded(owners, texts)
        ]
        with torch.no_grad():
            for features, mine, rows in self.live:
                self.table[torch.from_numpy(mine), torch.from_numpy(rows)] = features.detach()
        self.leaf = self.table.clone().requires_grad_()
        return self.leaf

    def end(self, step: int, running: Sequence[bool]) -> None:
        """Pass the gradient of the features on to the layers, and move those that still run."""
        assert self.leaf is not None
        if self.leaf.grad is not None and self.live:
            parts = [features for features, _, _ in self.live]
            given = [
                self.leaf.grad[torch.from_numpy(mine), torch.from_numpy(rows)]
                for _, mine, rows in self.live
            ]
            torch.autograd.backward(parts, given)
        self.leaf, self.live = None, []
        if (step + 1) % self.pace.accumulate and step + 1 < self.pace.steps:
            return
        share = schedule(step, self.pace.steps, self.pace.warmup)
        for index, optimiser in enumerate(self.optimisers):
            sound = all(
                bool(torch.isfinite(value.grad).all())
                for value in self.layers.parameters_of(index).values()
                if value.grad is not None
            )
            if running[index] and sound:
                for group in optimiser.param_groups:
                    group["lr"] = group["peak"] * share
                optimiser.step()
                self.fresh = False
            optimiser.zero_grad(set_to_none=True)

    def difference(self, index: int) -> dict[str, Tensor]:
        """Return a copy of what a candidate's layers have learnt."""
        return self.layers.difference(index)

    def state(self, index: int) -> dict[str, Tensor]:
        """Return everything that a candidate's layers go on from, after a refreshed table.

        Returns:
            ``table``, ``layers/NAME``, ``grad/NAME`` (of updates that are not due yet),
            ``noise/PLACE``, and for each moved parameter the state of its optimiser.
        """
        moments = self.optimisers[index].state
        content = {"table": self.table[index].clone()}
        for name, value in self.layers.parameters_of(index).items():
            content[f"layers/{name}"] = value.detach().cpu().clone()
            if value.grad is not None:
                content[f"grad/{name}"] = value.grad.cpu().clone()
            content |= {
                f"{part}/{name}": x.cpu().clone() for part, x in moments.get(value, {}).items()
            }
        for layer, source in enumerate(self.layers.sources_of(index)):
            content[f"noise/{layer}"] = source.get_state()
        return content

    def load(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Go on where :meth:`state` found every candidate of the pack."""
        self.table = torch.stack([state["table"] for state in states]).to(self.device)
        self.fresh = True
        for index, state in enumerate(states):
            params = self.layers.parameters_of(index)
            self.layers.load(index, {name: state[f"layers/{name}"] for name in params})
            for name, value in params.items():
                if f"grad/{name}" in state:
                    value.grad = state[f"grad/{name}"].to(value.device)
                if f"step/{name}" in state:
                    self.optimisers[index].state[value] = {
                        "step": state[f"step/{name}"],
                        "exp_avg": state[f"exp_avg/{name}"].to(value.device),
                        "exp_avg_sq": state[f"exp_avg_sq/{name}"].to(value.device),
                    }
            for layer, source in enumerate(self.layers.sources_of(index)):
                source.set_state(state[f"noise/{layer}"])


class Reduction:
    """A projection as one product on the device, which gradients pass through."""

    def __init__(self, projection: Projection, device: torch.device) -> None:
        def placed(array: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(device)

        self.mean, self.scale = placed(projection.mean), projection.scale
        self.basis = None if projection.basis is None else placed(projection.basis)

    def __call__(self, features: Tensor) -> Tensor:
        """Return pooled features ``[B, F]`` as models read them ``[B, C]``."""
        centred = features - self.mean
        if self.basis is not None:
            centred = centred @ self.basis
        return centred / self.scale


def chunks(lengths: NDArray[np.int64], most: int) -> Iterator[RowArray]:
    """Yield places in the order of their length, in parts of at most `most` tokens with padding.

    A text longer than that makes a part of its own.
    """
    order = np.argsort(lengths, kind="stable")
    begin = 0
    while begin < len(order):
        sizes = lengths[order[begin:]] * np.arange(1, len(order) - begin + 1)
        count = max(1, int(np.searchsorted(sizes, most, side="right")))
        yield order[begin : begin + count]
        begin += count


def chosen_texts(items: NDArray[np.int64], most: int, rng: np.random.Generator) -> RowArray:
    """Draw up to `most` different items of those given, with their counts as weights; sorted.

    Drawn without replacement by exponential keys (Efraimidis & Spirakis, Information Processing
    Letters 2006).
    """
    ids, counts = np.unique(items[items >= 0], return_counts=True)
    if len(ids) > most:
        keys = rng.exponential(size=len(ids)) / counts
        ids = np.sort(ids[np.argpartition(keys, most)[:most]])
    return ids.astype(np.int64)


def _optimiser(layers: UpperLayers, index: int, rates: Rates) -> torch.optim.Optimizer:
    """Return AdamW with a learning rate per layer, and decay of matrices alone."""
    depth = layers.tuning.exit - layers.tuning.cut
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, value in layers.parameters_of(index).items():
        groups.setdefault((int(name.split(".")[0]), value.dim() > 1), []).append(value)
    return torch.optim.AdamW(
        [
            {
                "params": values,
                "lr": 0.0,
                "peak": rates.rate * rates.decay ** (depth - 1 - layer),
                "weight_decay": rates.weight_decay if matrix else 0.0,
            }
            for (layer, matrix), values in groups.items()
        ],
        betas=(0.9, 0.99),
    )


def features_of(
    layers: UpperLayers, tokens: TokenStates, projection: Projection, device: torch.device
) -> Tensor:
    """Compute features of all items by each candidate's layers ``[P, N, F]``, without training."""
    rates = [Rates(0.0)] * layers.pack
    return LiveTable(layers, tokens, projection, Pace(1), rates, [0] * layers.pack, device).table


def needed_items(parts: Sequence[Tensor]) -> list[NDArray[np.int64]]:
    """List for each candidate the items that tensors ``[P, ...]`` name, as often as they do."""
    flat = torch.cat([part.flatten(1) for part in parts], dim=1).cpu().numpy()
    return list(flat)
