"""Figures of points and fronts, the answer in words, the ledger."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pareto_rec.analysis.bootstrap import Interval
from pareto_rec.analysis.confirm import (
    confirm,
    content,
    ledger,
    opponents,
    statistics,
    tables,
    words,
)
from pareto_rec.analysis.confirm import measure as measuring
from pareto_rec.analysis.confirm.measure import Question, Training
from pareto_rec.analysis.confirm.reported_front import SEARCH, Point
from pareto_rec.analysis.confirm.statistics import FrontFigures
from pareto_rec.analysis.confirm.tables import Front
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.objectives import GroupValues, parse
from pareto_rec.search import Goal

pytestmark = pytest.mark.usefixtures("single_thread")

GOALS = (Goal("ndcg@10", True, 0.10, at_least=0.10), Goal("cost", False, 1.0))


def point(front: str, key: str, ndcg: float, cost: float) -> Point:
    return Point(front, key, {}, {}, {"ndcg@10": ndcg, "cost": cost})


def test_points_of_opponents_are_chosen_by_hypervolume_among_feasible_points() -> None:
    points = [
        point("a", "worthless", 0.05, 0.1),  # below at_least
        point("a", "dominated", 0.15, 0.5),
        point("a", "cheap", 0.15, 0.2),
        point("a", "accurate", 0.20, 0.6),
    ]
    chosen = opponents.select(points, GOALS)
    assert [one.id for one in chosen] == ["accurate", "cheap"]
    # by hand: .1 x .4 of the accurate one, and .05 x .4 more of the cheap one
    assert opponents.claimed(points, GOALS) == pytest.approx(0.06)


def answers(rng: np.random.Generator, *, by_user: bool) -> dict[tuple[int, int], Any]:
    """Two points of the search with three seeds, and a baseline without any fit."""
    centre = {0: (0.20, 0.5), 1: (0.16, 0.3), 2: (0.14, 0.6)}
    found: dict[tuple[int, int], Any] = {}
    for place, (ndcg, cost) in centre.items():
        for seed in range(3 if place < 2 else 1):
            users = ndcg + 0.001 * seed + rng.normal(0, 0.02, 50)
            lists = cost + 0.01 * seed
            found[place, seed] = {
                "ndcg@10": users,
                "cost": np.full(50, lists) + rng.normal(0, 0.01, 50) if by_user else lists,
            }
    return found


POINTS = [
    point(SEARCH, "one", 0.2, 0.5),
    point(SEARCH, "two", 0.16, 0.3),
    point("b", "x", 0.1, 0.6),
]


def figures(found: dict[tuple[int, int], Any]) -> statistics.StageFigures:
    names = ["ndcg@10", "cost"]
    return statistics.figures(found, 3, 3, names=names, goals=GOALS, draws=300, seed=1)


def test_figures_are_means_over_seeds_of_means_over_users() -> None:
    found = answers(np.random.default_rng(0), by_user=True)
    stage = figures(found)
    by_hand = [found[0, seed]["ndcg@10"].mean() for seed in range(3)]
    first = stage.summaries["ndcg@10"][0]
    assert first.mean == pytest.approx(np.mean(by_hand))
    assert first.deviation == pytest.approx(np.std(by_hand, ddof=1))
    assert first.low < first.mean < first.high
    alone = stage.summaries["ndcg@10"][2]  # a baseline has no seeds, but it has users
    assert np.isnan(alone.deviation)
    assert alone.low < alone.mean < alone.high
    assert stage.resampled == "users and seeds"


def test_a_searched_set_objective_leaves_seeds_alone_to_be_resampled() -> None:
    stage = figures(answers(np.random.default_rng(0), by_user=False))
    assert stage.over == {"ndcg@10": "users and seeds", "cost": "seeds"}
    assert stage.resampled == "seeds"
    assert np.ptp(stage.draws[:, 2, 0]) == 0  # a baseline has no seeds: nothing to resample
    assert np.ptp(stage.draws[:, 0, 0]) > 0
    assert np.isnan(stage.summaries["cost"][2].low)


def test_a_point_whose_fits_failed_counts_for_nothing() -> None:
    found = {
        at: "loss is not finite" if at[0] == 1 else one
        for at, one in answers(np.random.default_rng(0), by_user=True).items()
    }
    stage = figures(found)
    where = statistics.standing(stage, POINTS, GOALS)
    assert np.isnan(stage.means[1]).all()
    assert np.isnan(where.share_own[1])
    assert not where.feasible[1]
    both = statistics.front_figures(stage, [0, 1], GOALS).volume.value
    assert both == statistics.front_figures(stage, [0], GOALS).volume.value


def test_points_are_compared_with_their_own_front_and_with_all() -> None:
    where = statistics.standing(
        figures(answers(np.random.default_rng(0), by_user=True)), POINTS, GOALS
    )
    assert where.by_own.tolist() == [False, False, False]
    assert where.by_any.tolist() == [False, False, True]  # cheaper and better by the search
    assert where.share_own[2] == 1.0
    assert where.share_all[2] < 0.01


def front(name: str, claimed: float, test: float, kind: str = "expert") -> Front:
    rng = np.random.default_rng(0)  # the same noise for all: paired
    noise = rng.normal(1.0, 0.05, 400)
    value = FrontFigures(Interval(test, 0.9 * test, 1.1 * test), test * noise)
    return Front(
        name, kind, f"about {name}", 24, (0,), claimed, dict.fromkeys(tables.STAGES, value)
    )


def test_ratios_are_paired_and_say_what_is_kept_of_the_claimed_gain() -> None:
    rows = tables.front_rows([front(SEARCH, 0.003, 0.0025), front("ease", 0.0015, 0.002)], POINTS)
    assert rows[0]["ratio"] == {"search": None, "validation": None, "test": None}
    assert rows[1]["ratio"]["search"] == pytest.approx(2.0)
    assert rows[1]["ratio"]["test"]["value"] == pytest.approx(1.25)
    assert rows[1]["ratio"]["test"]["low"] is None or rows[1]["ratio"]["test"][
        "low"
    ] == pytest.approx(1.25)  # shared noise cancels
    assert rows[1]["kept"]["value"] == pytest.approx(0.25)  # (1.25 - 1) / (2 - 1)


def test_a_baseline_that_is_worth_nothing_has_no_ratio() -> None:
    rows = tables.front_rows([front(SEARCH, 0.003, 0.0025), front("nothing", 0.0, 0.0)], POINTS)
    assert rows[1]["ratio"] == {"search": None, "validation": None, "test": None}
    assert rows[1]["kept"] is None


def said(
    rows: list[dict[str, Any]],
    best: str | None,
    earlier: tuple[str, ...] = (),
    *,
    ndcg: float = 0.18,
    repeats: int = 0,
) -> list[str]:
    def value(mean: float) -> dict[str, Any]:
        return {"search": mean, "test": {"mean": mean}}

    common = {"dominated_by_own": False, "dominated_by_any": True, "feasible": True}
    points = [
        common | {"front": SEARCH, "values": {"ndcg@10": value(ndcg), "cost": value(0.5)}},
        common | {"front": "ease", "values": {"ndcg@10": value(0.19), "cost": value(0.6)}},
    ]
    described = [{"name": goal.name, "maximise": goal.maximise, "searched": True} for goal in GOALS]
    truth = {"held_out": 40, "repeats": repeats, "users": 9, "users_left_out": min(repeats, 2)}
    found = words.answer(rows, points, best, described, earlier, truth)
    assert (found["points"], found["dominated_by_own"], found["dominated_by_any"]) == (1, 0, 1)
    return list(found["says"])


def test_the_answer_says_where_an_opponent_wins() -> None:
    rows = tables.front_rows([front(SEARCH, 0.003, 0.002), front("ease", 0.0015, 0.0025)], POINTS)
    sentences = said(rows, "ease", ("2026-01-31T12:00:00+00:00",))
    assert (
        "0.80 (95 % interval 0.80 to 0.80) times that of the strongest opponent, "
        "ease (about ease; 24 settings)"
    ) in sentences[0]
    assert any(
        one.startswith("ease (24 settings): more hypervolume on test data") for one in sentences
    )
    assert any("ease reaches ndcg@10 = 0.1900 on test data, better" in one for one in sentences)
    assert not any("reaches cost" in one for one in sentences)  # less is better
    assert "Test data had been opened before: 2026-01-31T12:00:00+00:00." in sentences


def test_the_answer_says_how_many_test_rows_are_no_truth() -> None:
    rows = tables.front_rows([front(SEARCH, 0.003, 0.002), front("ease", 0.0015, 0.0025)], POINTS)
    words = "7 of 40 test rows are of items that their users had met before; lists repeat no item,"
    words += " so these rows count neither for nor against, and 2 of 9 users are not measured."
    assert words in said(rows, "ease", repeats=7)
    assert not any("met before" in one for one in said(rows, "ease"))


def test_a_baseline_does_not_win_by_less_than_is_shown() -> None:
    rows = tables.front_rows([front(SEARCH, 0.003, 0.002), front("ease", 0.0015, 0.002)], POINTS)
    assert not any("reaches ndcg" in one for one in said(rows, "ease", ndcg=0.189_999))


def test_the_answer_says_when_nothing_is_shown() -> None:
    one, other = front(SEARCH, 0.003, 0.0021), front("ease", 0.0015, 0.002)
    wide = FrontFigures(other.stages["test"].volume, other.stages["test"].draws[::-1].copy())
    other = Front(
        "ease", "expert", "about ease", 24, (0,), 0.0015, dict.fromkeys(tables.STAGES, wide)
    )
    sentences = said(tables.front_rows([one, other], POINTS), "ease")
    assert "test data does not show that the search is better" in sentences[0]
    assert "no opponent is worth anything" in said(tables.front_rows([one], POINTS), None)[0]


def test_the_answer_names_the_strongest_opponent_and_every_ratio() -> None:
    """Ratios by hand: 2.1 / 2.0, 2.1 / 1.5 and, of all together, none."""
    one, strong = front(SEARCH, 0.003, 0.0021), front("strong", 0.0015, 0.0020)
    weak = front("weak", 0.0029, 0.0015)  # claimed most, and kept least
    together = front(tables.ALL, 0.003, 0.0020, "union")
    reversed_ = FrontFigures(weak.stages["test"].volume, weak.stages["test"].draws[::-1].copy())
    unsure = dataclasses.replace(weak, stages=dict.fromkeys(tables.STAGES, reversed_))
    rows = tables.front_rows([one, strong, weak, together], POINTS)
    best = content._strongest(rows)
    assert best == "strong"
    sentences = said(rows, best)
    assert (
        "1.05 (95 % interval 1.05 to 1.05) times that of the strongest opponent, strong"
        in (sentences[0])
    )
    assert "1.40 (95 % interval 1.40 to 1.40) times weak." in sentences[1]
    assert tables.ALL not in " ".join(sentences)
    wide = tables.front_rows([one, strong, dataclasses.replace(unsure, name="unsure")], POINTS)
    other = said(wide, best)[1]
    low = wide[2]["ratio"]["test"]["low"]
    assert ("which holds 1" in other) == (low <= 1.0)


def test_every_opening_stays_written_down(tmp_path: Path) -> None:
    ledger.note_opening(tmp_path, 3)
    assert json.loads((tmp_path / "confirm.json").read_text())["status"] == "begun"
    ledger.write(tmp_path, {"answer": 1}, [{"id": "a"}])
    first = ledger.openings(tmp_path)
    ledger.note_opening(tmp_path, 5)  # and then it is killed
    content = json.loads((tmp_path / "confirm.json").read_text())
    assert content["answer"] == 1  # what was found before is still there
    assert [one["finished"] for one in content["opened"]] == [True, False]
    ledger.note_opening(tmp_path, 5)
    ledger.write(tmp_path, {"answer": 2}, [{"id": "a"}])
    content = json.loads((tmp_path / "confirm.json").read_text())
    assert [one["finished"] for one in content["opened"]] == [True, False, True]
    assert [one["seeds"] for one in content["opened"]] == [3, 5, 5]
    assert ledger.openings(tmp_path)[:1] == first


def test_a_damaged_ledger_is_no_excuse_to_forget(tmp_path: Path) -> None:
    (tmp_path / "confirm.json").write_text('{"opened": [')
    with pytest.raises(BadRequestError, match=r"confirm.json is damaged; it holds when test data"):
        ledger.openings(tmp_path)
    with pytest.raises(BadRequestError, match="restore it"):
        ledger.note_opening(tmp_path, 3)
    assert (tmp_path / "confirm.json").read_text() == '{"opened": ['


def test_a_folder_that_cannot_be_written_stops_it_before_test_data_is_opened(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailedError, match="no fit is trained twice"):
        ledger.note_opening(tmp_path / "file", 3)


def test_numbers_in_words_stay_short_whatever_their_scale() -> None:
    ratio = {"value": 1.2345, "low": None, "high": None}
    assert words._spread(ratio, 2) == "1.23"
    volume = {"value": 84_791_907.4, "low": 83_475_722.1, "high": 86_804_306.0}
    said = words._thousand(volume)
    assert said == "8.479e+10 (95 % interval 8.348e+10 to 8.68e+10)"


def test_costs_are_those_of_the_validation_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They belong to an architecture: measured anew they would depend on who else computes."""

    @dataclasses.dataclass(frozen=True)
    class Supplied:
        costs: str

    @dataclasses.dataclass(frozen=True)
    class Measures:
        supplies: Supplied

    def made(name: str) -> Any:
        own = Measures(Supplied(f"costs of {name}"))
        return SimpleNamespace(
            store=f"fits of {name}",
            measuring=own,
            with_=lambda store, costs: SimpleNamespace(
                store=store, measuring=Measures(Supplied(costs))
            ),
        )

    seen: list[Any] = []
    monkeypatch.setattr(measuring, "_test_evaluator", lambda *_: made("test"))
    monkeypatch.setattr(measuring, "_values", lambda evaluator, *_: seen.append(evaluator) or [])
    measuring.measure(made("validation"), Question("key", {}, [], "{}"), tmp_path)
    assert seen[0].store == "fits of validation"
    assert seen[0].measuring.supplies.costs == "costs of validation"


