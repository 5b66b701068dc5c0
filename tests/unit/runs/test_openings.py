"""The ledger of test data: what is written, when, by how many at once, and what is believed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pareto_rec.core.checksums import signed
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.runs import openings
from pareto_rec.runs.openings import (
    LEDGER_VARIABLE,
    Opening,
    append_opening,
    ledgers,
    read_openings,
)

AIM = {"reference": 0.1, "at_least": None, "at_most": None}
ONE = Opening(
    at="",
    command="confirm",
    experiment="films",
    test="t",
    data="d",
    sketch=("00", "01"),
    split={"kind": "per_user", "test": 0.1},
    objectives={"ndcg@10": AIM},
    run="films/first",
)
DAY = "2026-01-01T10:00:00+00:00"
WRITE = """
import sys
from pathlib import Path
from dataclasses import replace
from test_openings import ONE
from pareto_rec.runs.openings import append_opening
for number in range(20):
    append_opening(Path(sys.argv[1]), replace(ONE, run=f"{sys.argv[2]}/{number}"))
"""


def test_an_opening_is_read_as_it_was_written_and_copies_count_once(tmp_path: Path) -> None:
    paths = (tmp_path / "folder" / "own.jsonl", tmp_path / "other.jsonl")
    first = append_opening(paths[0], ONE)
    assert first.at
    second = append_opening(paths[1], replace(ONE, run="films/second"))
    append_opening(paths[1], first)  # a copy
    assert read_openings(paths) == (first, second)
    assert read_openings([tmp_path / "none"]) == ()


def test_processes_that_open_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(path), name], cwd=Path(__file__).parent)
        for name in ("one", "two")
    ]
    with ThreadPoolExecutor(4) as threads:
        own = [replace(ONE, run=f"own/{number}") for number in range(20)]
        list(threads.map(lambda one: append_opening(path, one), own))
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = read_openings([path])
    names = {f"{name}/{number}" for name in ("one", "two", "own") for number in range(20)}
    assert {one.run for one in found} == names
    assert len(found) == len(names)
    lines = path.read_text().splitlines()
    assert lines == [one.to_json() for one in found]  # times follow the lines


def test_an_opening_is_on_disk_before_it_is_said_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    path = tmp_path / "ledger.jsonl"
    monkeypatch.setattr(openings.os, "fsync", lambda _: seen.append(path.read_bytes()))
    append_opening(path, ONE)
    assert any(content.endswith(b"\n") for content in seen)


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_full_disk_leaves_the_ledger_as_it_was_and_stops_the_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "ledger.jsonl"
    append_opening(path, ONE)
    before = path.read_bytes()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fails == "fsync":
        monkeypatch.setattr(openings.os, "fsync", full)
    else:

        class Full(openings.FileIO):
            def write(self, content: Any) -> int:
                super().write(content[:7])
                return full()

        monkeypatch.setattr(openings, "FileIO", Full)
    with pytest.raises(
        RunFailedError, match="No space left on device, so test data was not opened"
    ):
        append_opening(path, ONE)
    assert path.read_bytes() == before


def test_half_a_line_was_no_opening_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = append_opening(path, ONE)
    with path.open("a") as stream:
        stream.write(ONE.to_json()[:40])  # killed while it wrote: its test data stayed closed
    assert read_openings([path]) == (first,)
    second = append_opening(path, ONE)
    assert read_openings([path]) == (first, second)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda line: line.replace('"films"', '"other"'), "not what its checksum says"),
        (lambda line: line[:30], "Unterminated string|Expecting"),
        (lambda _: "[]", "it is not an object"),
        (lambda _: '{"at": "2026-01-01"}', "it has no checksum"),
        (
            lambda _: openings.dumps(openings.signed({"at": "2026-01-01"})),
            "not as this version writes it",
        ),
        (lambda _: replace(ONE, at="yesterday").to_json(), "Invalid isoformat"),
        (lambda _: replace(ONE, at="2026-01-01").to_json(), "of the wrong kind"),
        (lambda line: json.dumps(signed({**json.loads(line), "split": "halves"})), "wrong kind"),
    ],
)
def test_a_damaged_line_is_one_clear_line(tmp_path: Path, damage: Any, problem: str) -> None:
    path = tmp_path / "ledger.jsonl"
    append_opening(path, ONE)
    whole = path.read_text()
    path.write_text(whole + damage(whole.strip()) + "\n")
    with pytest.raises(
        BadRequestError, match=rf"ledger.jsonl, line 2: not an opening \(.*{problem}"
    ):
        read_openings([path])


def test_a_ledger_that_cannot_be_made_or_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailedError, match=f"or set {LEDGER_VARIABLE} to a file"):
        append_opening(tmp_path / "file" / "ledger.jsonl", ONE)
    with pytest.raises(BadRequestError, match="it holds when test data was opened"):
        read_openings([tmp_path])


def test_a_ledger_that_was_replaced_while_it_waited_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.touch()
    lock, calls = openings.fcntl.flock, []

    def replaced(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:  # as git does when it checks out another version
            (tmp_path / "new").touch()
            os.replace(tmp_path / "new", path)
        lock(*arguments)

    monkeypatch.setattr(openings.fcntl, "flock", replaced)
    monkeypatch.setattr(openings, "_PAUSE", 0)
    one = append_opening(path, ONE)
    assert read_openings([path]) == (one,)
    assert len(calls) == 2


def test_a_lock_that_is_never_given_up_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    monkeypatch.setattr(openings, "_PAUSE", 0)
    with openings._locked(path), pytest.raises(RunFailedError, match="does not let go of it"):
        append_opening(path, ONE)


def test_the_ledgers_are_the_users_own_and_the_committed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEDGER_VARIABLE, f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    assert ledgers() == (tmp_path / "a", tmp_path / "b")
    monkeypatch.delenv(LEDGER_VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PARETO_REC_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "tree"
    (tree / "results" / "reference").mkdir(parents=True)
    (tree / "experiments").mkdir()
    monkeypatch.chdir(tree / "experiments")
    own = tmp_path / "data" / "pareto_rec" / "test_openings.jsonl"
    assert ledgers() == (own,)  # outside the cache and every run directory
    committed = tree / "results" / "reference" / "test_openings.jsonl"
    committed.touch()
    assert ledgers() == (own, committed)
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(BadRequestError, match=f"set {LEDGER_VARIABLE} to a file that outlives"):
        ledgers()


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
