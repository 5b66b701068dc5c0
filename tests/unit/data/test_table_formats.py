"""Forms and packings of tables: the same rows whatever they are written in, and clear refusals."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from pareto_rec.core import unpacking
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.unpacking import LIMIT_VARIABLE
from pareto_rec.data.schema import Dataset
from pareto_rec.data.table import TableOptions, jsonl, textrows
from pareto_rec.data.table.build import read_table
from pareto_rec.data.table.files import MOST_MEMBERS, File, find
from pareto_rec.data.table.profile import profiles
from pareto_rec.data.table.sources import sources_of

ROWS: list[dict[str, Any]] = [
    {"user_id": f"u{n % 7}", "item_id": f"i{n % 11}", "rating": 1 + n % 5, "timestamp": 10**9 + n}
    for n in range(60)
]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    return pd.DataFrame(rows).to_csv(index=False).encode()


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def written(rows: list[dict[str, Any]], write: Callable[[pa.Table, io.BytesIO], None]) -> bytes:
    stream = io.BytesIO()
    write(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def as_stream(table: pa.Table, stream: io.BytesIO) -> None:
    with ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)


def zipped(content: bytes, name: str = "log.csv") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def streamed(kind: str, content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


FORMS: dict[str, bytes] = {
    "csv": as_csv(ROWS),
    "jsonl": as_lines(ROWS),
    "parquet": written(ROWS, parquet.write_table),
    "feather": written(ROWS, feather.write_feather),
    "arrows": written(ROWS, as_stream),
}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: streamed("zstd", content),
    ".lz4": lambda content: streamed("lz4", content),
}


def read(*paths: Path, **options: Any) -> Dataset:
    given = {"files": [str(path) for path in paths], "signals": {"rating": "rating"}, **options}
    return read_table(TableOptions.model_validate(given), "table")


def account(dataset: Dataset) -> dict[str, Any]:
    """The account; in it, rows of the files = used + dropped + listed."""
    found = dict(dataset.account or {})
    listed = sum(found["bad"].values())
    assert found["rows"] == found["used"] + sum(found["dropped"].values()) + listed
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("plain") / "log.csv"
    path.write_bytes(FORMS["csv"])
    return read(path)


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("trusted", [True, False], ids=["by name", "by contents"])
def test_the_same_rows_in_any_form(
    form: str, pack: str, trusted: bool, plain: Dataset, tmp_path: Path
) -> None:
    """Contents decide: a table that is called .csv is read as what it is."""
    path = tmp_path / (f"log.{form}{pack}" if trusted else "log.csv")
    path.write_bytes(PACK[pack](FORMS[form]))
    found = read(path)
    assert found.content_hash == plain.content_hash
    assert account(found)["used"] == len(ROWS)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_in_an_archive(form: str, plain: Dataset, tmp_path: Path) -> None:
    (tmp_path / "log.zip").write_bytes(zipped(FORMS[form], f"in/log.{form}"))
    assert read(tmp_path / "log.zip").content_hash == plain.content_hash
    (tmp_path / "both.zip").write_bytes(zipped(gzip.compress(FORMS[form]), f"log.{form}.gz"))
    assert read(tmp_path / "both.zip").content_hash == plain.content_hash


def test_several_streams_one_after_the_other(plain: Dataset, tmp_path: Path) -> None:
    """As appending tools write them; NULs may fill up between those of xz."""
    content = FORMS["csv"]
    for name, pack in PACK.items():
        if name in ("", ".lz4"):
            continue
        filler = bytes(8) if name == ".xz" else b""
        path = tmp_path / f"log.csv{name}"
        path.write_bytes(pack(content[:100]) + filler + pack(content[100:]) + filler)
        assert read(path).content_hash == plain.content_hash, name


# --- JSON lines ---------------------------------------------------------------------------------


def lines(tmp_path: Path, *texts: str | bytes) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(t if isinstance(t, bytes) else t.encode() for t in texts))
    return path


def test_bad_lines_are_counted_and_named(tmp_path: Path) -> None:
    good = [json.dumps(row) for row in ROWS]
    wrong = ["{broken", "[1, 2]", "3", "", b'{"user_id": "\xff", "item_id": 1}', '{"user_id": 3}']
    wrong += ["[" * 5_000, '{"user_id": "\\ud800", "item_id": 1}', '{"a": ' * 5_000, "  ", '"x"']
    path = lines(tmp_path, *good[:30], *wrong, *good[30:])
    with pytest.raises(BadRequestError, match=r"log\.jsonl, line 31: not a JSON object"):
        read(path)
    found = account(read(path, on_bad_rows="skip"))
    assert found["rows"] == len(ROWS) + 9
    assert found["blank_lines"] == 2
    assert found["used"] == len(ROWS)
    assert found["bad"] == {
        "not a JSON object": 4,
        "objects nested too deeply": 2,
        "text that is not of its encoding": 1,
        "half of a character (a lone surrogate)": 1,
        "no item in item_id": 1,
    }


def test_values_are_kept_as_they_are_written(tmp_path: Path) -> None:
    """Leading zeros, whole numbers above 2^53, and ids that are numbers in one line only."""
    users = ['"007"', "9007199254740993", '"9007199254740993"', "1" * 5_000, '"ü\\u00e9"']
    path = lines(tmp_path, *(f'{{"user_id": {one}, "item_id": 1}}' for one in users))
    found = read(path, signals={})
    assert set(found.users.ids) == {"007", "9007199254740993", "1" * 5_000, "üé"}


def test_keys_that_are_missing_nested_or_late(tmp_path: Path) -> None:
    rows = [
        {"who": {"id": 1, "at": {"city": "x"}}, "item_id": "a"},
        {"who": {"id": 2}, "item_id": "b", "tags": ["p", "q"], "price": 3.5},
        {"item_id": "c", "who": {"id": 1}, "tags": [{"n": 1}]},
    ]
    path = lines(tmp_path, *(json.dumps(row) for row in rows))
    found = read(
        path,
        columns={"user": "who.id"},
        signals={},
        items={"categories": "tags", "price": "price", "text": "item_id"},
    )
    assert found.users.ids == ("1", "2")
    assert set(found.items.category_names) >= {"p", "q"}
    with pytest.raises(BadRequestError, match=r'no column "who\.ide"; it has who\.id, who\.at'):
        read(path, columns={"user": "who.ide"}, signals={})


def test_truth_values_are_numbers_and_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LOOK_BYTES", 100)
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 100)
    rows = [{"user_id": n % 3, "item_id": n, "bought": n % 2 == 0} for n in range(8)]
    path = lines(tmp_path, *(json.dumps(row) for row in rows))
    found = read(path, signals={"bought": "bought"}).interactions.signals["bought"]
    assert found.sum() == 4
    named = read(path, signals={"bought": {"column": "bought", "equals": "true"}})
    assert named.interactions.signals["bought"].sum() == 4
    mixed = lines(tmp_path, *(json.dumps(row) for row in rows), '{"user_id": 1}', "")
    mixed.write_text(mixed.read_text() * 40 + '{"user_id":1,"item_id":2,"bought":"no"}\n')
    with pytest.raises(BadRequestError, match="no item"):
        read(mixed, signals={"bought": "bought"})
    found_too = account(read(mixed, signals={"bought": "bought"}, on_bad_rows="skip"))
    assert found_too["bad"] == {"no item in item_id": 40, "bought is neither true nor false": 1}


def test_json_lines_in_another_encoding(plain: Dataset, tmp_path: Path) -> None:
    text = FORMS["jsonl"].decode()
    for name, options in (("utf-16", {}), ("utf-8-sig", {}), ("cp1252", {"encoding": "cp1252"})):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(text.replace("\n", "\r\n").encode(name))
        assert read(path, **options).content_hash == plain.content_hash
    with pytest.raises(BadRequestError, match=r'data\.encoding = "klingon" is not known'):
        read(path, encoding="klingon")


def test_ids_as_keys_are_refused(tmp_path: Path) -> None:
    path = lines(tmp_path, *(f'{{"user{n}": {{"item": 1}}}}' for n in range(2_100)))
    with pytest.raises(BadRequestError, match="write ids as values, not as keys"):
        read(path, signals={})


def test_one_line_without_an_end_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path, '{"user_id": "' + "x" * (17 << 20))
    with pytest.raises(BadRequestError, match="a line is longer than 16 MB"):
        read(path)


# --- what is not read ---------------------------------------------------------------------------


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("log.csv")
        member.size = len(FORMS["csv"])
        archive.addfile(member, io.BytesIO(FORMS["csv"]))
    return stream.getvalue()


REFUSED: list[tuple[str, bytes, str]] = [
    ("log.db", b"SQLite format 3\x00" + bytes(100), "SQLite database, .* export the table as CSV"),
    ("log.orc", b"ORC" + bytes(100), r"ORC file, .* read_orc\(...\).to_parquet"),
    ("log.avro", b"Obj\x01" + bytes(100), "Avro file, .* Parquet or JSON lines"),
    ("log.tar", tar(), "tar archive, .* unpack it and name the folder"),
    ("log.tar.gz", gzip.compress(tar()), "tar archive, .* unpack it and name the folder"),
    ("log.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    ("log.npy", b"\x93NUMPY" + bytes(100), "NumPy array"),
    ("log.pkl", b"\x80\x04\x95" + bytes(100), "pickle"),
    ("log.xls", b"\xd0\xcf\x11\xe0" + bytes(100), "Office document, .* save its sheet as CSV"),
    ("log.xlsx", zipped(b"<x/>", "[Content_Types].xml"), "Office document, .* save its sheet as"),
    ("log.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "7z archive"),
    ("log.csv", b"<!DOCTYPE html><html>", "is a web page, not a table"),
    ("log.xml", b'\xef\xbb\xbf<?xml version="1.0"?>', "is an XML file, not a table"),
    ("log.json", json.dumps(ROWS).encode(), "is a JSON array, .* jq -c"),
    ("log.csv", json.dumps(ROWS, indent=1).encode(), "is a JSON array, .* jq -c"),
    ("log.json", json.dumps({"rows": ROWS}, indent=1).encode(), "one JSON document over several"),
    ("log.csv", json.dumps({"rows": ROWS}, indent=1).encode(), "one JSON document over several"),
    ("log.parquet", FORMS["csv"], "is not a Parquet file, as its name says"),
    ("log.parquet", b"", "is empty"),
    ("log.feather", FORMS["csv"], "is not a Feather file, as its name says"),
    ("log.csv.gz", FORMS["csv"], "is not a gzip file, as its name says"),
    ("log.zip", FORMS["csv"], "is not a zip file, as its name says"),
    ("log.zip", zipped(b"x", "readme.md"), "holds no table"),
    ("log.zip", zipped(zipped(b"x"), "in.csv"), "an archive within another"),
    ("log.csv", gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"a,b")))), "more than 3"),
]


@pytest.mark.parametrize(
    ("name", "content", "line"), REFUSED, ids=[f"{n} {one[0]}" for n, one in enumerate(REFUSED)]
)
def test_what_is_not_read_is_refused_with_a_remedy(
    name: str, content: bytes, line: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadRequestError, match=line) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pack", [name for name in PACK if name])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_cut_off_or_damaged_is_refused(form: str, pack: str, tmp_path: Path) -> None:
    content = bytearray(PACK[pack](FORMS[form]))
    path = tmp_path / f"log.{form}{pack}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadRequestError, match=r"log\.\w+\.\w+ "):
        read(path)


@pytest.mark.parametrize("form", ["parquet", "feather", "arrows"])
def test_damaged_columns_are_an_error_and_no_crash(form: str, tmp_path: Path) -> None:
    """Offsets that point elsewhere, counts that are wrong: refused, or the rows are all there."""
    path = tmp_path / f"log.{form}"
    for place in range(4, len(FORMS[form]) - 8, max(len(FORMS[form]) // 60, 1)):
        content = bytearray(FORMS[form])
        content[place : place + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(content)
        with suppress(BadRequestError):
            assert account(read(path, on_bad_rows="skip"))["rows"] == len(ROWS)


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [name for name in PACK if name] + [".zip"])
def test_what_unpacks_to_too_much_is_refused(
    pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = as_csv(ROWS) + b"u1,i1,5,1000000000\n" * 100_000
    path = tmp_path / f"log.csv{pack}"
    path.write_bytes(zipped(content) if pack == ".zip" else PACK[pack](content))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    with pytest.raises(BadRequestError, match=r"more than 1 MB .*PARETO_REC_UNPACKED_GB"):
        read(path)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.01")
    assert account(read(path))["used"] == len(ROWS) + 100_000
    monkeypatch.delenv(LIMIT_VARIABLE)
    assert account(read(path))["used"] == len(ROWS) + 100_000
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(BadRequestError, match="must be a number of gigabytes above 0"):
        read(path)


@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_columns_that_unpack_to_too_much_are_refused(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code of one byte stands for a text of a kilobyte, 50,000 times."""
    rows = {"user_id": ["u" * 1_000] * 50_000, "item_id": ["i"] * 50_000, "rating": [1] * 50_000}
    path = tmp_path / f"log.{form}"
    table = pa.table(rows)
    if form == "parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, path, compression="zstd")
    assert path.stat().st_size < 1_000_000
    monkeypatch.setenv(LIMIT_VARIABLE, "0.01")
    with pytest.raises(BadRequestError, match=r"more than 10 MB .*PARETO_REC_UNPACKED_GB"):
        read(path)
    monkeypatch.delenv(LIMIT_VARIABLE)
    assert account(read(path))["used"] == 50_000


