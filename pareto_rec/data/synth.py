"""Synthetic logs of any size: power-law users and items, tastes, texts, times; written in parts.

Nothing of it is held whole but one number per user and a few per item, so that 10^7 rows and 10^6
items need some hundred MB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import written_whole
from pareto_rec.core.seeds import generator

CATEGORIES = (
    *("action", "adventure", "animation", "biography", "comedy", "cooking", "crime", "drama"),
    *("fantasy", "garden", "history", "horror", "music", "mystery", "nature", "romance"),
    *("science", "sport", "travel", "war"),
)
WORDS = (
    *("amber", "border", "candle", "canyon", "circle", "cloud", "copper", "corner", "crystal"),
    *("desert", "distant", "echo", "ember", "field", "forest", "frozen", "garden", "golden"),
    *("harbour", "hidden", "hollow", "island", "ivory", "journey", "lantern", "last", "letter"),
    *("little", "lost", "meadow", "midnight", "mirror", "morning", "mountain", "narrow", "night"),
    *("northern", "ocean", "orchard", "paper", "quiet", "rain", "river", "road", "scarlet"),
    *("secret", "shadow", "silent", "silver", "stone", "storm", "summer", "thunder", "tower"),
    *("valley", "velvet", "village", "violet", "water", "white", "wild", "window", "winter"),
)
REGIONS = ("north", "south", "east")
PARTS = {"interactions": 500_000, "items": 100_000, "users": 100_000}  # rows written at a time
FEWEST_ROWS = 3  # per user: one to learn from, one for validation, one for the test
MOST_SHARE = 0.25  # of the catalogue that one user may have met
BEGIN, SPAN = 1_600_000_000, 2 * 365 * 86_400  # first sign-up and last, in seconds
FORMATS = ("parquet", "csv")

Columns = dict[str, Any]  # name -> array or list, all of one length
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """Parameters of a synthetic log.

    Attributes:
        users: People.
        items: Catalogue.
        interactions: Rows; no user meets an item twice.
        seed: Root of every draw.
        skew: Exponent of the popularity of items, ``(rank + 10) ** -skew``.
        spread: Deviation of the logarithm of the rows per user.
        taste: Share of a user's rows that are of the user's own three categories.
    """

    users: int
    items: int
    interactions: int
    seed: int = 0
    skew: float = 0.9
    spread: float = 1.0
    taste: float = 0.7

    def check(self) -> None:
        """Refuse a recipe that cannot be made.

        Raises:
            BadRequestError: If a number is out of range, or the rows do not fit.
        """
        lowest = {"users": 1, "items": 20, "interactions": FEWEST_ROWS * self.users}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise BadRequestError(
                    f"--{name} is {getattr(self, name)}; it must be {low} or more"
                )
        most = int(self.items * MOST_SHARE)
        if self.interactions > self.users * most:
            raise BadRequestError(
                f"--interactions {self.interactions} are too many: {self.users} users may meet "
                f"{most} of {self.items} items each; ask for more users or items"
            )


class World:
    """The users and the catalogue that rows are drawn from."""

    def __init__(self, recipe: Recipe) -> None:
        recipe.check()
        rng = generator(recipe.seed, "world")
        self.recipe = recipe
        self.lengths = _lengths(recipe, rng)
        count = len(CATEGORIES)
        self.tastes = rng.integers(0, count, (recipe.users, 3)).astype(np.int8)
        weight = (rng.permutation(recipe.items) + 10.0) ** -recipe.skew
        category = rng.integers(0, count, recipe.items).astype(np.int8)
        self.second = rng.integers(0, count, recipe.items).astype(np.int8)
        self.category = category
        self.order = np.argsort(category, kind="stable")  # items of one category side by side
        self.weight = np.concatenate([[0.0], np.cumsum(weight[self.order])])
        edges = np.searchsorted(category[self.order], np.arange(count + 1))
        self.edges = self.weight[edges]

    def rows(self) -> Iterator[Columns]:
        """Yield rows of complete users, sorted by user and time."""
        ends = np.cumsum(self.lengths)
        begin = part = 0
        while begin < len(ends):
            before = ends[begin - 1] if begin else 0
            limit = before + PARTS["interactions"]
            end = max(begin + 1, int(np.searchsorted(ends, limit, "right")))
            yield self._rows(begin, end, generator(self.recipe.seed, "rows", part))
            begin, part = end, part + 1

    def _rows(self, begin: int, end: int, rng: np.random.Generator) -> Columns:
        user, item = self._pairs(begin, end, rng)
        own = (self.tastes[user] == self.category[item][:, None]).any(1)
        rating = np.clip(np.round(rng.normal(3.0 + own, 1.0)), 1, 5).astype(np.int8)
        start = BEGIN + rng.integers(0, SPAN, end - begin)
        gap = rng.exponential(86_400.0, len(user)).astype(np.int64) + 1
        spent = np.cumsum(gap)
        first = np.searchsorted(user, np.arange(begin, end))
        time = start[user - begin] + spent - spent[first][user - begin]
        return {"user_id": user, "item_id": item, "timestamp": time, "rating": rating}

    def _pairs(self, begin: int, end: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw users and items, no pair twice; the items of a user in the order of the draws."""
        n_items = self.recipe.items
        wanted = self.lengths[begin:end]
        pairs = np.zeros(0, dtype=np.int64)
        attempt, missing = 0, wanted
        while missing.any():
            user = np.repeat(np.arange(begin, end), missing)
            drawn = self._draw(user, rng) if attempt < 4 else rng.integers(0, n_items, len(user))
            pairs = np.concatenate([pairs, user * n_items + drawn])
            _, first = np.unique(pairs, return_index=True)
            pairs = pairs[np.sort(first)]
            missing = wanted - np.bincount(pairs // n_items - begin, minlength=end - begin)
            attempt += 1
        user = pairs // n_items
        order = np.argsort(user, kind="stable")
        return user[order], (pairs % n_items)[order]

    def _draw(self, user: Ints, rng: np.random.Generator) -> Ints:
        """Draw an item per row: of a category of the user's taste, or of any, by popularity."""
        own = rng.random(len(user)) < self.recipe.taste
        category = self.tastes[user, rng.integers(0, 3, len(user))]
        low = np.where(own, self.edges[category], 0.0)
        high = np.where(own, self.edges[category + 1], self.weight[-1])
        point = low + rng.random(len(user)) * (high - low)
        index = np.searchsorted(self.weight, point, "right") - 1
        return np.asarray(self.order[np.clip(index, 0, self.recipe.items - 1)])

    def items(self) -> Iterator[Columns]:
        """Yield the catalogue: id, title, categories joined by ``|``, a description."""
        names, words = np.array(CATEGORIES), np.array(WORDS)
        for part, begin in enumerate(range(0, self.recipe.items, PARTS["items"])):
            ids = np.arange(begin, min(begin + PARTS["items"], self.recipe.items))
            rng = generator(self.recipe.seed, "items", part)
            first, second = names[self.category[ids]], names[self.second[ids]]
            both = np.char.add(np.char.add(first, "|"), second)
            chosen = words[rng.integers(0, len(words), (len(ids), 6))]
            titles = [
                f"{a} {b} {number}".title() for a, b, number in zip(*chosen.T[:2], ids, strict=True)
            ]
            texts = [
                f"a {kind} about the {a} {b} and a {c} {d}"
                for kind, a, b, c, d in zip(first, *chosen.T[2:], strict=True)
            ]
            categories = np.where(first == second, first, both)
            yield {"item_id": ids, "title": titles, "categories": categories, "description": texts}

    def users(self) -> Iterator[Columns]:
        """Yield the users: id and region."""
        for part, begin in enumerate(range(0, self.recipe.users, PARTS["users"])):
            ids = np.arange(begin, min(begin + PARTS["users"], self.recipe.users))
            rng = generator(self.recipe.seed, "users", part)
            share = rng.random(len(ids))  # half of the people live in the first region
            region = np.array(REGIONS)[np.searchsorted([0.5, 0.8], share)]
            yield {"user_id": ids, "region": region}


def _lengths(recipe: Recipe, rng: np.random.Generator) -> Ints:
    """Draw rows per user ``[users]``: log-normal, of the requested sum."""
    most = int(recipe.items * MOST_SHARE)
    raw = rng.lognormal(0.0, recipe.spread, recipe.users)
    free = recipe.interactions - FEWEST_ROWS * recipe.users
    lengths = FEWEST_ROWS + np.floor(raw * (free / raw.sum())).astype(np.int64)
    lengths = np.minimum(lengths, most)
    while left := recipe.interactions - int(lengths.sum()):
        room = np.flatnonzero(lengths < most)
        more = np.bincount(rng.choice(room, left), minlength=recipe.users)
        lengths = np.minimum(lengths + more, most)
    return np.asarray(lengths)


def write(recipe: Recipe, folder: Path, form: str = "parquet") -> dict[str, Path]:
    """Write interactions, items and users, and their recipe.

    Args:
        recipe: What to make up; equal recipes make equal files.
        folder: Where to; made if need be, files in it are replaced.
        form: One of `FORMATS`.

    Returns:
        Table -> file.

    Raises:
        BadRequestError: If the recipe cannot be made, or the folder cannot be written.
    """
    if form not in FORMATS:
        raise BadRequestError(f'--format "{form}" is not known: write {" or ".join(FORMATS)}')
    world = World(recipe)
    files: dict[str, Path] = {}
    tables: dict[str, Callable[[], Iterator[Columns]]] = {
        "items": world.items,
        "users": world.users,
        "interactions": world.rows,
    }
    for name, parts in tables.items():
        files[name] = folder / f"{name}.{form}"
        with written_whole(files[name]) as temporary:
            _write_parts(temporary, parts(), form)
    with written_whole(folder / "recipe.json") as temporary:
        temporary.write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    return files


def _write_parts(path: Path, parts: Iterator[Columns], form: str) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    writer: Any = None
    try:
        for columns in parts:
            table = pa.table(columns)
            if writer is None:
                kind = parquet.ParquetWriter if form == "parquet" else csv.CSVWriter
                writer = kind(str(path), table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
