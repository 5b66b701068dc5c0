"""The mean of a signal in the rows of an item, and the share of its positive ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toy_learning import next_item_stage

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Stage


def staged() -> Stage:
    """A stage with a signal from -2 to 5, a fifth of it missing."""
    stage, rng = next_item_stage(), np.random.default_rng(5)
    rows = len(stage.train)
    values = np.where(rng.random(rows) < 0.2, np.nan, rng.integers(-2, 6, rows))
    signals = {"spent": values.astype(np.float32)}
    return dataclasses.replace(stage, train=dataclasses.replace(stage.train, signals=signals))


def test_the_mean_of_an_item_is_shrunk_by_ten_rows_at_the_mean_of_all() -> None:
    stage = staged()
    values, items = stage.train.signals["spent"], stage.train.item
    overall = float(np.nanmean(values))
    means, rates = stage.mean_signal("spent"), stage.rate("spent")
    positive = float(np.mean(values[~np.isnan(values)] > 0))
    for item in range(len(stage.items)):
        own = values[(items == item) & ~np.isnan(values)]
        count = len(own) + 10
        assert means[item] == pytest.approx((own.sum() + 10 * overall) / count)
        assert rates[item] == pytest.approx(((own > 0).sum() + 10 * positive) / count)


def test_an_unknown_signal_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r'unknown signal "spend" \(did you mean "spent"'):
        staged().mean_signal("spend")
