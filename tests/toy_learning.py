"""Small worlds to learn from: training rows, and the random inputs of the contract suites."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.losses import LOSSES, ItemFacts
from pareto_rec.tasks import built_in
from pareto_rec.testing.random_inputs import (
    changed,
    item_facts,
    loss_inputs,
    random_params,
    shape_of,
    stacked,
)
from pareto_rec.training.batches import Sequences, last_items
from pareto_rec.training.data import Fit, Monitor, Relevance, TrainData
from pareto_rec.training.pack_tasks import TaskLabels

__all__ = [
    "CPU",
    "changed",
    "interactions",
    "item_facts",
    "logits_of",
    "loss_inputs",
    "mean_reciprocal_rank",
    "next_item_stage",
    "random_params",
    "shape_of",
    "stacked",
    "train_data",
]
CPU = torch.device("cpu")


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
    worth = torch.from_numpy(np.arange(n_items, dtype=np.float32) * 2 / n_items)
    gains = {loss.gain: worth for loss in LOSSES.values() if loss.gain is not None}
    return TrainData(
        Sequences.of(stage.train),
        torch.from_numpy(rng.normal(size=(n_items, feature_dim)).astype(np.float32)),
        ItemFacts(*(torch.from_numpy(part.astype(np.float32)) for part in facts), gains),
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
