"""Data sets from the log of a table: the catalogue, the users, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Dataset, FloatArray, IntArray, Interactions, Items, Users
from pareto_rec.data.table import clean
from pareto_rec.data.table import entity_attributes as facts
from pareto_rec.data.table.columns import resolve
from pareto_rec.data.table.entity_files import log_alone, read_entities
from pareto_rec.data.table.files import find
from pareto_rec.data.table.ids import warn_of_ids
from pareto_rec.data.table.options import Bins, TableOptions
from pareto_rec.data.table.read import EntityAttributes, Log, read_log
from pareto_rec.data.table.row_audit import RowAudit


def read_table(options: TableOptions, name: str, skipped: Path | None = None) -> Dataset:
    """Read a table.

    Users and items are numbered in the order of their ids, and rows stand by user, time and item:
    neither the order of the files nor that of their rows has a say, unless a config says that it
    stands for the time (:class:`~pareto_rec.data.table.options.RowNumber`).

    Args:
        options: How.
        name: What people call the data.
        skipped: Where rows that cannot be read are written, if they are to be skipped.

    Raises:
        BadRequestError: If a file cannot be read, a column is not there, a row is bad and bad rows
            are not to be skipped, or nothing is left.
    """
    account = RowAudit(skipped=skipped)
    files = find(options.files)
    account.notes["files"] = ", ".join(file.path.name for file in files)
    log = read_log(options, files, resolve(options, files, account), account)
    against = tuple(options.against)
    catalogue, rows = _catalogue(options, log, account)
    people, rows = _people(options, log, rows, account)
    rows, origin = clean.without_duplicates(rows, log.origin, options.duplicates, against, account)
    mask = clean.k_core(rows, origin, against, options.k_core, account)
    rows, origin = rows.take(mask), origin[mask]
    _check(account, origin)
    if not len(rows):
        raise BadRequestError(
            f"{name}: no row is left: no user has {options.k_core.user} rows with items of "
            f"{options.k_core.item} rows; lower data.k_core"
        )
    account.warn_of_losses()
    rows, catalogue, people = compact(rows, catalogue, people, keep=options.items.without_rows)
    rows = clean.numbered_within_users(rows) if log.ordered else rows
    rows = rows.take(np.lexsort((rows.item, rows.time, rows.user))).read_only()
    account.notes["users"], account.notes["items"] = len(people), len(catalogue)
    if log.ordered:
        account.notes["times"] = "none; the rows of each user stand oldest first, says the config"
    elif not log.timed:
        account.notes["times"] = "none, so only splits that need no times are available"
    against, summary = tuple(options.against), account.summary()
    return Dataset(name, rows, catalogue, people, against, log.timed, summary, log.ordered)


def _check(account: RowAudit, origin: IntArray) -> None:
    """Compare the rows that are left with the account of every file.

    Raises:
        RuntimeError: If rows of a file went away without being counted.
    """
    for index, (name, file) in enumerate(account.files.items()):
        left = int((origin == index).sum())
        if file.used != left:
            raise RuntimeError(f"{name}: {left} rows are left, and {file.used} are accounted for")


def _catalogue(options: TableOptions, log: Log, account: RowAudit) -> tuple[Items, Interactions]:
    """Build the items, one for each text if so configured, and the rows with matching numbers."""
    item_options = options.items
    if item_options.files:
        joined = read_entities(
            options, item_options, log.items, account, more=item_options.without_rows
        )
    else:
        joined = log_alone(log.items, log.of_items)
    ids, about, item = joined.ids, joined.facts, joined.of_log[log.rows.item]
    warn_of_ids("item", ids, item, account)
    texts = _texts(options, about, ids, account)
    if item_options.same_text:
        first = clean.same_text(texts, ids)
        firsts = np.unique(first)
        account.notes["items made one with another of the same text"] = len(ids) - len(firsts)
        positions = np.searchsorted(firsts, first)
        code = np.where(about.code >= 0, positions[np.maximum(about.code, 0)], -1)
        about, item = replace(about, code=code), positions[item]
        ids, texts = tuple(ids[n] for n in firsts), tuple(texts[n] for n in firsts)
    prices = facts.median_price(about, len(ids)) if about.price is not None else None
    matrix, names = _categories(options, about, texts)
    attributes = _attributes(item_options.attributes, item_options.bins, about, len(ids), account)
    if item_options.price_bands and prices is not None:
        attributes["price_band"] = facts.bands(prices, item_options.price_bands)
    titles = facts.filled(item_options.title, about, len(ids)) if item_options.title else texts
    titles = tuple(title or text for title, text in zip(titles, texts, strict=True))
    items = Items(ids, titles, texts, matrix, names, prices, attributes)
    return items, replace(log.rows, item=item)


def _texts(
    options: TableOptions, about: EntityAttributes, ids: tuple[str, ...], account: RowAudit
) -> tuple[str, ...]:
    template = options.items.text or options.items.title
    if template is None:
        account.notes["texts of items"] = "none is named, so their ids stand for them"
        return ids
    texts = facts.filled(template, about, len(ids))
    empty = sum(not text for text in texts)
    if empty:
        account.notes["items without a text, their ids stand for it"] = empty
    if "{" not in template:
        several = facts.differing(about, template)
        account.notes["items with several texts, the most frequent is taken"] = several
    return tuple(text or id_ for text, id_ in zip(texts, ids, strict=True))


def _categories(
    options: TableOptions, about: EntityAttributes, texts: tuple[str, ...]
) -> tuple[FloatArray, tuple[str, ...]]:
    item_options = options.items
    if item_options.categories is None:
        return facts.frequent_words(texts, item_options.words)
    named = facts.filled(item_options.categories, about, len(texts))
    if item_options.category_lists:
        return facts.listed_categories(named)
    return facts.categories(named, item_options.delimiter)


def _attributes(
    names: list[str],
    bins: Mapping[str, Bins],
    about: EntityAttributes,
    count: int,
    account: RowAudit,
) -> dict[str, tuple[str, ...]]:
    attributes = {}
    for name in names:
        attributes[name] = facts.commonest(about, name, count)
        if name in bins:
            attributes[name] = facts.binned(attributes[name], bins[name], name, account)
    return attributes


def _people(
    options: TableOptions, log: Log, rows: Interactions, account: RowAudit
) -> tuple[Users, Interactions]:
    """Build the users, and the rows with matching numbers."""
    user_options = options.users
    if user_options.files:
        joined = read_entities(options, user_options, log.users, account, more=False)
    else:
        joined = log_alone(log.users, log.of_users)
    user = joined.of_log[rows.user]
    warn_of_ids("user", joined.ids, user, account)
    attributes = _attributes(
        user_options.attributes, user_options.bins, joined.facts, len(joined.ids), account
    )
    return Users(joined.ids, attributes, options.min_group), replace(rows, user=user)


def compact(
    rows: Interactions, items: Items, users: Users, *, keep: bool
) -> tuple[Interactions, Items, Users]:
    """Keep only users with rows, and items with rows or kept without any."""
    who = np.unique(rows.user)
    what = np.arange(len(items)) if keep else np.unique(rows.item)
    rows = replace(
        rows, user=np.searchsorted(who, rows.user), item=np.searchsorted(what, rows.item)
    )
    met = items.categories[what].any(axis=0)
    categories = np.ascontiguousarray(items.categories[what][:, met])
    categories.flags.writeable = False
    prices = None if items.prices is None else items.prices[what]
    if prices is not None:
        prices.flags.writeable = False
    few = Items(
        _some(items.ids, what),
        _some(items.titles, what),
        _some(items.texts, what),
        categories,
        _some(items.category_names, np.flatnonzero(met)),
        prices,
        {name: _some(values, what) for name, values in items.attributes.items()},
    )
    attributes = {name: _some(values, who) for name, values in users.attributes.items()}
    return rows, few, Users(_some(users.ids, who), attributes, users.min_group)


def _some(values: tuple[str, ...], which: IntArray) -> tuple[str, ...]:
    return tuple(values[n] for n in which.tolist())
