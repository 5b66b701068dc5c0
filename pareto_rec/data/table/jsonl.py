"""JSON lines as columns of text: one object a line, a key per column, bad lines by number.

Values are kept as they are written: 007 in quotes, 9007199254740993 and 1.50 lose nothing. Keys of
an object within an object are put together with dots; lists of values are parted by bars. A column
that holds true and false alone stays one of truth values, which count as 1 and 0.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.decode import MARK, Decoded, encoding_of
from pareto_rec.data.table.dialect import PLAIN
from pareto_rec.data.table.files import File
from pareto_rec.data.table.magic import HEAD_BYTES
from pareto_rec.data.table.row_audit import BadRow

LOOK_BYTES = 4 << 20  # that are looked at for names of columns
BLOCK_BYTES = 1 << 22  # read at once
MOST_LINE = 1 << 24  # bytes of one line
MOST_NAMES = 2_000

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_MARK = MARK.encode()


@dataclass(frozen=True)
class Piece:
    """Some rows of a file.

    Attributes:
        table: The wanted columns.
        line: Line of each row ``[rows]``.
        bad: Lines that are not a row.
        blank: Lines without content.
    """

    table: pa.Table
    line: IntArray
    bad: tuple[BadRow, ...]
    blank: int


def names_of(file: File, encoding: str | None) -> tuple[str, ...]:
    """Read the names of the columns: the keys of the first lines, in order of appearance.

    Raises:
        BadRequestError: If none of them is an object, or there are too many keys.
    """
    return tuple(_look(file, encoding)[0])


def pieces(file: File, encoding: str | None, wanted: Sequence[str]) -> Iterator[Piece]:
    """Yield the rows of a file, piece by piece.

    Args:
        file: What to read.
        encoding: As the config says; None: UTF-8, or what a mark at the beginning says.
        wanted: Names of the columns; where a line has no such key, nothing stands there.

    Raises:
        BadRequestError: If a line is longer than `MOST_LINE`, or a column is in no line.
    """
    truth, complete = _look(file, encoding)
    never = set(wanted) - set(truth)
    if complete:
        _check(file, never, truth)
    number = 0
    for lines in _lines(file, encoding):
        rows, where, bad, blank = [], [], [], 0
        for line in lines:
            number += 1
            if not line or line.isspace():
                blank += 1
                continue
            row = _row(line)
            wrong = row if isinstance(row, str) else _unlike(row, truth, wanted)
            if wrong or isinstance(row, str):
                shown = line.decode("utf-8", "replace").strip()
                bad.append(BadRow(file.name, number, wrong, shown))
            else:
                rows.append(row)
                where.append(number)
        never -= {name for name in never if any(name in row for row in rows)}
        table = _table(rows, wanted, truth)
        yield Piece(table, np.array(where, dtype=np.int64), tuple(bad), blank)
    _check(file, never, truth)


def _check(file: File, never: Iterable[str], known: Iterable[str]) -> None:
    for name in sorted(never):
        raise BadRequestError(f'{file.name} has no column "{name}"; it has {", ".join(known)}')


def _look(file: File, encoding: str | None) -> tuple[dict[str, bool], bool]:
    """Read columns of the first lines -> whether they are truth values; whether that is all."""
    kinds_of: dict[str, set[type]] = {}
    seen, complete = 0, True
    for lines in _lines(file, encoding):
        for line in lines:
            row = _row(line) if line.strip() else ""
            for name, value in row.items() if isinstance(row, Mapping) else ():
                kinds_of.setdefault(name, set()).add(type(value))
        if len(kinds_of) > MOST_NAMES:
            raise BadRequestError(
                f"{file.name} has more than {MOST_NAMES:,} different keys: write ids as values, "
                "not as keys, one object for each row"
            )
        seen += sum(map(len, lines))
        if seen > LOOK_BYTES:
            complete = False
            break
    if not kinds_of:
        what = "none of its first lines is a JSON object" if seen else "it is empty"
        raise BadRequestError(f"{file.name} is not a table of JSON lines: {what}")
    return {name: kinds - {type(None)} == {bool} for name, kinds in kinds_of.items()}, complete


def _lines(file: File, encoding: str | None) -> Iterator[list[bytes]]:
    """Yield lines in UTF-8, some at a time; `MARK` stands for undecodable bytes."""
    with file.open() as raw:
        head = raw.read(HEAD_BYTES)
        chosen = encoding_of(file.name, head, encoding)
        stream = Decoded(cast(IO[bytes], _Again(head, raw)), chosen, PLAIN)
        left = b""
        while block := stream.read(BLOCK_BYTES):
            lines = (left + block).split(b"\n")
            left = lines.pop()
            if len(left) > MOST_LINE:
                raise BadRequestError(
                    f"{file.name} cannot be read: a line is longer than {MOST_LINE >> 20} MB"
                )
            yield lines
        if left:
            yield [left]


class _Again(io.RawIOBase):
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._head[: len(buffer)]
        if content:
            self._head = self._head[len(content) :]
        else:
            content = self._rest.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _row(line: bytes) -> dict[str, Any] | str:
    """Parse a line as a row, or say what is wrong with it."""
    if _MARK in line:
        return "text that is not of its encoding"
    try:
        row = _DECODER.decode(line.decode())
    except RecursionError:
        return "objects nested too deeply"
    except ValueError:
        return "not a JSON object"
    if not isinstance(row, dict):
        return "not a JSON object"
    if any(isinstance(value, dict) for value in row.values()):
        flat = list(_flat(row))
        row = dict(flat)
        if len(row) < len(flat):
            return "two values of one name"
    return row if b"\\u" not in line or _is_text(row) else "half of a character (a lone surrogate)"


def _flat(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    left: list[tuple[str, Any]] = list(reversed(row.items()))
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{name}.{key}", entry) for key, entry in reversed(value.items())]
        else:
            yield name, value


def _is_text(row: Mapping[str, Any]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _unlike(row: Mapping[str, Any], truth: Mapping[str, bool], wanted: Iterable[str]) -> str:
    """Say which value is not a truth value where the first lines had no others; "" if all fit."""
    for name in wanted:
        if truth.get(name) and not isinstance(row.get(name), bool | None):
            return f"{name} is neither true nor false"
    return ""


def _table(
    rows: Sequence[Mapping[str, Any]], wanted: Sequence[str], truth: Mapping[str, bool]
) -> pa.Table:
    columns = {}
    for name in wanted:
        values = [row.get(name) for row in rows]
        if truth.get(name):
            columns[name] = pa.array(values, pa.bool_())
        else:
            columns[name] = pa.array(list(map(_text, values)), pa.string())
    return pa.table(columns)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and not any(isinstance(entry, list | dict) for entry in value):
        return "|".join(text for entry in value if (text := _text(entry)) is not None)
    return json.dumps(value, ensure_ascii=False)
