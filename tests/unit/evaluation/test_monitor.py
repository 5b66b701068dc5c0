"""What early stopping watches: the metric of what is watched, on lists of ten."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.evaluation.monitor import ValidationMonitor, watchable
from pareto_rec.evaluation.outcome_inputs import met_before
from pareto_rec.objectives import Catalogue
from pareto_rec.ranking.ties import as_they_stand
from pareto_rec.tasks import INTERACTION, SQUARED, Task
from pareto_rec.training.data import Relevance

SECOND, THIRD = 1 / math.log2(3), 1 / math.log2(4)  # what a hit gains at these places
TASKS = (
    Task("liked", "liked", condition=INTERACTION),
    Task("kept", "kept"),
    Task("spent", "spent", loss=SQUARED),
)


def rows(user: list[int], item: list[int], **signals: list[float]) -> Interactions:
    values = {name: np.array(value, np.float32) for name, value in signals.items()}
    return Interactions(np.array(user), np.array(item), np.arange(len(user)), values)


def monitor(held_out: Interactions) -> ValidationMonitor:
    """Five items, of which item 0 alone is the head: the last two of four users have met it."""
    train = rows([2, 3], [0, 0], watched=[1, 1], liked=[1, 1], kept=[1, 1], spent=[1, 1])
    names = tuple("abcde")
    items = Items(names, names, names, np.eye(5, dtype=np.float32), names)
    users = Users(tuple("uvwx"), {})
    stage = Stage("validation", train, train, held_out, items, users, "made up")
    catalogue = Catalogue(items, users, stage.popularity, met_before(stage))
    assert catalogue.head.tolist() == [True, False, False, False, False]
    seen = torch.zeros(4, 5, dtype=torch.bool)
    watched = watchable(stage, catalogue, "watched", TASKS)
    return ValidationMonitor(
        seen.__getitem__, catalogue, watched, as_they_stand(5, torch.device("cpu"))
    )


def looked_at(dtype: torch.dtype, name: str) -> float:
    """All lists are 0, 1, 2, 3, 4; one user's items are 0 and 2, the other's 1."""
    held_out = rows(
        [0, 0, 1],
        [0, 2, 1],
        watched=[1, 1, 1],
        liked=[0, 1, 0],
        kept=[0, 0, 0],
        spent=[3, 1, 0],
    )
    scores = torch.arange(5, 0, -1).repeat(4, 1).to(dtype)
    return monitor(held_out)(Relevance((4, 5), scores.__getitem__, name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled, and by PyTorch
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relevance", ((1 + THIRD) / (1 + SECOND) + SECOND) / 2),
        ("tail", (THIRD + SECOND) / 2),  # item 0 does not count
        ("liked", THIRD),  # of the user who liked anything
        ("task:spent", (3 + THIRD) / (3 + SECOND)),  # values are gains
        # nobody kept anything, so relevance stands in
        ("task:kept", ((1 + THIRD) / (1 + SECOND) + SECOND) / 2),
    ],
)
def test_metrics_by_hand(dtype: torch.dtype, name: str, value: float) -> None:
    assert looked_at(dtype, name) == pytest.approx(value)


def test_relevance_stands_in_for_a_tail_in_which_nothing_is_relevant() -> None:
    held_out = rows([0], [0], watched=[1], liked=[1], kept=[1], spent=[1])
    scores = torch.arange(5).float().repeat(4, 1)
    watch = monitor(held_out)
    assert watch(Relevance((4, 5), scores.__getitem__, "tail")) == pytest.approx(1 / math.log2(6))
