"""Catalogue, users and log of a bundle, read from files and checked against one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.bundle.data import TEST, Floats
from pareto_rec.bundle.tensors import TensorFile
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Items, Users

OWN = "vectors."
SIGNAL = "signal."
_TIMES = 1 << 60  # no time is further from 1970 than that many seconds


@dataclass(frozen=True)
class Names:
    """Content of ``catalogue.json``.

    Attributes:
        items: Column of the catalogue -> a text for each item.
        attributes: Attribute of items -> a text for each.
        categories: Names of the categories.
        users: The people.
    """

    items: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, tuple[str, ...]]
    categories: tuple[str, ...]
    users: Users

    @classmethod
    def of(cls, content: Mapping[str, Any], where: Path) -> Names:
        """Check the content of a file.

        Raises:
            BadRequestError: Names the key that is not as it should be.
        """
        items, users = (_table(content, key, where) for key in ("items", "users"))
        ids = _texts(items, "ids", where, "items", distinct=True)
        columns = {
            name: _texts(items, name, where, "items", len(ids)) for name in ("titles", "texts")
        }
        if not ids:
            raise _wrong(where, "items.ids", "is empty")
        people = _texts(users, "ids", where, "users", distinct=True)
        smallest = users.get("min_group")
        if not isinstance(smallest, int) or not 0 <= smallest < 1 << 31:
            raise _wrong(where, "users.min_group", "is not a number of users")
        return cls(
            {"ids": ids, **columns},
            _attributes(items, where, "items", len(ids)),
            _texts(content, "categories", where, "", distinct=True),
            Users(people, _attributes(users, where, "users", len(people)), smallest),
        )


def _wrong(where: Path, key: str, reason: str) -> BadRequestError:
    return BadRequestError(f"{where}: {key} {reason}; export the bundle again")


def _table(content: Mapping[str, Any], key: str, where: Path) -> Mapping[str, Any]:
    table = content.get(key)
    if not isinstance(table, Mapping):
        raise _wrong(where, key, "is not a table")
    return table


def _texts(
    content: Mapping[str, Any],
    key: str,
    where: Path,
    table: str,
    count: int | None = None,
    *,
    distinct: bool = False,
) -> tuple[str, ...]:
    """Return a list of texts that can be printed: lone surrogates cannot."""
    values, name = content.get(key), f"{table}.{key}".strip(".")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _wrong(where, ascii(name)[1:-1][:80], "is not a list of texts")
    if count is not None and len(values) != count:
        raise _wrong(where, ascii(name)[1:-1][:80], f"has {len(values)} texts instead of {count}")
    if distinct and len(set(values)) < len(values):
        raise _wrong(where, name, "holds a text twice")
    try:
        "".join([key, *values]).encode("utf-8")
    except UnicodeEncodeError:
        raise _wrong(where, ascii(name)[1:-1][:80], "holds half of a character") from None
    return tuple(values)


def _attributes(
    content: Mapping[str, Any], where: Path, table: str, count: int
) -> dict[str, tuple[str, ...]]:
    attributes = _table(content, "attributes", where)
    return {
        name: _texts(attributes, name, where, f"{table}.attributes", count) for name in attributes
    }


@dataclass(frozen=True)
class ItemArrays:
    """The tensors of the catalogue; see `BundleData`."""

    features: Floats
    vectors: Floats
    mean: Floats
    loadings: Floats
    categories: Floats
    prices: Floats | None
    own: Mapping[str, Floats]


def read_items(file: TensorFile, names: Names) -> ItemArrays:
    """Return tensors of the catalogue, of the sizes that its names give.

    Raises:
        BadRequestError: If one is missing, of another type or shape, or holds impossible numbers.
    """
    count = len(names.items["ids"])
    features, vectors = (file.floats(name, (count, None)) for name in ("features", "vectors"))
    width, components = features.shape[1], vectors.shape[1]
    own = [name for name in file.names if name.startswith(OWN)]
    prices = None
    if "prices" in file.names:
        prices = file.floats("prices", (count,), -1e30, 1e30, missing=True)
    arrays = ItemArrays(
        features,
        vectors,
        file.floats("mean", (width,)),
        file.floats("loadings", (width, components)),
        file.floats("categories", (count, len(names.categories)), 0, 1),
        prices,
        {name.removeprefix(OWN): file.floats(name, (count, None)) for name in own},
    )
    file.finish()
    return arrays


def items_of(names: Names, arrays: ItemArrays) -> Items:
    """Return the catalogue."""
    ids, titles, texts = (names.items[name] for name in ("ids", "titles", "texts"))
    more = (arrays.categories, names.categories, arrays.prices, names.attributes)
    return Items(ids, titles, texts, *more)


def read_log(
    file: TensorFile, n_users: int, n_items: int
) -> tuple[Interactions, NDArray[np.uint8]]:
    """Return the log, and what each of its rows is.

    Raises:
        BadRequestError: If a tensor is missing, of another type or length, names a user or an item
            that is not there, or rows are not sorted by user and time.
    """
    user = file.integers("user", (None,), 0, n_users - 1)
    rows = (len(user),)
    item = file.integers("item", rows, 0, n_items - 1)
    time = file.integers("time", rows, -_TIMES, _TIMES)
    same = user[1:] == user[:-1]
    if (user[1:] < user[:-1]).any() or (same & (time[1:] < time[:-1])).any():
        raise file.error("user", "is not sorted by user, then time")
    signals = {
        name.removeprefix(SIGNAL): file.floats(name, rows, -1e30, 1e30, missing=True)
        for name in file.names
        if name.startswith(SIGNAL)
    }
    position = propensity = None
    if "position" in file.names:
        position = file.integers("position", rows, 0, _TIMES)
    if "propensity" in file.names:
        propensity = file.floats("propensity", rows, 0, 1, missing=True)
    part = file.integers("part", rows, 0, TEST, ("U8",))
    file.finish()
    return Interactions(user, item, time, signals, position, propensity), part
