"""Rows of any table: some of its columns as texts and numbers, every row accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, field_validator

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.chunks import Chunk, account_for, chunks
from pareto_rec.data.table.columns import fields_of
from pareto_rec.data.table.files import find
from pareto_rec.data.table.numerals import Decimal
from pareto_rec.data.table.options import MISSING, OnBadRows, Rule, TableOptions
from pareto_rec.data.table.row_audit import BadRow, RowAudit
from pareto_rec.data.table.row_filter import RowFilter
from pareto_rec.data.table.rules import Reader, columns_of
from pareto_rec.data.table.values import Numbers
from pareto_rec.data.table.written import Written


class RowOptions(Written):
    """Files of rows and how they are read.

    Attributes:
        files: Paths, patterns or folders, with ``${VARIABLE}``.
        drop: Rows for which any of these holds are dropped, and counted.
        missing: Texts of missing values in any column.
        on_bad_rows: Whether a row that cannot be read ends it all, or is skipped and reported.
    """

    files: list[str] = Field(min_length=1)
    drop: list[Rule] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=lambda: list(MISSING))
    on_bad_rows: OnBadRows = "error"

    @field_validator("files", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    def table(self) -> TableOptions:
        """Return the same as options of a table."""
        shared = set(TableOptions.model_fields) & set(RowOptions.model_fields)
        return TableOptions.model_construct(**{name: getattr(self, name) for name in shared})


@dataclass(frozen=True)
class Wanted:
    """What is read of each row.

    Attributes:
        texts: Name -> column or template such as ``"{name}, {brand}"``.
        values: Name -> column of numbers, or rule.
        needed: Names without which a row cannot be used.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Rule] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        named = [name for text in self.texts.values() for name in fields_of(text)]
        named += [name for rule in self.values.values() for name in columns_of(rule, None)]
        return list(dict.fromkeys(named))


@dataclass(frozen=True)
class Rows:
    """Rows as they were read, in the order of the files.

    Attributes:
        texts: Name -> texts ``[rows]``, "" where nothing stands.
        values: Name -> numbers ``[rows]``, NaN where none is known.
        account: Where every row of the files went.
    """

    texts: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Numbers]
    account: RowAudit

    def __len__(self) -> int:
        some = next(iter((*self.texts.values(), *self.values.values())), ())
        return len(some)

    def take(self, which: NDArray[np.int64]) -> Rows:
        """Return some of the rows, in the order given."""
        chosen = which.tolist()
        texts = {name: tuple(of[row] for row in chosen) for name, of in self.texts.items()}
        return Rows(texts, {name: of[which] for name, of in self.values.items()}, self.account)


def read_rows(options: RowOptions, wanted: Wanted, what: str) -> Rows:
    """Read the rows of some files.

    Args:
        options: Which files, and how they are written.
        wanted: What is read of each row.
        what: Key of the config that names the files, for messages.

    Raises:
        BadRequestError: If a file cannot be read or lacks a column, a row cannot be read and such
            rows are refused, or no row is left.
    """
    reader = _RowReader(options, wanted, RowAudit())
    for file in find(options.files, what):
        reader.account.of(file.name)
        for chunk in chunks(file, reader.table, reader.columns):
            reader.take(chunk)
    return reader.rows(what)


class _RowReader:
    """Reads chunks, and keeps what is wanted of the rows that can be used."""

    def __init__(self, options: RowOptions, wanted: Wanted, account: RowAudit) -> None:
        self.options, self.wanted, self.account = options, wanted, account
        self.table = options.table()
        self.decimal_marks: dict[str, Decimal] = {}
        self.texts: dict[str, list[str]] = {name: [] for name in wanted.texts}
        self.values: dict[str, list[Numbers]] = {name: [] for name in wanted.values}

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        dropping = [name for rule in self.options.drop for name in columns_of(rule, None)]
        return list(dict.fromkeys([*self.wanted.columns, *dropping]))

    def take(self, chunk: Chunk) -> None:
        """Keep the rows of a chunk that can be used, and account for the rest."""
        account, size = self.account, chunk.table.num_rows
        account_for(chunk, account, refuse=self.options.on_bad_rows == "error")
        if not size:
            return
        rows, table = RowFilter(chunk, size), self.table
        reader = Reader(chunk.table, table.missing, table.decimal, None, self.decimal_marks)
        rows.drop_by(self.options.drop, reader, account)
        texts = {name: reader.ids(column) for name, column in self.wanted.texts.items()}
        for name, column in self.wanted.texts.items():
            if name in self.wanted.needed:
                nothing = pc.is_null(texts[name]).to_numpy(zero_copy_only=False)
                rows.refuse(nothing, column, f"no {name}")
        values = {name: self._numbers(rows, reader, name) for name in self.wanted.values}
        self._skip(rows.bad_rows())
        rows.report_losses(account)
        mask = pa.array(rows.used)
        for name, column in texts.items():
            kept = column.filter(mask).dictionary_decode().fill_null("")
            self.texts[name] += kept.to_pylist()
        for name, numbers in values.items():
            self.values[name].append(numbers[rows.used])

    def _numbers(self, rows: RowFilter, reader: Reader, name: str) -> Numbers:
        """Read the numbers of a name; those of one that is needed must be there in every row."""
        rule = self.wanted.values[name]
        values, bad = reader.value(rule)
        if name in self.wanted.needed:
            rows.refuse_value(bad, rule.column, "is not a number")
            rows.refuse(np.isnan(values) & ~bad, rule.column, f"no {name}")
        else:
            rows.lose(bad, bad | ~np.isnan(values), rule.column)
        return np.where(bad, np.nan, values)

    def _skip(self, rows: list[BadRow]) -> None:
        self.account.skip(rows, refuse=self.options.on_bad_rows == "error")

    def rows(self, what: str) -> Rows:
        """Return all rows.

        Raises:
            BadRequestError: If there is none.
        """
        nothing = np.zeros(0, dtype=np.float64)
        values = {name: np.concatenate([nothing, *of]) for name, of in self.values.items()}
        found = Rows({name: tuple(of) for name, of in self.texts.items()}, values, self.account)
        if not len(found):
            reasons = {**self.account.dropped, **self.account.bad}
            counts = "; ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
            raise BadRequestError(
                f"{what}: no row can be used of {self.account.rows:,}"
                + (f": {counts}" if counts else "")
            )
        self.account.warn_of_losses()
        return found
