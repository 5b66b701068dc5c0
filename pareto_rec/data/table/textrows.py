"""Rows of text files: the lines they take, and rows that a quote merged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.decode import Decoded, restored
from pareto_rec.data.table.dialect import PARTS, swallowed, typed_columns
from pareto_rec.data.table.row_audit import BadRow
from pareto_rec.data.table.sniff import CsvFormat

MOST_MISSHAPEN = 1_000_000  # rows that a file may have without its form, if that is most of them
LONG_ROW = 50  # lines; a row of more is named in the account

Note = Callable[[csv.InvalidRow], str]
_TELLING_ROWS = 200  # from which columns of numbers or times are detected
_SWALLOWED = "in a quote that spans lines which look like rows (data.quoting?)"
_OPEN = "in a quote that is never closed (data.quoting?)"


@dataclass(frozen=True)
class Piece:
    """Rows of a text file that have its form, and the others.

    Attributes:
        table: Columns of texts.
        line: Line at which each row begins ``[rows]``.
        good: Which of them are rows, and not several that a quote swallowed ``[rows]``.
        bad: Rows that have not the form of the file, and swallowed ones.
        long: First and last line of rows that span many.
    """

    table: pa.Table
    line: IntArray
    good: NDArray[np.bool_]
    bad: tuple[BadRow, ...]
    long: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Misshapen:
    number: int
    reason: str
    text: str


def pieces(stream: Decoded, name: str, csv_format: CsvFormat, block: int) -> Iterator[Piece]:
    """Yield all rows of a text file, piece by piece.

    Args:
        stream: Its text.
        name: What messages call it.
        csv_format: How it is written.
        block: Bytes that are read at once.

    Raises:
        BadRequestError: If very many rows, and most, have another number of fields.
        RuntimeError: If the rows do not take all lines of the file: the reader lost some.
    """
    misshapen: list[_Misshapen] = []
    good = 0

    def note(row: csv.InvalidRow) -> str:
        surplus = int(csv_format.trailing)
        reason = (
            f"wrong number of fields: {row.actual_columns - surplus} instead of "
            f"{row.expected_columns - surplus}"
        )
        misshapen.append(_Misshapen(row.number, reason, row.text))
        return "skip" if len(misshapen) <= max(good, MOST_MISSHAPEN) else "error"

    lines = _Lines(csv_format)
    names = [*csv_format.header, *([_surplus(csv_format)] if csv_format.trailing else [])]
    batches = _batches(stream, name, csv_format, names, note, block)
    batch = next(batches, None)
    while batch is not None:
        good += batch.num_rows
        following = next(batches, None)
        table = pa.Table.from_batches([batch])
        yield _piece(stream, name, csv_format, lines, table, misshapen, last=following is None)
        batch = following
    if lines.seen < len(misshapen) or not lines.pieces:  # none of the last rows has the form
        empty = pa.table({column: pa.array([], pa.string()) for column in names})
        yield _piece(stream, name, csv_format, lines, empty, misshapen, last=True)
    if lines.next - 1 != stream.lines:
        raise RuntimeError(f"{name}: {stream.lines} lines, of which {lines.next - 1} were read")


def _surplus(csv_format: CsvFormat) -> str:
    name = "beyond the last column"
    while name in csv_format.header:
        name += " "
    return name


def _batches(
    stream: Decoded, name: str, csv_format: CsvFormat, names: list[str], note: Note, block: int
) -> Iterator[pa.RecordBatch]:
    """Yield batches of rows of the form; `note` is told the others, and may end it all."""
    stopped = False

    def noted(row: csv.InvalidRow) -> str:
        nonlocal stopped
        verdict = note(row)
        stopped = verdict == "error"
        return verdict

    try:
        yield from _reader(stream, csv_format, names, noted, block)
    except pa.ArrowInvalid:
        if not stopped:
            raise
        raise BadRequestError(
            f"{name}: more than {MOST_MISSHAPEN:,} rows, and most, have not the "
            f"{len(csv_format.header)} fields of the first ones (data.separator?)"
        ) from None


def _reader(
    stream: Decoded, csv_format: CsvFormat, names: list[str], note: Note, block: int
) -> csv.CSVStreamingReader:
    dialect = csv_format.dialect
    return csv.open_csv(
        stream,
        read_options=csv.ReadOptions(
            use_threads=False,  # else rows without form have no number
            block_size=block,
            column_names=names,
            skip_rows_after_names=csv_format.header_rows,
        ),
        parse_options=csv.ParseOptions(
            delimiter=PARTS if len(dialect.separator) > 1 else dialect.separator,
            quote_char=dialect.quote or False,
            escape_char=dialect.escape or False,
            newlines_in_values=bool(dialect.quote or dialect.escape),
            ignore_empty_lines=False,
            invalid_row_handler=note,
        ),
        convert_options=csv.ConvertOptions(
            check_utf8=False,  # `Decoded` checks it
            strings_can_be_null=False,
            column_types=dict.fromkeys(names, pa.string()),
        ),
    )


class _Lines:
    """Counts lines over the pieces of one file: rows that span several, and misshapen ones."""

    def __init__(self, csv_format: CsvFormat) -> None:
        self.next = csv_format.header_lines + 1  # line at which the next row begins
        self.row = csv_format.header_rows + 1  # its number, as the reader counts
        self.seen = 0  # misshapen rows so far
        self.pieces = 0

    def met(self, rows: int, misshapen: Sequence[_Misshapen], *, last: bool) -> list[_Misshapen]:
        """Return misshapen rows before the end of a piece; the reader may know later ones."""
        met_rows: list[_Misshapen] = []
        for row in misshapen[self.seen :]:
            if not last and row.number > self.row + rows + len(met_rows):
                break
            met_rows.append(row)
        return met_rows

    def of(self, span: IntArray, misshapen: Sequence[_Misshapen]) -> tuple[IntArray, list[int]]:
        """Return lines at which rows begin ``[rows]``, and those at which misshapen rows do.

        Args:
            span: Line breaks within each row ``[rows]``.
            misshapen: Those among them.
        """
        numbers = np.array([row.number for row in misshapen], dtype=np.int64)
        total = len(span) + len(numbers)
        length = np.ones(total, dtype=np.int64)
        positions = numbers - self.row
        is_bad = np.zeros(total, dtype=bool)
        is_bad[positions] = True
        breaks = [len(_lines_of(row.text)) - 1 for row in misshapen]
        length[positions] += np.array(breaks, dtype=np.int64)
        length[~is_bad] += span
        begins = self.next + np.cumsum(length) - length
        self.next += int(length.sum())
        self.row += total
        self.seen += len(misshapen)
        self.pieces += 1
        return begins[~is_bad], begins[is_bad].tolist()


def _piece(
    stream: Decoded,
    name: str,
    csv_format: CsvFormat,
    lines: _Lines,
    table: pa.Table,
    misshapen: Sequence[_Misshapen],
    *,
    last: bool,
) -> Piece:
    fresh = lines.met(table.num_rows, misshapen, last=last)
    span = _breaks(table)
    typed = _typed(table, span) if span.any() or fresh else ()
    gone = _swallowed(table, span, csv_format, typed)
    total = len(span) + len(fresh)
    ends_bad = bool(fresh) and fresh[-1].number == lines.row + total - 1
    never_closed = (
        last and bool(csv_format.dialect.quote) and stream.last != csv_format.dialect.quote
    )
    open_row = open_bad = -1
    if never_closed and ends_bad:
        open_bad = len(fresh) - 1 if len(_lines_of(fresh[-1].text)) > 1 else -1
    elif never_closed and len(span) and len(_lines_of(_last(table))) > 1:
        open_row, gone[-1] = len(span) - 1, True
        span[-1] -= _last(table)[-1] in "\r\n"  # that one ends the file, and no line follows it
    begins, where = lines.of(span, fresh)
    bad: list[BadRow] = []
    width = table.num_columns
    for n, (line, bad_row) in enumerate(zip(where, fresh, strict=True)):
        text = _readable(bad_row.text, csv_format)
        if n == open_bad or swallowed(bad_row.text, _written(csv_format), width, typed):
            bad += _each(name, line, text, _OPEN if n == open_bad else _SWALLOWED)
        else:
            bad.append(BadRow(name, line, bad_row.reason, text))
    for row in np.flatnonzero(gone).tolist():
        cells = [str(column[row]) for column in table.columns]
        text = _readable(csv_format.separator.join(cells), csv_format).rstrip("\r\n")
        bad += _each(name, int(begins[row]), text, _OPEN if row == open_row else _SWALLOWED)
    wide = np.flatnonzero((span >= LONG_ROW) & ~gone)
    long = tuple((int(begins[row]), int(begins[row] + span[row])) for row in wide)
    return Piece(table, begins, ~gone, tuple(bad), long)


def _last(table: pa.Table) -> str:
    """Return the last field of the last row."""
    return str(table.columns[-1][-1])


def _each(name: str, line: int, text: str, reason: str) -> list[BadRow]:
    """Turn every line of a row into a bad row: each may be a row that a quote merged."""
    message = f"{reason}: opened in line {line}"
    return [BadRow(name, line + n, message, part) for n, part in enumerate(_lines_of(text))]


def _lines_of(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text)


def _written(csv_format: CsvFormat) -> str:
    """Return the separator as it stands in the rows."""
    return PARTS if len(csv_format.separator) > 1 else csv_format.separator


def _readable(text: str, csv_format: CsvFormat) -> str:
    stands_for = restored(csv_format.separator)
    return text if stands_for is None else text.replace(PARTS, stands_for)


def _swallowed(
    table: pa.Table, span: IntArray, csv_format: CsvFormat, typed: Sequence[int]
) -> NDArray[np.bool_]:
    """Mark rows ``[rows]`` that hold lines which are rows themselves."""
    mask = np.zeros(len(span), dtype=bool)
    part = _written(csv_format)
    for row in np.flatnonzero(span > 0).tolist():
        text = part.join(str(column[row]) for column in table.columns)
        mask[row] = swallowed(text, part, len(table.columns), typed)
    return mask


def _typed(table: pa.Table, span: IntArray) -> tuple[int, ...]:
    """Find columns of numbers or times, by the rows of one line."""
    few = table.take(pa.array(np.flatnonzero(span == 0)[:_TELLING_ROWS]))
    return typed_columns(list(zip(*(c.to_pylist() for c in few.columns), strict=True)))


def _breaks(table: pa.Table) -> IntArray:
    """Count line breaks within the values of each row ``[rows]``: LF, CR, or both as one."""
    count = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        values = b"".join(p.buffers()[2].to_pybytes() for p in column.chunks if p.buffers()[2])
        if b"\n" in values:
            count += pc.count_substring(column, pattern="\n").to_numpy()
        if b"\r" in values:
            count += pc.count_substring(column, pattern="\r").to_numpy()
            count -= pc.count_substring(column, pattern="\r\n").to_numpy()
    return count
