"""Settings searched between generations, through the real command line."""

from __future__ import annotations

import json
import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from running_search import Start, warmed
from tiny_experiment import CONFIG, outside_timing, pareto_rec, records, write_config

from pareto_rec.core.checksums import KEY, signed

BUDGET = "settings = 40"
SEARCHED = (
    CONFIG.replace("generations = 2", 'generations = 3\nsurrogate = "gaussian_process"')
    + f"""
[search.serving]
{BUDGET}
every = 1
members = 3
pool = 3
replicas = 2
population = 10
"""
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config"), SEARCHED)


@pytest.fixture(scope="module")
def run(config: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searched(config, tiny_cache, tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def timed(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose budget is in seconds; its config lies beside it."""
    folder = tmp_path_factory.mktemp("timed")
    text = SEARCHED.replace(BUDGET, "seconds = 3.0")
    config = write_config(folder / "experiment", text)
    return searched(config, tiny_cache, folder / "run")


def searched(config: Path, cache: Path, out: Path, *more: str) -> Path:
    done = pareto_rec("search", config, "--out", out, *more, cache=cache)
    assert done.returncode == 0, done.stderr
    return out


def kinds(run: Path) -> list[str]:
    """What came after what: ``"fits"``, ``"replicas"`` or ``"settings"``."""
    rows = []
    for one in outside_timing(run):
        replica = "replicas" if "replica" in one["train"] else "fits"
        rows.append("settings" if one["origin"] == "serving" else replica)
    return [kind for kind, _ in groupby(rows)]


def settings_of(run: Path) -> list[dict[str, Any]]:
    return [one for one in outside_timing(run) if one["origin"] == "serving"]


def cut(run: Path, to: Path, lines: int) -> None:
    """A copy of a run that was killed once it had so many records, and in the middle of another."""
    shutil.copytree(run, to)
    stored = (run / "records.jsonl").read_bytes().splitlines(keepends=True)
    (to / "records.jsonl").write_bytes(b"".join(stored[:lines]) + stored[-1][:20])


def test_settings_come_between_the_generations(run: Path) -> None:
    assert kinds(run) == ["fits", "settings", "fits", "settings", "fits", "replicas", "settings"]
    found = settings_of(run)
    assert len(found) == len({one["id"] for one in found}) == 40
    assert {one["status"] for one in records(run)} == {"ok"}
    info = json.loads((run / "run.json").read_text())
    parts = info["between_generations"]
    assert [part["settings"] for part in parts] == [10, 10]
    assert all(part["gain"]["fits"] >= 0 <= part["gain"]["settings"] for part in parts)
    numbers = [one["generation"] for one in info["history"]]
    assert numbers == list(range(len(numbers)))
    assert info["counts"]["records"] == info["history"][-1]["evaluated"] == len(records(run))
    volumes = [one["hypervolume"] for one in info["history"]]
    assert volumes == sorted(volumes)


def test_new_fits_are_mixed_into_lists_at_once(run: Path) -> None:
    rows = outside_timing(run)
    last_fits = {one["fit"] for one in rows if one["generation"] == 2}
    assert {one["origin"] for one in rows if one["generation"] == 2} == {"own", "sweep"}
    after = [one for one in rows if one["generation"] == 3]
    assert any(last_fits & set(one["members"]) for one in after)


@pytest.mark.parametrize(("share", "workers"), [(0.3, "2"), (0.7, "1")])
def test_a_search_cut_anywhere_ends_with_the_same_records(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path, share: float, workers: str
) -> None:
    other = tmp_path / "cut"
    cut(run, other, int(share * len(records(run))))
    searched(config, tiny_cache, other, "--resume", "--workers", workers)
    assert outside_timing(other) == outside_timing(run)
    assert (other / "front.csv").read_bytes() == (run / "front.csv").read_bytes()
    infos = [json.loads((path / "run.json").read_text()) for path in (run, other)]
    for key in ("history", "between_generations", "worth"):
        assert infos[0][key] == infos[1][key]


def test_killed_between_rounds(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path, start: Start
) -> None:
    cache, other = warmed(tiny_cache, tmp_path), tmp_path / "killed"
    fits = 3 * 4  # records of a generation of fits
    running = start(other, cache, config, "--out", other, "--workers", "1")
    running.wait_for_records(fits + 10)  # a round of settings has ended
    running.process.kill()
    running.end()
    assert fits + 10 <= running.records() < len(records(run))
    searched(config, cache, other, "--resume")
    assert outside_timing(other) == outside_timing(run)


def test_a_finished_search_goes_on_with_more_settings(
    run: Path, config: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "more"
    shutil.copytree(run, other)
    searched(config, tiny_cache, other, "--resume", "--set", "search.serving.settings=60")
    assert len(settings_of(other)) == 60
    assert outside_timing(other)[: len(records(run))] == outside_timing(run)


def test_seconds_end_the_search_and_are_decided_once(
    timed: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    assert kinds(timed)[:3] == ["fits", "settings", "fits"]  # a busy machine has no time for more
    config = timed.parent / "experiment"
    other = tmp_path / "slow"
    lines = (timed / "records.jsonl").read_text().splitlines()
    shutil.copytree(timed, other)
    slower = []
    for line in lines[:-3]:
        one = json.loads(line)
        one.pop(KEY)
        one["timing"]["elapsed_s"] *= 100  # by that clock, there would have been no second round
        slower.append(json.dumps(signed(one), separators=(",", ":")) + "\n")
    (other / "records.jsonl").write_text("".join(slower))
    searched(config, tiny_cache, other, "--resume")
    assert outside_timing(other) == outside_timing(timed)


@pytest.mark.parametrize("setting", ["search.serving.settings=0", "search.serving.settings=-40"])
def test_an_impossible_budget_is_one_line_before_any_work(
    config: Path, tiny_cache: Path, tmp_path: Path, setting: str
) -> None:
    out = tmp_path / "none"
    done = pareto_rec("search", config, "--out", out, "--set", setting, cache=tiny_cache)
    assert done.returncode == 2
    assert "search.serving.settings" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_other_generations_would_lead_elsewhere(run: Path, config: Path, tiny_cache: Path) -> None:
    more = ("--set", "search.generations=4")
    done = pareto_rec("search", config, "--resume", "--out", run, *more, cache=tiny_cache)
    assert done.returncode == 2
    assert "search.generations = 4 would lead elsewhere" in done.stderr
