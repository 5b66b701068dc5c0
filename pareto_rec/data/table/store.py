"""Store of tables that were read before, as Parquet in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pareto_rec.core.checksums import sha256_of
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.paths import file_sha256, make_folder, written_whole
from pareto_rec.core.sealed import damaged, read_json, write_json
from pareto_rec.data.schema import Dataset, FloatArray, Interactions, Items, Users
from pareto_rec.data.table.build import read_table
from pareto_rec.data.table.files import find
from pareto_rec.data.table.options import TableOptions, given

_NAMES = ("rows.parquet", "items.parquet", "users.parquet")
NOTE = "account.json"


def load_table(options: TableOptions, name: str, cache: Path) -> Dataset:
    """Load a table as a data set: read and cleaned once for the same files and options.

    Args:
        options: How it is read.
        name: What people call it.
        cache: Root of the cache; rows that were skipped are listed there, in ``skipped.csv``.

    Raises:
        BadRequestError: As :func:`pareto_rec.data.table.build.read_table`, or if the cache cannot
            be written.
    """
    folder = cache / "tables" / _key(options, cache)
    stored = _open(folder, options, name)
    if stored is not None:
        return stored
    make_folder(folder)
    skipped = folder / "skipped.csv"
    skipped.unlink(missing_ok=True)
    dataset = read_table(options, name, skipped)
    account = dict(dataset.account or {})
    if skipped.exists():
        account["skipped_rows_file"] = str(skipped)
    _keep(folder, dataset, account)
    return _open(folder, options, name) or dataset


def _key(options: TableOptions, cache: Path) -> str:
    """Identify what is read and how: contents of all files, options, and the code that reads."""
    parts: list[object] = [given(options), code_key(__name__)]
    for named in (options.files, options.items.files, options.users.files):
        files = find(named) if named else ()
        memo = cache / "checksums"
        parts.append([[f.name, file_sha256(f.path, memo)] for f in files])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _keep(folder: Path, dataset: Dataset, account: Mapping[str, object]) -> None:
    rows, items, users = dataset.interactions, dataset.items, dataset.users
    columns: dict[str, Any] = {"user": rows.user, "item": rows.item, "time": rows.time}
    columns |= {f"signal {name}": values for name, values in rows.signals.items()}
    for name in ("position", "propensity"):
        if getattr(rows, name) is not None:
            columns[name] = getattr(rows, name)
    catalogue: dict[str, Any] = {"id": items.ids, "title": items.titles, "text": items.texts}
    catalogue |= {"categories": [np.flatnonzero(row).tolist() for row in items.categories]}
    catalogue |= {f"attribute {name}": values for name, values in items.attributes.items()}
    if items.prices is not None:
        catalogue["price"] = items.prices
    people = {"id": users.ids} | {f"attribute {n}": v for n, v in users.attributes.items()}
    for name, table in zip(_NAMES, (columns, catalogue, people), strict=True):
        with written_whole(folder / name) as temporary:
            parquet.write_table(pa.table(table), temporary)
    note = {
        "account": account,
        "categories": items.category_names,
        "timed": dataset.timed,
        "ordered": dataset.ordered,
        "files": {path.name: sha256_of(path) for path in _files(folder, account)},
    }
    write_json(folder / NOTE, note)  # last: where it is, everything is


def _files(folder: Path, account: Mapping[str, object]) -> list[Path]:
    skipped = ["skipped.csv"] if "skipped_rows_file" in account else []
    return [folder / file_name for file_name in (*_NAMES, *skipped)]


def _open(folder: Path, options: TableOptions, name: str) -> Dataset | None:
    """Load a stored table; None if there is no complete one."""
    note = read_json(folder / NOTE)
    if note is None:
        return None
    with suppress(OSError, ValueError, KeyError, pa.ArrowException):
        for path in _files(folder, note["account"]):
            if sha256_of(path) != note["files"][path.name]:
                raise ValueError("damaged")
        rows, items, users = (parquet.read_table(folder / file_name) for file_name in _NAMES)
        people = Users(_texts(users, "id"), _attributes(users), options.min_group)
        return Dataset(
            name,
            _rows(rows),
            _items(items, tuple(note["categories"])),
            people,
            tuple(options.against),
            note["timed"],
            note["account"],
            note["ordered"],
        )
    damaged(folder)
    return None


def _rows(table: pa.Table) -> Interactions:
    def column(name: str) -> Any:
        return table.column(name).to_numpy() if name in table.column_names else None

    signals = {
        name.removeprefix("signal "): column(name)
        for name in table.column_names
        if name.startswith("signal ")
    }
    columns = (column("user"), column("item"), column("time"))
    shown = (column("position"), column("propensity"))
    return Interactions(*columns, signals, *shown).read_only()


def _items(table: pa.Table, names: tuple[str, ...]) -> Items:
    matrix: FloatArray = np.zeros((table.num_rows, len(names)), dtype=np.float32)
    for row, columns in enumerate(table.column("categories").to_pylist()):
        matrix[row, columns] = 1.0
    matrix.flags.writeable = False
    priced = "price" in table.column_names
    ids, titles, texts = (_texts(table, name) for name in ("id", "title", "text"))
    return Items(
        ids,
        titles,
        texts,
        matrix,
        names,
        table.column("price").to_numpy() if priced else None,
        _attributes(table),
    )


def _attributes(table: pa.Table) -> dict[str, tuple[str, ...]]:
    names = [name for name in table.column_names if name.startswith("attribute ")]
    return {name.removeprefix("attribute "): _texts(table, name) for name in names}


def _texts(table: pa.Table, name: str) -> tuple[str, ...]:
    return tuple(table.column(name).to_pylist())
