"""Tables piece by piece: rows as Arrow columns, each with its line, and those that have no form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pareto_rec.data.schema import IntArray
from pareto_rec.data.table import columnar, jsonl
from pareto_rec.data.table.account import BadRow
from pareto_rec.data.table.decode import MARK, Decoded
from pareto_rec.data.table.files import File
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.sniff import Form, form_of
from pareto_rec.errors import BadRequestError

BLOCK_BYTES = 1 << 24  # of a text file read at once; no row may be longer


@dataclass(frozen=True)
class Chunk:
    """Rows of one file that have its form.

    Attributes:
        file: Name of the file.
        table: Columns; text columns are valid UTF-8.
        line: Where each row begins ``[rows]``: its line, or its row from 1 in a file without lines.
        bad: Rows that have not the form of the file.
        blank: Lines without content.
    """

    file: str
    table: pa.Table
    line: IntArray
    bad: tuple[BadRow, ...] = ()
    blank: int = 0

    def rows(self, where: IntArray, reasons: Sequence[str]) -> list[BadRow]:
        """Some of the rows, as bad ones."""
        taken = self.table.take(pa.array(where))
        columns = {name: shown(taken.column(name)) for name in taken.column_names}
        texts = [
            ", ".join(f"{name}={values[row]}" for name, values in columns.items())
            for row in range(len(where))
        ]
        lines = self.line[where].tolist()
        return [BadRow(self.file, *one) for one in zip(lines, reasons, texts, strict=True)]


def shown(column: pa.ChunkedArray) -> list[str]:
    """Values of any type, as people read them."""
    try:
        texts = pc.cast(column, pa.string()).to_pylist()
    except pa.ArrowException:
        texts = [_shown(value) for value in column]
    return ["" if text is None else text for text in texts]


def _shown(value: pa.Scalar) -> str:
    try:
        return str(value.as_py())
    except (ValueError, OverflowError):  # a time that Python has none for
        return f"{value.type} that cannot be written"


def header(file: File, options: TableOptions) -> tuple[str, ...]:
    """Names of the columns of a file.

    Raises:
        BadRequestError: If it cannot be read.
    """
    if file.form == "csv":
        return form_of(file, options.separator, options.encoding).header
    if file.form == "jsonl":
        return jsonl.names_of(file, options.encoding)
    with file.open() as stream, _arrow(file):
        return columnar.names_of(stream, file)


def chunks(file: File, options: TableOptions, wanted: Sequence[str]) -> Iterator[Chunk]:
    """The rows of a file, piece by piece; never the whole of a text file at once.

    Args:
        file: What to read.
        options: How it is written.
        wanted: Names of the columns.

    Raises:
        BadRequestError: If the file cannot be read or lacks a column.
    """
    if file.form == "csv":
        form = form_of(file, options.separator, options.encoding)
        _check_columns(file, form.header, wanted)
        yield from _csv(file, form, wanted)
    elif file.form == "jsonl":
        for piece in jsonl.pieces(file, options.encoding, wanted):
            yield Chunk(file.name, piece.table, piece.line, piece.bad, piece.blank)
    else:
        _check_columns(file, header(file, options), wanted)
        yield from _columnar(file, wanted)


def _check_columns(file: File, names: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise BadRequestError(f'{file.name} has no column "{name}"; it has {", ".join(names)}')
        if names.count(name) > 1:
            raise BadRequestError(f'{file.name} has two columns "{name}"; rename one of them')


@contextmanager
def _arrow(file: File) -> Iterator[None]:
    try:
        with file.reading():
            yield
    except (pa.ArrowException, UnicodeError) as error:
        reason = " ".join(str(error).split())[:200]
        if "straddling" in reason:
            reason = f"a row is longer than {BLOCK_BYTES >> 20} MB (a quote that is never closed?)"
        raise BadRequestError(f"{file.name} cannot be read: {reason}") from None


def _columnar(file: File, wanted: Sequence[str]) -> Iterator[Chunk]:
    begin = 1
    with file.open() as stream, _arrow(file):
        for batch in columnar.batches(stream, file, wanted):
            lines = np.arange(begin, begin + batch.num_rows)
            begin += batch.num_rows
            yield Chunk(file.name, pa.Table.from_batches([batch]), lines)


def _csv(file: File, form: Form, wanted: Sequence[str]) -> Iterator[Chunk]:
    if form.empty:
        return
    misshapen: list[tuple[int, str, str]] = []

    def note(row: csv.InvalidRow) -> str:
        reason = f"wrong number of fields: {row.actual_columns} instead of {row.expected_columns}"
        misshapen.append((row.number, reason, row.text))
        return "skip"

    lines = _Lines(form.header_lines)
    with file.open() as raw, _arrow(file), Decoded(raw, form.encoding) as stream:
        for batch in _reader(stream, form, note):
            table = pa.Table.from_batches([batch])
            fresh = lines.met(table.num_rows, misshapen)
            begins, where = lines.of(table, fresh)
            bad = [
                BadRow(file.name, line, reason, text)
                for line, (_, reason, text) in zip(where, fresh, strict=True)
            ]
            chunk = Chunk(file.name, table, begins, tuple(bad))
            yield _checked(chunk, wanted, form.encoding if stream.marked else "")


def _reader(stream: object, form: Form, note: object) -> csv.CSVStreamingReader:
    names = list(form.header)
    return csv.open_csv(
        stream,
        read_options=csv.ReadOptions(
            use_threads=False,  # else rows without form have no number
            block_size=BLOCK_BYTES,
            column_names=names,
            skip_rows_after_names=1,
        ),
        parse_options=csv.ParseOptions(
            delimiter=form.separator,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=note,
        ),
        convert_options=csv.ConvertOptions(
            check_utf8=False,  # `Decoded` sees to it
            strings_can_be_null=False,
            column_types=dict.fromkeys(names, pa.string()),
        ),
    )


class _Lines:
    """Counts lines over the pieces of one file: rows that span several, and misshapen ones."""

    def __init__(self, header_lines: int) -> None:
        self.next = header_lines + 1  # line at which the next row begins
        self.row = 2  # its number, as the reader counts: the header is row 1
        self.seen = 0  # misshapen rows so far

    def met(
        self, rows: int, misshapen: Sequence[tuple[int, str, str]]
    ) -> list[tuple[int, str, str]]:
        """Misshapen rows before the end of a piece; the reader may know later ones already."""
        found: list[tuple[int, str, str]] = []
        for one in misshapen[self.seen :]:
            if one[0] > self.row + rows + len(found):
                break
            found.append(one)
        return found

    def of(
        self, table: pa.Table, misshapen: Sequence[tuple[int, str, str]]
    ) -> tuple[IntArray, list[int]]:
        """Lines at which rows begin ``[rows]``, and those at which misshapen rows do."""
        numbers = np.array([number for number, _, _ in misshapen], dtype=np.int64)
        total = table.num_rows + len(numbers)
        length = np.ones(total, dtype=np.int64)
        places = numbers - self.row
        is_bad = np.zeros(total, dtype=bool)
        is_bad[places] = True
        length[places] += np.array([text.count("\n") for _, _, text in misshapen], dtype=np.int64)
        length[~is_bad] += _newlines(table)
        begins = self.next + np.cumsum(length) - length
        self.next += int(length.sum())
        self.row += total
        self.seen += len(misshapen)
        return begins[~is_bad], begins[is_bad].tolist()


def _newlines(table: pa.Table) -> IntArray:
    """Line breaks within the values of each row ``[rows]``."""
    count = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        for part in column.chunks:
            values = part.buffers()[2]
            if values is not None and b"\n" in values.to_pybytes():
                found = pc.count_substring(column, pattern="\n")
                count += found.fill_null(0).to_numpy()
                break
    return count


def _checked(chunk: Chunk, wanted: Sequence[str], encoding: str) -> Chunk:
    """Wanted columns as text, without blank lines and rows that are not of the encoding."""
    table = chunk.table
    blank = np.ones(table.num_rows, dtype=bool)
    for column in table.columns:
        blank &= pc.equal(pc.binary_length(column), 0).to_numpy()
        if not blank.any():
            break
    broken = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns if encoding else []:
        broken |= pc.match_substring(column, pattern=MARK).to_numpy()
    part = Chunk(chunk.file, table.select(list(wanted)), chunk.line)
    where = np.flatnonzero(broken)
    bad = (*chunk.bad, *part.rows(where, [f"not {encoding} text"] * len(where)))
    kept = ~blank & ~broken
    text = part.table.filter(pa.array(kept))
    return Chunk(chunk.file, text, chunk.line[kept], bad, int(blank.sum()))
