"""Tuning of baselines: the search over parameters, and what it chooses on a stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pareto_rec.baselines import BASELINES, EASE, Baseline, ItemModel, Popularity
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Stage
from pareto_rec.evaluation.parameter_search import search_parameters
from pareto_rec.evaluation.tuning import Tuner, check_metric, tuned_baselines
from pareto_rec.testing.baselines import toy_stage

pytestmark = pytest.mark.usefixtures("single_thread")

RANGES = {"a": Parameter(0.0, 1.0), "b": Parameter(1.0, 1000.0, log=True)}
START = {"a": 0.9, "b": 2.0}


@dataclass(frozen=True)
class Settings:
    settings: int = 12
    seconds: float = 1e6
    metric: str = "ndcg@10"
    users: int = 5000


def held_out_stage(seed: int) -> Stage:
    """A quarter of the rows is held out, the rest is learnt from."""
    stage = toy_stage(seed)
    rows, held = stage.history, np.arange(len(stage.history)) % 4 == 0
    rest = rows.take(np.flatnonzero(~held))
    held_rows = rows.take(np.flatnonzero(held))
    return replace(stage, train=rest, history=rest, held_out=held_rows, shown=without(stage, held))


def without(stage: Stage, held: np.ndarray) -> Interactions:
    """What was shown, but for the rows that are held out."""
    assert stage.shown is not None
    width = len(stage.items)
    gone = (stage.history.user * width + stage.history.item)[held]
    return stage.shown.take(~np.isin(stage.shown.user * width + stage.shown.item, gone))


def quality(setting: dict[str, float]) -> float:
    """Best at a = .3, b = 100."""
    return -((setting["a"] - 0.3) ** 2) - (math.log10(setting["b"]) - 2) ** 2


def search(settings: int, **more: object):
    return search_parameters(RANGES, START, quality, settings=settings, **more)  # type: ignore[arg-type]


def test_the_search_comes_close_to_the_optimum() -> None:
    found = search(40)
    assert abs(found.best["a"] - 0.3) < 0.1
    assert 50 < found.best["b"] < 200
    assert found.value == quality(dict(found.best))
    assert found.start_value == quality(START)
    assert found.tried <= 40
    assert not found.cut_short


def test_more_settings_are_never_worse_and_none_is_too_many() -> None:
    values = [search(count, cheap=["b"]).value for count in (1, 2, 8, 40, 80)]
    assert values[0] == quality(START)
    assert values[-1] >= values[2] >= values[0]
    for count in (1, 2, 3, 7, 24):
        seen: list[tuple[float, ...]] = []

        def value(setting: dict[str, float], seen: list[tuple[float, ...]] = seen) -> float:
            seen.append(tuple(setting.values()))
            return quality(setting)

        search_parameters(RANGES, START, value, settings=count)
        assert len(seen) == len(set(seen)) <= count
        assert len(seen) == count or count > 20  # fewer only where the steps have become small


def test_the_same_call_tries_the_same_settings() -> None:
    assert search(24) == search(24)
    assert search(24, seed=1) != search(24)


def test_the_start_stays_where_nothing_is_better() -> None:
    found = search_parameters(RANGES, START, lambda _: 1.0, settings=20)
    assert dict(found.best) == START
    nothing = search_parameters({}, {}, lambda _: 0.5, settings=20)
    assert (dict(nothing.best), nothing.value, nothing.tried) == ({}, 0.5, 1)


def test_what_cannot_be_measured_is_never_chosen() -> None:
    found = search_parameters(
        RANGES, START, lambda s: 0.0 if s == START else float("nan"), settings=20
    )
    assert dict(found.best) == START


def test_the_start_is_tried_even_without_time() -> None:
    found = search(24, out_of_time=lambda: True)
    assert (found.tried, found.cut_short, dict(found.best)) == (1, True, START)


def tune(stage: Stage, cache: Path, names: tuple[str, ...] = ("ease_recency",), **more: object):
    settings = replace(Settings(), **more)  # type: ignore[arg-type]
    baselines = {name: BASELINES[name] for name in names}
    return tuned_baselines(baselines, stage, settings, relevance="watched", cache=cache)


def test_every_baseline_is_tuned_and_none_gets_worse(tmp_path: Path) -> None:
    choices = tune(held_out_stage(0), tmp_path, tuple(BASELINES), settings=8)
    assert set(choices) == set(BASELINES) - {"popularity"}  # which has nothing to choose
    for name, choice in choices.items():
        assert choice.value >= choice.default_value
        assert 1 <= choice.tried <= 8
        assert not choice.cut_short
        assert choice.default == {
            key: value for key, value in BASELINES[name].parameters().items() if value is not None
        }
    assert any(choice.value > choice.default_value for choice in choices.values())


def test_a_value_is_the_metric_of_the_lists() -> None:
    stage = held_out_stage(1)
    rest, held = stage.history, stage.held_out
    baseline = EASE(l2=50.0)
    scores = baseline.scores(stage)
    seen = np.zeros(scores.shape, bool)
    seen[rest.user, rest.item] = True
    scores[seen] = -np.inf
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    truth = np.zeros(scores.shape, bool)
    truth[held.user, held.item] = True
    gains = np.take_along_axis(truth, lists, axis=1) / np.log2(np.arange(2, 12))
    ideal = np.cumsum(1 / np.log2(np.arange(2, 12)))
    counts = truth.sum(axis=1)
    users = counts > 0
    expected = (gains.sum(axis=1)[users] / ideal[np.minimum(counts[users], 10) - 1]).mean()
    tuner = Tuner(stage, Settings(), relevance="watched")
    # users without a history get a list by popularity, which the count above lacks: none here
    assert (np.bincount(rest.user, minlength=len(counts))[users] > 0).all()
    assert tuner.measure(baseline.fit(rest, stage.shape)) == pytest.approx(expected, abs=1e-9)


def test_a_choice_is_read_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tune(held_out_stage(2), tmp_path)
    monkeypatch.setattr(Tuner, "choose", lambda *_: pytest.fail("chosen again"))
    assert tune(held_out_stage(2), tmp_path) == first
    for more in ({"settings": 13}, {"metric": "recall@10"}, {"users": 10}, {"seconds": 1.0}):
        with pytest.raises(pytest.fail.Exception):
            tune(held_out_stage(2), tmp_path, **more)
    with pytest.raises(pytest.fail.Exception):
        tune(replace(held_out_stage(2), content_hash="other data"), tmp_path)


def test_held_out_rows_of_users_that_are_not_drawn_do_not_count(tmp_path: Path) -> None:
    few = tune(held_out_stage(3), tmp_path, users=20)
    assert (
        few["ease_recency"].default_value != tune(held_out_stage(3), tmp_path)["ease_recency"].value
    )


def test_another_recency_needs_no_other_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[float] = []
    fit = EASE.fit

    def counted(self: EASE, train: Interactions, shape: tuple[int, int]) -> ItemModel:
        fitted.append(self.l2)
        return fit(self, train, shape)

    monkeypatch.setattr(EASE, "fit", counted)
    choice = Tuner(held_out_stage(4), Settings(6), relevance="watched").choose(
        EASE(l2=30.0, tau=3.0)
    )
    assert choice.tried == 6
    assert fitted == [30.0]


def test_parameters_that_the_data_refuses_are_passed_over() -> None:
    @dataclass(frozen=True)
    class Choosy(Baseline):
        """Popularity that wants a large number."""

        size: float = 5.0
        method = "choosy"
        tunable = {"size": Parameter(1.0, 10.0)}  # noqa: RUF012

        def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
            if self.size < 5:
                raise BadRequestError("too small")
            return Popularity().fit(train, shape)

    tuner = Tuner(held_out_stage(5), Settings(), relevance="watched")
    assert tuner.choose(Choosy()).parameters == {"size": 5.0}
    with pytest.raises(BadRequestError, match="too small"):
        tuner.choose(Choosy(size=4.0))


def test_an_end_by_the_clock_is_said(tmp_path: Path) -> None:
    choice = tune(held_out_stage(6), tmp_path, seconds=1e-9)["ease_recency"]
    assert choice.cut_short
    assert choice.tried == 1


@pytest.mark.parametrize("name", ["coverage@10", "ild@10", "revenue@10", "ndgc@10", "epc"])
def test_a_metric_that_lists_alone_do_not_give_is_refused(name: str) -> None:
    with pytest.raises(BadRequestError):
        check_metric(name)
    check_metric("recall@20")


@dataclass(frozen=True)
class ByImpressions(Settings):
    metric: str = "grouped_auc[watched]"


def impression_stage(seed: int) -> Stage:
    """A quarter of what was shown is held out, whether it was taken or not."""
    stage = toy_stage(seed)
    assert stage.shown is not None
    held = np.arange(len(stage.shown)) % 4 == 0
    shown, held_shown = stage.shown.take(~held), stage.shown.take(held)
    rest, held_out = (rows.take(rows.signals["watched"] > 0) for rows in (shown, held_shown))
    return replace(
        stage,
        train=rest,
        history=rest,
        held_out=held_out,
        shown=shown,
        held_out_shown=held_shown,
    )


def area_of(scores: np.ndarray, rows: Interactions) -> float:
    """Mean over users of the share of their pairs in which the taken row scores higher."""
    means = []
    for user in np.unique(rows.user):
        own = rows.user == user
        values, taken = scores[user, rows.item[own]], rows.signals["watched"][own] > 0
        pairs = np.sign(values[taken][:, None] - values[~taken])
        if pairs.size:
            means.append((pairs.mean() + 1) / 2)
    return float(np.mean(means))


def test_a_baseline_is_tuned_by_grouped_auc() -> None:
    stage = impression_stage(1)
    rows = stage.held_out_shown
    assert rows is not None
    tuner = Tuner(stage, ByImpressions(), relevance="watched")
    baseline = EASE(l2=50.0)
    fitted = baseline.fit(stage.history, stage.shape)
    # users without a history are scored by popularity, which `scores` lacks: none has a pair
    assert np.isin(rows.user, stage.history.user).all()
    expected = area_of(baseline.scores(stage), rows)
    assert tuner.measure(fitted) == pytest.approx(expected, abs=1e-6)
    choice = tuner.choose(baseline)
    assert choice.metric == "grouped_auc[watched]"
    assert choice.default_value == pytest.approx(expected, abs=1e-6)
    assert choice.value is not None
    assert choice.value >= choice.default_value


@pytest.mark.parametrize("name", ["auc", "grouped_auc", "grouped_auc[watched]"])
def test_a_metric_may_read_scores(name: str, tmp_path: Path) -> None:
    check_metric(name)
    (choice,) = tune(impression_stage(0), tmp_path, ("item_knn",), metric=name).values()
    assert choice.metric == name
    assert choice.value is not None
    assert 0.6 < choice.value <= 1


def test_a_metric_of_impressions_needs_some(tmp_path: Path) -> None:
    stage = replace(impression_stage(0), held_out_shown=None)
    with pytest.raises(BadRequestError, match=r"^tuning\.metric: .* no row without an answer"):
        tune(stage, tmp_path, metric="grouped_auc")
    tune(stage, tmp_path, metric="auc", settings=1)


def test_a_metric_names_a_signal_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r"^tuning\.metric: unknown signal .*liked"):
        tune(held_out_stage(0), tmp_path, metric="ndcg@10[liked]")


def test_nothing_is_tuned_on_a_stage_without_a_truth(tmp_path: Path) -> None:
    choice = tune(toy_stage(8), tmp_path)["ease_recency"]  # what is held out was met before
    assert choice.value is choice.default_value is None
    assert choice.parameters == choice.default
