"""New interactions from a file, by the ids of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pareto_rec.bundle import BundleData, NewItem
from pareto_rec.bundle.update.times import seconds_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Users

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("user", "item", "timestamp")
SEPARATOR = "|"  # between the categories of an item
LEAST = 20  # rows; fewer can neither be learnt from nor measured on


@dataclass(frozen=True)
class NewRows:
    """New rows of a file.

    Attributes:
        users: Ids ``[rows]``.
        items: Ids ``[rows]``.
        time: Seconds since 1970 ``[rows]``, not falling.
        signals: Signal -> values ``[rows]``.
        new_items: Items that the file describes, by id.
        unknown: Rows that were left out: items that neither the bundle nor the file describes.
        known_before: Rows that were left out: the bundle has them already.
    """

    users: NDArray[np.object_]
    items: NDArray[np.object_]
    time: NDArray[np.int64]
    signals: dict[str, NDArray[np.float32]]
    new_items: dict[str, NewItem]
    unknown: int = 0
    known_before: int = 0

    def __len__(self) -> int:
        return len(self.time)

    def take(self, mask: NDArray[np.bool_]) -> NewRows:
        """Return the rows of a mask."""
        signals = {name: values[mask] for name, values in self.signals.items()}
        taken = (self.users[mask], self.items[mask], self.time[mask], signals)
        return NewRows(*taken, self.new_items, self.unknown, self.known_before)


def read_rows(path: Path, parts: BundleData) -> NewRows:
    """Read a CSV or Parquet file with the columns user, item, timestamp and the bundle's signals.

    The signal that counts as relevant may be missing: then every row is. Columns ``title``,
    ``text`` and ``categories`` (separated by ``|``) describe items that the bundle does not know.

    Raises:
        BadRequestError: If the file cannot be read, a column is missing or a value makes no sense.
    """
    frame = _frame(path)
    signals = list(parts.interactions.signals)
    needed = [*COLUMNS, *(name for name in signals if name != parts.about.relevance)]
    missing = [name for name in needed if name not in frame]
    if missing:
        raise BadRequestError(
            f'{path} has no column "{missing[0]}"; it needs {", ".join(needed)} (and may have '
            f"{parts.about.relevance}, title, text, categories)"
        )
    if not len(frame):
        raise BadRequestError(f"{path} has no rows; bring at least {LEAST}")
    time = seconds_of(path, frame["timestamp"], parts.config)
    order = np.argsort(time, kind="stable")
    rows = NewRows(
        frame["user"].astype(str).to_numpy(dtype=object)[order],
        frame["item"].astype(str).to_numpy(dtype=object)[order],
        time[order],
        {name: _signal(path, frame, name)[order] for name in signals},
        _described_items(frame),
    )
    return _usable(path, rows, parts)


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise BadRequestError(f"{path} is not there; name a CSV or Parquet file") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadRequestError(f"{path} cannot be read as CSV or Parquet: {reason}") from None


def _signal(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.float32]:
    import pandas as pd

    if name not in frame:
        return np.ones(len(frame), dtype=np.float32)
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise BadRequestError(
            f'{path}, row {bad[0] + 1}: "{frame[name].iloc[bad[0]]}" is not a value of {name}'
        )
    return values


def _described_items(frame: pd.DataFrame) -> dict[str, NewItem]:
    columns = [name for name in ("text", "title", "categories") if name in frame]
    if not {"text", "title"} & set(columns):
        return {}
    first = frame.drop_duplicates("item")
    items = {}
    for row in first[["item", *columns]].astype(str).to_dict("records"):
        if row.get("text") or row.get("title"):
            names = tuple(name for name in row.get("categories", "").split(SEPARATOR) if name)
            item = NewItem(row["item"], row.get("text", ""), row.get("title", ""), names)
            items[item.id] = item
    return items


def _usable(path: Path, rows: NewRows, parts: BundleData) -> NewRows:
    """Drop rows of unknown items, and rows that the bundle has."""
    known = {*parts.items.ids, *rows.new_items}
    described = np.array([item in known for item in rows.items], dtype=bool)
    old = parts.interactions
    places = zip(old.user.tolist(), old.item.tolist(), old.time.tolist(), strict=True)
    ids = parts.users.ids, parts.items.ids
    had = {(ids[0][user], ids[1][item], time) for user, item, time in places}
    keys = zip(rows.users, rows.items, rows.time.tolist(), strict=True)
    fresh = np.array([key not in had for key in keys], dtype=bool)
    usable = rows.take(described & fresh)
    if len(usable) < LEAST:
        raise BadRequestError(
            f"{path} has {len(usable)} new rows to learn from and at least {LEAST} are needed "
            f"({int((~described).sum())} of {len(rows)} are of items that neither the bundle nor a "
            f"column title or text describes, {int((~fresh).sum())} are in the bundle already)"
        )
    return replace(
        usable, unknown=int((~described).sum()), known_before=int((described & ~fresh).sum())
    )


def with_people(parts: BundleData, ids: Sequence[str]) -> Users:
    """Return the bundle's users, then those of new rows, in the order of their first row."""
    known = set(parts.users.ids)
    added = [user for user in dict.fromkeys(ids) if user not in known]
    attributes = {name: (*of, *[""] * len(added)) for name, of in parts.users.attributes.items()}
    return replace(parts.users, ids=(*parts.users.ids, *added), attributes=attributes)


def indexed(rows: NewRows, users: Sequence[str], items: Sequence[str]) -> Interactions:
    """Return new rows by compact index, without positions and propensities."""
    user_of = {key: index for index, key in enumerate(users)}
    item_of = {key: index for index, key in enumerate(items)}
    user = np.array([user_of[key] for key in rows.users], dtype=np.int64)
    item = np.array([item_of[key] for key in rows.items], dtype=np.int64)
    return Interactions(user, item, rows.time, rows.signals)
