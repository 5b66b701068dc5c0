"""Whatever a file holds: one clear line or a data set, and no row lost without a word.

Rows in are counted by the csv module, which shares no code with the reader.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tables import account, read

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Dataset
from pareto_rec.data.table.draft import draft
from pareto_rec.data.table.files import find
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.profile import profiles
from pareto_rec.data.table.sources import sources_of

CSV = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = ["user", "item", "time", "rating", "price", "name", "country"]
OPTIONS: dict[str, Any] = {
    "signals": {"rating": "rating", "high": {"column": "rating", "at_least": 3}},
    "items": {"text": "{name} {country}", "price": "price", "price_bands": 2, "categories": "name"},
    "users": {"attributes": "country"},
    "drop": [{"column": "country", "equals": "XX"}],
    "on_bad_rows": "skip",
}
TIMES = st.one_of(
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda one: one.isoformat()),
    st.integers(-(10**25), 10**25).map(str),
    st.sampled_from(["", "2024-02-30", "2024-01-01", "01/02/2024", "1e9", "soon", "24:00", "٣"]),
)
NUMBERS = st.one_of(
    st.integers(-(10**400), 10**400).map(str),
    st.floats().map(str),
    st.sampled_from(["", "NA", "1,5", "0x10", "1_000", "1e999", "--1", "٣", "½", " 3 ", "+2", "."]),
)
IDS = st.one_of(st.sampled_from(["a", "b", "c", "", "NULL", "17850.0"]), st.text(max_size=6))
ROW = st.tuples(IDS, IDS, TIMES, NUMBERS, NUMBERS, st.text(max_size=8), IDS).map(list)
SHAPES = st.one_of(ROW, ROW, ROW, st.lists(st.text(max_size=5), max_size=9))


def outcome(path: Path, **options: Any) -> Dataset | str:
    """What is read, or the one line that says why not."""
    try:
        return read(path, path.with_suffix(".skipped"), **{**OPTIONS, **options})
    except BadRequestError as error:
        said = str(error)
    assert said.strip()
    assert "\n" not in said
    return said


def check(found: Dataset | str, rows: int) -> None:
    """Rows in = rows used + rows reported, and the data set is one."""
    if isinstance(found, str):
        return
    said = account(found)
    assert said["rows"] == rows
    assert said["used"] == len(found.interactions)
    assert said["rows"] == said["used"] + sum(said["dropped"].values()) + sum(said["bad"].values())
    log, items = found.interactions, found.items
    assert 0 <= log.user.min() <= log.user.max() < len(found.users)
    assert 0 <= log.item.min() <= log.item.max() < len(items)
    assert all(np.isfinite(values[~np.isnan(values)]).all() for values in log.signals.values())
    assert len(set(items.ids)) == len(items.ids)
    assert all(text for text in items.texts)
    assert len(found.content_hash) == 64


def skipped_rows(path: Path) -> int:
    side = path.with_suffix(".skipped")
    if not side.exists():
        return 0
    with side.open(newline="", encoding="utf-8") as stream:
        return sum(1 for _ in csv.reader(stream)) - 1


@given(
    rows=st.lists(SHAPES, max_size=12),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    said=st.booleans(),
)
@CSV
def test_well_formed_files_of_anything(
    rows: list[list[str]], separator: str, quoting: int, end: str, encoding: str, said: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([NAMES, *rows])
    raw = text.getvalue().encode(encoding, errors="replace")
    again = csv.reader(io.StringIO(raw.decode(encoding), newline=""), delimiter=separator)
    # a line without content is no row, whether or not separators stand in it
    records = [row for row in list(again)[1:] if row and row != [""] * len(NAMES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_bytes(raw)
        known = {"encoding": encoding} if said or encoding == "cp1252" else {}
        found = outcome(path, separator=separator, **known)
        check(found, len(records))
        if not isinstance(found, str):
            assert skipped_rows(path) == sum(account(found)["bad"].values())
        sooner = outcome(path, separator=separator, on_bad_rows="error", **known)
        if isinstance(found, Dataset) and account(found)["bad"]:
            assert isinstance(sooner, str)
            assert f"{path}, line " in sooner


@given(raw=st.binary(max_size=300), header=st.booleans())
@CSV
def test_any_bytes_at_all(raw: bytes, header: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("log.csv", "log.csv.gz", "log.zip", "log.parquet"):
            path = Path(folder) / name
            path.write_bytes((",".join(NAMES).encode() + b"\n" if header else b"") + raw)
            found = outcome(path)
            if not isinstance(found, str):
                check(found, account(found)["rows"])


COLUMNS = st.sampled_from(
    [
        pa.array(["a", None, "b", "a"]),
        pa.array([1, 2, None, 2**62]),
        pa.array([17850.0, None, float("nan"), float("inf")]),
        pa.array([True, False, None, True]),
        pa.array([b"a", b"\xff", None, b"c"]),
        pa.array([None, None, None, None]),
        pa.array([["x", "y"], [], None, ["z"]]),
        pa.array([{"x": 1}, None, {"x": 2}, None]),
        pa.array([1, None, 3, 2**40], pa.timestamp("ns", "Asia/Tokyo")),
        pa.array([1, None, -3, 2**45], pa.timestamp("s")),
        pa.array([1, None, -3, 2**30], pa.date32()),
        pa.array([1, None, 3, 4], pa.time32("s")),
        pa.array([1, None, 3, 4], pa.duration("s")),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.array([1, None, 3, 4]).cast(pa.decimal128(30, 5)),
        pa.array(["a", "b", "c", "d"], pa.large_string()),
        pa.array([2**63, 1, None, 3], pa.uint64()),
    ]
)


@given(columns=st.tuples(*[COLUMNS] * len(NAMES)))
@settings(max_examples=60, deadline=None)
def test_parquet_columns_of_any_type(columns: tuple[pa.Array, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        parquet.write_table(pa.table(list(columns), names=NAMES), path)
        check(outcome(path), 4)


SOUND: dict[str, Callable[[int, int], str]] = {  # of user u, the n-th row
    "user": lambda u, _: f"u{u}",
    "item": lambda u, n: f"i{(u + 3 * n) % 24}",
    "time": lambda _, n: f"2024-01-{1 + n:02d}",
    "rating": lambda _, n: str(1 + n % 5),
    "price": lambda u, n: f"{1 + (u + 3 * n) % 24}.5",
    "name": lambda u, n: f"thing {(u + 3 * n) % 24}",
    "country": lambda u, _: ("DE", "FR")[u % 2],
}


@given(rows=st.lists(ROW, max_size=6), names=st.permutations(NAMES))
@settings(max_examples=25, deadline=None)
def test_a_draft_is_always_a_config(rows: list[list[str]], names: list[str]) -> None:
    from pareto_rec.experiment.config import load_config
    from pareto_rec.experiment.inputs import read_split

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        sound = [[SOUND[name](u, n) for name in names] for u in range(9) for n in range(8)]
        with path.open("w", newline="", encoding="utf-8", errors="replace") as stream:
            csv.writer(stream).writerows([names, *sound, *rows])
        options = TableOptions()
        config = Path(folder) / "config.toml"
        text = draft(sources_of(profiles(find([str(path)]), options)), "mine", options)
        config.write_text(text, encoding="utf-8")
        loaded = load_config(config)
        assert loaded.data.columns.user == "user"
        assert len(read_split(loaded, Path(folder) / "cache").validation.train)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('user,item\nu,a\n"u\n\nv",b\nu\nu,c\n,d\n', [6, 8]),  # a value of three lines
        ("user,item\n\nu,a\n\n\nu,b,c\nu,d\nu,\n", [6, 8]),  # blank lines
        ('user,"it\nem",item\nu,1\nu,2,a\n,3,b\n', [3, 5]),  # a header of two lines
    ],
)
def test_bad_rows_are_named_by_their_line(text: str, lines: list[int], tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    found = read(path, tmp_path / "log.skipped", on_bad_rows="skip")
    shown = account(found)["first_bad_rows"]
    assert [int(one.partition("line ")[2].partition(":")[0]) for one in shown] == lines
    with (tmp_path / "log.skipped").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [int(one["line"]) for one in written] == lines
    assert all(one["file"] == str(path) and one["reason"] for one in written)


def test_lines_are_right_across_pieces_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pareto_rec.data.table import chunks

    monkeypatch.setattr(chunks, "BLOCK_BYTES", 64)
    lines = ["user,item,name"]
    wanted = []
    for n in range(200):
        if n % 17 == 5:
            wanted.append(sum(line.count("\n") + 1 for line in lines) + 1)
            lines.append(f"u{n}")
        elif n % 23 == 7:
            wanted.append(sum(line.count("\n") + 1 for line in lines) + 1)
            lines.append(f",i{n},x")
        else:
            lines.append(f'u{n},i{n},"a\nb"' if n % 11 == 3 else f"u{n},i{n},x")
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    found = read(path, tmp_path / "log.skipped", on_bad_rows="skip")
    with (tmp_path / "log.skipped").open(newline="") as stream:
        written = sorted(int(one["line"]) for one in csv.DictReader(stream))
    assert written == wanted
    assert account(found)["rows"] == 200
    assert account(found)["used"] == 200 - len(wanted) == len(found.interactions)
