"""Small random inputs of losses and models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.losses import LOSSES, ItemFacts, LossInputs
from pareto_rec.models import MODELS
from pareto_rec.models.base import Shape, init_shared


def item_facts(rng: np.random.Generator, n_items: int, categories: int = 4) -> ItemFacts:
    """Facts of a made-up catalogue in float64; item 0 has no category, item 1 no rows."""
    vectors = (rng.random((n_items, categories)) < 0.5).astype(float)
    vectors[np.arange(n_items), rng.integers(0, categories, n_items)] = 1
    vectors[0] = 0
    counts = rng.integers(1, 50, n_items)
    counts[1] = 0
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    share = (counts + 1.0) ** 0.75
    return ItemFacts(
        torch.from_numpy(unit),
        torch.from_numpy(np.log1p(counts) / np.log1p(counts.max())),
        torch.from_numpy(np.log(share / share.sum())),
        {name: torch.from_numpy(gain) for name, gain in _gains(n_items).items()},
    )


def _gains(n_items: int) -> dict[str, NDArray[np.float64]]:
    """Return a gain of each loss that reads one; the first item is worth nothing."""
    worth = np.arange(n_items) * 2 / n_items
    return {loss.gain: worth for loss in LOSSES.values() if loss.gain is not None}


def loss_inputs(
    seed: int,
    *,
    pack: int = 2,
    rows: int = 5,
    targets: int = 3,
    n_items: int = 9,
    width: int = 4,
    negatives: int = 6,
    scale: float = 1.0,
) -> LossInputs:
    """Random inputs in float64; every row has a target, most rows lack some.

    Parts that only some losses need are all there: two groups of users, people of unknown group,
    people without a taste, and log-probabilities of another policy.
    """
    rng = np.random.default_rng(seed)
    mask = rng.random((pack, rows, targets)) < 0.6
    mask[..., 0] = True

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape) * scale)

    group = np.eye(3)[rng.integers(0, 3, (pack, rows))][..., :2]
    group[:, :2] = np.eye(2)[: min(rows, 2)]
    taste = rng.dirichlet(np.ones(4), (pack, rows))
    taste[:, 2:3] = 0
    reference = torch.log_softmax(normal(pack, rows, n_items), dim=-1)
    return LossInputs(
        states=normal(pack, rows, width),
        table=normal(pack, n_items, width),
        bias=normal(pack, n_items),
        targets=torch.from_numpy(rng.integers(0, n_items, (pack, rows, targets))),
        mask=torch.from_numpy(mask),
        negatives=torch.from_numpy(rng.integers(0, n_items, (pack, negatives))),
        items=item_facts(rng, n_items),
        group=torch.from_numpy(group),
        taste=torch.from_numpy(taste),
        reference=reference,
    )


def changed(inputs: LossInputs, **parts: Tensor | ItemFacts) -> LossInputs:
    """The inputs with some parts replaced; what was computed from the old ones is forgotten."""
    return dataclasses.replace(inputs, **parts)  # type: ignore[arg-type]


def shape_of(model: str, tasks: tuple[str, ...] = (), **sizes: int) -> Shape:
    """A small shape; keywords replace parts of it."""
    small = Shape(
        model, n_items=13, feature_dim=6, width=8, history=7, layers=2, heads=2, tasks=tasks
    )
    changes: dict[str, Any] = dict(sizes)
    return dataclasses.replace(small, **changes)


def random_params(shape: Shape, seed: int, *, noise: float = 0.3) -> dict[str, Tensor]:
    """Initial values of one candidate with noise on top, so that no parameter is zero."""
    source = torch.Generator().manual_seed(seed)
    params = init_shared(shape, source) | MODELS[shape.model].init(shape, source)
    return {
        name: value + noise * torch.randn(value.shape, generator=source)
        for name, value in params.items()
    }


def stacked(params: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One pack out of the parameters of several candidates."""
    return {name: torch.stack([one[name] for one in params]) for name in params[0]}
