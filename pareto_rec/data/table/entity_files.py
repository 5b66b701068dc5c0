"""Entity files beside the log: what they say about its items or users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import FloatArray, IntArray
from pareto_rec.data.table.chunks import Chunk, account_for, check_is_table, chunks, header
from pareto_rec.data.table.columns import item_columns
from pareto_rec.data.table.files import File, find
from pareto_rec.data.table.guess import Guess
from pareto_rec.data.table.ids import (
    MERGED,
    Ids,
    merged,
    merging,
    warn_of_unknown_ids,
    written_alike,
)
from pareto_rec.data.table.numerals import Decimal
from pareto_rec.data.table.options import ItemOptions, TableOptions, UserOptions, entity_options
from pareto_rec.data.table.read import EntityAttributes
from pareto_rec.data.table.row_audit import BadRow, RowAudit
from pareto_rec.data.table.row_filter import RowFilter
from pareto_rec.data.table.rules import Reader
from pareto_rec.data.table.values import coded, together


@dataclass(frozen=True)
class Joined:
    """A log's users or items and what the files beside it say about them.

    Attributes:
        ids: Ids in rising order.
        of_log: For each id of the log its index in `ids` ``[ids of the log]``.
        facts: What the files say, their codes are indices into `ids`.
    """

    ids: Ids
    of_log: IntArray
    facts: EntityAttributes


def read_entities(
    options: TableOptions,
    entity: ItemOptions | UserOptions,
    ids: Ids,
    account: RowAudit,
    *,
    more: bool,
) -> Joined:
    """Read the files of items or of users.

    Args:
        options: How they are read; wrong rows are refused or skipped as those of the log.
        entity: Which part of the options.
        ids: Ids that the log knows.
        account: Gets an account of the files' own rows.
        more: Whether ids that the log does not know are kept.
    """
    role = "item" if isinstance(entity, ItemOptions) else "user"
    files, written = find(entity.files, f"data.{role}s.files"), entity_options(options, entity)
    name = entity.id or _guess_id(written, role, files[0], account)
    own = RowAudit(skipped=account.skipped)
    account.beside[f"{role}s"] = own
    price = entity.price if isinstance(entity, ItemOptions) else None
    wanted = item_columns(options) if role == "item" else list(entity.attributes)
    read = _Read(written, name, list(dict.fromkeys(wanted)), price, own)
    for file in files:
        own.of(file.name)
        for chunk in chunks(file, written, read.wanted):
            read.take(chunk)
    return _joined(role, ids, read, account, more=more)


def _joined(role: str, ids: Ids, read: _Read, account: RowAudit, *, more: bool) -> Joined:
    """Join the ids of a log and those of the files beside it in one form and one order."""
    own = read.account
    codes, known = together(read.ids)
    alike, beside = written_alike(ids, known)
    everything = tuple(sorted({*alike, *beside} if more else {*alike}))
    positions = pc.index_in(
        pa.array(beside, pa.string()), value_set=pa.array(everything, pa.string())
    )
    code = positions.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    unknown = set(beside) - set(alike)
    account.notes[f"{role}s in their own files"] = (
        f"{own.rows:,} rows, {own.bad.total():,} of them could not be read; "
        f"{len(set(beside)):,} ids, {len(unknown):,} of them in no row of the log"
        f"{' and left out' if not more else ''}; "
        f"{len(set(alike) - set(beside)):,} ids of the log are not there"
    )
    own.warn_of_losses()
    warn_of_unknown_ids(role, alike, beside, account)
    texts = {column: together(parts) for column, parts in read.texts.items()}
    prices = np.concatenate(read.prices) if read.prices else None
    facts = EntityAttributes(code[codes] if len(code) else codes, texts, prices)
    number = {id_: n for n, id_ in enumerate(everything)}
    return Joined(everything, np.array([number[id_] for id_ in alike], dtype=np.int64), facts)


class _Read:
    """Reads the chunks of files beside a log."""

    def __init__(
        self,
        options: TableOptions,
        name: str,
        columns: Sequence[str],
        price: str | None,
        account: RowAudit,
    ) -> None:
        self.options, self.name, self.price, self.account = options, name, price, account
        self.decimal_marks: dict[str, Decimal] = {}
        self.ids: list[pa.DictionaryArray] = []
        self.texts: dict[str, list[pa.DictionaryArray]] = {column: [] for column in columns}
        self.prices: list[FloatArray] = []

    @property
    def wanted(self) -> list[str]:
        """Columns that are read."""
        return list(dict.fromkeys([self.name, *self.texts, *([self.price] if self.price else [])]))

    def take(self, chunk: Chunk) -> None:
        """Store what a chunk says, and account for its rows."""
        account, table, missing = self.account, chunk.table, self.options.missing
        account_for(chunk, account, refuse=self.options.on_bad_rows == "error")
        rows = RowFilter(chunk, table.num_rows)
        ids = coded(table.column(self.name), missing)
        nothing = pc.is_null(ids).to_numpy(zero_copy_only=False)
        rows.refuse(nothing, self.name, "no id")
        rows.refuse_value(merging(table.column(self.name)), self.name, MERGED)
        self._skip(rows.bad_rows())
        used = pa.array(rows.used)
        if self.price:
            reader = Reader(table, missing, self.options.decimal, decimal_marks=self.decimal_marks)
            values, bad = reader.numbers(self.price)
            filled = bad | ~np.isnan(values)
            bad |= (values < 0) | (values > 1e30)
            rows.lose(bad, filled, self.price)
            prices = np.where(bad, np.nan, values)[rows.used]
            self.prices.append(prices.astype(np.float32))
        rows.report_losses(account)
        self.ids.append(ids.filter(used))
        for column, parts in self.texts.items():
            parts.append(coded(table.column(column).filter(used), missing))

    def _skip(self, rows: list[BadRow]) -> None:
        self.account.skip(rows, refuse=self.options.on_bad_rows == "error")


def log_alone(ids: Ids, facts: EntityAttributes) -> Joined:
    """Return a log's users or items without files of their own."""
    (alike,) = written_alike(ids)
    of_log, everything = merged(alike)
    code = np.append(of_log, -1)[facts.code]
    return Joined(everything, of_log, EntityAttributes(code, facts.texts, facts.price))


def _guess_id(options: TableOptions, role: str, file: File, account: RowAudit) -> str:
    names = header(file, options)
    column = getattr(Guess.of(names), role)
    if column is None:
        check_is_table(file, options)
        raise BadRequestError(
            f"{file.name}: which column holds the ids? Set data.{role}s.id to one of "
            f"{', '.join(names)}"
        )
    account.notes[f"column of ids in the files of {role}s, guessed"] = column
    return str(column)
