"""What stands in the columns of files: a look at their first rows, for a config to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pareto_rec.data.table.chunks import chunks, header
from pareto_rec.data.table.files import File
from pareto_rec.data.table.guess import Guess
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.values import coded, indices, numbers

MOST_ROWS = 200_000


@dataclass(frozen=True)
class Column:
    """One column, as far as it was looked at.

    Attributes:
        name: Its name.
        missing: Share of rows in which nothing stands.
        distinct: Different texts.
        frequent: The most frequent texts, at most eight.
        low: Smallest number; None where less than nine tenths are numbers.
        high: Largest number.
        time: Whether it holds times by its type.
    """

    name: str
    missing: float
    distinct: int
    frequent: tuple[str, ...]
    low: float | None
    high: float | None
    time: bool

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.low is not None and not self.time

    def said(self) -> str:
        """One line for people."""
        shown = ", ".join(text[:24] for text in self.frequent[:4])
        parts = [f"{self.distinct:,} different", f"such as {shown}" if shown else "all empty"]
        if self.numeric:
            parts.append(f"from {self.low:g} to {self.high:g}")
        if self.missing:
            parts.append(f"{self.missing:.1%} missing")
        return ", ".join(parts)


@dataclass(frozen=True)
class Profile:
    """Files of one kind of table.

    Attributes:
        files: The files, all with these columns.
        rows: Rows that were looked at.
        columns: Their columns.
        guess: Which of them hold what.
        bad: Rows without the form of the file.
        table: The rows that were looked at.
    """

    files: tuple[File, ...]
    rows: int
    columns: tuple[Column, ...]
    guess: Guess
    bad: int
    table: pa.Table

    def column(self, name: str) -> Column:
        """A column by its name."""
        return next(one for one in self.columns if one.name == name)

    def fixed_by(self, key: str, name: str, missing: Sequence[str]) -> bool:
        """Whether nearly everybody of a key column has one value alone in another column."""
        whose = indices(coded(self.table.column(key), missing))
        what = indices(coded(self.table.column(name), missing))
        known = (whose >= 0) & (what >= 0)
        pairs = np.unique(np.stack([whose[known], what[known]]), axis=1)
        _, values = np.unique(pairs[0], return_counts=True)
        return bool(len(values)) and float((values == 1).mean()) >= 0.9


def profiles(files: Sequence[File], options: TableOptions) -> tuple[Profile, ...]:
    """A look at the first rows of files; files of the same columns are looked at as one.

    Raises:
        BadRequestError: If a file cannot be read.
    """
    kinds: dict[tuple[str, ...], list[File]] = {}
    for file in files:
        kinds.setdefault(header(file, options), []).append(file)
    return tuple(_profile(names, tuple(same), options) for names, same in kinds.items())


def _profile(names: tuple[str, ...], files: tuple[File, ...], options: TableOptions) -> Profile:
    parts: list[pa.Table] = []
    bad = rows = 0
    for chunk in chunks(files[0], options, names):
        parts.append(chunk.table.slice(0, MOST_ROWS - rows))
        bad, rows = bad + len(chunk.bad), rows + parts[-1].num_rows
        if rows >= MOST_ROWS:
            break
    table = pa.concat_tables(parts) if parts else pa.table({n: pa.array([], "str") for n in names})
    columns = tuple(_column(name, table.column(name), options.missing) for name in names)
    return Profile(files, rows, columns, Guess.of(names), bad, table)


def _column(name: str, column: pa.ChunkedArray, missing: Sequence[str]) -> Column:
    once = coded(column, missing)
    codes = indices(once)
    counts = np.bincount(codes[codes >= 0], minlength=len(once.dictionary))
    best = np.argsort(-counts, kind="stable")[:8]
    frequent = tuple(once.dictionary.take(pa.array(best)).to_pylist())
    time = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    low = high = None
    if not time and len(once.dictionary):
        values, bad = numbers(pa.chunked_array([once.dictionary]), missing)
        if bad.mean() < 0.1 and not np.isnan(values).all():
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
    share = float(pc.is_null(once).to_numpy(zero_copy_only=False).mean()) if len(codes) else 0.0
    return Column(name, share, int((counts > 0).sum()), frequent, low, high, time)
