"""Small tables for tests: files written on the spot, and what is read back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.data.schema import Dataset
from pareto_rec.data.table.build import read_table
from pareto_rec.data.table.options import TableOptions

LOG = """\
user,item,time,event,qty,price,name,country
u1,a,2024-01-01 10:00:00,view,0,1.50,Red cup,DE
u1,a,2024-01-01 11:00:00,buy,2,1.50,Red cup,DE
u1,b,2024-01-02 10:00:00,buy,1,8.00,Blue jug,DE
u2,a,2024-01-03 10:00:00,buy,3,2.50,Red mug,FR
u2,a,2024-01-04 10:00:00,return,1,2.50,Red cup,FR
u2,c,2024-01-05 10:00:00,buy,1,,Red tin,FR
"""


def write_rows(path: Path, rows: Iterable[Sequence[Any]], **form: Any) -> Path:
    """A CSV file of rows, the header first."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, **form).writerows(rows)
    return path


def read(path: Path | str, skipped: Path | None = None, **options: Any) -> Dataset:
    """A table by the options of a config."""
    asked = TableOptions.model_validate({"files": str(path), **options})
    return read_table(asked, "mine", skipped)


def account(dataset: Dataset) -> Mapping[str, Any]:
    """Where its rows went."""
    assert dataset.account is not None
    return dataset.account


def rows_of(dataset: Dataset) -> list[tuple[str, str, int]]:
    """Users, items and times of all rows."""
    rows, users, items = dataset.interactions, dataset.users.ids, dataset.items.ids
    columns = (rows.user.tolist(), rows.item.tolist(), rows.time.tolist())
    return [(users[u], items[i], t) for u, i, t in zip(*columns, strict=True)]


def shop(folder: Path, users: int = 40, items: int = 30, seed: int = 0) -> tuple[Path, Path]:
    """A log and a catalogue of a made-up shop, large enough to be split and searched."""
    rng = np.random.default_rng(seed)
    kinds, colours = ("cup", "jug", "tin", "bowl", "tray"), ("Red", "Blue", "Green")
    names = [f"{colours[n % 3]} {kinds[n % 5]} {n}" for n in range(items)]
    catalogue = [["item_id", "name", "category", "price", "brand"]]
    catalogue += [
        [f"i{n}", names[n], kinds[n % 5], f"{1 + n / 4:.2f}", ("own", "other")[n % 2]]
        for n in range(items)
    ]
    log: list[Sequence[Any]] = [["user_id", "item_id", "timestamp", "event", "country"]]
    for user in range(users):
        for row, item in enumerate(rng.permutation(items)[: rng.integers(8, 14)].tolist()):
            time = f"2024-{1 + row:02d}-{1 + user % 28:02d}T10:00:00"
            log.append([f"u{user}", f"i{item}", time, "purchase", ("DE", "FR")[user % 2]])
    return write_rows(folder / "log.csv", log), write_rows(folder / "items.csv", catalogue)


def impressions(folder: Path, users: int = 30, items: int = 24) -> None:
    """A log of impressions in which some are clicked and some of those are bought."""
    rng = np.random.default_rng(4)
    lines: list[list[object]] = [
        ["user", "item", "time", "clicked", "bought", "spent", "name", "kind", "price"]
    ]
    for user in range(users):
        for place, item in enumerate(rng.permutation(items)[:16].tolist()):
            clicked = int(rng.random() < 0.3 + 0.4 * ((user + item) % 2))
            bought = int(clicked and rng.random() < 0.5)
            answered = bought if clicked or rng.random() < 0.9 else ""
            spent = round(1 + item / 4, 2) if bought else ""
            kind, about = ("cup", "jug", "tin")[item % 3], 1 + item / 4
            time = f"2024-{1 + place // 2:02d}-{1 + user % 27:02d}T1{place % 2}:00:00"
            lines.append(
                [user, f"i{item}", time, clicked, answered, spent, f"{kind} {item}", kind, about]
            )
    write_rows(folder / "log.csv", lines)