def test_a_parquet_row_that_is_too_long_is_refused(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["u" * (17 << 20)] * 3, "item_id": ["i"] * 3})
    parquet.write_table(table, tmp_path / "log.parquet", compression="zstd")
    with pytest.raises(BadRequestError, match="a row is longer than 16 MB"):
        read(tmp_path / "log.parquet", signals={})


def test_an_archive_of_many_files_is_refused_at_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        for number in range(MOST_MEMBERS + 1):
            archive.writestr(f"{number}.csv", "")
    with pytest.raises(BadRequestError, match=r"holds 5,001 files; at most 5,000 .* the folder"):
        find([str(tmp_path / "log.zip")])


def test_the_list_of_members_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each of them, which would take the square of their number."""
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        for number, row in enumerate(ROWS):
            archive.writestr(f"{number:04}.csv", as_csv([row]))
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    assert account(read(tmp_path / "log.zip"))["used"] == len(ROWS)
    assert len(opened) == 1


# --- names and what they hide -------------------------------------------------------------------


def test_messages_name_a_variable_and_never_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    with pytest.raises(BadRequestError) as caught:
        find(["${SECRET}"])
    assert "${SECRET}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("SECRET", str(tmp_path / "hunter2"))
    (tmp_path / "hunter2").mkdir()
    for named in ("${SECRET}", "${SECRET}/*.csv", "${SECRET}/log.csv", "/*${SECRET}*"):
        with pytest.raises(BadRequestError) as caught:
            find([named])
        assert "hunter2" not in str(caught.value)
    (tmp_path / "hunter2" / "log.csv").write_bytes(FORMS["csv"])
    for named in ("${SECRET}", "${SECRET}/*.csv", "${SECRET}/log.csv"):
        assert [file.name for file in find([named])] == ["${SECRET}/log.csv"]
        assert find([named])[0].path == tmp_path / "hunter2" / "log.csv"


@pytest.mark.parametrize("name", ["/dev/zero", "/proc/self/mem", "a\x00b", "x" * 5_000, "x" * 300])
def test_what_is_not_a_file_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        find([name])
    assert len(str(caught.value)) < 600


def test_a_file_is_opened_as_often_as_asked(tmp_path: Path) -> None:
    (tmp_path / "log.zip").write_bytes(zipped(FORMS["csv"]))
    (file,) = find([str(tmp_path / "log.zip")])
    assert file == File(file.path, "csv", ("zip",), "log.csv", str(file.path))
    with file.open() as first, file.open() as second:
        assert first.read(9) == second.read(9) == b"user_id,i"


@pytest.mark.parametrize("row", ["\n", "\r", "1,2\n", "{}\n"])
def test_a_small_file_of_too_many_lines_is_refused_before_it_is_read_for_minutes(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand million empty lines pack into a megabyte."""
    monkeypatch.setattr(unpacking, "FREE_LINES", 1_000)
    text = (as_lines(ROWS[:1]) if row == "{}\n" else b"user_id,item_id\n") + row.encode() * 100_000
    path = tmp_path / ("log.jsonl.gz" if row == "{}\n" else "log.csv.gz")
    path.write_bytes(gzip.compress(text))
    assert path.stat().st_size < 1_000
    with pytest.raises(BadRequestError, match=r"more than 1,000 lines .*PARETO_REC_UNPACKED_GB"):
        read(path, on_bad_rows="skip")
    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    with suppress(BadRequestError):  # whether a row can be used is not what is tested
        assert account(read(path, on_bad_rows="skip"))["rows"] >= 1


