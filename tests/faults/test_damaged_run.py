"""A run directory that is none, or is damaged: one line with file, line and what to do."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import sign_run, write_run

from pareto_rec.analysis.verify import check_run
from pareto_rec.cli.main import main
from pareto_rec.core.checksums import signed
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.heartbeat import writer
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.record_store import Store


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
    assert f'front.csv, line 2: "{value}" is not a value of ild@10' in message(run)


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


# --- what a search has signed -----------------------------------------------------------------


@pytest.fixture
def signed_run(run: Path) -> Path:
    return sign_run(run)


def change_a_digit(path: Path, line: int) -> None:
    """Raise the first objective of a record, as .18 becomes .98."""
    lines = path.read_text().splitlines(keepends=True)
    lines[line - 1] = re.sub(r'("ndcg@10": 0\.)\d', r"\g<1>9", lines[line - 1], count=1)
    path.write_text("".join(lines))


def findings(run: Path) -> dict[str, str]:
    """What cannot be trusted."""
    found: dict[str, str] = {}
    for one in check_run(run):
        if one.state == "bad":
            found[one.file] = "; ".join(
                [*([found[one.file]] if one.file in found else []), one.says]
            )
    return found


def a_measured_line(run: Path) -> int:
    lines = (run / "records.jsonl").read_text().splitlines()
    return 1 + next(n for n, one in enumerate(lines) if '"ndcg@10": 0.' in one)


def test_a_changed_digit_is_found_with_its_line(signed_run: Path) -> None:
    assert not findings(signed_run)
    read_run(signed_run)
    line = a_measured_line(signed_run)
    change_a_digit(signed_run / "records.jsonl", line)
    said = message(signed_run)
    assert f"records.jsonl, line {line}: not a record (it is not what its checksum says" in said
    assert "search with --resume then evaluates its record again" in said
    assert findings(signed_run)["records.jsonl"].startswith(f"line {line}: it is not what")


def test_every_reader_believes_the_same(signed_run: Path) -> None:
    """Commands that read a run, in place of the line alone: what one refuses all refuse."""
    from pareto_rec.analysis.compare import compare_runs
    from pareto_rec.analysis.confirm.reported_front import read_claim
    from pareto_rec.analysis.decide import PICKERS
    from pareto_rec.analysis.picks import pick
    from pareto_rec.bundle.source import Run
    from pareto_rec.report.notebook import Run as Notebook

    change_a_digit(signed_run / "records.jsonl", a_measured_line(signed_run))
    readers: list[Callable[[], object]] = [
        lambda: read_claim(signed_run),
        lambda: pick(signed_run, PICKERS["knee"]()),
        lambda: compare_runs([signed_run, signed_run.parent / "other"]),
        lambda: Run.read(signed_run, signed_run),
        lambda: Notebook.load(signed_run),
        lambda: Store.open(signed_run / "records.jsonl"),
    ]
    for reader in readers:
        with pytest.raises(BadRequestError, match=r"line \d+: not a record \("):
            reader()


def test_a_line_that_lost_its_checksum_is_found(signed_run: Path) -> None:
    path = signed_run / "records.jsonl"
    text = path.read_text()
    path.write_text(re.sub(r', "checksum": "\w+"', "", text, count=1))
    assert "line 1: not a record (it has no checksum)" in message(signed_run)


def test_a_doubled_line_is_found(signed_run: Path) -> None:
    path = signed_run / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))
    assert f"line {len(lines) + 1}: not a record (it repeats line 2)" in message(signed_run)
    assert "it repeats line 2" in findings(signed_run)["records.jsonl"]


def test_a_line_that_is_gone_is_missed(signed_run: Path) -> None:
    path = signed_run / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    on_front = (signed_run / "front.csv").read_text()
    place = next(n for n, one in enumerate(lines) if json.loads(one)["id"] not in on_front)
    path.write_text("".join([*lines[:place], *lines[place + 1 :]]))
    count = f"{len(lines) - 1:,} records, where run.json counts {len(lines):,}"
    assert findings(signed_run) == {"records.jsonl": count}


def test_a_torn_line_is_left_out_by_all_and_said(
    signed_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count = len(read_run(signed_run).records)
    with (signed_run / "records.jsonl").open("ab") as stream:
        stream.write(b'{"id": "a line cut sh')
    with caplog.at_level(logging.WARNING, "pareto_rec"):
        assert len(read_run(signed_run).records) == count
    assert "the last line was cut short (21 bytes); it is left out" in caplog.text
    unknown = {one.file: one.says for one in check_run(signed_run) if one.state == "unknown"}
    assert "cut short (21 bytes)" in unknown["records.jsonl"]


def test_a_front_that_says_something_else_is_found(signed_run: Path) -> None:
    path = signed_run / "front.csv"
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    place = lines[0].rstrip().split(",").index("ild@10")
    cells = lines[1].rstrip().split(",")
    cells[place] = "0.99"
    path.write_text("".join([lines[0], ",".join(cells) + "\n", *lines[2:]]))
    assert "front.csv, line 2: ild@10 is 0.99, and 0." in message(signed_run)
    path.write_text(text + lines[1])
    assert f'line {len(lines) + 1}: it repeats point "' in message(signed_run)
    path.write_text("".join([lines[0], *lines[2:]]))  # a point that is gone
    assert "front.csv is not the file that was written" in message(signed_run)
    assert findings(signed_run)["front.csv"]


@pytest.mark.parametrize("name", ["baselines.csv", "config.toml"])
def test_other_files_are_held_against_run_json(name: str, signed_run: Path) -> None:
    path = signed_run / name
    text = "".join(path.read_text().splitlines(keepends=True)[:-1])
    path.write_text(path.read_text().replace("e", "a", 1) if name == "config.toml" else text)
    assert name in findings(signed_run)
    assert f"{path} " in message(signed_run)


def test_a_changed_hypervolume_is_found(signed_run: Path) -> None:
    path = signed_run / "run.json"
    info = json.loads(path.read_text())
    info["hypervolume"]["front"] *= 4
    path.write_text(json.dumps(info))
    assert "run.json is not what its checksum says" in message(signed_run)
    path.write_text(json.dumps(signed(info)))  # by somebody who knows how
    assert "and its front has" in findings(signed_run)["run.json"]


def test_an_older_run_is_read_and_said_to_have_no_checksums(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pareto_rec"):
        read_run(run)
    assert "records.jsonl has no checksums (" in caplog.text
    states = {one.file: one.state for one in check_run(run) if one.file != "config.toml"}
    assert states["records.jsonl"] == states["run.json"] == "unknown"
    assert "bad" not in states.values()


def test_the_command_says_what_can_be_trusted(
    signed_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["check", str(signed_run)]) == 0
    assert "can be trusted: baselines.csv, config.toml, front.csv" in capsys.readouterr().out
    line = a_measured_line(signed_run)
    change_a_digit(signed_run / "records.jsonl", line)
    assert ended(["check", str(signed_run), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["trusted"] is False
    wrong = [one for one in content["findings"] if one["state"] == "bad"]
    assert f"line {line}:" in wrong[0]["says"]
    assert ended(["check", str(signed_run.parent)]) == 2
    assert "is not a run directory" in capsys.readouterr().err


def ended(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_changed_picks_are_found(signed_run: Path) -> None:
    from pareto_rec.analysis.decide import PICKERS
    from pareto_rec.analysis.picks import pick, read_picks

    pick(signed_run, PICKERS["knee"]())
    assert not findings(signed_run)
    path = signed_run / "picks.json"
    path.write_text(path.read_text().replace('"rule": "knee"', '"rule": "best"'))
    with pytest.raises(BadRequestError, match="it was changed"):
        read_picks(signed_run)
    assert "picks.json" in findings(signed_run)


# --- whether somebody writes ------------------------------------------------------------------


def test_a_run_whose_writer_died_says_so(signed_run: Path) -> None:
    resign(signed_run, status="running", writer=writer())
    store, _ = Store.open(signed_run / "records.jsonl")
    assert read_run(signed_run).info["status"] == "running"
    store.close()
    os.utime(signed_run / "records.jsonl", (1e9, 1e9))
    stopped = "stopped without a word, last sign of life at 2001-09-09T01:46:40+00:00"
    assert read_run(signed_run).info["status"] == stopped


def test_a_writer_elsewhere_is_known_by_its_heartbeat(signed_run: Path) -> None:
    resign(signed_run, status="running", writer={"pid": 1, "host": "another machine"})
    assert read_run(signed_run).info["status"] == "running"
    os.utime(signed_run / "records.jsonl", (1e9, 1e9))
    assert read_run(signed_run).info["status"].startswith("stopped without a word")
    store, _ = Store.open(signed_run / "records.jsonl")
    store.touch()
    assert read_run(signed_run).info["status"] == "running"
    store.close()


def resign(run: Path, **changes: object) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(signed(info | changes)))
