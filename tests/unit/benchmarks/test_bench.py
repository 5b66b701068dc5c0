"""Benchmarks on a small world: what they check first, how they measure, what they write."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_learning import next_item_stage

from benchmarks.__main__ import app
from benchmarks.suite import (
    encoders,
    fits,
    growth,
    in_loop,
    measure,
    plain,
    products,
    ranking,
    runner,
    searches,
    steps,
    task,
)
from benchmarks.suite.runner import BENCHMARKS
from pareto_rec.backbone.features import Features
from pareto_rec.cli.main import run_program
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Stage
from pareto_rec.data.synth import Recipe
from pareto_rec.experiment.config import parse_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.search import Searcher


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> task.Problem:
    """The experiment of the benchmarks on a made-up stage of 48 people and 24 items."""
    table: dict[str, Any] = json.loads(json.dumps(task.CONFIG))
    table["fixed"] |= {"steps": 6, "check_every": 3, "batch": 16, "history": 6, "width": 8}
    table["objective"][0] = {"name": "ndcg@10", "reference": 0.0, "at_least": 0.01}
    table["objective"][1] = {"name": "ild@10", "reference": 0.0}
    table |= {"search": {"population": 3, "sweep": 4}}
    cache = tmp_path_factory.mktemp("cache")
    experiment = Experiment.of(parse_config(table, "toy"), cache)
    return _on(experiment, next_item_stage())


def _on(experiment: Experiment, stage: Stage) -> task.Problem:
    """The experiment on a stage, its texts read as random features."""
    states = np.random.default_rng(0).normal(size=(len(stage.items), 12)).astype(np.float32)
    return task.Problem(experiment, experiment.evaluator(stage, Features(states, "toy", False)))


def test_every_benchmark_is_a_module_with_a_run_of_its_own() -> None:
    import importlib

    for name, one in BENCHMARKS.items():
        assert callable(importlib.import_module(one.module).run), name
        assert one.minutes[0] <= one.minutes[1]
    assert sum(one.minutes[0] for one in BENCHMARKS.values()) <= 5


# ---------------------------------------------------------------- measuring


def test_an_exponent_is_the_power_of_growth() -> None:
    sizes = [10.0, 100.0, 1000.0]
    assert measure.exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert measure.exponent(sizes, [7.0, 7.0, 7.0]) == pytest.approx(0.0, abs=1e-9)


def test_sides_are_measured_in_turn() -> None:
    called: list[str] = []
    sides = {name: (lambda n=name: called.append(n)) for name in "ab"}
    found = measure.in_turn(sides, 2, warm=1)
    assert "".join(called) == "ab" + "abab"
    assert all(len(seconds) == 2 and min(seconds) >= 0 for seconds in found.values())


def test_products_are_counted_with_their_backward_passes() -> None:
    left, right = torch.rand(3, 4, 5, requires_grad=True), torch.rand(3, 5, 6, requires_grad=True)
    with products.Products() as seen:
        torch.bmm(left, right).sum().backward()
    forward = 2 * 3 * 4 * 5 * 6
    assert seen.flops == 3 * forward  # the two gradients are products of the same size each
    assert 0 < seen.alone(1) < 1


# ---------------------------------------------------------------- what is checked first


def test_the_plain_trainer_has_the_same_losses_and_learns(given: task.Problem) -> None:
    evaluator = given.evaluator
    [trial] = Searcher(
        given.experiment.space, given.goals, given.experiment.settings, seed=1
    ).ask()[:1]
    spec = evaluator.spec(trial)
    assert fits._check_losses(given, spec).startswith("losses of equal parameters")
    spec = dataclasses.replace(spec, steps=60, check_every=20, learning_rate=0.03, dropout=0.0)
    _, start = fits._initial(given, spec, 0)
    found: list[float] = []
    monitor = evaluator.monitor()

    def recording(relevance: Any) -> float:
        found.append(monitor(relevance))
        return found[-1]

    kept = plain.train(start, evaluator.data, spec, 0, recording)
    assert kept.keys() == start.keys()
    assert found[-1] > found[0]


def test_the_losses_are_the_same_where_an_item_has_no_category(given: task.Problem) -> None:
    stage = next_item_stage()
    categories = stage.items.categories.copy()
    categories[5] = 0
    items = dataclasses.replace(stage.items, categories=categories)
    other = _on(given.experiment, dataclasses.replace(stage, items=items))
    [trial] = Searcher(
        other.experiment.space, other.goals, other.experiment.settings, seed=1
    ).ask()[:1]
    assert fits._check_losses(other, other.evaluator.spec(trial)).startswith("losses of equal")


def test_a_wrong_loss_is_noticed(given: task.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    right = plain.Plain.tower
    monkeypatch.setattr(plain.Plain, "tower", lambda *a: 1.1 * right(*a))
    [trial] = Searcher(
        given.experiment.space, given.goals, given.experiment.settings, seed=1
    ).ask()[:1]
    with pytest.raises(AssertionError, match="losses differ"):
        fits._check_losses(given, given.evaluator.spec(trial))


def test_the_loop_with_the_backbone_is_a_softmax_over_the_batch(given: task.Problem) -> None:
    """With the cached features in place of the encoder, and all items in the batch."""
    evaluator = given.evaluator
    [trial] = Searcher(
        given.experiment.space, given.goals, given.experiment.settings, seed=1
    ).ask()[:1]
    spec = dataclasses.replace(evaluator.spec(trial), batch=200)
    _, start = fits._initial(given, spec, 0)
    model = plain.Plain(start, evaluator.data, spec).eval()
    rng, chance = np.random.default_rng(0), plain.chances(evaluator.data.sequences)
    examples = plain.examples_of(evaluator.data, spec, rng, chance)
    assert len(torch.unique(examples[0])) == 25  # every item, and the padding
    looped = in_loop.step_loss(model, evaluator.data.features.__getitem__, examples)
    whole = model.losses(examples)["softmax"]
    assert looped.item() == pytest.approx(whole.item(), abs=1e-5)


def test_hypervolumes_are_held_against_each_other_pair_by_pair() -> None:
    """Differences .1, .3, .2: mean .2, deviation .1, over the root of three; then -.1 and .15."""
    ours = fits._Side(1.0, 1.0, (1.1, 2.3, 3.2), (1.0, 1.25))
    rival = fits._Side(1.0, 1.0, (1.0, 2.0, 3.0), (1.1, 1.1))
    said = fits._difference(ours, rival)
    assert "+0.200 (standard error 0.058) of generations" in said
    assert "+0.025 (standard error 0.125) of single fits" in said
    assert fits._difference(fits._Side(1.0, 1.0, (1.0,)), fits._Side(1.0, 1.0, (2.0,))) == ""
    assert ours.volume == "2.200 (1.100-3.200)"


def test_a_loop_in_numpy_makes_the_same_lists(given: task.Problem) -> None:
    result = ranking.run(quick=True, given=given, items=3000)
    assert "lists are equal" in result.checked
    assert [row["side"] for row in result.rows][:2] == ["this package", "NumPy, a loop over users"]
    assert all(float(row["seconds"]) > 0 for row in result.rows)


def test_a_rise_of_memory_is_measured() -> None:
    found = measure.rise_mb(lambda: np.ones(4_000_000))
    assert found is None or 25 < found < 80


def test_many_settings_are_compared_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    scorers = ranking.made_up(700)
    found = ranking._many("a world", scorers, 1)
    assert "% of the lists of 48 settings of a world are equal" in found.said
    assert [row["side"] for row in found.rows] == ["this package", "PyTorch's operators"]
    assert "this package: " in found.peak
    monkeypatch.setattr(ranking, "write_together", lambda *_: None)
    with pytest.raises(AssertionError, match=r"0\.000% of the lists of a world are equal"):
        ranking._many("a world", scorers, 1)


def test_wrong_lists_are_noticed() -> None:
    lists, values = np.arange(20).reshape(2, 10), dict.fromkeys(ranking.METRICS, 0.5)
    with pytest.raises(AssertionError, match=r"50\.0% of the lists agree"):
        ranking._check(lists, np.stack([lists[0], lists[0]]), values, values)


def test_steps_are_held_against_their_products(given: task.Problem) -> None:
    result = steps.run(quick=True, given=given, steps=2)
    assert len(result.rows) == 2 * len(steps.MODELS) + 2
    for row in result.rows:
        assert float(row["ms"]) > 0
        assert str(row["share of the limit"]).endswith("%")


def test_encoders_are_held_against_each_other(given: task.Problem) -> None:
    result = encoders.run(quick=True, given=given, steps=6)
    assert [row["model"] for row in result.rows] == list(encoders.SPECS)
    assert set(encoders.SPECS) == set(steps.MODELS)
    assert result.rows[0]["x"] == 1
    assert all(float(row["seconds per fit"]) > 0 for row in result.rows)


def test_searches_share_evaluator_and_sweep(given: task.Problem) -> None:
    pytest.importorskip("optuna")
    result = searches.run(quick=True, given=given, fits=5, seeds=2)
    assert [row["method"] for row in result.rows] == list(searches.METHODS)
    assert result.files["searches.png"].startswith(b"\x89PNG")
    curve = searches.traced(given, searches.METHODS["random"], 5, seed=0)
    assert len(curve) == 5
    assert all(b[0] > a[0] and b[1] >= a[1] for a, b in itertools.pairwise(curve))


def test_seconds_to_a_hypervolume() -> None:
    curve = [(1.0, 0.2), (2.0, 0.5), (3.0, 0.5)]
    assert searches.seconds_to(curve, 0.5) == 2.0
    assert math.isinf(searches.seconds_to(curve, 0.6))


# ---------------------------------------------------------------- growth, and what is written


def test_growth_measures_every_step_of_every_size() -> None:
    sizes = [Recipe(60, 60, 600), Recipe(90, 60, 1_200)]
    result = growth.run(quick=True, only=sizes)  # a process for each
    assert [row["interactions"] for row in result.rows] == [
        "600",
        "1,200",
        "exponent in interactions",
    ]
    assert all(float(row["peak MB"]) > 100 for row in result.rows[:2])
    assert "rows read = rows asked for" in result.checked


def test_results_are_appended_with_machine_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measure.Result("start", "yes", [{"what": "a", "s": 1}], ["A note."], {"a.png": b"x"})
    monkeypatch.setattr("benchmarks.suite.start.run", lambda quick: found)  # noqa: ARG005
    for _ in range(2):
        runner.run("start", quick=True, folder=tmp_path / "new")
    text = (tmp_path / "new" / "results.md").read_text()
    assert text.count("## start (quick, ") == 2
    assert "| what | s |\n| --- | --- |\n| a | 1 |" in text
    assert "cores of" in text
    assert "torch " in text
    assert (tmp_path / "new" / "a.png").read_bytes() == b"x"


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_program(app, "python -m benchmarks", ["stepz"])
    assert stop.value.code == 2
    assert 'unknown benchmark "stepz" (did you mean "steps"?)' in capsys.readouterr().err


def test_the_command_lists_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_program(app, "python -m benchmarks", ["--list", "--json"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out).keys() == BENCHMARKS.keys()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequestError, match=r"cannot write .*give --out"):
        runner.run("start", quick=True, folder=tmp_path / "file")
