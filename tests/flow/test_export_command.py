"""The real command line on real data: a run becomes a bundle, and a fresh process serves it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tiny_experiment import environment, pareto_rec, write_config

from pareto_rec.analysis.confirm.ledger import note_opening
from pareto_rec.bundle import read_parts
from pareto_rec.bundle.export import ExportOptions, export_run
from pareto_rec.bundle.source import Run, chosen_rows
from pareto_rec.core.checksums import sha256_of, signed
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.ranking import recommend
from pareto_rec.runs.openings import LEDGER_VARIABLE, read_openings
from pareto_rec.runs.reader import read_run

pytestmark = pytest.mark.usefixtures("single_thread")

ALL_LISTS = """\
import json, sys
from pareto_rec.bundle import Bundle, Request
assert "pareto_rec.experiment.experiment" not in sys.modules and "transformers" not in sys.modules
bundle = Bundle.load(sys.argv[1])
requests = [Request(user, k=10) for user in bundle.parts.users.ids]
lists = [[item.id for item in one.items] for one in bundle.recommend_many(requests)]
assert "transformers" not in sys.modules and "pandas" not in sys.modules
print(json.dumps(lists))
"""


@pytest.fixture(scope="module")
def run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    quick = ("search.generations=1", "search.population=2")
    config = load_config(write_config(folder), quick)
    return search_experiment(config, folder / "run", cache=tiny_cache, workers=1)


@pytest.fixture(scope="module")
def front(run: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("front") / "bundle"
    said = pareto_rec("export", run, "--front", "--to", to, "--json", cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    content = json.loads(said.stdout)
    assert content["agreement"]["fp32"]["same_lists"] > 0.999
    assert content["default"] in content["points"]
    assert said.stderr == ""
    return to


def test_a_copy_in_a_fresh_process_gives_the_lists_of_the_run(
    run: Path, front: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """All 943 users, against the code that searched on the data itself."""
    shutil.copytree(front, tmp_path / "empty" / "copy")
    nowhere = environment(tmp_path / "no cache")  # neither data nor backbone is there
    said = subprocess.run(
        [sys.executable, "-c", ALL_LISTS, str(tmp_path / "empty" / "copy")],
        capture_output=True,
        text=True,
        timeout=120,
        env=nowhere,
        cwd=tmp_path,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    about = json.loads((front / "bundle.json").read_text())
    point = next(one for one in about["points"] if one["id"] == about["default"])
    searched = Run.read(run, tiny_cache)
    evaluator = searched.experiment.evaluator()
    serve = {n: tuple(v) if isinstance(v, list) else v for n, v in point["serve"].items()}
    scorers = evaluator.with_fit(searched.fits([point["fit"]])[point["fit"]])
    lists, _ = recommend(scorers, [evaluator.serving(serve)], k=10)
    ids = evaluator.stage.items.ids
    served = json.loads(said.stdout)
    assert len(served) == 943
    assert served == [[ids[item] for item in row] for row in lists[0]]


def test_recommend_says_titles_notes_and_reasons(front: Path, tmp_path: Path) -> None:
    asked = ("--history", "50,181,nothing", "-k", "3", "--prefer", "ndcg@10=.7,ild@10=.3")
    said = pareto_rec("recommend", front, *asked, "--explain", cache=tmp_path / "no cache")
    assert said.returncode == 0, said.stderr
    assert 'note: left out of the history, not in the catalogue: "nothing"' in said.stdout
    assert "Star Wars (1977)" in said.stdout
    assert "before re-ranking" in said.stdout


def test_one_point_trained_again_on_all_data(
    run: Path, front: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """Validation rows are learnt from and served from; test rows are not: nobody has seen them."""
    first = read_parts(front, verify=False)
    point = first.about.points[0]
    wanted = ExportOptions(point.id[:8], refit=True)
    again = export_run(run, tmp_path / "bundle", wanted, cache=tiny_cache).parts
    assert [one.id for one in again.about.points] == [point.id]
    assert again.about.points[0].objectives == point.objectives
    assert again.about.learned_from == "train + validation"
    assert len(again.train) == len(again.history) == len(first.train) + len(first.validation)
    assert len(first.train) + len(first.validation) < 0.92 * 100_000
    (fit_id,) = again.fits
    assert again.fits[fit_id].best_step == first.fits[fit_id].best_step
    old, new = first.fits[fit_id].params, again.fits[fit_id].params
    assert any(not part.equal(old[name]) for name, part in new.items())
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "of the point before it was trained again on train + validation" in card


def test_training_again_on_test_rows_is_an_opening_in_the_ledger(
    run: Path, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, ledger = shutil.copytree(run, tmp_path / "run"), tmp_path / "ledger.jsonl"
    note_opening(other, seeds=1)  # as confirm does
    point = read_run(other).front["id"].iloc[0]
    learnt: list[int] = []

    def again(*arguments: Any) -> NoReturn:
        learnt.append(len(arguments[-1].stage.train))  # of the evaluator
        raise RunFailedError("far enough")

    monkeypatch.setenv(LEDGER_VARIABLE, str(ledger))
    monkeypatch.setattr("pareto_rec.bundle.refit._again", again)
    with pytest.raises(RunFailedError, match="far enough"):
        export_run(other, tmp_path / "to", ExportOptions(point, refit=True), cache=tiny_cache)
    assert learnt == [100_000]  # test rows among them
    (opening,) = read_openings([ledger])
    assert opening.command == "export --refit all"
    assert opening.run == f"{tmp_path.name}/run"


def test_a_wrong_export_is_one_line_and_leaves_nothing(
    run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    said = pareto_rec("export", run, "--to", tmp_path / "to", cache=tiny_cache)
    assert said.returncode == 2
    assert said.stderr.splitlines()[-1].startswith(f"error: nothing was picked in {run}")
    with pytest.raises(BadRequestError, match='unknown point of the front "zzz"'):
        export_run(run, tmp_path / "to", ExportOptions("zzz"), cache=tiny_cache)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_the_present_code_does_not_give_is_refused(
    run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """A record that says another value than is measured, and a head that is another."""
    other = shutil.copytree(run, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    for line in lines:
        line["objectives"]["ild@10"] *= 1.1
    (other / "records.jsonl").write_text("".join(json.dumps(signed(line)) + "\n" for line in lines))
    with (other / "front.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = [row | {"ild@10": repr(float(row["ild@10"]) * 1.1)} for row in rows]
    with (other / "front.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    info = json.loads((other / "run.json").read_text())
    info["files"]["front.csv"] = sha256_of(other / "front.csv")
    (other / "run.json").write_text(json.dumps(signed(info)))
    point = (run / "front.csv").read_text().splitlines()[1].split(",")[0]
    with pytest.raises(RunFailedError, match=r"ild@10 of point .* with the present code and data"):
        export_run(other, tmp_path / "to", ExportOptions(point), cache=tiny_cache)
    assert not (tmp_path / "to").exists()


def test_without_a_point_the_last_pick_is_taken(
    run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(run, tmp_path / "run")
    ids = [line.split(",")[0] for line in (run / "front.csv").read_text().splitlines()[1:]]
    said: dict[str, object] = {
        "at": "2026-01-31T12:00:00Z",
        "rule": "knee",
        "asked": {},
        "where": [],
        "mixture": None,
        "objectives": {},
        "reason": "it bends there",
    }
    picks = [said | {"point": id_} for id_ in (ids[0], ids[-1])]
    (other / "picks.json").write_text(json.dumps({"picks": picks}))
    searched = Run.read(other, tiny_cache)
    rows, default = chosen_rows(searched, None, front=False)
    assert [row["id"] for row in rows] == [default] == [ids[-1]]
    assert len(chosen_rows(searched, None, front=True)[0]) == len(ids)
    mixture = said | {"point": None, "mixture": {ids[0]: 0.5, ids[-1]: 0.5}}
    (other / "picks.json").write_text(json.dumps({"picks": [*picks, mixture]}))
    with pytest.raises(BadRequestError, match="mixture of points: name one with --point ID"):
        chosen_rows(searched, None, front=False)