def test_networks_of_equal_training_variables_are_copies_with_seeds_of_their_own() -> None:
    plain, other = {"learning_rate": 0.1}, {"learning_rate": 0.2}
    fused = Point("search", "p", {"b": plain, "a": plain, "c": other}, {}, {})
    alone = Point("search", "q", {"network": plain}, {}, {})
    keys = fused.trainings
    assert [keys[name].copy for name in "abc"] == [0, 1, 0]
    assert alone.trainings == {"network": keys["a"]}  # shared with the first copy
    trainings = confirm._trainings([fused, alone], [5, 6])
    assert len(trainings) == 6
    assert trainings[keys["a"], 1] == Training(plain, 6)
    seeds = [job.seed for job in trainings.values() if job.train == plain]
    assert len(set(seeds)) == 4
    assert trainings[keys["c"], 0] == Training(other, 5)


def test_a_point_fails_under_the_seeds_for_which_one_of_its_fits_failed() -> None:
    fused = Point("search", "p", {"a": {"x": 1}, "b": {"x": 2}}, {}, {})
    reasons = {(fused.trainings["b"], 1): "it diverged"}
    found = list(confirm._failures([fused, point("search", "q", 0.1, 0.1)], [5, 6], reasons))
    assert found == [{"front": "search", "id": "p", "seed": 6, "reason": "it diverged"}]


