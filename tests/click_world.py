"""People who click and convert with known probabilities, conversion likelier where clicks are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from toy_learning import train_data

from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.tasks import Task
from pareto_rec.training.data import TrainData
from pareto_rec.training.pack_tasks import TaskLabels

TASKS = (
    Task("click", "clicked"),
    Task("conversion", "bought", condition="click"),
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A log and the truth behind it.

    Attributes:
        stage: Shown rows split by time, the last of every user held out.
        click: Chance of a click ``[users, items]``.
        conversion: Chance of a conversion after a click ``[users, items]``.
        features: What networks read of the items ``[items, F]``.
    """

    stage: Stage
    click: Floats
    conversion: Floats
    features: NDArray[np.float32]

    @property
    def data(self) -> TrainData:
        """What training reads."""
        signals = {"liked": self.stage.train.signals["bought"]}
        train = dataclasses.replace(self.stage.train, signals=signals)
        plain = train_data(dataclasses.replace(self.stage, train=train))
        return TrainData(
            plain.sequences,
            torch.from_numpy(self.features),
            plain.facts,
            plain.histories,
            plain.device,
            labels=TaskLabels.of(self.stage, TASKS),
        )


def sigmoid(x: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))


def world(
    seed: int,
    *,
    users: int = 300,
    items: int = 60,
    shown: int = 40,
    rate: float = -2.0,
    related: bool = True,
) -> World:
    """A world of people and items with latent factors.

    What draws clicks draws conversions too, with a part of its own: where nobody clicks, conversion
    is rarer than where people do, and a log of clicks shows the better half of the world.

    Args:
        seed: Of every draw.
        users: People.
        items: Catalogue.
        shown: Impressions per person, each item once at most.
        rate: Logit of the click rate of the average pair.
        related: False: what converts people has nothing to do with what they click.
    """
    rng = np.random.default_rng(seed)
    person, thing = rng.normal(size=(users, 3)), rng.normal(size=(items, 3))
    match = person @ thing.T / np.sqrt(3)
    appeal, quality = rng.normal(size=items), rng.normal(size=items)
    click = sigmoid(rate + 1.2 * match + 0.6 * appeal)
    conversion = sigmoid(-1.0 + 1.2 * match + 0.4 * appeal + 0.6 * quality)
    if not related:
        other = person @ rng.normal(size=(3, 3)) @ thing.T / 3
        conversion = sigmoid(-1.0 + 1.2 * other + 0.7 * quality)
    features = np.concatenate([thing, appeal[:, None], quality[:, None]], axis=1)
    features = features @ rng.normal(size=(5, 12)) / 2 + 0.3 * rng.normal(size=(items, 12))
    user = np.repeat(np.arange(users), shown)
    item = np.concatenate([rng.permutation(items)[:shown] for _ in range(users)])
    time = np.tile(np.arange(shown), users)
    clicked = rng.random(len(user)) < click[user, item]
    bought = clicked & (rng.random(len(user)) < conversion[user, item])
    signals = {"clicked": clicked.astype(np.float32), "bought": bought.astype(np.float32)}
    rows = Interactions(user, item.astype(np.int64), time, signals)
    late = time >= shown - max(1, shown // 8)
    stage = _stage(rows, late, users, items)
    return World(stage, click, conversion, features.astype(np.float32))


def _stage(rows: Interactions, late: NDArray[np.bool_], users: int, items: int) -> Stage:
    names = tuple(f"item {n}" for n in range(items))
    categories = np.eye(4, dtype=np.float32)[np.arange(items) % 4]
    things = Items(names, names, names, categories, ("a", "b", "c", "d"))
    people = Users(tuple(f"user {n}" for n in range(users)), {})
    shown, held = rows.take(~late), rows.take(late)
    train, truth = shown.take(shown.positive()), held.take(held.positive())
    return Stage("validation", train, train, truth, things, people, "clicks", shown, held)
