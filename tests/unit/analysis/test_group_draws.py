"""Resampling of objectives over groups: hand calculations, plain loops and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Resample
from pareto_rec.analysis.group_draws import GroupDraws, GroupTable, draw_groups
from pareto_rec.objectives import GroupObjective, GroupValues, parse

USERS, DRAWS = 120, 400
CODES = np.arange(USERS) % 4


def objective(family: str, base: str = "ndcg@10") -> GroupObjective:
    parsed = parse(f"{family}({base} by band)")
    assert isinstance(parsed, GroupObjective)
    return parsed


def table(values: NDArray[np.float64], codes: NDArray[np.int64] = CODES) -> GroupTable:
    entries = GroupValues(values[0, 0], np.arange(values.shape[2]), codes, codes.max() + 1, 1)
    return GroupTable(values, entries)


def drawn(values: NDArray[np.float64], family: str, base: str = "ndcg@10") -> GroupDraws:
    resample = Resample(values.shape[2], values.shape[1], DRAWS, 3)
    return draw_groups(table(values), objective(family, base), resample)


def alike(seed: int, points: int = 1) -> NDArray[np.float64]:
    """Four groups whose true means are all .5."""
    return np.random.default_rng(seed).normal(0.5, 0.1, (points, 1, USERS)).clip(0, 1)


def test_means_of_groups_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((2, 3, USERS))
    values[:, :, ::7] = np.nan
    resample, one = Resample(USERS, 3, 5, 1), table(values)
    (weights,) = resample.weights()
    found = one.drawn(resample)
    for draw, weight in enumerate(weights):
        for group in range(4):
            own = (group == CODES) & ~np.isnan(values[1, 2])
            by_hand = np.average(values[1, 2][own], weights=weight[own])
            assert found[draw, 1, 2, group] == pytest.approx(by_hand)
    np.testing.assert_allclose(one.means()[0, 0, 1], np.nanmean(values[0, 0][CODES == 1]))


def test_a_group_of_too_few_users_is_left_out() -> None:
    values = np.random.default_rng(0).random((1, 1, USERS))
    codes = np.where(np.arange(USERS) < 3, 1, 0)
    entries = GroupValues(values[0, 0], np.arange(USERS), codes, 2, 5)
    means = GroupTable(values, entries).means()[0, 0]
    assert np.isnan(means[1])
    assert means[0] == pytest.approx(values[0, 0, 3:].mean())


def test_of_one_group_it_is_the_bootstrap_of_a_mean() -> None:
    values = alike(1)
    resample = Resample(USERS, 1, 4000, 3)
    one = draw_groups(table(values, np.zeros(USERS, dtype=np.int64)), objective("worst"), resample)
    plain = bootstrap.draw_means(values, resample)
    for share in (0.025, 0.5, 0.975):
        ends = [float(np.quantile(draws[:, 0], share)) for draws in (one.draws, plain)]
        assert ends[0] == pytest.approx(ends[1], abs=0.002)


@pytest.mark.parametrize(("family", "sign"), [("worst", 1), ("gap", -1), ("ratio", 1)])
def test_the_bias_of_extremes_is_seen_where_groups_fare_alike(family: str, sign: int) -> None:
    """The smallest of four equal means lies below them; the draws know it."""
    found = drawn(alike(2, points=60), family)
    values, truth = found.means[:, 0], {"worst": 0.5, "gap": 0.0, "ratio": 1.0}[family]
    assert (sign * (truth - values)).mean() > 0
    middle = np.median(found.draws, axis=0)
    assert (sign * (middle - values)).mean() > 0.3 * (sign * (truth - values)).mean()


def test_an_interval_of_the_gap_of_equal_groups_holds_zero() -> None:
    """A percentile interval of resampled gaps never would: they are all above 0."""
    found = drawn(alike(3, points=60), "gap")
    assert (np.quantile(found.draws, 0.025, axis=0) == 0.0).mean() > 0.9


def test_the_worst_of_costs_is_the_largest() -> None:
    """Where less is better everything is the mirror image."""
    values = alike(4)
    mirrored = drawn(1.0 - values, "worst", "risk@10[cancelled]")
    straight = drawn(values, "worst")
    np.testing.assert_allclose(1.0 - mirrored.means, straight.means)
    for share in (0.1, 0.5, 0.9):
        mirror = 1.0 - np.quantile(mirrored.draws, 1 - share)
        assert mirror == pytest.approx(np.quantile(straight.draws, share), abs=0.004)


def test_seeds_that_failed_do_not_count() -> None:
    values = np.repeat(alike(5), 3, axis=1)
    values[:, 1] += 0.05
    values[:, 2] = np.nan
    found = draw_groups(table(values), objective("gap"), Resample(USERS, 3, DRAWS, 3))
    assert np.isnan(found.means[0, 2])
    assert np.isfinite(found.draws).all()
    nothing = draw_groups(table(values * np.nan), objective("gap"), Resample(USERS, 3, DRAWS, 3))
    assert np.isnan(nothing.draws).all()
