"""Log reader of a table: from files to arrays, with every row accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import FloatArray, IntArray, Interactions
from pareto_rec.data.table.chunks import Chunk, account_for, chunks
from pareto_rec.data.table.columns import fields_of, item_columns, rules_of
from pareto_rec.data.table.files import File
from pareto_rec.data.table.ids import MERGED, merging
from pareto_rec.data.table.named_events import EventTally, named_events
from pareto_rec.data.table.numerals import Decimal
from pareto_rec.data.table.options import Columns, TableOptions
from pareto_rec.data.table.row_audit import BadRow, RowAudit
from pareto_rec.data.table.row_filter import RowFilter
from pareto_rec.data.table.rules import Reader, columns_of
from pareto_rec.data.table.times import Clock
from pareto_rec.data.table.values import together


@dataclass(frozen=True)
class EntityAttributes:
    """Attributes of items or users by row, all arrays ``[rows]``.

    Attributes:
        code: Owner of each row; -1 if unknown.
        texts: Column -> codes, -1 where nothing stands, and the texts in rising order.
        price: Prices, NaN where unknown; None without a column of prices.
    """

    code: IntArray
    texts: dict[str, tuple[IntArray, tuple[str, ...]]]
    price: FloatArray | None = None


@dataclass(frozen=True)
class Log:
    """Rows of a log, in the order of the files.

    Attributes:
        rows: Compact rows; codes follow the order of the ids.
        users: Ids of the users.
        items: Ids of the items.
        of_items: What the rows say about items.
        of_users: What they say about users.
        timed: Whether times are known.
        ordered: Whether the times of the rows are their numbers in the order of the files.
        origin: File of each row ``[rows]``, its index in the account.
    """

    rows: Interactions
    users: tuple[str, ...]
    items: tuple[str, ...]
    of_items: EntityAttributes
    of_users: EntityAttributes
    timed: bool
    ordered: bool
    origin: IntArray


@dataclass
class _Parts:
    """Columns stored from the chunks so far."""

    user: list[pa.DictionaryArray] = field(default_factory=list)
    item: list[pa.DictionaryArray] = field(default_factory=list)
    time: list[IntArray] = field(default_factory=list)
    origin: list[IntArray] = field(default_factory=list)
    values: dict[str, list[FloatArray]] = field(default_factory=dict)
    texts: dict[str, list[pa.DictionaryArray]] = field(default_factory=dict)


class LogReader:
    """Reads the chunks of a log; keeps compact columns of the rows that are used."""

    def __init__(self, options: TableOptions, columns: Columns, account: RowAudit) -> None:
        self.options, self.columns, self.account = options, columns, account
        self.clock = Clock(options.time_format or "", options.time_zone, options.missing)
        self.item_texts = [] if options.items.files else item_columns(options)
        self.user_texts = [] if options.users.files else options.users.attributes
        self.price = None if options.items.files else options.items.price
        self.parts = _Parts()
        self.decimal_marks: dict[str, Decimal] = {}
        self.events = EventTally() if any(named_events(options)) else None
        self.n_rows = 0  # seen so far, used or not

    @property
    def wanted(self) -> list[str]:
        """Columns that are read."""
        columns = self.columns
        named: list[str | None] = [*fields_of(columns.user), *fields_of(columns.item)]
        named += [columns.time_column, columns.position, columns.propensity, self.price]
        named += [columns.event] if self.options.event else []
        rules = [
            name for rule in rules_of(self.options) for name in columns_of(rule, columns.event)
        ]
        return list(
            dict.fromkeys([n for n in named if n] + rules + self.item_texts + self.user_texts)
        )

    def take(self, chunk: Chunk) -> None:
        """Store the usable rows of a chunk, and account for the rest."""
        account, size = self.account, chunk.table.num_rows
        account_for(chunk, account, refuse=self.options.on_bad_rows == "error")
        if not size:
            return
        rows = RowFilter(chunk, size)
        options = self.options
        reader = Reader(
            chunk.table, options.missing, options.decimal, self.columns.event, self.decimal_marks
        )
        if self.events is not None:
            self.events.add(reader.coded(reader.event_column()))
        self._drop(rows, reader)
        arrays = self._read(rows, reader)
        self._skip(rows.bad_rows())
        rows.report_losses(account)
        self._keep(rows, reader, arrays)

    def _skip(self, rows: list[BadRow]) -> None:
        self.account.skip(rows, refuse=self.options.on_bad_rows == "error")

    def _drop(self, rows: RowFilter, reader: Reader) -> None:
        account, file = self.account, rows.chunk.file
        if self.options.event:
            events = reader.texts(reader.event_column())
            wanted = pc.is_in(events, value_set=pa.array(self.options.event, pa.string()))
            other = ~wanted.to_numpy(zero_copy_only=False)
            account.drop("another event", rows.drop(other), file)
        rows.drop_by(self.options.drop, reader, account)

    def _read(self, rows: RowFilter, reader: Reader) -> dict[str, NDArray[np.generic]]:
        """Read all but texts; a row is refused for the first thing that is wrong with it."""
        columns = self.columns
        arrays: dict[str, NDArray[np.generic]] = {}
        for role, name in (("user", columns.user), ("item", columns.item)):
            assert name is not None  # `resolve` ensures it
            nothing = pc.is_null(reader.ids(name))
            rows.refuse(nothing.to_numpy(zero_copy_only=False), name, f"no {role}")
            for column in fields_of(name):
                rows.refuse_value(merging(reader.table.column(column)), column, MERGED)
        if columns.time_is_row:
            arrays["time"] = np.arange(self.n_rows, self.n_rows + reader.table.num_rows)
            self.n_rows += reader.table.num_rows
        elif columns.time_column:
            arrays["time"], bad = self.clock.read(reader.table.column(columns.time_column))
            other = f"is in another unit of time than most ({self.clock.form})"
            rows.refuse_value(self.clock.other, columns.time_column, other)
            rows.refuse_value(bad, columns.time_column, "is not a time")
        for name, rule in self.options.signals.items():
            values, bad = reader.value(rule)
            rows.refuse_value(bad, rule.column, f'of signal "{name}" is not a number')
            arrays[f"signal {name}"] = values.astype(np.float32)
        for role, name, low, high in (
            ("price", self.price, 0.0, 1e30),
            ("position", columns.position, 1.0, 2.0**24),
            ("propensity", columns.propensity, 1e-9, 1.0),
        ):
            if name:
                values, bad = reader.numbers(name)
                filled = bad | ~np.isnan(values)
                bad |= (values < low) | (values > high)
                rows.lose(bad, filled, name)
                arrays[role] = np.where(bad, np.nan, values).astype(np.float32)
        return arrays

    def _keep(
        self, rows: RowFilter, reader: Reader, arrays: dict[str, NDArray[np.generic]]
    ) -> None:
        used, parts = rows.used, self.parts
        mask = pa.array(used)
        file_index = list(self.account.files).index(rows.chunk.file)
        parts.origin.append(np.full(int(used.sum()), file_index, dtype=np.int64))
        for role in ("user", "item"):
            getattr(parts, role).append(reader.ids(getattr(self.columns, role)).filter(mask))
        time = arrays.pop("time", np.zeros(len(used), dtype=np.int64))
        parts.time.append(time[used].astype(np.int64))
        for name, values in arrays.items():
            parts.values.setdefault(name, []).append(values[used].astype(np.float32))
        for name in dict.fromkeys(self.item_texts + self.user_texts):
            parts.texts.setdefault(name, []).append(reader.coded(name).filter(mask))

    def log(self) -> Log:
        """Return the stored rows as a log.

        Raises:
            BadRequestError: If no row is left, or the log lacks an event that the config names.
        """
        if self.events is not None:
            self.events.check(self.options, self.account)
        if not any(len(part) for part in self.parts.time):
            reasons = {**self.account.dropped, **self.account.bad}
            reason_counts = "; ".join(
                f"{count:,} {reason}" for reason, count in reasons.items() if count
            )
            raise BadRequestError(
                f"no row of the table can be used: {self.account.rows:,} rows"
                + (f", of them {reason_counts}" if reason_counts else "")
            )
        parts = self.parts
        (user, users), (item, items) = together(parts.user), together(parts.item)
        values = {name: np.concatenate(part) for name, part in parts.values.items()}
        texts = {name: together(part) for name, part in parts.texts.items()}
        signals = {name: values[f"signal {name}"] for name in self.options.signals}
        position = values.get("position")
        rows = Interactions(
            user,
            item,
            np.concatenate(parts.time),
            signals or {"interaction": np.ones(len(user), dtype=np.float32)},
            None if position is None else np.nan_to_num(position).astype(np.int64),
            values.get("propensity"),
        )
        of_items = EntityAttributes(
            item, {n: texts[n] for n in self.item_texts}, values.get("price")
        )
        of_users = EntityAttributes(user, {n: texts[n] for n in self.user_texts})
        for name, mark in self.decimal_marks.items():
            if mark == ",":
                self.account.notes[f"decimal mark of {name}, as its values tell"] = mark
        if self.clock.guessed:
            self.account.notes["form of times, guessed"] = self.clock.form
        origin = np.concatenate(parts.origin)
        timed, ordered = bool(self.columns.time_column), self.columns.time_is_row
        return Log(rows, users, items, of_items, of_users, timed, ordered, origin)


def read_log(
    options: TableOptions, files: Sequence[File], columns: Columns, account: RowAudit
) -> Log:
    """Read the log of a table.

    Args:
        options: How.
        files: Where.
        columns: Who, what and when (:func:`pareto_rec.data.table.columns.resolve`).
        account: Counts every row.

    Raises:
        BadRequestError: If a file cannot be read or lacks a column, a row is bad and bad rows are
            not to be skipped, or no row is left.
    """
    reader = LogReader(options, columns, account)
    for file in files:
        account.of(file.name)
        for chunk in chunks(file, options, reader.wanted):
            reader.take(chunk)
    return reader.log()