def test_set_and_group_objectives_are_resampled_over_users() -> None:
    """Influence values and groups give joint draws over users and seeds, costs over seeds."""
    names = ["ndcg@10", "worst(ndcg@10 by band)", "coverage@10", "flops"]
    objectives = {name: parse(name) for name in names}
    rng, found = np.random.default_rng(0), {}
    users, groups = np.arange(60), np.arange(60) % 3
    for place, seed in ((0, 0), (0, 1), (0, 2), (1, 0)):
        values = rng.random(60)
        by_group = GroupValues(values, users, groups, 3, 1)
        influence = rng.normal(0, 0.5, 60)
        shown = 0.4 + 0.01 * seed + influence - influence.mean()
        found[place, seed] = dict(
            zip(names, (values, by_group, shown, 5.0 + place + seed), strict=True)
        )
    goals = [Goal(name, one.maximise, one.reference) for name, one in objectives.items()]
    stage = statistics.figures(
        found, 2, 3, names=names, goals=goals, draws=200, seed=1, objectives=objectives
    )
    assert stage.resampled == "users and seeds"
    assert stage.over["coverage@10"] == stage.over[names[1]] == "users and seeds"
    assert stage.over["flops"] == "seeds"
    assert stage.summaries["coverage@10"][0].mean == pytest.approx(0.41)
    deviations = stage.draws[:, 1].std(axis=0)  # a point without seeds
    assert (deviations[:3] > 0).all()
    assert deviations[3] == 0
    worst = stage.summaries[names[1]][0]
    assert worst.bias is not None
    assert worst.bias < 0
    assert worst.low <= worst.mean <= worst.high
    assert stage.centres[0, 1] == pytest.approx(worst.mean - worst.bias)
    assert stage.summaries["ndcg@10"][0].bias is None


def test_an_objective_of_unknown_users_leaves_seeds_alone_to_be_resampled() -> None:
    found = answers(np.random.default_rng(0), by_user=False)
    named = {"ndcg@10": parse("ndcg@10"), "cost": parse("coverage@10")}  # says nothing of users
    stage = statistics.figures(
        found, 3, 3, names=list(named), goals=GOALS, draws=50, seed=1, objectives=named
    )
    assert stage.resampled == "seeds"
