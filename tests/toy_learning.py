"""Small worlds to learn from: loss inputs, training rows, shapes and parameters of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.losses import ItemFacts, LossInputs
from pareto_rec.models import MODELS
from pareto_rec.models.base import Shape, init_shared
from pareto_rec.tasks import built_in
from pareto_rec.training.batches import Sequences, last_items
from pareto_rec.training.data import Fit, Monitor, Relevance, TrainData
from pareto_rec.training.pack_tasks import TaskLabels

CPU = torch.device("cpu")


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
    )


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
    optional = {
        "group": torch.from_numpy(group),
        "taste": torch.from_numpy(taste),
        "reference": torch.log_softmax(normal(pack, rows, n_items), dim=-1),
    }
    return LossInputs(
        states=normal(pack, rows, width),
        table=normal(pack, n_items, width),
        bias=normal(pack, n_items),
        targets=torch.from_numpy(rng.integers(0, n_items, (pack, rows, targets))),
        mask=torch.from_numpy(mask),
        negatives=torch.from_numpy(rng.integers(0, n_items, (pack, negatives))),
        items=item_facts(rng, n_items),
        **optional,
    )


def changed(inputs: LossInputs, **parts: Tensor | ItemFacts) -> LossInputs:
    """The inputs with some parts replaced; what was computed from the old ones is forgotten."""
    return dataclasses.replace(inputs, **parts)  # type: ignore[arg-type]


def shape_of(model: str, tasks: tuple[str, ...] = (), **other: int) -> Shape:
    """A small shape; keywords replace parts of it."""
    sizes = {"n_items": 13, "feature_dim": 6, "width": 8, "history": 7, "layers": 2, "heads": 2}
    return Shape(model, **{**sizes, **other}, tasks=tasks)


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


def interactions(sequences: Sequence[Sequence[int]], liked: Callable[[int], int]) -> Interactions:
    """Rows of all users, sorted by user and time; user u's items are ``sequences[u]``."""
    user = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences]).astype(np.int64)
    item = np.array([item for one in sequences for item in one], dtype=np.int64)
    time = np.arange(len(item), dtype=np.int64)
    labels = np.array([liked(one) for one in item], dtype=np.float32)
    return Interactions(user, item, time, {"watched": np.ones_like(labels), "liked": labels})


def next_item_stage(users: int = 48, n_items: int = 24, length: int = 9) -> Stage:
    """Who took item i takes item i + 1 next (round the circle); even items are liked."""
    starts = np.random.default_rng(5).integers(0, n_items, users)
    walks = [[(int(s) + step) % n_items for step in range(length + 1)] for s in starts]
    train = interactions([walk[:-1] for walk in walks], lambda item: item % 2)
    held_out = interactions([walk[-1:] for walk in walks], lambda item: item % 2)
    names = tuple(f"item {n}" for n in range(n_items))
    categories = np.eye(4, dtype=np.float32)[np.arange(n_items) % 4]
    items = Items(names, names, names, categories, ("a", "b", "c", "d"))
    genders = tuple("FM"[n % 2] for n in range(users))
    people = Users(tuple(f"user {n}" for n in range(users)), {"gender": genders})
    return Stage("validation", train, train, held_out, items, people, "next item")


def train_data(stage: Stage, *, feature_dim: int = 12, history: int = 16) -> TrainData:
    """What training reads, with random features."""
    n_items = len(stage.items)
    rng = np.random.default_rng(11)
    counts = stage.popularity
    share = (counts + 1.0) ** 0.75
    facts = [
        np.asarray(stage.items.categories, dtype=np.float32),
        np.log1p(counts) / np.log1p(counts.max()),
        np.log(share / share.sum()),
    ]
    return TrainData(
        Sequences.of(stage.train),
        torch.from_numpy(rng.normal(size=(n_items, feature_dim)).astype(np.float32)),
        ItemFacts(*(torch.from_numpy(part.astype(np.float32)) for part in facts)),
        torch.from_numpy(last_items(stage, history)),
        CPU,
        labels=TaskLabels.of(stage, built_in("liked", ())),
    )


def logits_of(one: Fit, data: TrainData, tower: str = "relevance", history: int = 6) -> Tensor:
    """Logits of a fit's tower for every user and item ``[users, N]``."""
    head = one.head(data.features)
    return head.logits([tower], head.states(data.histories[:, -history:].numpy()))[tower]


def mean_reciprocal_rank(stage: Stage) -> Monitor:
    """A monitor: mean reciprocal rank of each user's held-out item among all items."""
    truth = torch.from_numpy(stage.held_out.item)

    def value(relevance: Relevance) -> float:
        scores = torch.cat([part for _, part in relevance.parts()])
        own = scores[torch.arange(len(truth)), truth].unsqueeze(1)
        return float((1.0 / (scores >= own).sum(1)).mean())  # ties count against it

    return value
