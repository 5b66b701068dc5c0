"""Several systems through the real command line: a run, gone on with, on two workers, reported."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from running_search import Start
from shared_work import made_once
from tiny_experiment import Finished, outside_timing, pareto_rec, records

from pareto_rec.runs.reader import read_run

NAMES = ["ndcg@10@shop", "ndcg@5@search", "auc@comments"]


def search(folder: Path, out: Path, cache: Path, *more: str) -> Finished:
    said = pareto_rec("search", folder, "--out", out, *more, cache=cache)
    assert said.returncode == 0, said.stderr
    return Finished(said, out, cache)


@pytest.fixture(scope="module")
def finished(systems_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    def make(folder: Path) -> None:
        search(systems_folder, folder / "run", folder / "cache", "--workers", "1")

    folder = made_once(tmp_path_factory, "tiny-systems-search", make)
    said = pareto_rec("report", folder / "run", cache=folder / "cache")
    return Finished(said, folder / "run", folder / "cache")


def test_a_front_over_one_objective_of_each_system(finished: Finished) -> None:
    view = read_run(finished.run)
    assert [axis.name for axis in view.axes] == NAMES
    assert len(records(finished.run)) == 2 * 3 * 3
    assert all(one["status"] == "ok" for one in records(finished.run))
    info = json.loads((finished.run / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["hypervolume"]["front"] > 0
    kept = {path.stem for path in (finished.run / "fits").iterdir()}
    assert kept == set(view.front["fit"])
    systems = info["systems"]
    assert systems.keys() == {"shop", "search", "comments"}
    assert systems["comments"]["data"]["rows"] == 120
    assert systems["search"]["baselines"]["bm25"].keys() == {"ndcg@5@search"}


def test_the_best_baselines_of_all_systems_are_one_point(finished: Finished) -> None:
    table = pd.read_csv(finished.run / "baselines.csv")
    systems = json.loads((finished.run / "run.json").read_text())["systems"]
    [row] = table.to_dict("records")
    for name in NAMES:
        system = name.rpartition("@")[2]
        best = max(one[name] for one in systems[system]["baselines"].values())
        assert row[name] == pytest.approx(best)


def test_sharing_is_held_against_fits_on_one_system_alone(finished: Finished) -> None:
    """The first generation holds a fit of each system alone: the corners of the weights."""
    systems = json.loads((finished.run / "run.json").read_text())["systems"]
    rows = records(finished.run)
    corners = {"shop": [1.0, 0.0, 0.0], "search": [0.0, 1.0, 0.0], "comments": [0.0, 0.0, 1.0]}
    for name, objective in zip(corners, NAMES, strict=True):
        apart = systems[name]["sharing"]
        weights = [one["train"]["system_weights"] for one in rows]
        place = list(corners).index(name)
        alone = [r for r, w in zip(rows, weights, strict=True) if w == corners[name]]
        shared = [r for r, w in zip(rows, weights, strict=True) if 0 < w[place] < 1]
        for key, of in (("alone", alone), ("shared", shared)):
            values = [one["objectives"][objective] for one in of]
            assert (apart[key] or {}).get("value") == (max(values) if values else None)
    assert "comments: auc@comments" in finished.said.stdout
    page = (finished.run / "report.html").read_text()
    assert "What sharing one model gives each system" in page


def test_it_is_reported_like_any_run(finished: Finished) -> None:
    assert finished.said.returncode == 0, finished.said.stderr
    assert (finished.run / "front.png").exists()
    assert "NDCG@10@shop" in (finished.run / "report.html").read_text()


def test_two_workers_find_the_same_records(
    finished: Finished, systems_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished.cache / "features", tmp_path / "cache" / "features")
    other = search(systems_folder, tmp_path / "run", tmp_path / "cache", "--workers", "2")
    assert outside_timing(other.run) == outside_timing(finished.run)


def test_a_killed_search_goes_on_to_the_same_records(
    finished: Finished, systems_folder: Path, start: Start, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    shutil.copytree(finished.cache / "features", cache / "features")
    begun = start(run, cache, systems_folder, "--out", run, "--workers", "1")
    begun.wait_for_records(3)
    os.killpg(begun.process.pid, signal.SIGKILL)
    begun.end()
    assert 3 <= begun.records() < 18
    search(systems_folder, run, cache, "--workers", "1", "--resume")
    assert outside_timing(run) == outside_timing(finished.run)


def test_another_config_cannot_go_on_with_the_run(
    finished: Finished, systems_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    said = pareto_rec(
        *("search", systems_folder, "--out", run, "--resume", "--set", "fixed.width=16"),
        cache=finished.cache,
    )
    assert said.returncode == 2
    assert "cannot go on as it began: fixed.width: 8 -> 16" in said.stderr


@pytest.mark.parametrize("command", [("confirm",), ("export", "--to"), ("search", "--controls")])
def test_commands_that_know_one_system_alone_say_so(
    finished: Finished, systems_folder: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    target = systems_folder if command[0] == "search" else finished.run
    more = [tmp_path / "bundle"] if "--to" in command else []
    out = ["--out", tmp_path / "run"] if command[0] == "search" else []
    said = pareto_rec(command[0], target, *command[1:], *more, *out, cache=finished.cache)
    assert said.returncode == 2, said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    assert "one system" in said.stderr or "several systems" in said.stderr


def test_smoke_takes_its_own_table(
    systems_folder: Path, finished: Finished, tmp_path: Path
) -> None:
    run = search(systems_folder, tmp_path / "run", finished.cache, "--smoke", "--json").run
    assert len(records(run)) == 9
