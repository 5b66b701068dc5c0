"""The log of a table: from files to arrays, with every row accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from string import Formatter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pareto_rec.data.schema import FloatArray, IntArray, Interactions
from pareto_rec.data.table.account import Account, BadRow
from pareto_rec.data.table.chunks import Chunk, chunks, header
from pareto_rec.data.table.files import File
from pareto_rec.data.table.guess import Guess
from pareto_rec.data.table.judged import Judged
from pareto_rec.data.table.options import Columns, Rule, TableOptions
from pareto_rec.data.table.rules import Reader, columns_of
from pareto_rec.data.table.times import Clock
from pareto_rec.data.table.values import Mask, coded, together
from pareto_rec.errors import BadRequestError


@dataclass(frozen=True)
class Facts:
    """What rows say about items or users, all arrays ``[rows]``.

    Attributes:
        code: Whose row it is; -1 for nobody known.
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
    """

    rows: Interactions
    users: tuple[str, ...]
    items: tuple[str, ...]
    of_items: Facts
    of_users: Facts
    timed: bool


def fields_of(template: str | None) -> list[str]:
    """Columns of a template, or the one column that it names.

    Raises:
        BadRequestError: If braces are left open.
    """
    if template is None:
        return []
    if "{" not in template:
        return [template]
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise BadRequestError(f'template "{template}": {error}') from None


def item_columns(options: TableOptions) -> list[str]:
    """Text columns that items are described by."""
    items = options.items
    parts = [fields_of(one) for one in (items.text, items.title, items.categories)]
    return list(dict.fromkeys([name for part in parts for name in part] + items.attributes))


def resolve(options: TableOptions, files: Sequence[File], account: Account) -> Columns:
    """The columns of a log, as the config names them or else as their names suggest.

    Raises:
        BadRequestError: If no column of users or of items can be told.
    """
    names = header(files[0], options)
    guess = Guess.of(names)
    found: dict[str, str | None] = {}
    for role in ("user", "item", "time"):
        said = getattr(options.columns, role)
        found[role] = said if said is not None else getattr(guess, role)
        if said is None and found[role]:
            account.notes[f"column of {role}s, guessed from its name"] = found[role]
        if role != "time" and not found[role]:
            raise BadRequestError(
                f"{files[0].name}: which column names the {role}? Set data.columns.{role} to one "
                f"of {', '.join(names)}"
            )
    wants_events = bool(options.event) or any(r.event is not None for r in _rules(options))
    if wants_events and options.columns.event is None:
        found["event"] = guess.event
        account.notes["column of events, guessed from its name"] = guess.event
    return options.columns.model_copy(update=found)


def _rules(options: TableOptions) -> list[Rule]:
    return [*options.drop, *options.signals.values()]


@dataclass
class _Parts:
    """What is kept of the chunks so far."""

    user: list[pa.DictionaryArray] = field(default_factory=list)
    item: list[pa.DictionaryArray] = field(default_factory=list)
    time: list[IntArray] = field(default_factory=list)
    values: dict[str, list[FloatArray]] = field(default_factory=dict)
    texts: dict[str, list[pa.DictionaryArray]] = field(default_factory=dict)


class LogReader:
    """Reads the chunks of a log; keeps compact columns of the rows that are used."""

    def __init__(self, options: TableOptions, columns: Columns, account: Account) -> None:
        self.options, self.columns, self.account = options, columns, account
        self.clock = Clock(options.time_format or "", options.time_zone, options.missing)
        self.item_texts = [] if options.items.files else item_columns(options)
        self.user_texts = [] if options.users.files else options.users.attributes
        self.price = None if options.items.files else options.items.price
        self.parts = _Parts()

    @property
    def wanted(self) -> list[str]:
        """Columns that are read."""
        one = self.columns
        named: list[str | None] = [*fields_of(one.user), *fields_of(one.item)]
        named += [one.time, one.position, one.propensity, self.price]
        named += [one.event] if self.options.event else []
        rules = [name for rule in _rules(self.options) for name in columns_of(rule, one.event)]
        return list(
            dict.fromkeys([n for n in named if n] + rules + self.item_texts + self.user_texts)
        )

    def take(self, chunk: Chunk) -> None:
        """Keep what is to be used of a chunk, and account for the rest."""
        account, size = self.account, chunk.table.num_rows
        account.rows += size + len(chunk.bad)
        account.blank += chunk.blank
        self._skip(list(chunk.bad))
        if not size:
            return
        judged = Judged(chunk, size)
        options = self.options
        reader = Reader(chunk.table, options.missing, options.decimal, self.columns.event)
        self._drop(judged, reader)
        found = self._read(judged, reader)
        self._skip(judged.bad_rows())
        self._keep(judged.used, reader, found)

    def _skip(self, rows: list[BadRow]) -> None:
        self.account.skip(rows, refuse=self.options.on_bad_rows == "error")

    def _drop(self, judged: Judged, reader: Reader) -> None:
        if self.options.event:
            events = reader.texts(reader.event_column())
            wanted = pc.is_in(events, value_set=pa.array(self.options.event, pa.string()))
            other = ~wanted.to_numpy(zero_copy_only=False)
            self.account.drop("another event", judged.drop(other))
        for rule in self.options.drop:
            passed, bad = reader.test(rule)
            judged.refuse(bad, rule.column, "is no number", reader)
            self.account.drop(rule.said(), judged.drop(passed))

    def _read(self, judged: Judged, reader: Reader) -> dict[str, NDArray[np.generic]]:
        """Everything but texts; a row is refused for the first thing that is wrong with it."""
        columns = self.columns
        found: dict[str, NDArray[np.generic]] = {}
        for role, name in (("user", columns.user), ("item", columns.item)):
            assert name is not None  # `resolve` sees to it
            nothing = pc.is_null(reader.ids(name))
            judged.refuse(nothing.to_numpy(zero_copy_only=False), name, f"no {role}")
        if columns.time:
            found["time"], bad = self.clock.read(reader.table.column(columns.time))
            judged.refuse(bad, columns.time, "is no time", reader)
        for name, rule in self.options.signals.items():
            values, bad = reader.value(rule)
            judged.refuse(bad, rule.column, f'of signal "{name}" is no number', reader)
            found[f"signal {name}"] = values.astype(np.float32)
        for role, name, low, high in (
            ("price", self.price, 0.0, 1e30),
            ("position", columns.position, 1.0, 2.0**24),
            ("propensity", columns.propensity, 1e-9, 1.0),
        ):
            if name:
                values, bad = reader.numbers(name)
                bad |= (values < low) | (values > high)
                judged.refuse(bad, name, f"is no {role}", reader)
                found[role] = np.where(bad, np.nan, values).astype(np.float32)
        return found

    def _keep(self, used: Mask, reader: Reader, found: dict[str, NDArray[np.generic]]) -> None:
        mask, parts = pa.array(used), self.parts
        for role in ("user", "item"):
            named = getattr(self.columns, role)
            table = reader.table.select(list(dict.fromkeys(fields_of(named)))).filter(mask)
            getattr(parts, role).append(replace(reader, table=table).ids(named))
        time = found.pop("time", np.zeros(len(used), dtype=np.int64))
        parts.time.append(time[used].astype(np.int64))
        for name, values in found.items():
            parts.values.setdefault(name, []).append(values[used].astype(np.float32))
        for name in dict.fromkeys(self.item_texts + self.user_texts):
            column = reader.table.column(name).filter(mask)
            parts.texts.setdefault(name, []).append(coded(column, reader.missing))

    def log(self) -> Log:
        """What was kept.

        Raises:
            BadRequestError: If no row is left.
        """
        if not any(len(part) for part in self.parts.time):
            reasons = {**self.account.dropped, **self.account.bad}
            said = "; ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
            raise BadRequestError(
                f"no row of the table can be used: {self.account.rows:,} rows"
                + (f", of them {said}" if said else "")
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
        of_items = Facts(item, {n: texts[n] for n in self.item_texts}, values.get("price"))
        of_users = Facts(user, {n: texts[n] for n in self.user_texts})
        if self.clock.guessed:
            self.account.notes["form of times, guessed"] = self.clock.form
        return Log(rows, users, items, of_items, of_users, bool(self.columns.time))


def read_log(
    options: TableOptions, files: Sequence[File], columns: Columns, account: Account
) -> Log:
    """Read the log of a table.

    Args:
        options: How.
        files: Where.
        columns: Who, what and when (:func:`resolve`).
        account: Is told of every row.

    Raises:
        BadRequestError: If a file cannot be read or lacks a column, a row is bad and bad rows are
            not to be skipped, or no row is left.
    """
    reader = LogReader(options, columns, account)
    for file in files:
        for chunk in chunks(file, options, reader.wanted):
            reader.take(chunk)
    return reader.log()
