"""What every registered loss aggregation promises; new ones are found by themselves."""

from __future__ import annotations

import inspect

import pytest

from pareto_rec.losses import AGGREGATORS
from pareto_rec.losses.aggregation import Aggregator
from pareto_rec.testing import AggregatorContract


class TestAggregators(AggregatorContract):
    subjects = tuple(AGGREGATORS.values())
    drawn = frozenset({"pcgrad"})  # see its unit tests


@pytest.mark.parametrize("way", AGGREGATORS.values(), ids=list(AGGREGATORS))
def test_names_and_documents(way: Aggregator) -> None:
    assert AGGREGATORS[way.name] is way
    text = inspect.getdoc(type(way)) or ""
    for word in ("Source: ", "Misleads: ", "``"):
        assert word in text
