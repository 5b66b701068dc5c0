"""Parquet and Arrow files batch by batch, however strongly they are packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc, parquet

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.unpacking import most_bytes, too_large
from pareto_rec.data.table.files import File

BATCH_ROWS = 1 << 18
BATCH_BYTES = 1 << 26  # that a batch may take, as estimated before it is read
MOST_ROW = 1 << 24  # bytes of one row


def names_of(stream: IO[bytes], file: File) -> tuple[str, ...]:
    """Read the names of the columns."""
    if file.form == "parquet":
        return tuple(parquet.read_schema(stream).names)
    return tuple(_open(stream).schema.names)


def batches(stream: IO[bytes], file: File, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield wanted columns of the rows; at most `BATCH_ROWS` of them at once.

    Raises:
        BadRequestError: If a row is longer than `MOST_ROW`, or more comes out than is allowed.
    """
    packed = file.packed_bytes
    left = most_bytes(packed)
    read = _parquet if file.form == "parquet" else _arrow
    for batch in read(stream, file, list(wanted)):
        left -= batch.nbytes
        if left < 0:
            raise too_large(file.name, packed)
        yield batch


def _parquet(stream: IO[bytes], file: File, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    source = parquet.ParquetFile(stream)
    leaves = [source.schema.column(number) for number in range(len(source.schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    coded = parquet.ParquetFile(stream, metadata=source.metadata, read_dictionary=texts)
    for group in range(source.num_row_groups):
        if source.metadata.row_group(group).num_rows:
            rows = _rows_at_once(coded, group, file, wanted)
            yield from source.iter_batches(
                rows, row_groups=[group], columns=wanted, use_threads=False
            )


def _rows_at_once(coded: Any, group: int, file: File, wanted: list[str]) -> int:
    """Choose the rows of a group that fit into a batch; a short code may stand for a long text."""
    first = next(coded.iter_batches(1, row_groups=[group], columns=wanted, use_threads=False))
    longest = sum(map(_most_bytes, first.columns))
    if longest > MOST_ROW:
        raise BadRequestError(
            f"{file.name} cannot be read: a row is longer than {MOST_ROW >> 20} MB"
        )
    return int(max(min(BATCH_ROWS, BATCH_BYTES // max(longest, 1)), 1))


def _most_bytes(column: pa.Array) -> int:
    """Bound the bytes of a row, by one of them and all texts that codes may stand for."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return int(_most_bytes(column.values)) * max(len(column.values), 1)
    if pa.types.is_dictionary(kind) and len(column.dictionary):
        return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return int(column.nbytes)


def _arrow(stream: IO[bytes], file: File, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    del file
    source = _open(stream)
    several = range(getattr(source, "num_record_batches", 0))
    for batch in map(source.get_batch, several) if several else source:
        batch.validate(full=True)  # offsets and texts: nothing else looks at them before they count
        for begin in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(begin, BATCH_ROWS).select(wanted)


def _open(stream: IO[bytes]) -> Any:
    """Open a reader of a file with an index, or of a stream."""
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    return ipc.open_file(stream) if is_file else ipc.open_stream(stream)
