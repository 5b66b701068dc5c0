"""Values of columns of any type as ids, texts and numbers, complete columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.numerals import UNKNOWN, Decimal, parsed
from pareto_rec.data.table.numerals import NumberFormat as NumberFormat
from pareto_rec.data.table.numerals import number_format as number_format

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


def coded(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.DictionaryArray:
    """Read a column as a dictionary of texts, null where a value is missing.

    Blanks around texts are cut off. Numbers that are whole are written without a fraction, so that
    17850.0 is the user 17850.

    Raises:
        BadRequestError: If the column holds something else than values (a table within a table).
    """
    once = _flat(column).dictionary_encode()
    known = _texts(once.dictionary)
    known = pc.utf8_trim_whitespace(known)
    nothing = pc.is_in(known, value_set=pa.array(list(missing), pa.string()))
    known = pc.if_else(nothing, pa.scalar(None, pa.string()), known).dictionary_encode()
    codes = known.indices.take(once.indices)
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), known.dictionary)


def plain(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.Array:
    """Read a column as texts, null where a value is missing."""
    return coded(column, missing).dictionary_decode()


def numbers(
    column: pa.ChunkedArray,
    missing: Sequence[str],
    decimal: Decimal | None = None,
    usual: Decimal | None = None,
) -> tuple[Numbers, Mask]:
    """Read a column as numbers, with currency signs and marks between thousands or without.

    Args:
        column: Of any type.
        missing: Texts of missing values, besides the usual ones of columns of numbers.
        decimal: Between whole and fraction in texts; None: detected for each text.
        usual: Mark of ambiguous texts; None: that of most of the texts.

    Returns:
        Values ``[rows]``, NaN where nothing stands there; and which rows hold something that is not
        a finite number.
    """
    flat = _flat(column)
    if pa.types.is_boolean(flat.type) or _is_number(flat.type):
        values = _floats(pc.cast(flat, pa.float64(), safe=False))
        known = ~np.isnan(values)
        if pa.types.is_floating(flat.type):
            known = pc.is_valid(flat).to_numpy(zero_copy_only=False) & ~np.isnan(values)
        bad = known & ~np.isfinite(values)
        return np.where(bad, np.nan, values), bad
    if "," not in (decimal, usual):
        plainly = _plain_numbers(flat, missing)
        if plainly is not None:
            return plainly, np.zeros(len(plainly), dtype=bool)
    once = coded(column, (*missing, *UNKNOWN))
    values, bad = parsed(once.dictionary, decimal, usual)
    codes = once.indices.fill_null(-1).to_numpy()
    return np.append(values, np.nan)[codes], np.append(bad, False)[codes]


def _plain_numbers(texts: pa.Array, missing: Sequence[str]) -> Numbers | None:
    """Parse plain numbers many times faster than others; None for all else."""
    if texts.null_count or not pa.types.is_string(texts.type):
        return None
    if any(character.isdigit() for text in missing for character in text):
        return None
    try:
        values = _floats(pc.cast(texts, pa.float64()))
    except pa.ArrowInvalid:
        return None
    return values if np.isfinite(values).all() else None


def _floats(values: pa.Array) -> Numbers:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """Combine to one array of plain values; lists as texts with a bar between."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(flat, pa.ChunkedArray):  # nothing to combine
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], flat.type)
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    if pa.types.is_list(flat.type) and pa.types.is_string(flat.type.value_type):
        return pc.binary_join(flat, "|")
    if pa.types.is_nested(flat.type):
        raise BadRequestError(f"a column of the type {flat.type} cannot be read; write it as text")
    return flat


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _texts(values: pa.Array) -> pa.Array:
    """Convert distinct values to texts."""
    kind = values.type
    if pa.types.is_floating(kind):
        return pa.array([_short(value) for value in values.to_pylist()], pa.string())
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    try:
        return pc.cast(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise BadRequestError(
            f"a column of the type {kind} cannot be read as text; write it as text"
        ) from None


def _short(value: float | None) -> str | None:
    if value is None or value != value:
        return None
    return str(int(value)) if np.isfinite(value) and value == int(value) else repr(value)


def indices(values: pa.ChunkedArray | pa.DictionaryArray) -> NDArray[np.int64]:
    """Return codes ``[rows]`` of a coded column, -1 for null."""
    return np.asarray(values.indices.fill_null(-1).to_numpy(), dtype=np.int64)


def together(parts: Sequence[pa.DictionaryArray]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Join coded columns of several chunks: the texts that occur, in rising order.

    Returns:
        Codes ``[rows]``, -1 for null; the texts.
    """
    if not parts:
        return np.zeros(0, dtype=np.int64), ()
    joined: Any = pa.chunked_array(parts).unify_dictionaries()
    texts = joined.chunk(0).dictionary
    codes = np.concatenate([indices(part) for part in joined.chunks])
    used = np.zeros(len(texts), dtype=bool)
    used[codes[codes >= 0]] = True
    order = pc.array_sort_indices(texts).to_numpy()
    order = order[used[order]]
    rank = np.full(len(texts) + 1, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes], tuple(texts.take(pa.array(order)).to_pylist())
