"""The contracts of what the plugin adds: two lines for each of its things."""

from __future__ import annotations

import shop_plugin

from pareto_rec.testing import (
    AggregatorContract,
    AlgorithmContract,
    BaselineContract,
    DatasetContract,
    LossContract,
    ModelContract,
    ObjectiveContract,
)


class TestObjectives(ObjectiveContract):
    subjects = (shop_plugin.FirstHit,)


class TestLosses(LossContract):
    subjects = (shop_plugin.squared_states,)


class TestAggregators(AggregatorContract):
    subjects = (shop_plugin.equal_sum,)


class TestModels(ModelContract):
    subjects = (shop_plugin.gru,)


class TestBaselines(BaselineContract):
    subjects = ("newest",)


class TestAlgorithms(AlgorithmContract):
    subjects = ("my_random",)


class TestDatasets(DatasetContract):
    subjects = ("made_up_shop",)
