"""The serving search through the real command line: records, workers, resume, export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import CONFIG, fresh_cache, outside_timing, pareto_rec, records, write_config

from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config

SEARCHED = (
    CONFIG.replace(
        "[train]\n",
        '"boost.tail" = { kind = "real", low = 0.0, high = 2.0 }\n'
        '"boost.signal=rating" = { kind = "real", low = 0.0, high = 2.0 }\n\n[train]\n',
    )
    + """
[search.serving]
settings = 48
members = 3
pool = 2
replicas = 2
population = 16
"""
)
pytestmark = pytest.mark.usefixtures("single_thread")

GENERATIONS = 2  # of the tiny experiment; the replicas are the next, then come the settings


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config"), SEARCHED)


@pytest.fixture(scope="module")
def run(config: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    done = pareto_rec("search", config, "--out", out, "--workers", "1", cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    return out


def settings_of(run: Path) -> list[dict[str, Any]]:
    return [one for one in records(run) if one["origin"] == "serving"]


def test_settings_of_the_pool_are_records(run: Path) -> None:
    found = settings_of(run)
    assert len(found) == 48
    assert len({one["id"] for one in found}) == 48
    assert {one["status"] for one in found} == {"ok"}
    for one in found:
        fits = [name for name in one["members"] if name != "ease_recency"]
        assert one["fit"] == ("+".join(sorted(fits)) or "experts")
        assert one["train"] == {}
        assert one["serve"]["fusion"] == one["members"]
        assert sum(one["members"].values()) == pytest.approx(1, abs=1e-5)
        assert "boost.tail" in one["serve"]
    assert max(len(one["members"]) for one in found) > 2


def test_the_first_fit_is_plain(run: Path) -> None:
    first = min(records(run), key=lambda one: (one["generation"], one["position"]))
    assert first["train"]["loss_weights"] == [1.0, 0.0]
    assert first["train"]["learning_rate"] == pytest.approx(0.0316, abs=1e-4)


def test_the_most_accurate_fit_is_trained_again_with_other_draws(run: Path) -> None:
    replicas = [one for one in records(run) if "replica" in one["train"]]
    assert {one["generation"] for one in replicas} == {GENERATIONS}
    (fit,) = {one["fit"] for one in replicas}
    train = {key: value for key, value in replicas[0]["train"].items() if key != "replica"}
    before = [one for one in records(run) if one["train"] == train]
    best = max(
        (one for one in records(run) if one["generation"] < GENERATIONS),
        key=lambda one: one["objectives"]["ndcg@10"],
    )
    assert best["fit"] in {one["fit"] for one in before}
    assert fit not in {one["fit"] for one in before}


def test_the_front_is_worth_more_than_before_the_settings(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    volumes = [one["hypervolume"] for one in info["history"]]
    assert volumes == sorted(volumes)
    assert volumes[-1] > volumes[GENERATIONS]
    assert info["counts"]["records"] == len(records(run)) == info["history"][-1]["evaluated"]
    assert set(info["worth"]) <= {name for one in records(run) for name in one["members"]}
    assert all(value >= 0 for value in info["worth"].values())


def test_any_number_of_workers_gives_the_same_records(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "two"
    done = pareto_rec("search", config, "--out", other, "--workers", "2", cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    assert outside_timing(other) == outside_timing(run)


def go_on(config: Path, run: Path, cache: Path) -> None:
    """Resume in this process; the command line is that of the other tests."""
    search_experiment(load_config(config), run, cache=cache, workers=1, resume=True)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])  # among fits, among settings, in the last round
def test_a_search_cut_anywhere_ends_with_the_same_records(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path, share: float
) -> None:
    other = tmp_path / "cut"
    shutil.copytree(run, other)
    lines = (run / "records.jsonl").read_bytes().splitlines(keepends=True)
    kept = b"".join(lines[: int(share * len(lines))]) + lines[-1][:20]
    (other / "records.jsonl").write_bytes(kept)
    go_on(config, other, tiny_cache)
    assert outside_timing(other) == outside_timing(run)
    assert (other / "front.csv").read_bytes() == (run / "front.csv").read_bytes()


def test_fits_that_the_cache_has_lost_are_trained_again(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    other, cache = tmp_path / "cut", tmp_path / "cache"
    shutil.copytree(run, other)
    kept = ("data", "backbones", "features", "experts", "baselines")
    fresh_cache(cache, tiny_cache, tuple(name for name in kept if (tiny_cache / name).exists()))
    lines = (run / "records.jsonl").read_bytes().splitlines(keepends=True)
    (other / "records.jsonl").write_bytes(b"".join(lines[: len(lines) - 30]))
    go_on(config, other, cache)
    assert outside_timing(other) == outside_timing(run)


def test_a_finished_search_is_not_given_more_generations(
    run: Path, config: Path, tiny_cache: Path
) -> None:
    more = ("--set", "search.generations=3")
    done = pareto_rec("search", config, "--resume", "--out", run, *more, cache=tiny_cache)
    assert done.returncode == 2
    assert "search.generations = 3 would lead elsewhere" in done.stderr


def test_a_point_of_several_fits_is_exported_with_the_lists_of_the_run(
    run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    front = {line.split(",")[0] for line in (run / "front.csv").read_text().splitlines()[1:]}
    shown = [one for one in settings_of(run) if one["id"] in front]
    point = max(shown, key=lambda one: (len(one["members"]), one["id"]))
    assert len(point["members"]) > 2
    to = tmp_path / "bundle"
    asked = ("export", run, "--point", point["id"], "--to", to, "--json")
    done = pareto_rec(*asked, cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((to / "bundle.json").read_text())
    assert manifest["agreement"]["fp32"]["same_lists"] == 1.0
    boosts = manifest["points"][0]["serving"]["boosts"]
    gains = ("tail", "signal=rating")
    assert boosts == {gain: pytest.approx(point["serve"][f"boost.{gain}"]) for gain in gains}
    listed = pareto_rec("recommend", to, "--user", "1", "--explain", cache=tiny_cache)
    assert listed.returncode == 0, listed.stderr


def test_a_finished_search_goes_on_with_more_settings(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "more"
    shutil.copytree(run, other)
    more = ("--set", "search.serving.settings=64")
    done = pareto_rec("search", config, "--resume", "--out", other, *more, cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    assert len(settings_of(other)) == 64
    known = {one["id"] for one in settings_of(run)}
    assert known < {one["id"] for one in settings_of(other)}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("search.serving.settings=0", "search.serving.settings"),
        ("search.serving.members=0", "search.serving.members"),
        ("search.serving.algorithm=nsga9", 'unknown search algorithm "nsga9"'),
        ('space.serve."boost.tial".kind=real', "boost.tial"),
    ],
)
def test_a_wrong_request_is_one_line_before_any_work(
    config: Path, tiny_cache: Path, tmp_path: Path, setting: str, message: str
) -> None:
    out = tmp_path / "none"
    done = pareto_rec("search", config, "--out", out, "--set", setting, cache=tiny_cache)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()
