"""One broken thing of each kind, which its contract must notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import shop_plugin
from torch import Tensor, nn

from pareto_rec import register
from pareto_rec.baselines import Baseline, ItemModel
from pareto_rec.data import Loader
from pareto_rec.data.schema import Dataset, Interactions
from pareto_rec.losses import Loss, LossInputs
from pareto_rec.losses.aggregation import AggregationStep, Aggregator
from pareto_rec.models.module import ModuleModel
from pareto_rec.objectives import Outcome, UserObjective
from pareto_rec.search.algorithms import RandomSearch
from pareto_rec.testing import (
    AggregatorContract,
    AlgorithmContract,
    BaselineContract,
    DatasetContract,
    LossContract,
    ModelContract,
    ObjectiveContract,
)


class BothWays(nn.Module):
    """A model that looks ahead: a state depends on later items."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)

    def forward(self, items: Tensor) -> Tensor:
        return items + self.cell(items)[0]


class WholePack(Loss):
    """A loss that ignores packing: every candidate gets the mean over all of them."""

    name = "whole_pack"

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        value = inputs.states.square()
        return value.mean().expand(len(value)) + 0.1


class Everything(Aggregator):
    """Weights for losses that the preference leaves out."""

    name = "everything"

    def weights(self, step: AggregationStep, state: dict, /) -> tuple[np.ndarray, dict]:
        return np.full_like(step.preference, 1 / len(step.preference)), state


class Late(UserObjective):
    """An objective that takes the padding of a list for the last item, and reads beyond k."""

    family = "late"
    maximise = True
    reference = 0.0
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> np.ndarray:
        wanted = outcome.truth(self.signal).matrix.toarray()
        return np.take_along_axis(wanted, outcome.lists, axis=1).mean(axis=1).astype(np.float64)


@dataclass(frozen=True)
class ByNumber(Baseline):
    """A baseline whose scores depend on how items are numbered."""

    method: ClassVar[str] = "by_number"

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        counts = np.bincount(train.item, minlength=shape[1])
        return ItemModel(None, (counts * np.arange(shape[1])).astype(np.float32), None)


class Unseeded(RandomSearch):
    """An algorithm that draws from NumPy's global generator."""

    def ask(self, fresh):
        points = np.random.random_sample(self._shape)  # noqa: NPY002  # that is what is wrong
        return points[fresh(points, points[:0])]


def _twice(folder: Path) -> Dataset:
    """A data set whose signal is a count that may be missing."""
    good = shop_plugin.read(folder)
    rows = good.interactions
    watched = np.where(rows.item % 7 == 0, np.nan, 1).astype(np.float32)
    rows = Interactions(rows.user, rows.item, rows.time, {"watched": watched})
    return Dataset("holes", rows.read_only(), good.items, good.users)


both_ways = ModuleModel("both_ways", lambda shape: BothWays(shape.width))
whole_pack, everything = WholePack(), Everything()
register(model=both_ways)
register(loss=whole_pack)
register(aggregation=everything)
register(objective=Late)
register("by_number", baseline=ByNumber())
register("unseeded", algorithm=Unseeded)
register("holes", dataset=Loader("a shop with holes", (), _twice))


class TestModels(ModelContract):
    subjects = (both_ways,)


class TestLosses(LossContract):
    subjects = (whole_pack,)


class TestAggregators(AggregatorContract):
    subjects = (everything,)


class TestObjectives(ObjectiveContract):
    subjects = (Late,)


class TestBaselines(BaselineContract):
    subjects = ("by_number",)


class TestAlgorithms(AlgorithmContract):
    subjects = ("unseeded",)


class TestDatasets(DatasetContract):
    subjects = ("holes",)