def test_a_packed_log_may_have_a_line_for_each_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FREE_LINES", 10)
    draw = np.random.default_rng(0)
    rows = [f"{u},{i}\n" for u, i in draw.integers(0, 1_000, (5_000, 2))]
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id\n" + "".join(rows).encode()))
    assert account(read(path, signals={}))["used"] == 5_000


# --- files that are no tables -------------------------------------------------------------------

SECRETS = {
    "shadow": "root:$6$hunter2:19000:0:99999:7:::\nme:$6$hunter2x:19000:0:99999:7:::\n",
    "key": "-----BEGIN hunter2 KEY-----\n" + "aGk+hunter2/x\n" * 20 + "-----END hunter2 KEY-----\n",
    "netrc": "machine hunter2 login me password hunter2\n",
    "credentials": "[default]\nkey = hunter2\nsecret = hunter2\n",
    "yaml": "password: hunter2\nuser: me\nhost: hunter2.example\n",
    "letter": "Dear hunter2,\nthe word, as you know, is hunter2 hunter2.\n\nYours\n",
    "one_line": "hunter2,hunter2\n",
    "word": "hunter2",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_messages_quote_nothing_of_what_is_no_table(kind: str, tmp_path: Path) -> None:
    path, log = tmp_path / "secret", tmp_path / "log.csv"
    path.write_text(SECRETS[kind])
    log.write_bytes(as_csv(ROWS))
    messages = []
    for options in (
        {},
        {"columns": {"user": "user", "item": "item"}},
        {"columns": {"user": "user", "item": "item"}, "header": False},
    ):
        with pytest.raises(BadRequestError) as refused:
            read(path, **options)
        messages.append(str(refused.value))
    for role in ("items", "users"):
        for more in ({}, {"id": "key"}):
            with pytest.raises(BadRequestError) as refused:
                read(log, **{role: {"files": [str(path)], **more}})
            messages.append(str(refused.value))
    with pytest.raises(BadRequestError) as refused:
        sources_of(profiles(find([str(path)]), TableOptions()))
    messages.append(str(refused.value))
    for message in messages:
        assert "hunter2" not in message, message
        assert "secret" in message, message


def test_messages_name_the_columns_of_what_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(as_csv(ROWS))
    with pytest.raises(BadRequestError, match=r'has no column "who"; it has user_id, item_id'):
        read(path, columns={"user": "who"})
    path.write_text("user_id,item_id\n")
    with pytest.raises(BadRequestError, match=r'has no column "who": no row stands below'):
        read(path, columns={"user": "who"})


def test_a_file_of_which_most_rows_have_another_form_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each such row costs as much as hundreds of others; nothing of value is left in the file."""
    monkeypatch.setattr(textrows, "MOST_MISSHAPEN", 100)
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id\n" + "1\n" * 1_000)
    with pytest.raises(BadRequestError, match=r"log.csv: more than 100 rows, and most, have not"):
        read(path, signals={}, on_bad_rows="skip")
    monkeypatch.setattr(textrows, "MOST_MISSHAPEN", 1_000)
    with pytest.raises(BadRequestError, match="1,000 rows, of them 1,000 wrong number of fields"):
        read(path, signals={}, on_bad_rows="skip")
