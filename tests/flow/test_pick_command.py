"""Picking through the real command line, on a run directory like those that a search leaves."""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_run import NAMES, write_run

import pareto_rec
from pareto_rec.analysis.decide import PICKERS, Bound
from pareto_rec.analysis.picks import pick, points_of, read_picks, remember
from pareto_rec.cli.main import main
from pareto_rec.execution.per_user import table_of
from pareto_rec.runs.reader import read_run

Said = Callable[..., str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", fits=12, sweep=12, rows=4)


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "run"))


@pytest.fixture
def said(run: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    def call(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["pick", str(run), *arguments])
        text = capsys.readouterr()
        assert caught.value.code == code, text.err
        assert (text.err == "") == (code == 0)
        return text.out if code == 0 else text.err

    return call


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "front.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_bound_and_a_goal(run: Path, said: Said) -> None:
    found = json.loads(said("--where", "ndcg@10>=0.15", "--best", "ild@10", "--json"))
    allowed = [row for row in rows_of(run) if float(row["ndcg@10"]) >= 0.15]
    best = max(allowed, key=lambda row: float(row["ild@10"]))
    assert found["point"] == best["id"]
    assert found["objectives"]["ild@10"] == float(best["ild@10"])
    assert found["objectives"]["coverage@10"] == float(best["coverage@10"])
    assert (
        f"of the {len(allowed)} of {len(rows_of(run))} points with ndcg@10 >= 0.15"
        in (found["reason"])
    )
    for step in found["steps"]:
        assert step["change"][step["gains"]] > 0
        assert min(step["change"].values()) < 0


def test_the_table_shows_the_point_and_what_each_objective_costs(run: Path, said: Said) -> None:
    first = rows_of(run)[len(rows_of(run)) // 2]
    lines = said("--point", first["id"]).splitlines()
    assert lines[0].startswith(f"point {first['id']}: ")
    assert lines[2].split() == ["point", *NAMES]
    assert lines[3].split() == ["chosen", first["id"], *(f"{float(first[n]):.5g}" for n in NAMES)]
    steps = {line.split()[1]: line.split() for line in lines if line.startswith("more ")}
    assert set(steps) == set(NAMES)
    for place, name in enumerate(NAMES):
        assert steps[name][3 + place].startswith("+")
    assert lines[-1] == f"noted in {run / 'picks.json'}"


def test_every_way_to_pick_is_noted_with_its_reason(run: Path, said: Said) -> None:
    _write_per_user(run)
    weights = "ndcg@10=0.7, ild@10=0.3"
    asked = {
        "best": ["--best", "training_seconds"],
        "asf": ["--weights", weights],
        "pseudo": ["--weights", weights, "--method", "pseudo"],
        "knee": ["--knee"],
        "utopia": ["--utopia"],
        "per_user": ["--per-user"],
        "point": ["--point", rows_of(run)[0]["id"][:8]],
    }
    assert set(asked) == set(PICKERS)
    for rule, arguments in asked.items():
        said(*arguments, "--where", "ild@10>=0.5")
        last = read_picks(run)[-1]
        assert last["rule"] == rule
        assert last["point"] in {row["id"] for row in rows_of(run)}
        assert last["mixture"] is None
        assert last["where"] == ["ild@10 >= 0.5"]
        assert "points with ild@10 >= 0.5, it " in last["reason"]
    history = read_picks(run)
    assert [one["rule"] for one in history] == list(asked)
    assert history[1]["asked"] == {"weights": {"ndcg@10": 0.7, "ild@10": 0.3}}
    assert history[0]["asked"] == {"objective": "training_seconds"}
    assert history[0]["objectives"]["training_seconds"] == min(
        float(row["training_seconds"]) for row in rows_of(run)
    )


def _write_per_user(run: Path, keep: slice = slice(None)) -> Any:
    rng = np.random.default_rng(4)
    ids = [row["id"] for row in rows_of(run)]
    values = {one: {n: rng.random(6) for n in (*NAMES, "recall@10")} for one in ids}
    (run / "per_user").mkdir(exist_ok=True)
    table = table_of([(one, values[one]) for one in reversed(ids[keep])], [*"uvwxyz"])
    (run / "per_user/front.parquet").write_bytes(table)
    return values


def test_values_per_user_are_those_of_the_file(run: Path, said: Said) -> None:
    values = _write_per_user(run)
    points = points_of(read_run(run), per_user=True)
    assert set(points.per_user) == set(NAMES)
    for row, one in enumerate(points.ids):
        for name in NAMES:
            np.testing.assert_array_equal(points.per_user[name][row], values[one][name])
    table = np.array([[values[one][name] for name in NAMES] for one in points.ids])
    losses = (table.max(axis=0) - table) / np.ptp(table, axis=(0, 2))[None, :, None]
    best = np.sqrt((losses**2).sum(axis=1)).mean(axis=1).argmin()
    assert json.loads(said("--per-user", "--json"))["point"] == points.ids[best]


def test_a_mixture(run: Path, said: Said) -> None:
    request = ["--mixture", "--best", "ild@10", "--where", "ndcg@10>=0.15"]
    found = json.loads(said(*request, "--where", "tail_ndcg@10>=0.05", "--json"))
    values = {row["id"]: row for row in rows_of(run)}
    for name in NAMES:
        mean = sum(share * float(values[one][name]) for one, share in found["mixture"].items())
        assert found["objectives"][name] == pytest.approx(mean)
    assert found["objectives"]["ndcg@10"] >= 0.15 - 1e-9
    alone = json.loads(said(*request[1:], "--where", "tail_ndcg@10>=0.05", "--json"))
    assert found["objectives"]["ild@10"] >= alone["objectives"]["ild@10"] - 1e-9
    assert found["single"] == alone["point"]
    assert "coverage@10" not in found["objectives"]
    assert read_picks(run)[0]["rule"] == "mixture"
    assert read_picks(run)[0]["point"] is None
    assert "expected" in said(*request)
    assert "coverage@10 is not a mean over users" in said(
        "--mixture", "--best", "coverage@10", code=2
    )


def test_intervals_stand_beside_the_point_once_they_are_known(run: Path, said: Said) -> None:
    one, other = (row["id"] for row in rows_of(run)[:2])
    ends = [f"test.{name}{end}" for name in NAMES for end in ("", ".sd", ".low", ".high")]
    cells = ["0.2", "0.01", "0.1812", "0.2234", "0.7", "", "", "", "0.05", "", "0.04", "0.06"]
    head = "front,id,seeds,p_non_dominated," + ",".join(ends)
    rows = [f"search,{one},3,0.625,{','.join(cells)}", f"ease,{other},3,0.5,{','.join(cells)}"]
    (run / "confirm.csv").write_text("\n".join([head, *rows]) + "\n")
    lines = said("--point", one).splitlines()
    assert lines[4].split() == ["on", "test", "0.2", "0.7", "0.05"]
    assert lines[5].split() == [
        *("P(non-dominated)", "0.62", "[0.1812,", "0.2234]", "[0.04,", "0.06]")
    ]
    found = json.loads(said("--point", one, "--json"))["test"]
    assert found["intervals"] == {"ndcg@10": [0.1812, 0.2234], "tail_ndcg@10": [0.04, 0.06]}
    assert found["non_dominated"] == 0.625
    assert "was not confirmed on test data" in said("--point", other)
    assert json.loads(said("--point", other, "--json"))["test"] is None


def test_the_same_from_python(run: Path) -> None:
    made = pareto_rec.pick(run, PICKERS["knee"](), [Bound("ndcg@10", True, 0.12)])
    assert made.objectives["ndcg@10"] >= 0.12
    assert read_picks(run)[-1]["point"] == made.id
    assert pareto_rec.pick is pick


def _note(run: Path, number: int) -> None:
    entry = {"at": "", "rule": "point", "where": [], "objectives": {}, "reason": str(number)}
    for _ in range(5):
        remember(run, entry)


def test_picks_of_several_processes_are_all_kept(run: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_note, args=(run, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(one["reason"] for one in read_picks(run)) == sorted("01230123012301230123")
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_help_needs_no_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pick", "--help"])
    assert "--where" in capsys.readouterr().out
