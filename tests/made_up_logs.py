"""Made-up logs of many shapes, as strangers would bring them: names, ids, times, events, amounts.

A shape is drawn from a seed. Whatever it is, it can be searched: users have met several items each.
"""

from __future__ import annotations

import csv
import json
import random
import uuid
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAMES = {  # user, item, time, title, category, price, event, rating, amount
    "plain": "user_id item_id timestamp title category price event rating quantity",
    "camel": "CustomerID StockCode InvoiceDate Description Department UnitPrice Action Stars Qty",
    "german": "kunde artikel datum bezeichnung kategorie preis ereignis bewertung menge",
    "russian": "пользователь товар дата название категория цена событие оценка количество",
    "spanish": "usuario producto fecha titulo categoria precio evento puntuacion cantidad",
    "unknown": "c0 c1 c2 c3 c4 c5 c6 c7 c8",
    "odd": "who+knows what:it_is t!me na.me kind[0] pr=ice e'vent s\"c q,",
}
EVENTS = (
    ("view", "cart", "purchase"),
    ("View", "view", "VIEW", "Purchase"),
    ("pageview", "add_to_cart", "remove_from_cart", "transaction", "Add to Cart"),
    ("просмотр", "корзина", "покупка"),
    ("1", "2", "3", "4"),
    tuple(f"event type {n}" for n in range(30)),
    ("=1+1", 'he said "buy"', "naïve", "a.b", "{x}"),
)
TIMES = ("s", "ms", "us", "iso", "iso_t", "zone", "date", "german", "american", "days", "none")
IDS = ("int", "text", "uuid", "zeros", "large")
WORDS = (
    "red",
    "blue",
    "the",
    "of",
    "cup",
    "jug",
    "with",
    "old",
    "tin",
    "new",
    "and",
    "big",
    "bowl",
)
KINDS = ("cups", "jugs", "tins", "bowls", "trays", "pans")


@dataclass(frozen=True)
class Shape:
    """How a made-up log looks."""

    seed: int
    names: str
    users: int
    items: int
    rows: int
    user_ids: str
    item_ids: str
    times: str
    events: tuple[str, ...]
    rating: str
    amount: bool
    titles: bool
    categories: str
    price: str
    item_file: bool
    user_file: bool
    files: int
    packed: str
    separator: str
    repeats: bool
    blanks: bool
    extra: bool


def shape(seed: int) -> Shape:
    """A shape drawn from a seed."""
    draw = random.Random(seed)
    separator = draw.choice([",", ",", ";", "\t", "|"])
    return Shape(
        seed,
        names=draw.choice(list(NAMES)),
        users=draw.choice([1, 8, 8, 25, 25, 60]),
        items=draw.choice([6, 15, 30, 80]),
        rows=draw.choice([4, 8, 14]),
        user_ids=draw.choice(IDS),
        item_ids=draw.choice(IDS),
        times=draw.choice(TIMES),
        events=draw.choice([(), (), *EVENTS]),
        rating=draw.choice(["", "", "five", "halves", "ten", "binary", "comma"]),
        amount=draw.random() < 0.3,
        titles=draw.random() < 0.6,
        categories=draw.choice(["", "one", "bars", "python", "json", "numbers"]),
        price=draw.choice(["", "", "point", "comma", "thousands", "sign"]),
        item_file=draw.random() < 0.5,
        user_file=draw.random() < 0.2,
        files=draw.choice([1, 1, 1, 2]),
        packed=draw.choice(["", "", "", "zip", "parquet"]),
        separator=separator,
        repeats=draw.random() < 0.2,
        blanks=draw.random() < 0.2,
        extra=draw.random() < 0.3,
    )


@dataclass
class _Made:
    shape: Shape
    draw: random.Random
    users: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)


def write_log(folder: Path, how: Shape) -> list[Path]:
    """Write the files of a shape; what `data inspect` is given."""
    draw = random.Random(how.seed + 1)
    made = _Made(
        how, draw, _ids(how.user_ids, how.users, draw, 0), _ids(how.item_ids, how.items, draw, 1)
    )
    catalogue = [_item(made, place) for place in range(how.items)]
    beside = catalogue if not how.item_file else [{} for _ in catalogue]
    tables = {"log": _rows(made, beside)}
    user, item = NAMES[how.names].split()[:2]
    if how.item_file:
        tables["items"] = [
            {item: id_, **facts} for id_, facts in zip(made.items, catalogue, strict=True)
        ]
    if how.user_file:
        tables["users"] = [
            {user: id_, "country": draw.choice(["DE", "FR"]), "age": draw.randint(18, 80)}
            for id_ in made.users
        ]
    return _written(folder, how, tables)


