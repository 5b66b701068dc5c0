"""The decisive experiment: networks of its own making, equal budgets, resumption, comparisons."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import evaluator_world
import numpy as np
import pytest
import torch
from small_fits import DATA, MONITOR, spec_of

from benchmarks.decisive import __main__ as program
from benchmarks.decisive import comparisons, film, job, schedule, settings, soups, tables
from benchmarks.decisive.arms import ALONE, ARMS, MODES, SEARCHED, Context, Networks
from benchmarks.decisive.cases import Case, weights_at
from benchmarks.decisive.clock import Budget
from benchmarks.decisive.opening import SeedFigures
from pareto_rec.analysis.bootstrap import holm
from pareto_rec.core.errors import BadRequestError
from pareto_rec.search import Goal
from pareto_rec.search.serving import Slot
from pareto_rec.search.space import Real, Simplex
from pareto_rec.training.data import Fit
from pareto_rec.training.fitting import train_pack

SIMPLEX = Simplex(("softmax", "popularity", "similarity"), floor={"softmax": 0.5})
CORNERS = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]


def spec(shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3), **changes: Any) -> Any:
    weights = weights_at(SIMPLEX, shares)
    return spec_of("attention_pooling", loss_weights=weights, regularizer_rows=8, **changes)


def scores(fit: Fit) -> torch.Tensor:
    head = fit.head(DATA.features)
    states = head.states(DATA.histories[:, -fit.spec.history :].numpy())
    return head.scores(states).relevance


@pytest.fixture(scope="module")
def corners() -> list[Fit]:
    """Fits of one start, one for each corner of the losses."""
    return train_pack([spec(one) for one in CORNERS], [7] * 3, DATA, MONITOR, pack_size=1)


def test_the_ends_of_an_interpolation_are_the_fits(corners: list[Fit]) -> None:
    for shares, fit in zip(CORNERS, corners, strict=True):
        soup = soups.interpolated(corners, shares, weights_at(SIMPLEX, shares))
        assert torch.equal(scores(soup), scores(fit))
        assert soup.spec.loss_weights == fit.spec.loss_weights
    half = soups.interpolated(corners, (0.5, 0.5, 0.0), {})
    name = "relevance.in"
    mean = (corners[0].params[name] + corners[1].params[name]) / 2
    torch.testing.assert_close(half.params[name], mean)
    assert not torch.equal(scores(corners[0]), scores(corners[1]))


def test_what_has_nothing_in_between_is_refused(corners: list[Fit]) -> None:
    hot = replace(corners[0], spec=replace(corners[0].spec, temperature=2.0))
    with pytest.raises(ValueError, match="temperatures"):
        soups.interpolated([corners[0], hot], (0.5, 0.5), {})
    with pytest.raises(ValueError, match="sum to 1"):
        soups.interpolated(corners[:2], (0.5, 0.4), {})


def test_preferences_are_the_corners_the_centre_and_draws() -> None:
    asked = soups.preferences(3, 8, seed=4)
    assert asked[:3] == CORNERS
    assert asked[3] == (1 / 3,) * 3
    np.testing.assert_allclose(np.sum(asked, axis=1), 1.0)
    assert len(set(asked)) == 8
    assert asked == soups.preferences(3, 8, seed=4) != soups.preferences(3, 8, seed=5)


def test_weights_keep_the_floors() -> None:
    assert weights_at(SIMPLEX, CORNERS[1]) == {"softmax": 0.5, "popularity": 0.5, "similarity": 0.0}
    assert weights_at(SIMPLEX, CORNERS[0])["softmax"] == 1.0


@pytest.fixture(scope="module")
def conditioned() -> Fit:
    return film.train_conditioned(spec(steps=15), 7, DATA, MONITOR, SIMPLEX)


def test_a_folded_network_scores_as_the_conditioned_one(conditioned: Fit) -> None:
    """Scores by the definition of FiLM, written out with one user state at a time."""
    params, shares = conditioned.params, (0.2, 0.5, 0.3)
    plain = film.at_preference(conditioned, SIMPLEX, shares, DATA.features)
    head = plain.head(DATA.features)
    states = head.states(DATA.histories[:, -plain.spec.history :].numpy())[0]
    hidden = torch.tanh(torch.tensor(shares) @ params["film.in"] + params["film.in_bias"])
    read = hidden @ params["film.relevance.out"] + params["film.relevance.out_bias"]
    scale, shift, direction = read.chunk(3)
    table = DATA.features @ params["item.project"] + params["item.embed"]
    expected = []
    for state in states:
        inner = (1 + scale) * (state @ params["relevance.in"] + params["relevance.in_bias"]) + shift
        outer = state + torch.nn.functional.gelu(inner) @ params["relevance.out"] + direction
        logits = table @ outer * len(outer) ** -0.5 / plain.spec.temperature
        expected.append(logits + params["relevance.item_bias"])
    torch.testing.assert_close(scores(plain), torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert not [name for name in plain.params if name.startswith(film.PREFIX)]
    assert plain.spec.loss_weights == weights_at(SIMPLEX, shares)


def test_preferences_change_what_a_trained_network_says(conditioned: Fit) -> None:
    first, second = (
        scores(film.at_preference(conditioned, SIMPLEX, one, DATA.features)) for one in CORNERS[:2]
    )
    assert (first - second).abs().max() > 1e-3


def test_without_a_preference_it_is_the_fit_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """FiLM stays at the identity and every step has the same weights."""
    centre = [1 / 3] * 3
    monkeypatch.setattr(film.ConditionedPack, "draw_preference", lambda _: centre)
    pack = film.ConditionedPack(spec(), 7, DATA, SIMPLEX)
    for name, value in pack.params.items():
        value.requires_grad_(not name.startswith(film.PREFIX))
    fit = pack.run(MONITOR)[0]
    [product] = train_pack([spec()], [7], DATA, MONITOR, pack_size=1)
    plain = film.at_preference(fit, SIMPLEX, centre, DATA.features)
    assert plain.curve == product.curve
    for name, value in product.params.items():
        torch.testing.assert_close(plain.params[name], value, rtol=1e-5, atol=1e-6)


class Clock:
    """A clock that goes as far as it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_counts_what_was_spent_before() -> None:
    clock = Clock()
    budget = Budget(10.0, before=4.0, clock=clock)
    clock.now += 3.0
    assert (budget.spent, budget.left) == (7.0, 3.0)
    assert budget.affords(0.7, 24) == 4
    assert budget.affords(0.01, 24) == 24
    assert budget.affords(0.0, 24) == 24  # not known yet
    clock.now += 3.0
    assert budget.affords(0.0, 24) == 0


