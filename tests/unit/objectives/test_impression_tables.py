"""Objectives on impressions and probabilities, against hand calculation and scipy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import sparse, stats

from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.evaluation.probabilities import chances_at
from pareto_rec.objectives import (
    Catalogue,
    HeldOut,
    Outcome,
    Predicted,
    SetObjective,
    UserObjective,
    parse,
)
from pareto_rec.objectives.impressions import BINS, TINY

NAN = float("nan")


def outcome(users: int = 3, items: int = 4) -> Outcome:
    ids = tuple(str(n) for n in range(items))
    prices = np.array([2, 5, NAN, 1], np.float32)[:items]
    return Outcome(
        lists=np.full((users, 2), -1, np.int64),
        scores=np.zeros((users, 2), np.float32),
        held_out={"bought": HeldOut(sparse.csr_array((users, items), dtype=np.float32))},
        relevance="bought",
        catalogue=Catalogue(
            Items(ids, ids, ids, np.zeros((items, 1), np.float32), ("x",), prices),
            Users(tuple(str(n) for n in range(users)), {}),
            np.ones(items, np.int64),
        ),
    )


def predicting(chance: list[float], true: list[float]) -> Outcome:
    rows = Predicted(np.zeros(len(true), np.int64), np.array(chance), np.array(true))
    return dataclasses.replace(outcome(), predictions={"bought": rows})


@pytest.mark.parametrize(
    ("chance", "true", "expected"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),  # 3 of the 4 pairs are in order
        ([0.5, 0.5, 0.5], [1, 0, 0], 0.5),  # a tie is half a win
        ([0.2, 0.3], [1, 1], NAN),
        ([0.2, 0.3], [0, 0], NAN),
        ([], [], NAN),
    ],
)
def test_pooled_auc(chance: list[float], true: list[float], expected: float) -> None:
    assert parse("pooled_auc").value(predicting(chance, true)) == pytest.approx(
        expected, nan_ok=True
    )


def test_pooled_auc_is_the_mann_whitney_statistic_of_scipy() -> None:
    rng = np.random.default_rng(0)
    chance, true = np.round(rng.random(500), 1), rng.random(500) < 0.2
    wins = stats.mannwhitneyu(chance[true], chance[~true]).statistic
    value = parse("pooled_auc").value(predicting(chance.tolist(), true.tolist()))
    assert value == pytest.approx(wins / (true.sum() * (~true).sum()), abs=1e-12)


@pytest.mark.parametrize(
    ("chance", "true", "expected"),
    [
        ([0.5, 0.5], [1, 0], math.log(2)),
        ([0.8, 0.1], [1, 0], -(math.log(0.8) + math.log(0.9)) / 2),
        ([1.0, 0.0], [1, 0], 0.0),
        ([0.0], [1], -math.log(TINY)),  # wrong and sure: large, not infinite
        ([1.0], [0], -math.log(TINY)),
        ([], [], NAN),
    ],
)
def test_log_loss(chance: list[float], true: list[float], expected: float) -> None:
    value = parse("log_loss").value(predicting(chance, true))
    assert value == pytest.approx(expected, nan_ok=True, abs=1e-9)


def test_a_constant_at_the_right_share_loses_its_entropy() -> None:
    true = [1.0] + [0.0] * 99
    value = parse("log_loss").value(predicting([0.01] * 100, true))
    assert value == pytest.approx(stats.entropy([0.01, 0.99]), abs=1e-12)


def test_calibration_error_by_hand() -> None:
    # 15 rows, one in each bin: the mean of |p - y|
    chance = [n / 15 for n in range(15)]
    true = [0.0] * 7 + [1.0] * 8
    expected = np.abs(np.array(chance) - true).mean()
    assert parse("calibration_error").value(predicting(chance, true)) == pytest.approx(expected)
    # equal probabilities share a bin: |.3 - 3/10| = 0 and |.9 - 1/2| = .4, half of the rows each
    chance, true = [0.3] * 10 + [0.9] * 10, [1.0] * 3 + [0.0] * 7 + [1.0] * 5 + [0.0] * 5
    assert parse("calibration_error").value(predicting(chance, true)) == pytest.approx(0.2)
    assert math.isnan(parse("calibration_error").value(predicting([], [])))


def test_calibration_error_bins_hold_equally_many_rows() -> None:
    """Without ties it is what numpy's equal parts of the sorted rows give."""
    rng = np.random.default_rng(1)
    chance = rng.random(30 * BINS) ** 3
    true = (rng.random(len(chance)) < 0.2).astype(float)
    order = np.argsort(chance)
    parts = zip(np.split(chance[order], BINS), np.split(true[order], BINS), strict=True)
    expected = np.mean([abs(p.mean() - y.mean()) for p, y in parts])
    value = parse("calibration_error").value(predicting(chance.tolist(), true.tolist()))
    assert value == pytest.approx(expected, abs=1e-12)


