"""``confirm`` through the real command line, on a real search that is small."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from tiny_experiment import CONFIG, files, pareto_rec, records, write_config

from pareto_rec.analysis.confirm import confirm as confirmation
from pareto_rec.analysis.confirm import confirm_run
from pareto_rec.analysis.confirm.measure import OpenedTest, Question, measure
from pareto_rec.bundle.points import _confirmed as values_of_test
from pareto_rec.cli.check import check
from pareto_rec.core.checksums import signed
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.seeds import child_seed
from pareto_rec.execution.callbacks import SearchCallback
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import read_split
from pareto_rec.experiment.openings import OpeningLedger
from pareto_rec.report import write_report
from pareto_rec.report.plots.confirmed import save_confirmed
from pareto_rec.report.plots.figures import save_plots
from pareto_rec.runs import openings
from pareto_rec.runs.confirmation import read_confirmed, read_content
from pareto_rec.runs.openings import LEDGER_VARIABLE, Opening, append_opening, read_openings
from pareto_rec.runs.reader import read_run

pytestmark = pytest.mark.usefixtures("single_thread")

SEEDS = 2
SEARCHED = (
    CONFIG
    + """
[search.serving]
settings = 24
members = 3
pool = 2
replicas = 2
population = 12
"""
)
OPPONENTS = (
    "baselines alone",
    "baselines and one plain fit",
    "best 4 of 4 accuracy-only fits",
)


@dataclass(frozen=True)
class Confirmed:
    """A run that was confirmed."""

    run: Path
    cache: Path
    said: subprocess.CompletedProcess[str]

    @property
    def content(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "confirm.json").read_text()))


@pytest.fixture(scope="module")
def searched(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = write_config(tmp_path_factory.mktemp("confirm"), SEARCHED)
    run = tmp_path_factory.mktemp("run") / "out"
    command = ("search", config, "--out", run, "--workers", "1", "--set", "search.generations=1")
    said = pareto_rec(*command, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    return run


@pytest.fixture(scope="module")
def confirmed(
    searched: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Confirmed:
    run = tmp_path_factory.mktemp("confirmed") / "run"
    shutil.copytree(searched, run)
    command = ("confirm", run, "--seeds", str(SEEDS), "--workers", "1")
    said = pareto_rec(*command, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    return Confirmed(run, tiny_cache, said)


def test_every_selected_point_is_trained_anew_with_fresh_seeds(confirmed: Confirmed) -> None:
    content, view = confirmed.content, read_run(confirmed.run)
    own = [row for row in content["points"] if row["front"] == "search"]
    assert [row["id"] for row in own] == view.front.loc[view.front["selected"], "id"].tolist()
    alone = {one["id"] for one in records(confirmed.run) if one["fit"] == "experts"}
    trained = [row for row in own if row["id"] not in alone]
    assert trained
    assert all(row["seeds"] == SEEDS for row in trained)
    assert all(row["seeds"] == 1 for row in own if row not in trained)
    root = load_config(confirmed.run).seed
    assert content["seeds"] == [child_seed(root, "confirm", place) for place in range(SEEDS)]
    assert set(content["seeds"]).isdisjoint(view.records["seed"])
    claimed = dict(zip(view.front["id"], view.front["ndcg@10"], strict=True))
    for row in trained:
        value = row["values"]["ndcg@10"]
        assert value["search"] == pytest.approx(claimed[row["id"]], abs=1e-12)
        assert value["validation"]["sd"] > 0
        assert value["test"]["low"] < value["test"]["mean"] < value["test"]["high"]


def test_opponents_get_as_many_settings_as_the_run_has_records(confirmed: Confirmed) -> None:
    fronts = {one["name"]: one for one in confirmed.content["fronts"]}
    found = records(confirmed.run)
    fits = {name for one in found for name in one["members"] if name != "ease_recency"}
    assert len(fits) == 4  # three of the generation, and a replica
    assert list(fronts) == ["search", *OPPONENTS, "all opponents together"]
    for name in ("search", *OPPONENTS):
        assert fronts[name]["records"] == len(found)
        assert 0 < fronts[name]["points"] <= 20
    rest = [row["id"] for row in confirmed.content["points"] if row["front"] != "search"]
    assert set(fronts["all opponents together"]["ids"]) <= set(rest)


def test_opponents_search_what_the_run_searched_and_their_fits_get_fresh_seeds(
    confirmed: Confirmed,
) -> None:
    shared = {"baselines alone": 0, "baselines and one plain fit": 1, OPPONENTS[2]: 3}
    for row in confirmed.content["points"]:
        if row["front"] == "search":
            continue
        assert set(row["serve"]) == {"fusion", "mmr", "depth"}
        fits = row["serve"]["fusion"].keys() - {"ease_recency"}
        assert len(fits) <= shared[row["front"]]
        assert row["seeds"] == (SEEDS if fits else 1)


def test_the_strongest_opponent_is_named_with_its_ratio(confirmed: Confirmed) -> None:
    fronts = {one["name"]: one for one in confirmed.content["fronts"]}
    best = max(OPPONENTS, key=lambda name: fronts[name]["hypervolume"]["test"]["value"])
    first, *more = confirmed.content["answer"]["says"]
    ratio = fronts[best]["ratio"]["test"]
    assert (
        f"{ratio['value']:.2f} (95 % interval {ratio['low']:.2f} to {ratio['high']:.2f})" in first
    )
    assert f"times that of the strongest opponent, {best} (" in first
    assert ("interval holds 1" in first) == (ratio["low"] <= 1 <= ratio["high"])
    assert all(name in more[0] for name in set(OPPONENTS) - {best})
    for name in ("front.svg", "confirm.svg", "report.html"):
        text = (confirmed.run / name).read_text()
        assert all(opponent in text for opponent in OPPONENTS), name


def test_test_values_are_those_of_an_independent_calculation(confirmed: Confirmed) -> None:
    """Popularity without re-ranking, by NumPy alone: its lists on test data and their NDCG@10."""
    config = load_config(confirmed.run)
    split = read_split(config, confirmed.cache)
    evaluator = Experiment.of(config, confirmed.cache).evaluator()
    plain = {"fusion": {"popularity": 1.0}}
    opened = OpenedTest(config.model_dump_json(), OpeningLedger(confirmed.run))
    job = Question("plain", {}, [plain], opened)
    _, (values,) = measure(evaluator, job, confirmed.cache)
    assert not isinstance(values, str)
    stage = split.test
    seen = np.zeros(stage.shape, dtype=bool)
    seen[stage.history.user, stage.history.item] = True
    held = np.zeros(stage.shape, dtype=bool)
    held[stage.held_out.user, stage.held_out.item] = True
    counts = np.bincount(stage.train.item, minlength=stage.shape[1]).astype(float)
    top = np.argsort(np.where(seen, -1.0, counts), axis=1, kind="stable")[:, ::-1][:, :10]
    gain = np.take_along_axis(held, top, 1) / np.log2(np.arange(2, 12))
    best = np.cumsum(1 / np.log2(np.arange(2, 12)))
    known = held.any(axis=1)
    ideal = best[np.minimum(held.sum(axis=1), 10)[known] - 1]
    by_hand = float((gain.sum(axis=1)[known] / ideal).mean())
    # ties of popularity are broken in another order
    assert np.nanmean(values["ndcg@10"]) == pytest.approx(by_hand, abs=0.002)
    assert evaluator.stage.name == "validation"  # the search's own evaluator has not moved


def test_test_rows_that_are_no_truth_are_counted(confirmed: Confirmed) -> None:
    split = read_split(load_config(confirmed.run), confirmed.cache)
    assert confirmed.content["truth"] == {"test": split.test.truth_account}


def test_set_objectives_carry_intervals_over_users_too(confirmed: Confirmed) -> None:
    content = confirmed.content
    kinds = {one["name"]: (one["kind"], one["interval_over"]) for one in content["objectives"]}
    assert kinds["ndcg@10"] == ("user", "users and seeds")
    assert kinds["coverage@10"] == ("set", "users and seeds")
    assert content["resampled"] == "users and seeds"
    baseline = next(row for row in content["points"] if row["front"] == "baselines alone")
    assert baseline["values"]["coverage@10"]["test"]["low"] is not None  # no seeds, but users
    assert baseline["values"]["ndcg@10"]["test"]["low"] is not None
    assert baseline["seeds"] == 1
    assert baseline["values"]["ndcg@10"]["test"]["sd"] is None


def test_hypervolumes_are_those_of_the_means(confirmed: Confirmed) -> None:
    """By moocore on confirm.csv alone, as somebody else would check them."""
    import moocore

    content = confirmed.content
    with (confirmed.run / "confirm.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [row["id"] for row in content["points"]]
    for front in content["fronts"][:3]:
        own = [row for row in rows if row["front"] == front["name"]]
        for stage in ("validation", "test"):
            values = [
                [float(row[f"{stage}.{name}"]) for name in ("ndcg@10", "ild@10")] for row in own
            ]
            volume = moocore.hypervolume(values, ref=[0.0, 0.3], maximise=True)
            assert front["hypervolume"][stage]["value"] == pytest.approx(volume, rel=1e-9)
    ratio = content["fronts"][0]["hypervolume"]["test"]["value"]
    for front in content["fronts"][1:]:
        other = front["hypervolume"]["test"]["value"]
        assert front["ratio"]["test"]["value"] == pytest.approx(ratio / other)
    assert all(
        0 <= row["p_non_dominated_all"] <= row["p_non_dominated"] for row in content["points"]
    )


def test_the_run_says_that_test_data_was_opened(confirmed: Confirmed) -> None:
    found = read_confirmed(confirmed.run / "confirm.json")
    assert found is not None
    assert found.finished
    assert len(found.opened) == 1
    for name in ("confirm.png", "confirm.svg", "front.png"):
        assert str(confirmed.run / name) in confirmed.said.stdout
    assert f"opened once, on {found.opened[0][:10]}" in (confirmed.run / "front.svg").read_text()
    assert found.says[0] in confirmed.said.stdout


def test_the_search_is_left_as_it_was(confirmed: Confirmed, searched: Path) -> None:
    for name in ("run.json", "records.jsonl", "front.csv", "baselines.csv", "config.toml"):
        assert (confirmed.run / name).read_bytes() == (searched / name).read_bytes()


def test_a_second_time_says_so_and_trains_nothing(confirmed: Confirmed, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(confirmed.run, run)
    before = [dict(files(confirmed.cache / name)) for name in ("fits", "baselines")]
    found = confirm_run(run, seeds=SEEDS, cache=confirmed.cache, workers=2)
    assert [dict(files(confirmed.cache / name)) for name in ("fits", "baselines")] == before
    first, again = confirmed.content, json.loads(found.read_text())
    assert again["points"] == first["points"]  # two workers, the same numbers
    assert again["fronts"] == first["fronts"]
    assert again["opened"][0] == first["opened"][0]
    assert len(again["opened"]) == 2
    assert (first["earlier"]["times"], again["earlier"]["times"]) == (0, 1)
    day = first["opened"][0]["at"][:10]
    assert (
        again["answer"]["says"][-1] == f"Test data had been opened once before, by tiny, on {day}."
    )
    assert not again["void"]


class Heard(SearchCallback):
    """Remembers stages and notes in their order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_stage(self, stage: str) -> None:
        self.lines.append(stage)

    def on_note(self, note: str) -> None:
        self.lines.append(note)


