"""Columns of a draft that describe items and users: texts, categories, prices, groups."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pareto_rec.data.table.contents import Column
from pareto_rec.data.table.guess import fitting
from pareto_rec.data.table.lists import parse_list
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.roles import AGREES, usable

MOST_GROUPS = 60  # different values of an attribute that makes groups
MOST_KINDS = 1_000  # different categories
_MARKS = ("|", ";", ",", ">", "/")
_IN_TEMPLATES = re.compile(r"[^{}!:\[\]]+")


@dataclass(frozen=True)
class About:
    """Columns that describe items.

    Attributes:
        texts: What the backbone reads, as a column or a template; "" for none.
        categories: Column of categories.
        delimiter: Between several of them.
        lists: Whether they are written as lists.
        price: Column of prices.
        attributes: Columns that make groups.
        guessed: Columns that contents alone suggest, each with what it was taken for.
    """

    texts: str
    categories: str | None
    delimiter: str
    lists: bool
    price: str | None
    attributes: tuple[str, ...]
    guessed: tuple[str, ...] = ()


def about_items(
    profile: Profile, key: str, taken: Collection[str], price: str | None, allowed: Collection[str]
) -> About:
    """Choose the columns that describe the items of a table.

    Args:
        profile: The table: the log, or a file of the items.
        key: Column of their ids.
        taken: Columns that are something else.
        price: Column of prices.
        allowed: Columns that every file of the table has.
    """
    free = [n for n in profile.names if usable(n) and n not in {*taken, key} and n in allowed]
    columns = [profile.column(name) for name in free]
    of_items = [c for c in columns if c.distinct and not c.time and _agrees(profile, key, c)]
    categories, delimiter, named = _categories(profile, key, of_items)
    own = categories.name if categories else ""
    texts = _texts(profile, key, [c for c in of_items if c.name != own])
    if not texts and categories:
        texts = [categories.name]
    used = {*texts, own, price or ""}
    attributes = groups(profile, key, {*taken, *used}, allowed)
    guessed = [f'"{own}" as categories'] if categories and not named else []
    return About(
        _template(texts),
        own or None,
        delimiter,
        bool(categories and categories.listed),
        price,
        attributes,
        tuple(guessed),
    )


def groups(
    profile: Profile, key: str, taken: Collection[str], allowed: Collection[str]
) -> tuple[str, ...]:
    """Choose columns of few values that are the same in all rows of a user or an item."""
    return tuple(
        column.name
        for column in profile.columns
        if column.name not in {*taken, key}
        and column.name in allowed
        and usable(column.name)
        and 1 < column.distinct <= MOST_GROUPS
        and column.distinct < profile.column(key).distinct
        and not column.time
        and not column.listed
        and not (column.numeric and column.distinct > 12)
        and profile.fixed_by(key, column.name)
    )


def _agrees(profile: Profile, key: str, column: Column) -> bool:
    agreement = profile.agreement(key, column.name)
    if agreement is None:  # no item has two rows: only a table of the items themselves says so
        return profile.column(key).distinct == profile.rows
    return agreement >= AGREES


def _texts(profile: Profile, key: str, columns: Sequence[Column]) -> list[str]:
    """Choose columns of words: those named so, or else those of many different texts."""
    wordy = [c for c in columns if not (c.numeric or c.listed)]
    named = fitting([c.name for c in wordy], "text")
    if named:
        return named[:3]
    several = profile.column(key).distinct > 2
    chosen = [
        c.name
        for c in wordy
        if several and c.wordiness >= 1.5 and c.distinct > min(MOST_GROUPS, 0.3 * profile.rows)
    ]
    if not chosen:
        chosen = [c.name for c in wordy if c.distinct > MOST_GROUPS and _has_letters(c)]
    return chosen[:3]


def _has_letters(column: Column) -> bool:
    """Return whether texts are words, and not marks such as hashes or addresses."""
    sample = column.texts[:200]
    return sum(text.replace(" ", "").isalpha() for text in sample) > 0.5 * len(sample)


def _categories(
    profile: Profile, key: str, columns: Sequence[Column]
) -> tuple[Column | None, str, bool]:
    """Choose the column of categories, its delimiter, and whether its name suggests it."""
    names = [c.name for c in columns]
    named = fitting(names, "categories")
    lists = [c.name for c in columns if c.listed and c.name not in named]
    kinds = [c.name for c in columns if not c.numeric and c.name not in (*named, *lists)]
    items = profile.column(key).distinct
    for name in (*named, *lists, *kinds):
        column = profile.column(name)
        delimiter = "" if column.listed else _delimiter(column)
        count = _kinds(column, delimiter)
        if name in kinds and (count > MOST_GROUPS or column.wordiness > 3):
            continue
        if 2 <= count <= min(MOST_KINDS, max(0.7 * items, 2)):
            return column, delimiter, name in named
    return None, "", False


def _kinds(column: Column, delimiter: str) -> int:
    kinds: set[str] = set()
    for text in column.texts:
        parts = parse_list(text) if column.listed else None
        kinds.update(parts or (text.split(delimiter) if delimiter else [text]))
    return len(kinds)


def _delimiter(column: Column) -> str:
    """Choose the delimiter of categories: a mark after which they become fewer."""
    sample = column.texts[:5000]
    counts = {mark: sum(mark in text for text in sample) for mark in _MARKS}
    mark = max(counts, key=lambda mark: counts[mark])
    if not counts[mark]:
        return ""
    distinct, parted = (
        len(sample),
        len({part.strip() for text in sample for part in text.split(mark)}),
    )
    return mark if parted < distinct or mark == "|" else ""


def _template(names: Sequence[str]) -> str:
    """Join columns to a template, or return the one column whose name a template cannot hold."""
    fit = [name for name in names if _IN_TEMPLATES.fullmatch(name)]
    if fit:
        return ", ".join(f"{{{name}}}" for name in fit)
    return names[0] if names else ""
