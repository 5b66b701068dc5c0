"""Files beside the log: what they say about its items or users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pareto_rec.data.schema import FloatArray
from pareto_rec.data.table.account import Account
from pareto_rec.data.table.chunks import chunks, header
from pareto_rec.data.table.files import File, find
from pareto_rec.data.table.guess import Guess
from pareto_rec.data.table.options import ItemOptions, TableOptions, UserOptions
from pareto_rec.data.table.read import Facts, item_columns
from pareto_rec.data.table.rules import Reader
from pareto_rec.data.table.values import coded, together
from pareto_rec.errors import BadRequestError


def read_side(
    options: TableOptions,
    asked: ItemOptions | UserOptions,
    ids: tuple[str, ...],
    account: Account,
    *,
    more: bool,
) -> tuple[Facts, tuple[str, ...]]:
    """What the files of items or of users say, and the ids that its codes stand for, rising.

    Args:
        options: How they are read; wrong rows are refused or skipped as those of the log.
        asked: Which part of the options.
        ids: Ids that the log knows, in rising order.
        account: Gets an account of the files' own rows among its notes.
        more: Whether ids that the log does not know are kept.
    """
    role = "item" if isinstance(asked, ItemOptions) else "user"
    files = find(asked.files, f"data.{role}s.files")
    name = asked.id or _guess_id(header(files[0], options), role, files[0], account)
    own = Account(skipped=account.skipped)
    price = asked.price if isinstance(asked, ItemOptions) else None
    wanted = item_columns(options) if role == "item" else list(asked.attributes)
    read = _read(options, files, name, dict.fromkeys(wanted), price, own)
    codes, known = together(read.ids)
    everything = tuple(sorted({*ids, *known})) if more else ids
    place = pc.index_in(pa.array(known, pa.string()), value_set=pa.array(everything, pa.string()))
    code = place.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    account.notes[f"{role}s in their own files"] = (
        f"{own.rows:,} rows, {own.bad.total():,} of them could not be read; "
        f"{len(known):,} ids, {int((code < 0).sum()):,} of them in no row of the log and left out; "
        f"{len(set(ids) - set(known)):,} ids of the log are not there"
    )
    account.examples += own.examples
    texts = {column: together(parts) for column, parts in read.texts.items()}
    prices = np.concatenate(read.prices) if read.prices else None
    return Facts(code[codes] if len(code) else codes, texts, prices), everything


class _Read:
    def __init__(self, columns: Sequence[str]) -> None:
        self.ids: list[pa.DictionaryArray] = []
        self.texts: dict[str, list[pa.DictionaryArray]] = {name: [] for name in columns}
        self.prices: list[FloatArray] = []


def _read(
    options: TableOptions,
    files: Sequence[File],
    name: str,
    columns: dict[str, None],
    price: str | None,
    account: Account,
) -> _Read:
    found, refuse = _Read(list(columns)), options.on_bad_rows == "error"
    wanted = list(dict.fromkeys([name, *columns, *([price] if price else [])]))
    for file in files:
        for chunk in chunks(file, options, wanted):
            account.rows += chunk.table.num_rows + len(chunk.bad)
            account.skip(list(chunk.bad), refuse=refuse)
            reader = Reader(chunk.table, options.missing, options.decimal)
            ids = coded(chunk.table.column(name), options.missing)
            bad = pc.is_null(ids).to_numpy(zero_copy_only=False)
            where = np.flatnonzero(bad)
            account.skip(chunk.rows(where, [f"no id in {name}"] * len(where)), refuse=refuse)
            if price:
                values, wrong = reader.numbers(price)
                wrong = (wrong | (values < 0) | (values > 1e30)) & ~bad
                where = np.flatnonzero(wrong)
                reasons = [f"{price} is no price"] * len(where)
                account.skip(chunk.rows(where, reasons), refuse=refuse)
                bad |= wrong
                found.prices.append(values[~bad].astype(np.float32))
            found.ids.append(ids.filter(pa.array(~bad)))
            for column, parts in found.texts.items():
                parts.append(
                    coded(chunk.table.column(column).filter(pa.array(~bad)), options.missing)
                )
    return found


def _guess_id(names: Sequence[str], role: str, file: File, account: Account) -> str:
    found = getattr(Guess.of(names), role)
    if found is None:
        raise BadRequestError(
            f"{file.name}: which column holds the ids? Set data.{role}s.id to one of "
            f"{', '.join(names)}"
        )
    account.notes[f"column of ids in the files of {role}s, guessed"] = found
    return str(found)