def test_a_reference_that_was_changed_after_an_opening_voids_it_everywhere(
    confirmed: Confirmed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another run had opened the same test data with another reference of ild@10."""
    run, first = tmp_path / "run", Opening.of(confirmed.content["opening"])
    shutil.copytree(confirmed.run, run)
    monkeypatch.setenv(LEDGER_VARIABLE, str(tmp_path / "ledger.jsonl"))
    aims = {**first.objectives, "ild@10": {**first.objectives["ild@10"], "reference": 0.2}}
    append_opening(tmp_path / "ledger.jsonl", replace(first, run="other/run", objectives=aims))
    heard = Heard()
    confirm_run(run, seeds=SEEDS, cache=confirmed.cache, workers=1, callbacks=[heard])
    day = first.at[:10]
    void = (
        f"Void: after tiny had opened this test data on {day}, the reference of ild@10 was changed "
        "from 0.2 to 0.3."
    )
    before = heard.lines[: heard.lines.index("opening test data")]
    assert {void, f"Test data had been opened once before, by tiny, on {day}."} <= {*before}
    work = next(place for place, line in enumerate(before) if line.startswith("searching"))
    assert before.index(void) < work
    view = read_run(run)
    assert view.confirmed is not None
    assert view.confirmed.void == void
    assert view.confirmed.says[0].startswith(f"{void} On test data the hypervolume")
    save_confirmed(view, read_content(run / "confirm.json") or {}, run)
    save_plots(view, run)
    write_report(view, run)
    for name in ("report.html", "confirm.svg", "front.svg"):
        text = (run / name).read_text().replace("<!--", "").replace("-->", "")  # words of an SVG
        words = re.sub(r"<[^>]*>", " ", text)
        assert "the reference of ild@10 was changed from 0.2 to 0.3." in " ".join(words.split()), (
            name
        )
    with pytest.raises(typer.Exit):
        check(run)
    assert f"cannot be trusted: confirm.json: {void}" in capsys.readouterr().out
    said = pareto_rec("pick", run, "--knee", "--json", cache=confirmed.cache)
    assert json.loads(said.stdout)["void"] == void
    assert values_of_test(run) == {}  # none of a void confirmation goes along into a bundle
    assert values_of_test(confirmed.run)


@pytest.mark.parametrize("ends", ["killed", "full disk"])
def test_no_opening_is_left_unwritten(
    searched: Path, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The line is in the ledger when test data is asked for; without it, nobody asks."""
    run, ledger = tmp_path / "run", tmp_path / "ledger.jsonl"
    shutil.copytree(searched, run)
    monkeypatch.setenv(LEDGER_VARIABLE, str(ledger))
    asked: list[int] = []

    def measured(*arguments: Any) -> Any:
        if arguments[-1] is not None:  # the opened test stage
            asked.append(len(read_openings([ledger])))
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(confirmation, "_opponents", lambda _: [])
    monkeypatch.setattr(confirmation, "_train", lambda *_: ({}, []))
    monkeypatch.setattr(confirmation, "_measure", measured)
    if ends == "full disk":
        monkeypatch.setattr(openings.os, "fsync", no_space)
    with pytest.raises((KeyboardInterrupt, RunFailedError)):
        confirm_run(run, seeds=1, cache=tiny_cache, workers=1)
    assert asked == ([1] if ends == "killed" else [])
    assert len(read_openings([ledger])) == len(asked)
    assert (run / "confirm.json").exists() == bool(asked)


def no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_damaged_ledger_stops_it_before_any_work(
    searched: Path, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ledger = tmp_path / "run", tmp_path / "ledger.jsonl"
    shutil.copytree(searched, run)
    monkeypatch.setenv(LEDGER_VARIABLE, str(ledger))
    ledger.write_text("{}\n")
    with pytest.raises(BadRequestError, match=r"ledger.jsonl, line 1: not an opening"):
        confirm_run(run, seeds=1, cache=tiny_cache, workers=1)
    assert not (run / "confirm.json").exists()


def test_what_cannot_be_confirmed_is_refused_and_test_data_stays_closed(
    searched: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    def confirm(name: str, change: dict[str, Any]) -> str:
        run = tmp_path / name
        shutil.copytree(searched, run)
        info = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(signed(info | change)))
        with pytest.raises(BadRequestError) as refused:
            confirm_run(run, seeds=1, cache=tiny_cache, workers=1)
        assert not (run / "confirm.json").exists()
        return str(refused.value)

    assert "has not finished (status: interrupted)" in confirm("early", {"status": "interrupted"})
    hashes = json.loads((searched / "run.json").read_text())["hashes"]
    message = confirm("other", {"hashes": hashes | {"stage": "0" * 64}})
    assert "the data or split differ from those that it was searched on" in message


def test_help_has_an_example(tiny_cache: Path) -> None:
    said = pareto_rec("confirm", "--help", cache=tiny_cache)
    assert "Example: pareto-rec confirm" in said.stdout


def test_searches_with_other_seeds_enter_without_another_opening(
    confirmed: Confirmed, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(confirmed.run, first)
    config = write_config(tmp_path / "config", SEARCHED)
    options = ("--workers", "1", "--set", "search.generations=1", "--set", "seed=1")
    said = pareto_rec("search", config, "--out", second, *options, cache=confirmed.cache)
    assert said.returncode == 0, said.stderr
    command = ("confirm", first, "--with", second, "--seeds", str(SEEDS), "--workers", "1")
    said = pareto_rec(*command, cache=confirmed.cache)
    assert said.returncode == 0, said.stderr
    content = json.loads((first / "confirm.json").read_text())
    assert content["opened"] == confirmed.content["opened"]  # what is confirmed stays closed
    assert len(json.loads((second / "confirm.json").read_text())["opened"]) == 1
    searches = content["search_seeds"]
    assert searches["seeds"] == [0, 1]
    assert {row["kind"] for row in searches["opponents"]} <= {*("baselines", "one_fit", "fits")}
    assert "Over 2 searches with other seeds" in said.stdout
    assert "for the points of one search" not in said.stdout
    assert "for the points of one search" in confirmed.said.stdout
    assert read_confirmed(first / "confirm.json") is not None  # files keep their checksums
    refused = pareto_rec("confirm", first, "--with", first, cache=confirmed.cache)
    assert refused.returncode == 2
    assert "a run is named twice" in refused.stderr