@pytest.mark.parametrize("before", [0.0, 6.0])
def test_settings_are_searched_until_the_budget_is_spent(
    before: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, measure = Clock(), settings.measure_block

    def measured(evaluator: Any, questions: Any, cache: Path) -> Any:
        clock.now += 0.05 * len(questions)
        return measure(evaluator, questions, cache)

    monkeypatch.setattr(settings, "measure_block", measured)
    goals = (Goal("ndcg@10", True, 0.0), Goal("ild@10", True, 0.0))
    context: Any = Context(
        SimpleNamespace(goals=goals, config=SimpleNamespace(seed=3)),  # type: ignore[arg-type]
        SimpleNamespace(evaluator=evaluator_world.evaluator(tmp_path)),  # type: ignore[arg-type]
        {"mmr": Real(0.0, 0.9), "popularity_penalty": Real(0.0, 1.0)},
        Budget(10.0, before=before, clock=clock),
    )
    networks = Networks((Slot.of("popular", fits=0),), 0, before)
    result = settings.search_settings(ALONE, networks, context)
    assert 0.9 * 10 <= context.budget.spent <= 1.01 * 10
    assert result.settings == pytest.approx((10 - before) / 0.05, abs=2)
    assert 0 < len(result.points) <= 20
    assert all(point.networks == {} for point in result.points)


@pytest.fixture
def job_world(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Jobs whose arms are only noted, not run; returns what was run."""
    ran: list[tuple[str, str]] = []

    def run_arm(arm: Any, mode: str, *_: object) -> dict[str, Any]:
        ran.append((arm.name, mode))
        seconds = {"training": 0.0, "total": 1.0}
        line = {"arm": arm.name, "mode": mode, "seconds": seconds, "hypervolume": 1.0}
        return line | {"trained": 0, "settings": 3, "points": []}

    experiment = SimpleNamespace(config=SimpleNamespace(model_dump_json=lambda: "{}"))
    monkeypatch.setattr(job, "experiment_of", lambda *_: experiment)
    monkeypatch.setattr(job, "_warm_up", lambda *_: None)
    monkeypatch.setattr(job, "_run_arm", run_arm)
    return ran


def test_what_has_a_result_is_not_run_again(
    job_world: list[tuple[str, str]], tmp_path: Path
) -> None:
    case: Any = None
    job.run_job(case, 0, tmp_path, tmp_path, 2.0)
    everything = [(arm, mode) for arm in ARMS for mode in MODES]
    assert job_world == everything
    path = job.results_path(tmp_path, 0)
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("{") + 20])  # a kill within the last line
    job_world.clear()
    job.run_job(case, 0, tmp_path, tmp_path, 2.0)
    assert job_world == everything[-1:]
    assert [json.loads(line) for line in path.read_text().splitlines()] == job.lines_of(path)
    assert len(job.lines_of(path)) == len(everything)


def test_results_of_another_budget_are_not_gone_on_with(
    job_world: list[tuple[str, str]], tmp_path: Path
) -> None:
    case: Any = None
    job.run_job(case, 0, tmp_path, tmp_path, 2.0)
    job_world.clear()
    with pytest.raises(BadRequestError, match="another config, budget or version"):
        job.run_job(case, 0, tmp_path, tmp_path, 3.0)
    assert job_world == []


WHATS = ("hypervolume", "centre", "validation", "accuracy")


def figures(more: float) -> list[SeedFigures]:
    """Five seeds in which one arm has more than all others; users are resampled alike."""
    rng = np.random.default_rng(0)
    users = rng.normal(0, 0.02, 4000)
    seeds = []
    for _ in range(5):
        level = 1.0 + rng.normal(0, 0.1)
        values, draws = {}, {}
        for arm in ARMS:
            for mode in MODES:
                own = level + (more if arm == SEARCHED else 0.0) + rng.normal(0, 0.001)
                point = {"test": [[1.0, 2.0]], "claimed": [[2.0, 1.0]]}
                values[arm, mode] = point | dict.fromkeys(WHATS, own)
                for what in ("hypervolume", "accuracy"):
                    draws[f"{arm}|{mode}|{what}"] = own + users + rng.normal(0, 0.001, 4000)
        seeds.append(SeedFigures(values, draws))
    return seeds


def test_comparisons_are_paired_and_corrected_over_all_of_them() -> None:
    seeds = figures(more=0.2)
    goals = [Goal("a", True, 0.0), Goal("b", True, 0.0)]
    assert comparisons.box_volume(seeds, goals) == 4.0
    found = [*comparisons.compare("x", seeds, 4.0), *comparisons.compare("y", figures(0.0), 4.0)]
    corrected = comparisons.corrected(found)
    assert [one.p_holm for one in corrected] == holm([one.p for one in found])
    assert len(found) == 2 * len(MODES) * len(comparisons.PAIRS)
    shown = {(one.data, one.above, one.below) for one in corrected if one.is_shown}
    assert shown == {("x", *pair) for pair in comparisons.PAIRS if SEARCHED in pair}
    [versus] = [
        one for one in corrected if one.is_shown and one.below == ALONE and one.mode == "on"
    ]
    assert versus.difference.value == pytest.approx(0.2 / 4, rel=0.05)
    assert versus.difference.low < 0.05 < versus.difference.high
    assert versus.difference.high - versus.difference.low < 0.01  # seeds differ by .1 together
    assert versus.seeds == (5, 5)
    counts = comparisons.shown_by_pair(corrected)
    assert counts[SEARCHED, ALONE] == (2, 0)
    assert counts["interpolated weights", SEARCHED] == (0, 2)


def test_draws_scatter_around_what_worst_groups_are_without_their_bias() -> None:
    """An interval reaches from the value to the draws' centre; it is not corrected twice."""
    seeds = figures(more=0.0)
    for one in seeds:
        one.draws[f"{SEARCHED}|on|hypervolume"][:] += 0.3
        one.values[SEARCHED, "on"]["centre"] += 0.3  # type: ignore[index]
    [versus] = [
        one
        for one in comparisons.compare("x", seeds, 4.0)
        if (one.above, one.below, one.mode) == (SEARCHED, ALONE, "on")
    ]
    assert versus.difference.value == pytest.approx(0.0, abs=0.001)
    assert versus.difference.low == versus.difference.value
    assert versus.difference.high == pytest.approx(0.3 / 4, abs=0.002)


def test_tables_say_what_is_shown() -> None:
    seeds = figures(more=0.2)
    corrected = comparisons.corrected(comparisons.compare("x", seeds, 4.0))
    seconds = {"training": 1.0, "total": 2.0}
    lines = [
        {"arm": arm, "mode": mode, "seconds": seconds, "trained": 3, "settings": 40}
        for arm in ARMS
        for mode in MODES
    ]
    standings = comparisons.standings(seeds, 4.0)
    case = tables.CaseResult("x", {"a": 0.0}, {"softmax": 0.5}, 2.0, range(5), standings, lines)
    text = tables.markdown([case], corrected)
    row = next(line for line in text.splitlines() if line.startswith(f"| {SEARCHED} | 2"))
    assert row.count("|") == 10
    assert "**" in row
    assert f"| {SEARCHED} | {ALONE} | 1, 0 | 1, 0 | 1 |" in text
    plain = next(line for line in text.splitlines() if line.startswith("| one plain fit | 2"))
    assert "**" not in plain
    content = tables.content_of([case], corrected)
    assert json.dumps(content, allow_nan=False)
    assert sum(one["shown"] for one in content["comparisons"]) == 2 * 5
    assert tables.in_a_line(corrected).count("2 better, 0 worse") == 3


@pytest.mark.usefixtures("job_world")
def test_jobs_are_what_is_left(tmp_path: Path) -> None:
    films = Case(tmp_path / "films")
    every = {"tmp_path/films": films}
    names = [one.name for one in program.jobs_of(every, [0, 1], None, tmp_path, opens=True)]
    assert names == ["prepare-films", "search-films-0", "search-films-1", "test-films"]
    assert "test-films" not in [
        one.name for one in program.jobs_of(every, [0], None, tmp_path, opens=False)
    ]
    job.run_job(films, 0, tmp_path / "films", tmp_path, 2.0)
    jobs = program.jobs_of(every, [0, 1], 3.0, tmp_path, opens=True)
    assert [one.name for one in jobs] == ["prepare-films", "search-films-1", "test-films"]
    assert jobs[1].needs == {"prepare-films"}
    assert jobs[1].arguments[-2:] == ("--budget", "3.0")
    assert jobs[2].needs == {"search-films-1"}


def test_jobs_wait_for_what_they_need_and_are_left_out_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def begin(work: schedule.Job, logs: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", work.arguments[0]], cwd=logs)

    monkeypatch.setattr(schedule, "_begin", begin)
    check = "import pathlib; assert pathlib.Path('first').exists(); open('second', 'w')"
    jobs = [
        schedule.Job("second", (check,), frozenset({"first"})),
        schedule.Job("first", ("open('first', 'w')",)),
        schedule.Job("wrong", ("raise SystemExit(3)",)),
        schedule.Job("never", ("open('never', 'w')",), frozenset({"wrong"})),
    ]
    assert schedule.run_jobs(jobs, 2, tmp_path) == ["wrong", "never"]
    assert (tmp_path / "second").exists()
    assert not (tmp_path / "never").exists()
