"""Box of hypervolumes, accuracy at fixed values, p-values: hand calculations and known normals."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Interval
from pareto_rec.analysis.confirm import tables, words
from pareto_rec.analysis.confirm.box import Box, box_of
from pareto_rec.analysis.confirm.fixed_values import at_fixed_values
from pareto_rec.analysis.confirm.reported_front import SEARCH, Point
from pareto_rec.analysis.confirm.statistics import FrontFigures, StageFigures
from pareto_rec.analysis.confirm.tables import Front
from pareto_rec.search import Goal

GOALS = (Goal("ndcg@10", True, 0.10), Goal("flops", False, 1e9))
NORMAL = np.array([NormalDist().inv_cdf((n + 0.5) / 2000) for n in range(2000)])


def test_the_box_goes_from_the_reference_to_the_best_value_of_any_point() -> None:
    values = [np.array([[0.2, 5e8], [0.3, np.nan]]), np.array([[0.15, 4e8]])]
    box = box_of(values, GOALS)
    assert box == Box((0.10, 1e9), (0.3, 4e8))
    assert box.volume == pytest.approx(0.2 * 6e8)
    worthless = box_of([np.array([[0.05, 5e8]])], GOALS)
    assert worthless.ideal == (0.10, 5e8)
    assert worthless.volume == 0.0


def front(name: str, test: float, noise: float = 0.05, seed: int = 0) -> Front:
    draws = test * (1 + noise * np.random.default_rng(seed).permutation(NORMAL))
    value = FrontFigures(Interval(test, 0.9 * test, 1.1 * test), draws)
    return Front(name, "fits", name, 24, (0,), test, dict.fromkeys(tables.STAGES, value))


POINTS = [Point(SEARCH, "one", {}, {}, {"ndcg@10": 0.2, "flops": 5e8})]


def test_hypervolumes_are_shares_of_the_box_and_raw_values_stay() -> None:
    rows = tables.front_rows([front(SEARCH, 6e7)], POINTS, Box((0.10, 1e9), (0.3, 4e8)))
    assert rows[0]["hypervolume"]["test"]["value"] == 6e7
    assert rows[0]["share_of_box"]["test"]["value"] == pytest.approx(0.5)
    assert rows[0]["share_of_box"]["test"]["high"] == pytest.approx(0.55)
    said = words._headline(rows, None)
    assert "of the confirmed front is 0.500 (95 % interval 0.450 to 0.550) of the box" in said
    assert tables.front_rows([front(SEARCH, 6e7)], POINTS)[0]["share_of_box"] is None


@pytest.mark.parametrize("at", [0.0, 1.0, 1.959964, -3.0])
def test_the_p_value_of_a_normal_value_is_the_usual_one(at: float) -> None:
    p = bootstrap.p_value(at, at + NORMAL, 0.0)
    assert p == pytest.approx(2 * NormalDist().cdf(-abs(at)), abs=0.002)


@pytest.mark.parametrize("centre", [None, 0.9])
def test_an_interval_ends_where_its_p_value_is_the_level(centre: float | None) -> None:
    """Skewed draws with a median bias."""
    draws = np.exp(NORMAL)
    one = bootstrap.interval(0.8, draws, centre=centre)
    assert bootstrap.p_value(0.8, draws, one.high, centre=centre) == pytest.approx(0.05, abs=0.005)


def test_nothing_resampled_has_no_p_value() -> None:
    assert bootstrap.p_value(1.0, np.ones(9), 0.0) is None
    assert bootstrap.p_value(float("nan"), NORMAL, 0.0) is None


def test_an_interval_around_another_centre_holds_its_value() -> None:
    one = bootstrap.interval(-9.0, NORMAL, centre=0.0)
    assert (one.value, one.low) == (-9.0, -9.0)
    assert one.high == pytest.approx(1.96, abs=0.02)


def test_claims_against_several_opponents_are_corrected() -> None:
    """Holm by hand: the smallest of three p-values times 3, the next times 2."""
    fronts = [front(SEARCH, 1.0, 0.001), front("far", 0.5, 0.05, 1), front("near", 0.9, 0.05, 2)]
    fronts += [front("same", 1.01, 0.05, 3), front(tables.ALL, 1.0, 0.05, 4)]
    rows = {row["name"]: row for row in tables.front_rows(fronts, POINTS)}
    assert rows[tables.ALL]["p"] is None
    assert rows[SEARCH]["p_holm"] is None
    assert rows["far"]["p_holm"] == pytest.approx(3 * rows["far"]["p"])
    assert rows["near"]["p_holm"] == pytest.approx(2 * rows["near"]["p"])
    assert 0.01 < rows["near"]["p"] < 0.05 < rows["near"]["p_holm"]  # shown alone, not together
    (said,) = words._corrected(list(rows.values()))
    assert said.startswith("Corrected for 3 opponents (Holm)")
    assert "is shown to be larger than that of far (p = " in said
    assert "not shown to differ from that of near (p = " in said
    assert words._corrected(list(rows.values())[:2]) == []  # one opponent is one claim


def stage(means: list[list[float]]) -> StageFigures:
    values = np.array(means)
    noise = np.random.default_rng(0).permutation(NORMAL)[:, None] * np.array([0.01, 0.0])
    return StageFigures({}, values, values + noise[:, None], values, {}, "users")


def test_accuracy_is_compared_at_the_opponents_median_of_the_others() -> None:
    """Points of the opponent at 2, 4 and 6e8 flops: the median is 4e8, and less is better."""
    validation = [[0.18, 3e8], [0.25, 5e8], [0.15, 2e8], [0.17, 4e8], [0.20, 6e8]]
    test = [[0.17, 3e8], [0.24, 5e8], [0.13, 2e8], [0.16, 4e8], [0.19, 6e8]]
    stages = {"validation": stage(validation), "test": stage(test)}
    fixed = at_fixed_values({SEARCH: [0, 1], "rival": [2, 3, 4]}, "rival", stages, GOALS)
    assert fixed is not None
    assert fixed.bounds == {"flops": 4e8}
    assert [one.place for one in fixed.fronts] == [0, 3]  # the best of those, not the best of all
    own, rival = fixed.fronts
    assert own.value is not None
    assert (own.value.value, own.more) == (0.17, None)
    assert rival.more is not None
    assert rival.percent is not None
    assert rival.more.value == pytest.approx(0.01)
    assert rival.percent.value == pytest.approx(100 * 0.01 / 0.16)
    row: Any = tables.fixed_row(fixed, [Point("f", str(n), {}, {}, {}) for n in range(5)])
    assert [one["id"] for one in row["fronts"]] == ["0", "3"]
    described = [{"name": goal.name, "maximise": goal.maximise, "searched": True} for goal in GOALS]
    (said,) = words._at_fixed(row, described)
    assert said.startswith("With flops at most 4e+08 on validation data (medians of the points of")
    assert "ndcg@10 of the search on test data is 0.1700" in said
    assert "a difference of 0.0100" in said
    assert "+6.2 %" in said


def test_values_are_fixed_at_a_level_that_some_point_reaches() -> None:
    """Two objectives that exclude each other: no point has both medians."""
    goals = (*GOALS, Goal("ild@10", True, 0.1))
    values = [[0.2, 2e8, 0.2], [0.2, 4e8, 0.4], [0.2, 8e8, 0.8], [0.2, 1e8, 0.9]]
    stages = dict.fromkeys(("validation", "test"), stage([row[:2] for row in values]))
    three = {
        name: StageFigures({}, np.array(values), np.array(values)[None], np.array(values), {}, None)
        for name in stages
    }
    fixed = at_fixed_values({SEARCH: [3], "rival": [0, 1, 2]}, "rival", three, goals)
    assert fixed is not None
    assert fixed.level == 0.5  # the middle point has both medians
    assert fixed.bounds == {"flops": 4e8, "ild@10": 0.4}
    none = at_fixed_values({SEARCH: [0], "rival": [1, 2]}, "rival", three, goals)
    assert none is not None
    assert none.fronts[0].place is None  # the search has no point that is so diverse
    (said,) = words._at_fixed(
        tables.fixed_row(none, POINTS * 4),
        [{"name": goal.name, "maximise": goal.maximise, "searched": True} for goal in goals],
    )
    assert said.endswith("the search has no point.")


def test_one_objective_has_no_others_to_fix() -> None:
    one = stage([[0.2, 1.0]])
    only = StageFigures({}, one.means[:, :1], one.draws[:, :, :1], one.means[:, :1], {}, None)
    stages = {"validation": only, "test": only}
    assert at_fixed_values({SEARCH: [0], "rival": [0]}, "rival", stages, GOALS[:1]) is None


def test_the_bias_of_a_searched_worst_group_is_said() -> None:
    described = [{"name": "worst(ndcg@10 by age)", "searched": True, "maximise": True}]
    rows = [
        {"front": SEARCH, "values": {"worst(ndcg@10 by age)": {"test": {"bias": bias}}}}
        for bias in (-0.01, -0.02, -0.03)
    ]
    (said,) = words._biased(rows, described)
    assert "lies 0.02 below its median-unbiased estimate" in said
    assert words._biased(rows, [described[0] | {"searched": False}]) == []
