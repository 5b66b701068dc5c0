"""The real command line on real data, twice and with one worker and two: what it leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_experiment import (
    Finished,
    files,
    fresh_cache,
    outside_timing,
    pareto_rec,
    records,
    write_config,
)

from pareto_rec.experiment.config import load_config
from pareto_rec.runs.reader import read_run

COMPUTED = ("fits", "features", "experts", "baselines")
FILES = (
    *("config.toml", "run.json", "records.jsonl", "front.csv", "baselines.csv"),
    *("front.png", "front.svg", "convergence.png", "report.html"),
)


def search(config: Path, run: Path, cache: Path, *more: str) -> Finished:
    said = pareto_rec("search", config, "--out", run, *more, cache=cache)
    assert said.returncode == 0, said.stderr
    return Finished(said, run, cache)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def first(tiny_search: Finished) -> Finished:
    """One worker, nothing computed before."""
    return tiny_search


@pytest.fixture(scope="module")
def two_workers(
    config: Path, first: Finished, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """Two workers that train every fit anew."""
    folder = tmp_path_factory.mktemp("two")
    shared = ("data", "backbones", "features", "experts", "baselines")
    cache = fresh_cache(folder / "cache", first.cache, shared)
    return search(config, folder / "run", cache, "--workers", "2", "--json")


def test_the_run_directory_is_complete(first: Finished) -> None:
    assert {path.name for path in first.run.iterdir()} == {*FILES, "fits", "per_user", "lists.json"}
    view = read_run(first.run)
    kept = {path.stem for path in (first.run / "fits").iterdir()}
    assert kept == set(view.front["fit"])
    assert all(str(first.run / name) in first.said.stdout for name in FILES[5:])


def test_lists_are_those_that_were_measured(first: Finished) -> None:
    """NDCG@10 of the lists (Järvelin & Kekäläinen 2002, binary) is what per_user says of them."""
    shown = json.loads((first.run / "lists.json").read_text())
    measured = pd.read_parquet(first.run / "per_user" / "front.parquet").set_index(["id", "user"])
    people = pd.read_parquet(first.run / "per_user" / "users.parquet")
    assert set(people["user"]) == set(measured.index.get_level_values("user"))
    assert 'id="groups"' in (first.run / "report.html").read_text()
    assert set(shown["lists"]) == set(read_run(first.run).front["id"])
    assert len({user["id"] for user in shown["users"]}) == 6
    lengths = [user["history"] for user in shown["users"]]
    assert lengths == sorted(lengths)
    gains = 1 / np.log2(np.arange(2, 12))
    for point, lists in shown["lists"].items():
        for user, items in zip(shown["users"], lists, strict=True):
            assert len(set(items)) == 10
            assert not set(items) & set(user["last"])
            hits = np.isin(items, user["held_out"])
            ideal = gains[: len(user["held_out"])].sum()
            expected = measured.loc[(point, user["id"]), "ndcg@10"]
            assert (hits * gains).sum() / ideal == pytest.approx(expected)
    named = {item for lists in shown["lists"].values() for items in lists for item in items}
    assert named <= set(shown["items"])
    assert all(item["title"] for item in shown["items"].values())


def test_run_json_says_what_the_run_was_made_with(first: Finished) -> None:
    info = json.loads((first.run / "run.json").read_text())
    assert info["status"] == "finished"
    counts = {"generations": 2, "fits": 6, "records": 24, "failed": 0, "retried": 0}
    assert info["counts"] == {**counts, "pruned": 0, "steps": 6 * 6}
    assert [one["evaluated"] for one in info["history"]] == [12, 24]
    assert info["history"][-1]["hypervolume"] == info["hypervolume"]["front"]
    assert info["versions"]["torch"] != "not installed"
    assert 0.3 < info["leak"]["late_train_share"] < 0.4  # 36 % of the rows, by design
    assert set(info["hashes"]) == {"stage", "features", "code"}
    assert [one["name"] for one in info["objectives"]] == ["ndcg@10", "ild@10"]
    assert info["hypervolume"]["front"] > 0
    assert 200 < info["memory_mib"]["main"] < 3000
    assert info["memory_mib"]["sum"] >= info["memory_mib"]["main"]


def test_the_resolved_config_is_the_config(first: Finished, config: Path) -> None:
    resolved = load_config(first.run)
    assert resolved.model_copy(update={"baseline_parameters": {}}) == load_config(config)
    chosen = {"ease_recency": {"l2": 1000.0, "tau": 7.0}}  # [tuning] settings = 1: the defaults
    assert resolved.baseline_parameters == chosen
    experts = json.loads((first.run / "run.json").read_text())["experts"]
    assert {name: one["parameters"] for name, one in experts.items()} == chosen


def test_records_are_written_as_fits_finish(first: Finished) -> None:
    written: dict[str, set[float]] = {}
    for record in records(first.run):
        written.setdefault(record["fit"], set()).add(record["timing"]["elapsed_s"])
    moments = [moment for (moment,) in written.values()]  # one pack of one fit is one moment
    assert len(set(moments)) == len(moments) == 6
    assert moments == sorted(moments)


def test_progress_is_a_line_per_generation_off_a_terminal(first: Finished) -> None:
    lines = [line for line in first.said.stderr.splitlines() if "generation" in line]
    assert len(lines) == 2
    for part in ("generation 2/2", "6 fits", "24 records", "0 failed", "front", "s a fit", "left"):
        assert part in lines[1]
    assert "1,682/1,682" in first.said.stderr  # texts encoded


def test_two_workers_give_the_same_records_as_one(first: Finished, two_workers: Finished) -> None:
    assert outside_timing(two_workers.run) == outside_timing(first.run)
    for name in ("front.csv", "baselines.csv", "config.toml"):
        assert (two_workers.run / name).read_bytes() == (first.run / name).read_bytes()


def test_two_workers_trained_for_themselves(first: Finished, two_workers: Finished) -> None:
    """Else the test above would compare a cache with itself."""
    stored = {path.name for path in (two_workers.cache / "fits").iterdir()}
    assert stored == {path.name for path in (first.cache / "fits").iterdir()}
    assert not (two_workers.cache / "fits").is_symlink()
    info = json.loads((two_workers.run / "run.json").read_text())
    assert len([peak for peak in info["memory_mib"]["children"] if peak > 200]) == 2


def test_json_is_all_that_a_program_sees(two_workers: Finished) -> None:
    said = json.loads(two_workers.said.stdout)
    assert said["run"] == str(two_workers.run)
    assert said["status"] == "finished"
    assert all(Path(path).is_file() for path in said["files"])
    assert two_workers.said.stderr == ""


def test_the_second_time_nothing_is_computed_that_is_cached(
    config: Path, first: Finished, tmp_path: Path
) -> None:
    """The same command a second time, the way a user repeats it."""
    cache = shutil.copytree(first.cache, tmp_path / "cache", symlinks=True)
    before = dict(files(cache))
    again = search(config, tmp_path / "run", cache, "--workers", "1")
    after = dict(files(cache))
    computed = [name for name in after if name.startswith(COMPUTED)]
    assert len([name for name in computed if name.startswith("fits")]) == 6
    assert {name: after[name] for name in computed} == {
        name: before[name] for name in before if name.startswith(COMPUTED)
    }
    assert "texts a second" not in again.said.stderr  # no text was encoded
    assert outside_timing(again.run) == outside_timing(first.run)


def test_report_draws_a_run_anew(first: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(first.run, tmp_path / "run")
    before = (run / "front.svg").read_bytes()
    (run / "front.png").unlink()
    said = pareto_rec("report", run, "--json", cache=first.cache)
    assert said.returncode == 0, said.stderr
    assert str(run / "front.png") in json.loads(said.stdout)["files"]
    assert (run / "front.png").is_file()
    assert (run / "front.svg").read_bytes() == before