def _ids(kind: str, count: int, draw: random.Random, role: int) -> list[str]:
    forms: dict[str, Callable[[int], str]] = {
        "int": lambda n: str(n + 1),
        "text": lambda n: f"{'ui'[role]}{n}",
        "uuid": lambda _: str(uuid.UUID(int=draw.getrandbits(128))),
        "zeros": lambda n: f"{n:07d}",
        "large": lambda n: str(2**53 + 1 + n),
    }
    return [forms[kind](n) for n in range(count)]


def _item(made: _Made, place: int) -> dict[str, object]:
    how, draw = made.shape, made.draw
    names, facts = NAMES[how.names].split(), dict[str, object]()
    kinds = [KINDS[place % len(KINDS)], *draw.sample(KINDS, 1)]
    if how.titles:
        facts[names[3]] = f"{draw.choice(WORDS)} {draw.choice(WORDS)} {kinds[0]} {place}"
    if how.categories:
        facts[names[4]] = {
            "one": kinds[0],
            "bars": "|".join(dict.fromkeys(kinds)),
            "python": str(kinds),
            "json": json.dumps(kinds),
            "numbers": str(place % 6),
        }[how.categories]
    if how.price:
        value = 1 + place * 0.25 + (1000 if how.price == "thousands" else 0)
        comma = f"{value:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
        facts[names[5]] = {
            "point": f"{value:.2f}",
            "comma": f"{value:.2f}".replace(".", ","),
            "thousands": comma,
            "sign": f"${value:.2f}",
        }[how.price]
    return facts


def _rows(made: _Made, catalogue: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    how, draw = made.shape, made.draw
    names, rows = NAMES[how.names].split(), []
    begin = datetime(2024, 1, 31, 8, tzinfo=UTC)
    for user in made.users:
        some = (
            [draw.randrange(min(3, how.items)) for _ in range(how.rows)]
            if how.repeats
            else (draw.sample(range(how.items), min(how.rows, how.items)))
        )
        for step, place in enumerate(some):
            when = begin + timedelta(days=step, minutes=draw.randrange(600))
            row: dict[str, object] = {names[0]: user, names[1]: made.items[place]}
            if how.times != "none":
                row[names[2]] = _time(when, how.times)
            row |= catalogue[place]
            if how.events:
                row[names[6]] = draw.choice(how.events)
            if how.rating:
                row[names[7]] = _rating(how.rating, draw)
            if how.amount:
                row[names[8]] = draw.randint(0, 4)
            if how.extra:
                row["daytime"] = draw.choice(["morning", "evening"])
                row["note"] = draw.choice(["", "gift", "a longer remark of somebody"])
            if how.blanks and draw.random() < 0.05:
                row[draw.choice(list(row))] = ""
            rows.append(row)
    draw.shuffle(rows)
    return rows


def _time(when: datetime, form: str) -> str:
    seconds = int(when.timestamp())
    return {
        "s": str(seconds),
        "ms": str(seconds * 1000),
        "us": str(seconds * 10**6),
        "iso": f"{when:%Y-%m-%d %H:%M:%S}",
        "iso_t": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "zone": f"{when:%Y-%m-%dT%H:%M:%S+02:00}",
        "date": f"{when:%Y-%m-%d}",
        "german": f"{when:%d.%m.%Y %H:%M}",
        "american": f"{when:%m/%d/%Y %H:%M}",
        "days": str((when - datetime(2024, 1, 1, tzinfo=UTC)).days),
    }[form]


def _rating(form: str, draw: random.Random) -> str:
    return {
        "five": str(draw.randint(1, 5)),
        "halves": str(draw.randint(1, 10) / 2),
        "ten": str(draw.randint(0, 10)),
        "binary": str(draw.randint(0, 1)),
        "comma": f"{draw.randint(2, 10) / 2:.1f}".replace(".", ","),
    }[form]


def _written(folder: Path, how: Shape, tables: dict[str, list[dict[str, object]]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in tables.items():
        parts = [rows[n :: how.files] for n in range(how.files)] if name == "log" else [rows]
        for number, part in enumerate(filter(None, parts)):
            path = folder / f"{name}{number}.csv"
            columns = list(dict.fromkeys(key for row in rows for key in row))
            if number and how.extra:
                columns = [*reversed(columns), "device"]  # a log that differs in one column
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns, restval="x", delimiter=how.separator)
                writer.writeheader()
                writer.writerows(part)
            paths.append(path)
    if how.packed == "zip":
        packed = folder / "all.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in paths:
                archive.write(path, path.name)
        return [packed]
    if how.packed == "parquet":
        return [_as_parquet(path, how.separator) for path in paths]
    return paths


def _as_parquet(path: Path, separator: str) -> Path:
    from pyarrow import csv as arrow
    from pyarrow import parquet

    table = arrow.read_csv(path, parse_options=arrow.ParseOptions(delimiter=separator))
    parquet.write_table(table, path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")
