"""Profiles of files: a look at their first rows, for a config to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.chunks import chunks, doubt_of, header
from pareto_rec.data.table.contents import Column
from pareto_rec.data.table.files import File
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.values import coded

MOST_ROWS = 200_000
FEWEST_ROWS = 2_000  # that are looked at in each file, however many there are


@dataclass(frozen=True)
class Profile:
    """Files of one kind of table.

    Attributes:
        files: The files, all with these columns.
        rows: Rows that were looked at.
        columns: Their columns.
        bad: Rows without the form of the file.
        table: The rows that were looked at, as texts and typed times.
        complete: Whether every row was looked at.
        doubt: Why the first of the files may be no table; "" if it looks like one.
    """

    files: tuple[File, ...]
    rows: int
    columns: tuple[Column, ...]
    bad: int
    table: pa.Table = field(repr=False, compare=False)
    complete: bool
    doubt: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def label(self) -> str:
        """What messages call the files."""
        names = [file.member or file.path.name for file in self.files]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more

    def column(self, name: str) -> Column:
        """Look up a column by its name."""
        return next(column for column in self.columns if column.name == name)

    def agreement(self, key: str, name: str) -> float | None:
        """Measure how well a key determines another column.

        Returns:
            Share of the rows of keys with two rows or more that hold the most frequent text of
            their key; None where no key has two rows.
        """
        pairs = self._pairs(key, name)
        if not len(pairs):
            return None
        different, rows = np.unique(pairs, axis=0, return_counts=True)
        starts = np.flatnonzero(np.diff(different[:, 0], prepend=-1))
        total, most = np.add.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
        several = total > 1
        return float(most[several].sum() / total[several].sum()) if several.any() else None

    def fixed_by(self, key: str, name: str) -> bool:
        """Return whether nearly every value of a key column has one value in another column."""
        pairs = np.unique(self._pairs(key, name), axis=0)
        if not len(pairs):
            return False
        _, values = np.unique(pairs[:, 0], return_counts=True)
        return float((values == 1).mean()) >= 0.9

    def _pairs(self, key: str, name: str) -> IntArray:
        codes = np.stack([self.column(key).codes, self.column(name).codes], axis=1)
        return codes[(codes >= 0).all(axis=1)]


def profiles(files: Sequence[File], options: TableOptions) -> tuple[Profile, ...]:
    """Profile the first rows of files; files of the same columns are one profile.

    Raises:
        BadRequestError: If a file cannot be read.
    """
    kinds: dict[tuple[str, ...], list[File]] = {}
    for file in files:
        kinds.setdefault(header(file, options), []).append(file)
    return tuple(_profile(names, tuple(same), options) for names, same in kinds.items())


def _profile(names: tuple[str, ...], files: tuple[File, ...], options: TableOptions) -> Profile:
    parts: list[pa.Table] = []
    bad, complete = 0, True
    share = max(MOST_ROWS // len(files), FEWEST_ROWS)
    for file in files:
        rows = 0
        for chunk in chunks(file, options, names):
            parts.append(chunk.table.slice(0, share - rows))
            bad, rows = bad + len(chunk.bad), rows + chunk.table.num_rows
            if rows >= share:
                complete = complete and rows == share
                break
    table = _together(parts, names, options.missing)
    columns = tuple(Column.of(name, table.column(name), options.missing) for name in names)
    doubt = doubt_of(files[0], options)
    return Profile(files, table.num_rows, columns, bad, table, complete, doubt)


def _together(parts: Sequence[pa.Table], names: Sequence[str], missing: Sequence[str]) -> pa.Table:
    """Join rows of several files; a column with differing types becomes text."""
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    columns = {}
    for name in names:
        same = [part.column(name) for part in parts]
        if len({column.type for column in same}) > 1:
            same = [pa.chunked_array([coded(c, missing).dictionary_decode()]) for c in same]
        columns[name] = pa.chunked_array(
            [chunk for column in same for chunk in column.chunks], same[0].type
        )
    return pa.table(columns)