def test_true_probabilities_are_calibrated_and_twisted_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    chance = rng.random(40_000)
    true = (rng.random(len(chance)) < chance).astype(float).tolist()
    objective = parse("calibration_error")
    # each of 15 bins: the mean of |normal| of deviation sqrt(p (1 - p) / 2667), at most .0077
    assert objective.value(predicting(chance.tolist(), true)) < 0.01
    # |p - p^3| is .25 on average over 0 to 1
    assert objective.value(predicting((chance**3).tolist(), true)) == pytest.approx(0.25, abs=0.01)


def answered(user: list[int], item: list[int], bought: list[float]) -> Interactions:
    columns = (np.array(one, np.int64) for one in (user, item, [0] * len(user)))
    return Interactions(*columns, {"bought": np.array(bought, np.float32)})


def test_grouped_auc_compares_rows_of_one_user_alone() -> None:
    scores = np.array([[4, 3, 2, 1], [1, 2, 2, NAN], [1, 2, 3, 4]], np.float32)
    rows = answered(
        # user 0: item 1 beats 2 and 3, not 0; user 1: a tie, and item 3 is history;
        # user 2: no positive row; a row whose answer is not known is none
        [0, 0, 0, 0, 1, 1, 1, 2, 2, 0],
        [0, 1, 2, 3, 1, 2, 3, 0, 1, 2],
        [0, 1, 0, 0, 1, 0, 1, 0, 0, NAN],
    )
    of = dataclasses.replace(outcome(), shown=rows, all_scores=lambda part: scores[part])
    objective = parse("grouped_auc[bought]")
    assert isinstance(objective, UserObjective)
    np.testing.assert_allclose(objective.per_user(of), [2 / 3, 0.5, NAN])
    assert objective.value(of) == pytest.approx((2 / 3 + 0.5) / 2)


def test_users_and_their_groups_share_areas() -> None:
    scores = np.array([[4, 3, 2, 1], [1, 2, 2, NAN], [1, 2, 3, 4]], np.float32)
    rows = answered([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 1], [0, 1, 1, 0, 1, 0])
    asked: list[slice] = []

    def of_users(part: slice) -> np.ndarray:
        asked.append(part)
        return scores[part]

    of = dataclasses.replace(outcome(), shown=rows, all_scores=of_users)
    first, again = parse("grouped_auc[bought]"), parse("grouped_auc")
    assert isinstance(first, UserObjective)
    assert isinstance(again, UserObjective)
    np.testing.assert_array_equal(first.per_user(of), again.per_user(of))
    assert len(asked) == 1


