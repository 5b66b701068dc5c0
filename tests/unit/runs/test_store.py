"""The append-only store: what is torn is cut off, what is damaged is named, one process writes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pareto_rec.core.checksums import signed
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.record import Record
from pareto_rec.runs.record_store import RECORDS, Store

RECORD = Record(
    id="a",
    fit="f",
    members={"f": 0.75, "ease": 0.25},
    seed=3,
    generation=1,
    position=2,
    origin="own",
    train={"loss_weights": (0.1, 0.2, 0.7), "width": 32, "model": "attention_pooling"},
    serve={"mmr": 0.1 + 0.2},
    status="ok",
    objectives={"ndcg@10": 1 / 3, "coverage@10": 1.0},
    timing={"train_seconds": 0.25},
)
FAILED = replace(RECORD, id="b", status="failed", objectives={}, reason='it said "no"\nü')


def some(count: int) -> list[Record]:
    return [replace(RECORD, id=f"id-{n}", position=n) for n in range(count)]


def written(folder: Path, records: list[Record]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    store = Store.create(folder / RECORDS)
    store.append(records)
    store.close()
    return folder / RECORDS


@pytest.mark.parametrize("record", [RECORD, FAILED, replace(FAILED, id="c", status="pruned")])
def test_a_record_survives_its_line(record: Record) -> None:
    again = Record.from_json(record.to_json())
    assert again == record
    assert isinstance(again.train["loss_weights"], tuple)
    assert "\n" not in record.to_json()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"id": ""}, "id is not a name"),
        ({"seed": -1}, "seed is not a whole number"),
        ({"generation": True}, "generation is not a whole number"),
        ({"position": 1.0}, "position is not a whole number"),
        ({"origin": "elsewhere"}, "origin or status"),
        ({"status": "fine"}, "origin or status"),
        ({"status": "failed"}, "status and reason"),
        ({"reason": "none"}, "status and reason"),
        ({"train": []}, "train is not a table"),
        ({"serve": {"mmr": None}}, "serve holds None"),
        ({"serve": {"mmr": [0.1, "x"]}}, "serve holds 'x'"),
        ({"members": ["f"]}, "members is not a table"),
        ({"members": {"f": "1"}}, "members holds '1'"),
        ({"objectives": {"ndcg@10": True}}, "objectives holds True"),
        ({"objectives": {"ndcg@10": math.nan}}, "NaN is not a number"),
        ({"objectives": {"ndcg@10": math.inf}}, "Infinity is not a number"),
        ({"more": 1}, "keys are not those"),
    ],
)
def test_what_is_not_exactly_a_record_is_none(change: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Record.from_json(json.dumps(signed(json.loads(RECORD.to_json()) | change)))


def test_what_is_stored_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, [RECORD, FAILED])
    store, stored = Store.open(path)
    assert (stored.records, stored.torn) == ((RECORD, FAILED), 0)
    store.append(some(2))
    store.close()
    store, stored = Store.open(path)
    store.close()
    assert stored.records == (RECORD, FAILED, *some(2))


def test_cut_at_every_byte_of_the_last_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every whole line is found; what follows the last of them is cut off and nothing else."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power cut here
    records = some(5)
    content = written(tmp_path / "whole", records).read_bytes()
    lines = content.splitlines(keepends=True)
    first = len(b"".join(lines[:2]))
    path = tmp_path / RECORDS
    for size in range(first, len(content) + 1):
        path.write_bytes(content[:size])
        store, stored = Store.open(path)
        whole = content[:size].count(b"\n")
        assert stored.records == tuple(records[:whole])
        assert stored.torn == size - len(b"".join(lines[:whole]))
        assert path.read_bytes() == b"".join(lines[:whole])
        store.append(records[whole:])
        store.close()
        assert path.read_bytes() == content
    assert size == len(content)


def test_a_tail_of_zeros_is_torn(tmp_path: Path) -> None:
    """What some file systems leave of a line after a power cut."""
    path = written(tmp_path, some(2))
    content = path.read_bytes()
    path.write_bytes(content + b"\0" * 100)
    store, stored = Store.open(path)
    store.close()
    assert (len(stored.records), stored.torn) == (2, 100)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{}\n", "its keys are not those of a record"),
        (some(1)[0].to_json().replace("0.3333", "0.9333").encode() + b"\n", "was changed after"),
        (b"\n", "Expecting value"),
        (b"\xff\xfe\n", "codec can't decode"),
        (b'{"id": "half\n', "not a record"),
        (b"[" * 100_000 + b"\n", "recursion"),
        (some(1)[0].to_json().encode() + b"\n", "it repeats line 1"),
    ],
)
@pytest.mark.parametrize("place", [1, 3])
def test_other_damage_is_named_and_left_alone(
    line: bytes, says: str, place: int, tmp_path: Path
) -> None:
    path = written(tmp_path, some(3))
    lines = path.read_bytes().splitlines(keepends=True)
    content = b"".join([*lines[:place], line, *lines[place:], b'{"torn'])
    path.write_bytes(content)
    with pytest.raises(BadRequestError) as refusal:
        Store.open(path)
    assert f"{path}, line {place + 1}: not a record (" in str(refusal.value)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == content
    with pytest.raises(BadRequestError):  # the refusal has given up the lock
        Store.open(path)


HOLD = """
import sys, time
from pathlib import Path
from pareto_rec.runs.record_store import Store
store, _ = Store.open(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(60)
"""


def test_one_process_writes_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, some(1))
    other = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BadRequestError, match="is being written by another process"):
            Store.open(path)
    finally:
        other.kill()
        other.communicate()
    store, stored = Store.open(path)
    store.close()
    assert len(stored.records) == 1
