"""Form of a text file: its encoding, its separator, its quotes and its header."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.decode import encoding_of
from pareto_rec.data.table.dialect import (
    Dialect,
    Record,
    dialect_of,
    heading,
    is_typed,
    records,
    typed_columns,
    width_of,
)
from pareto_rec.data.table.files import File
from pareto_rec.data.table.guess import Guess
from pareto_rec.data.table.written import WHITESPACE, Written

HEAD_BYTES = 1 << 18
_PREFACE = re.compile(r'"?sep=([^\r\n"]{1,4})"?\r?\n', re.IGNORECASE)  # as spreadsheets write it
_ALIKE = 0.8  # share of rows of one width, below which a file may be no table
_OF_PROSE = (" ", WHITESPACE, "::", "|")  # lists, letters and settings have them too
_SHOWN_LINES = 1_000  # of the first rows that tell whether there is a header


@dataclass(frozen=True)
class CsvFormat:
    """Form of a text file.

    Attributes:
        encoding: Name of its encoding; texts in ``utf-8`` are checked row by row.
        dialect: How its fields are parted.
        header: Names of its columns.
        header_rows: Rows up to the end of the header, blank ones before it included; 0 without one.
        header_lines: Lines that they take.
        trailing: Whether every row ends in a separator that the header has not.
        empty: Whether it has no rows.
        doubt: Why it may be no table at all, so that messages quote nothing of it; "" if its lines
            are rows.
        notes: Remarks for the user on what was detected from the file.
    """

    encoding: str
    dialect: Dialect
    header: tuple[str, ...]
    header_rows: int
    header_lines: int
    trailing: bool
    empty: bool
    doubt: str = ""
    notes: tuple[str, ...] = ()

    @property
    def separator(self) -> str:
        """Between fields."""
        return self.dialect.separator


def sniff_csv(file: File, written: Written) -> CsvFormat:
    """Detect the form of a file from its beginning.

    Args:
        file: The file.
        written: CsvFormat given by the config; the rest is detected from the file.

    Raises:
        BadRequestError: If the file is empty, is not in its encoding or not a table, or two columns
            share a name.
    """
    chosen, text, complete = _head(file, written)
    preface = _PREFACE.match(text)
    if preface is not None:
        text = text[preface.end() :]
        note = preface[1].replace("\\t", "\t")
        written = written.model_copy(update={"separator": written.separator or note})
    dialect = dialect_of(text, written)
    rows_of_head = records(text, dialect, _SHOWN_LINES)
    if not rows_of_head:
        raise BadRequestError(f"{file.name}, line 1: not a line of column names")
    headed, note = _headed(rows_of_head, written)
    width = width_of(rows_of_head[1:]) if len(rows_of_head) > 1 else len(rows_of_head[0].fields)
    doubt = _doubt(rows_of_head[headed:], dialect, written)
    names, notes = _names(file, rows_of_head, written, headed=headed, width=width, doubt=doubt)
    trailing = width == len(names) + 1 and _end_empty(rows_of_head[headed:], width)
    if trailing:
        notes += ("every row ends in a separator more than the line of names: it is passed over",)
    if written.names and not trailing and len(rows_of_head) > headed and width != len(names):
        raise BadRequestError(
            f"{file.name}: data.names names {len(names)} columns, and its rows have {width} fields"
        )
    notes += (*([note] if note else []), *_unusual(dialect, written))
    rows, lines = heading(text, dialect) if headed else (0, 0)
    empty = complete and len(io.StringIO(text, newline="").readlines()) <= lines
    before = int(preface is not None)
    return CsvFormat(
        chosen, dialect, names, rows + before, lines + before, trailing, empty, doubt, notes
    )


def _doubt(rows: Sequence[Record], dialect: Dialect, written: Written) -> str:
    """Say why the rows below the names may be no table; "" if they look like one.

    Any file can be named by mistake, or by somebody else: a key, a list of passwords, a letter.
    """
    if not rows:
        return "no row stands below its first line"
    width = width_of(rows)
    alike = [record.fields for record in rows if len(record.fields) == width]
    if width < 2 or len(alike) < _ALIKE * len(rows):
        return "no separator parts its lines into columns (data.separator?)"
    if written.separator is None and dialect.separator in _OF_PROSE and not typed_columns(alike):
        return "no separator parts its lines, and no column has numbers or times (data.separator?)"
    return ""


def no_table(name: str, doubt: str) -> BadRequestError:
    """Return the error for a file that may be no table; it quotes nothing of what stands there."""
    return BadRequestError(f"{name} does not look like a table: {doubt}")


def _head(file: File, written: Written) -> tuple[str, str, bool]:
    """Read the encoding of a file, its first lines, and whether they are all of it."""
    with file.open() as stream:
        head = stream.read(HEAD_BYTES)
    chosen = encoding_of(file.name, head, written.encoding)
    text = codecs.getincrementaldecoder(chosen)(errors="replace").decode(head)
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise BadRequestError(f"{file.name} is empty: a table begins with a line of column names")
    if "\x00" in text.partition("\n")[0]:
        raise BadRequestError(f"{file.name} is not a text file (or set data.encoding)")
    complete = len(head) < HEAD_BYTES
    if not complete and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    if _is_json(text):
        raise BadRequestError(
            f"{file.name} holds JSON lines, not CSV; rename it so that it ends in .jsonl"
        )
    return chosen, text, complete


def _is_json(text: str) -> bool:
    line = text.partition("\n")[0].strip()
    if not (line.startswith("{") and line.endswith("}")):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _headed(rows: Sequence[Record], written: Written) -> tuple[bool, str]:
    """Return whether the first row names the columns, and a note if that was guessed."""
    first = [field.strip() for field in rows[0].fields]
    if written.header is not None:
        return written.header, ""
    if written.names:
        return [name.casefold() for name in first] == [
            name.casefold() for name in written.names
        ], ""
    guess = Guess.of(first)
    if (guess.user and guess.item) or not _is_row(first, rows[1:]):
        return True, ""
    note = "the first line is read as a row, as it holds values and no names (data.header = true"
    return False, f"{note} if it names the columns, data.names to name them)"


def _is_row(first: Sequence[str], others: Sequence[Record]) -> bool:
    """Return whether a first row looks like those below it and not like names."""
    rows = [
        [f.strip() for f in record.fields] for record in others if len(record.fields) == len(first)
    ]
    if not rows or len(first) < 2:
        return False
    if [c for c in first if c] == [str(n) for n in range(len(first) - (not first[0]))]:
        return not (len(first) > 3 or not first[0])  # 0, 1, 2, 3: numbers for names
    typed = typed_columns(rows)
    if typed:
        return all(is_typed(first[c]) or not first[c] for c in typed) and any(map(is_typed, first))
    again = sum(cell in column for cell, column in zip(first, zip(*rows, strict=True), strict=True))
    return again * 2 > len(first)  # names do not stand below themselves


def _counts_up(rows: Sequence[Record], width: int) -> bool:
    """Return whether the first fields of all rows of the usual width count up from 0 or 1."""
    first = [row.fields[0].strip() for row in rows if len(row.fields) == width]
    return len(first) > 1 and any(first == [str(n + b) for n in range(len(first))] for b in (0, 1))


def _end_empty(rows: Sequence[Record], width: int) -> bool:
    """Return whether the last field of nearly all rows of the usual width is empty."""
    last = [row.fields[-1].strip() for row in rows if len(row.fields) == width]
    return last.count("") >= 0.9 * len(last)


def _names(
    file: File, rows: Sequence[Record], written: Written, *, headed: bool, width: int, doubt: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if written.names:
        return tuple(written.names), ()
    if not headed:
        return _without_gaps([""] * len(rows[0].fields)), ()
    names = [name.strip() for name in rows[0].fields]
    notes: tuple[str, ...] = ()
    if len(rows) > 1 and width == len(names) - 1 and not names[-1] and width > 1:
        names.pop()
        notes = ("the line of names ends in a separator more than the rows: it is passed over",)
    if len(rows) > 1 and width == len(names) + 1 and _counts_up(rows[1:], width):
        names.insert(0, "")
        notes = ("rows begin with a number that the line of names has not: it is passed over",)
    doubled = sorted({name for name in names if names.count(name) > 1 and name})
    if doubled and doubt:
        raise no_table(file.name, doubt)
    if doubled:
        raise BadRequestError(
            f'{file.name}, line 1: two columns are named "{doubled[0]}"; rename one of them, or '
            "set data.header = false if the first line is a row"
        )
    return _without_gaps(names), notes


def _unusual(dialect: Dialect, written: Written) -> tuple[str, ...]:
    """Describe what is unusual in a dialect and was detected from the file alone."""
    notes: tuple[str, ...] = ()
    if written.quoting is None and dialect.quote != '"':
        quoting = "as texts in single quotes" if dialect.quote else "without quoting"
        notes += (f"read {quoting} (data.quoting)",)
    if written.escape is None and dialect.escape:
        notes += (f'read with the escape character "{dialect.escape}" (data.escape)',)
    return notes


def _without_gaps(names: Sequence[str]) -> tuple[str, ...]:
    """Fill in empty names: a column without a name gets its number."""
    taken = set(names)
    complete = []
    for number, name in enumerate(names, 1):
        while not name:
            name = f"column {number}"
            if name in taken:
                number, name = number + len(names), ""
        taken.add(name)
        complete.append(name)
    return tuple(complete)
