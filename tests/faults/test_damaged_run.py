"""A run directory that is none, or is damaged: one line with file, line and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import write_run

from pareto_rec.errors import BadRequestError
from pareto_rec.reading.read import read_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", fits=3, sweep=4, rows=4)


def message(run: Path) -> str:
    with pytest.raises(BadRequestError) as caught:
        read_run(run)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_no_run_directory(tmp_path: Path) -> None:
    assert f"{tmp_path} is not a run directory" in message(tmp_path)


@pytest.mark.parametrize("name", ["records.jsonl", "front.csv", "baselines.csv"])
def test_missing_file(run: Path, name: str) -> None:
    (run / name).unlink()
    assert f"{run / name} is missing" in message(run)


def test_broken_json(run: Path) -> None:
    (run / "run.json").write_text('{\n"experiment": \n}')
    assert "run.json, line 3" in message(run)


@pytest.mark.parametrize(
    "objectives", [[], [{"name": "a"}, {"name": "b"}], [{"name": "a", "maximise": True}], "text", 3]
)
def test_objectives_that_make_no_sense(run: Path, objectives: object) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"objectives": objectives}))
    assert 'run.json: "objectives"' in message(run)


def test_hypervolume_that_is_no_number(run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"hypervolume": {"front": "much"}}))
    assert 'run.json: "hypervolume"' in message(run)


@pytest.mark.parametrize("line", ['{"id": "a', "[]", "{}", '{"id": "a", "objectives": 3}'])
def test_damaged_record(run: Path, line: str) -> None:
    lines = (run / "records.jsonl").read_text().splitlines()
    (run / "records.jsonl").write_text("\n".join([*lines[:4], line, *lines[5:]]))
    assert "records.jsonl, line 5: not a record (" in message(run)


def test_no_record_yet(run: Path) -> None:
    (run / "records.jsonl").write_text("")
    assert "no record yet" in message(run)


def test_missing_column(run: Path) -> None:
    path = run / "front.csv"
    path.write_text(path.read_text().replace("ild@10", "ild@5", 1))
    assert 'front.csv, line 1: no column "ild@10"' in message(run)


@pytest.mark.parametrize("name", ["front.csv", "baselines.csv"])
def test_truncated_row(run: Path, name: str) -> None:
    lines = (run / name).read_text().splitlines()
    lines[2] = lines[2].rsplit(",", 3)[0]
    (run / name).write_text("\n".join(lines))
    assert f"{name}, line 3: " in message(run)


@pytest.mark.parametrize("value", ["much", "", "nan", "inf"])
def test_objective_without_a_value(run: Path, value: str) -> None:
    lines = (run / "front.csv").read_text().splitlines()
    place = lines[0].split(",").index("ild@10")
    cells = lines[1].split(",")
    cells[place] = value
    (run / "front.csv").write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    assert f'front.csv, line 2: "{value}" is no value of ild@10' in message(run)


def test_point_that_no_record_explains(run: Path) -> None:
    lines = (run / "records.jsonl").read_text().splitlines()
    first = (run / "front.csv").read_text().splitlines()[1].split(",")[0]
    (run / "records.jsonl").write_text("\n".join(line for line in lines if first not in line))
    assert f'front.csv, line 2: point "{first}" is not in records.jsonl' in message(run)


def test_ids_and_words_that_look_like_numbers_or_blanks_stay_text(run: Path) -> None:
    lines = (run / "records.jsonl").read_text().splitlines()
    first = (run / "front.csv").read_text().splitlines()[1].split(",")[0]
    text = "\n".join(lines).replace(first, "00012e345678")
    (run / "records.jsonl").write_text(text.replace('"chebyshev"', '"None"') + "\n")
    front = (run / "front.csv").read_text().replace(first, "00012e345678")
    (run / "front.csv").write_text(front)
    view = read_run(run)
    assert view.front["id"].iloc[0] == "00012e345678"
    assert set(view.records["train.combine"]) == {"sum", "None"}


def test_weight_vectors_take_the_names_of_their_parts(run: Path) -> None:
    view = read_run(run)
    record = json.loads((run / "records.jsonl").read_text().splitlines()[0])
    row = view.records[view.records["id"] == record["id"]].iloc[0]
    parts = ["softmax", "entropy", "similarity", "popularity"]
    np.testing.assert_allclose(
        [row[f"train.loss_weights.{name}"] for name in parts], record["train"]["loss_weights"]
    )
