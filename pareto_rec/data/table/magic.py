"""File types by their first bytes: the name may be wrong."""

from __future__ import annotations

import codecs
import json
from typing import Literal

from pareto_rec.core.errors import BadRequestError

TableForm = Literal["csv", "jsonl", "parquet", "arrow"]
HEAD_BYTES = 1 << 16

FORMS: dict[str, TableForm] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".tab", ".data", ".dat", ".log"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".feather", ".arrow", ".ipc", ".arrows"), "arrow"),
}
"""How names end -> what that should be."""

PACKED = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".lz4": "lz4",
}
"""How names of packed files end -> what they are packed with."""

READ = "CSV, JSON lines, Parquet, Feather; each plain or in gzip, bz2, xz, zstd, lz4 or zip"

_PACKINGS = (
    (b"\x1f\x8b", "gzip"),
    *(
        (b"BZh%d" % level + magic, "bz2")
        for level in range(1, 10)
        for magic in (b"1AY&SY", b"\x17")
    ),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    *((b"PK" + kind, "zip") for kind in (b"\x03\x04", b"\x05\x06")),
)
_BINARY: tuple[tuple[bytes, TableForm], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1\x00\x00", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),  # a stream of it
)
_PANDAS = "write it as Parquet first, with pandas: "
_FOREIGN = (  # offset, bytes, what that is, what to do
    (0, b"SQLite format 3\x00", "an SQLite database", "export the table as CSV: sqlite3 -csv"),
    (0, b"ORC", "an ORC file", f"{_PANDAS}read_orc(...).to_parquet(...)"),
    (0, b"Obj\x01", "an Avro file", "write it as Parquet or JSON lines first"),
    (0, b"FEA1", "a Feather file of version 1", "write it again with pandas: to_feather(...)"),
    (0, b"PARE", "an encrypted Parquet file", "decrypt it first"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", f"{_PANDAS}read_hdf(...).to_parquet(...)"),
    (0, b"\x93NUMPY", "a NumPy array", "write it as CSV or Parquet first"),
    (0, b"\xd0\xcf\x11\xe0", "an Office document", "save its sheet as CSV"),
    (0, b"<stata_dta>", "a Stata file", f"{_PANDAS}read_stata(...).to_parquet(...)"),
    (0, b"$FL", "an SPSS file", f"{_PANDAS}read_spss(...).to_parquet(...)"),
    (8, b"DUCK", "a DuckDB database", "export the table: COPY ... TO 'FILE.parquet'"),
    (257, b"ustar", "a tar archive", "unpack it and name the folder"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the folder"),
    (0, b"Rar!", "a RAR archive", "unpack it and name the folder"),
    (0, b"RDX", "an R workspace", "write the table as CSV in R: write.csv(...)"),
    *((0, b"\x80" + bytes([v]), "a Python pickle", "write it as Parquet") for v in range(2, 6)),
    (0, b"%PDF", "a PDF document", "export the table as CSV"),
    (0, b"\x7fELF", "a program", "name the table"),
    (0, b"\x89PNG", "a picture", "name the table"),
    (0, b"\xff\xd8\xff", "a picture", "name the table"),
)
_MARKED = ((b"<!doctype html", "a web page"), (b"<html", "a web page"), (b"<?xml", "an XML file"))
_MARKS = (
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)


def mark_of(head: bytes) -> str:
    """Return the encoding that a byte order mark names; UTF-8 without one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")


def packing_of(head: bytes) -> str:
    """Return the compression that first bytes show; "" without one."""
    return next((name for magic, name in _PACKINGS if head.startswith(magic)), "")


def named(name: str) -> tuple[str, TableForm | Literal["zip", ""]]:
    """Return compression and form that a name promises; "" where it does not say."""
    name = name.lower()
    packing = next((kind for end, kind in PACKED.items() if name.endswith(end)), "")
    if packing:
        name = name[: name.rindex(".")]
    if name.endswith(".zip"):
        return packing, "zip"
    return packing, next((form for end, form in FORMS.items() if name.endswith(end)), "")


def form_of_contents(name: str, head: bytes) -> TableForm:
    """Detect how a table is written, by its first unpacked bytes.

    Args:
        name: Name of the file, of the member or of the source.
        head: Its first `HEAD_BYTES` bytes, or all of them.

    Raises:
        BadRequestError: If it is something that is not read: says what to do instead.
    """
    promised = named(name)[1]
    for magic, form in _BINARY:
        if head.startswith(magic):
            return form
    for offset, magic, what, remedy in _FOREIGN:
        if head.startswith(magic, offset):
            raise BadRequestError(f"{name} is {what}, which is not read: {remedy}")
    if promised in ("parquet", "arrow"):
        kind = "Parquet" if promised == "parquet" else "Feather"
        state = "is empty" if not head else f"is not a {kind} file, as its name says"
        raise BadRequestError(f"{name} {state}: copy it again, or rename it")
    return _form_of_text(name, head, promised == "jsonl")


def _form_of_text(name: str, head: bytes, promised: bool) -> TableForm:
    text = head.decode(mark_of(head), errors="replace").lstrip("\ufeff \t\r\n")
    for beginning, what in _MARKED:
        if text[:20].lower().startswith(beginning.decode()):
            raise BadRequestError(f"{name} is {what}, not a table; is it the file that was meant?")
    if text.startswith("["):
        within = text[1:].lstrip()
        if within.startswith(("{", "[")) or promised:
            raise BadRequestError(
                f"{name} is a JSON array, which is not read: write one object a line, for example "
                "with jq -c '.[]', or with pandas: read_json(...).to_json(..., orient=\"records\", "
                "lines=True)"
            )
    if text.startswith("{"):
        line, newline, _ = text.partition("\n")
        if _is_object(line) or (promised and name.lower().rpartition(".")[2] != "json"):
            return "jsonl"
        if not newline and line.startswith('{"'):  # a first line longer than what was read
            return "jsonl"
        if line.strip() == "{" or line.startswith('{"') or promised:
            raise BadRequestError(
                f"{name} is one JSON document over several lines, which is not read: write one "
                "object a line, for example with jq -c"
            )
    return "jsonl" if promised else "csv"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line, parse_int=str), dict)
    except (ValueError, RecursionError):
        return False