def test_grouped_auc_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    scores = rng.random((30, 20)).astype(np.float32)
    user, item = (rng.integers(0, n, 600) for n in (30, 20))
    rows = answered(user.tolist(), item.tolist(), (rng.random(600) < 0.3).astype(float).tolist())
    of = dataclasses.replace(outcome(30, 4), shown=rows, all_scores=lambda part: scores[part])
    of.held_out["bought"].matrix.resize((30, 20))
    objective = parse("grouped_auc")
    assert isinstance(objective, UserObjective)
    whole = objective.per_user(of)
    monkeypatch.setattr("pareto_rec.objectives.impressions.CHUNK_ELEMENTS", 70)
    np.testing.assert_array_equal(objective.per_user(dataclasses.replace(of)), whole)
    yes = rows.signals["bought"] > 0
    mine = user == 7
    pair = (scores[7, item[mine & yes]].tolist(), scores[7, item[mine & ~yes]].tolist())
    wins = stats.mannwhitneyu(*pair).statistic / (len(pair[0]) * len(pair[1]))
    assert whole[7] == pytest.approx(wins, abs=1e-12)


def test_expected_revenue_by_hand() -> None:
    chances = np.array([[0.5, 0.1], [0.9, 0.9], [1.0, 1.0]])
    of = dataclasses.replace(
        outcome(),
        lists=np.array([[0, 1], [2, 3], [3, -1]]),  # prices 2, 5, unknown, 1
        chances={"bought": chances},
    )
    objective = parse("expected_revenue@2[bought]")
    assert isinstance(objective, UserObjective)
    np.testing.assert_allclose(objective.per_user(of), [1.5, 0.9, 1.0])
    first = parse("expected_revenue@1[bought]")
    assert isinstance(first, UserObjective)
    np.testing.assert_allclose(first.per_user(of), [1.0, 0.0, 1.0])


def test_what_is_earned_is_expected_where_chances_are_true() -> None:
    """Over many draws the mean of `revenue` is `expected_revenue`."""
    rng = np.random.default_rng(4)
    chance = np.array([[0.3, 0.6, 0.1, 0.8]])
    lists = np.array([[1, 3]])
    of = dataclasses.replace(outcome(1), lists=lists, chances={"bought": chance[:, lists[0]]})
    expected = parse("expected_revenue@2").value(of)
    assert expected == pytest.approx(0.6 * 5 + 0.8 * 1)
    draws = rng.random((4000, 4)) < chance
    many = dataclasses.replace(
        outcome(4000),
        lists=np.repeat(lists, 4000, axis=0),
        held_out={"bought": HeldOut(sparse.csr_array(draws.astype(np.float32)))},
    )
    earned = parse("revenue@2")
    assert isinstance(earned, UserObjective)
    values = np.nan_to_num(earned.per_user(many))  # who buys nothing earns nothing
    assert values.mean() == pytest.approx(expected, abs=4 * values.std() / math.sqrt(4000))


def test_kinds() -> None:
    for name in ("pooled_auc[a]", "log_loss[a]", "calibration_error[a]"):
        assert isinstance(parse(name), SetObjective)
    for name in ("grouped_auc[a]", "expected_revenue@10[a*b]"):
        assert isinstance(parse(name), UserObjective)


def test_experts_predict_no_chain_and_are_not_refused_for_it() -> None:
    for name in ("log_loss[clicked*bought]", "expected_revenue@2[clicked*bought]"):
        assert math.isnan(parse(name).value(outcome()))


def test_chances_are_taken_at_the_places_of_every_list(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    table = rng.random((9, 6)).astype(np.float32)
    lists = rng.integers(-1, 6, (3, 9, 4))
    asked: list[slice] = []

    def chances(users: slice) -> np.ndarray:
        asked.append(users)
        return table[users]

    monkeypatch.setattr("pareto_rec.ranking.lists.PART_ELEMENTS", 12)  # two users at a time
    found = chances_at({"bought": chances}, lists, (9, 6))
    assert len(asked) == 5
    for one, places in zip(found, lists, strict=True):
        for user in range(9):
            wanted = [0.0 if item < 0 else table[user, item] for item in places[user]]
            np.testing.assert_array_equal(one["bought"][user], np.array(wanted, np.float32))
