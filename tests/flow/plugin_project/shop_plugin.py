"""One of each thing that a plugin may add, in the fewest lines that do something real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from pareto_rec import register
from pareto_rec.baselines import Baseline, ItemModel
from pareto_rec.data import Loader
from pareto_rec.data.schema import Dataset, Interactions, Items, Users
from pareto_rec.losses import Loss, LossInputs
from pareto_rec.losses.aggregation import AggregationStep, Aggregator
from pareto_rec.models.module import ModuleModel
from pareto_rec.objectives import Outcome, UserObjective
from pareto_rec.search.algorithms import RandomSearch

N_USERS, N_ITEMS, ROWS = 40, 30, 8


class FirstHit(UserObjective):
    """Share of users whose first item is a hit.

    Misleads: it sees one place of the list.
    """

    family = "first_hit"
    maximise = True
    reference = 0.0
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> np.ndarray:
        """Values ``[users]``."""
        first = np.asarray(self.top_hits(outcome)[:, 0], dtype=np.float64)
        return np.where(outcome.truth(self.signal).counts > 0, first, np.nan)


class SquaredStates(Loss):
    """Mean square of the user states: a penalty on long ones."""

    name = "squared_states"

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Value per candidate ``[P]``."""
        return inputs.states.square().mean(tuple(range(1, inputs.states.dim()))) + 0.1


class EqualSum(Aggregator):
    """The sum of the losses that count, whatever their preference."""

    name = "equal_sum"

    def weights(self, step: AggregationStep, state: dict, /) -> tuple[np.ndarray, dict]:
        """Equal weights."""
        counts = (step.preference > 0).astype(np.float64)
        return counts / counts.sum(), state


class GRU(nn.Module):
    """A recurrent user encoder: what one would write without knowing anything of packs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.GRU(width, width, batch_first=True)

    def forward(self, items: Tensor) -> Tensor:
        """States after every item."""
        return items + self.cell(items)[0]


@dataclass(frozen=True)
class Newest(Baseline):
    """Items whose last row is newest."""

    method: ClassVar[str] = "newest"

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """The time of the last row of every item."""
        last = np.zeros(shape[1])
        np.maximum.at(last, train.item, train.time)
        return ItemModel(weights=None, bias=last.astype(np.float32), tau=None)


def read(_: Path) -> Dataset:
    """Everybody watched some of the things."""
    draw = np.random.default_rng(0)
    item = np.concatenate([draw.permutation(N_ITEMS)[:ROWS] for _ in range(N_USERS)])
    user = np.repeat(np.arange(N_USERS), ROWS)
    ids = tuple(f"{index:02d}" for index in range(N_ITEMS))
    kinds = np.eye(3, dtype=np.float32)[np.arange(N_ITEMS) % 3]
    kinds.flags.writeable = False  # data sets are shared, and so read-only
    names = tuple(f"thing number {index}" for index in range(N_ITEMS))
    rows = Interactions(
        user, item, np.arange(len(item)), {"watched": np.ones(len(item), np.float32)}
    )
    rows = rows.read_only()
    users = Users(tuple(map(str, range(N_USERS))), {})
    return Dataset("made_up_shop", rows, Items(ids, names, names, kinds, ("a", "b", "c")), users)


squared_states, equal_sum = SquaredStates(), EqualSum()
gru = ModuleModel("gru", lambda shape: GRU(shape.width))

register(objective=FirstHit)
register(loss=squared_states)
register(aggregation=equal_sum)
register(model=gru)
register("newest", baseline=Newest())
register("my_random", algorithm=RandomSearch)
register("made_up_shop", dataset=Loader("a shop that is made up", (), read))
