"""Chunks of tables: rows as Arrow columns, each with its line, and misshapen rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray
from pareto_rec.data.table import columnar, jsonl
from pareto_rec.data.table.decode import MARK, Decoded, restored
from pareto_rec.data.table.dialect import PARTS
from pareto_rec.data.table.files import File
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.row_audit import BadRow, RowAudit
from pareto_rec.data.table.sniff import CsvFormat, no_table, sniff_csv
from pareto_rec.data.table.textrows import Piece, pieces

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
        long: First and last line of rows that span many.
        notes: Remarks on the file; in its first chunk alone.
    """

    file: str
    table: pa.Table
    line: IntArray
    bad: tuple[BadRow, ...] = ()
    blank: int = 0
    long: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    def rows(self, where: IntArray, reasons: Sequence[str]) -> list[BadRow]:
        """Turn some of the rows into bad ones."""
        taken = self.table.take(pa.array(where))
        columns = {name: shown(taken.column(name)) for name in taken.column_names}
        texts = [
            ", ".join(f"{name}={values[row]}" for name, values in columns.items())
            for row in range(len(where))
        ]
        lines = self.line[where].tolist()
        return [
            BadRow(self.file, *row_parts) for row_parts in zip(lines, reasons, texts, strict=True)
        ]


def account_for(chunk: Chunk, account: RowAudit, *, refuse: bool) -> None:
    """Count the rows of a chunk, and skip those that have not the form of the file.

    Args:
        chunk: The rows.
        account: Of all rows.
        refuse: Whether a row that cannot be read ends it all.

    Raises:
        BadRequestError: If there is such a row and it is refused.
    """
    file = account.of(chunk.file)
    file.rows += chunk.table.num_rows + len(chunk.bad)
    file.blank += chunk.blank
    account.note_of(chunk.file, chunk.notes, chunk.long)
    account.skip(list(chunk.bad), refuse=refuse)


def shown(column: pa.ChunkedArray) -> list[str]:
    """Format values of any type for people."""
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
    """Read the names of a file's columns.

    Raises:
        BadRequestError: If it cannot be read.
    """
    if file.form == "csv":
        return sniff_csv(file, options).header
    if file.form == "jsonl":
        return jsonl.names_of(file, options.encoding)
    with file.open() as stream, _arrow(file):
        return columnar.names_of(stream, file)


def doubt_of(file: File, options: TableOptions) -> str:
    """Say why a file may be no table, so that messages must not quote it; "" if it looks like one.

    Raises:
        BadRequestError: If it cannot be read.
    """
    return sniff_csv(file, options).doubt if file.form == "csv" else ""


def check_is_table(file: File, options: TableOptions) -> None:
    """Refuse a file that may be no table, before a message quotes what stands in it.

    Raises:
        BadRequestError: If its lines do not look like rows.
    """
    if doubt := doubt_of(file, options):
        raise no_table(file.name, doubt)


def chunks(file: File, options: TableOptions, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Yield the rows of a file, piece by piece; never all of a text file at once.

    Args:
        file: What to read.
        options: How it is written.
        wanted: Names of the columns.

    Raises:
        BadRequestError: If the file cannot be read or lacks a column.
    """
    if file.form == "csv":
        csv_format = sniff_csv(file, options)
        _check_columns(file, csv_format.header, wanted, csv_format.doubt)
        yield from _csv(file, csv_format, wanted)
    elif file.form == "jsonl":
        for piece in jsonl.pieces(file, options.encoding, wanted):
            yield Chunk(file.name, piece.table, piece.line, piece.bad, piece.blank)
    else:
        _check_columns(file, header(file, options), wanted)
        yield from _columnar(file, wanted)


def _check_columns(
    file: File, names: Sequence[str], wanted: Sequence[str], doubt: str = ""
) -> None:
    for name in wanted:
        if name not in names:
            if doubt:
                raise BadRequestError(f'{file.name} has no column "{name}": {doubt}')
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


def _csv(file: File, csv_format: CsvFormat, wanted: Sequence[str]) -> Iterator[Chunk]:
    nothing = pa.table({name: pa.array([], pa.string()) for name in dict.fromkeys(wanted)})
    yield Chunk(file.name, nothing, np.zeros(0, dtype=np.int64), notes=csv_format.notes)
    if csv_format.empty:
        return
    with (
        file.open() as raw,
        _arrow(file),
        Decoded(raw, csv_format.encoding, csv_format.dialect) as stream,
    ):
        for piece in pieces(stream, file.name, csv_format, BLOCK_BYTES):
            yield _checked(
                file, csv_format, piece, wanted, csv_format.encoding if stream.marked else ""
            )


def _checked(
    file: File, csv_format: CsvFormat, piece: Piece, wanted: Sequence[str], encoding: str
) -> Chunk:
    """Select wanted columns as text, without blank lines and undecodable rows."""
    table, named = piece.table, piece.table.select(list(csv_format.header))
    blank = _empty(table)
    surplus = np.zeros(table.num_rows, dtype=bool)
    if csv_format.trailing:
        surplus = ~_empty(table.select([table.column_names[-1]]))
    broken = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns if encoding else []:
        broken |= pc.match_substring(column, pattern=MARK).to_numpy()
    text = named.select(list(wanted))
    part = Chunk(file.name, text, piece.line)
    bad = list(piece.bad)
    width = len(csv_format.header)
    for which, reason in (
        (broken, f"not {encoding} text (data.encoding?)"),
        (surplus & ~broken, f"wrong number of fields: {width + 1} instead of {width}"),
    ):
        where = np.flatnonzero(which & piece.good)
        bad += part.rows(where, [reason] * len(where))
    mask = ~blank & ~broken & ~surplus & piece.good
    stands_for = restored(csv_format.separator)
    if stands_for is not None:
        text = _replaced(text, PARTS, stands_for)
    return Chunk(
        file.name,
        text.filter(pa.array(mask)),
        piece.line[mask],
        tuple(sorted(bad, key=lambda row: row.line)),
        int((blank & piece.good).sum()),
        piece.long,
    )


def _empty(table: pa.Table) -> NDArray[np.bool_]:
    """Mark rows ``[rows]`` of which every field is empty."""
    mask = np.ones(table.num_rows, dtype=bool)
    for column in table.columns:
        mask &= pc.equal(pc.binary_length(column), 0).to_numpy()
        if not mask.any():
            break
    return mask


def _replaced(table: pa.Table, what: str, by: str) -> pa.Table:
    columns = [pc.replace_substring(c, pattern=what, replacement=by) for c in table.columns]
    return pa.table(columns, names=table.column_names)
