"""A search that stops fits early, through the real command line and everything that reads it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tiny_experiment import outside_timing, pareto_rec, records, write_config

HALVED = (
    *("--set", "fixed.check_every=2", "--set", "search.population=4"),
    *("--set", "search.fidelity={ rungs = [2, 4], keep = 0.5 }"),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def run(config: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    said = pareto_rec("search", config, "--out", folder, *HALVED, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    assert "8 fits, 28 steps, 32 records, 0 failed, 24 pruned" in said.stderr
    return folder


def test_the_front_holds_finished_fits_alone(run: Path) -> None:
    found = {one["id"]: one for one in records(run)}
    assert [one["status"] for one in found.values()].count("pruned") == 24
    with (run / "front.csv").open() as stream:
        front = list(csv.DictReader(stream))
    assert front
    for row in front:
        assert found[row["id"]]["status"] == "ok"
        assert found[row["id"]]["timing"]["train_steps"] == 6


def test_the_budget_is_counted_in_steps(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    steps = {one["fit"]: one["timing"]["train_steps"] for one in records(run)}
    assert info["counts"]["steps"] == sum(steps.values()) == 2 * (2 * 2 + 4 + 6)
    assert (info["counts"]["pruned"], info["counts"]["failed"]) == (24, 0)
    assert [one["pruned"] for one in info["history"]] == [12, 24]
    page = (run / "report.html").read_text()
    assert "pruned: stopped after 2 of 6 steps" in page
    assert "24 of them are not failures: their fits were stopped early." in page


@pytest.fixture(scope="module")
def same(config: Path, run: Path, tiny_cache: Path) -> Path:
    folder = run.parent / "two"
    more = (*HALVED, "--workers", "2")
    said = pareto_rec("search", config, "--out", folder, *more, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    return folder


def test_two_workers_find_the_same(run: Path, same: Path) -> None:
    assert outside_timing(same) == outside_timing(run)
    assert (same / "front.csv").read_bytes() == (run / "front.csv").read_bytes()


def test_a_run_with_pruned_records_is_compared_and_picked_from(
    run: Path, same: Path, tiny_cache: Path
) -> None:
    said = pareto_rec("pick", run, "--knee", "--json", cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    said = pareto_rec("compare", run, same, "--out", run.parent / "compared", cache=tiny_cache)
    assert said.returncode == 0, said.stderr


def test_other_rungs_are_another_run(run: Path, tiny_cache: Path) -> None:
    other = ("--set", "search.fidelity={ rungs = [2] }")
    said = pareto_rec("search", run, "--resume", *other, cache=tiny_cache)
    assert said.returncode == 2
    assert "search.fidelity.rungs: [2, 4] -> [2]" in said.stderr


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("search.fidelity={rungs=[4]}", "4 is no multiple of fixed.check_every = 25"),
        ("search.fidelity={rungs=[25]}", "25 is not below fixed.steps = 6"),
        ("search.fidelity={rungs=[]}", "search.fidelity.rungs"),
        ("search.fidelity={rungs=[50,25]}", "rungs must be ascending"),
        ("search.fidelity={keep=0}", "search.fidelity.keep"),
        ("search.fidelity={keeps=0.5}", 'did you mean "search.fidelity.keep"'),
        ("search.fidelity={margin=-1}", "search.fidelity.margin"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    config: Path, tiny_cache: Path, tmp_path: Path, option: str, line: str
) -> None:
    out = ("--out", tmp_path / "run", "--set", option)
    said = pareto_rec("search", config, *out, cache=tiny_cache)
    assert said.returncode == 2
    assert line in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
