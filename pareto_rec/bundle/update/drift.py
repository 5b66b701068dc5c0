"""Drift between new interactions and those that a bundle was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import Interactions, Items

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """Drift of the new rows.

    Attributes:
        rows: New rows.
        new_users: Share of the new rows' users that the bundle does not know.
        new_items: Share of the new rows' items that it does not know.
        rows_of_new_items: Share of the new rows that are of such items.
        popularity: Distance of the items' shares of rows, before and now; 0 equal, 1 disjoint.
        popularity_by_chance: What it would be, on average, were the new rows drawn as before.
        categories: The same of the categories' shares.
        category_shift: The categories that gained or lost most: name, share before, share now.
    """

    rows: int
    new_users: float
    new_items: float
    rows_of_new_items: float
    popularity: float
    popularity_by_chance: float
    categories: float
    category_shift: tuple[tuple[str, float, float], ...]


def jensen_shannon(first: Floats, second: Floats) -> float:
    """Return the Jensen-Shannon distance of two vectors of counts, base 2, 0 to 1.

    Raises:
        ValueError: If one of them is all 0.

    Source: Endres and Schindelin (2003), the root of the divergence is a metric.
    """
    if first.sum() <= 0 or second.sum() <= 0:
        raise ValueError("shares of nothing")
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2

    def relative(part: Floats) -> float:
        positive = part > 0
        return float((part[positive] * np.log2(part[positive] / middle[positive])).sum())

    return float(np.sqrt(max(0.0, (relative(p) + relative(q)) / 2)))


def drift_of(
    old: Interactions,
    new: Interactions,
    items: Items,
    known: tuple[int, int],
    rng: np.random.Generator,
) -> Drift:
    """Compare new rows with old ones.

    Args:
        old: Rows that the bundle has learnt from.
        new: Rows of the same indices; users and items beyond those that are known are new.
        items: The catalogue with the new items.
        known: Number of users and of items that the bundle knows.
        rng: Draws what chance alone would do.
    """
    users, met = np.unique(new.user), np.unique(new.item)
    before, now = (
        np.bincount(rows.item, minlength=len(items)).astype(np.float64) for rows in (old, new)
    )
    chance = [
        jensen_shannon(before, rng.multinomial(len(new), before / before.sum()).astype(np.float64))
        for _ in range(20)
    ]
    categories = np.asarray(items.categories, dtype=np.float64)
    shares: list[Floats] = [np.asarray(counts @ categories) for counts in (before, now)]
    known_categories = all(part.sum() > 0 for part in shares)
    return Drift(
        rows=len(new),
        new_users=float((users >= known[0]).mean()),
        new_items=float((met >= known[1]).mean()),
        rows_of_new_items=float((new.item >= known[1]).mean()),
        popularity=jensen_shannon(before, now),
        popularity_by_chance=float(np.mean(chance)),
        categories=jensen_shannon(*shares) if known_categories else 0.0,
        category_shift=_shift(shares, items.category_names) if known_categories else (),
    )


def _shift(
    shares: Sequence[Floats], names: Sequence[str], most: int = 3
) -> tuple[tuple[str, float, float], ...]:
    before, now = (part / part.sum() for part in shares)
    order = np.argsort(-np.abs(now - before), kind="stable")[:most]
    return tuple((names[index], float(before[index]), float(now[index])) for index in order)
