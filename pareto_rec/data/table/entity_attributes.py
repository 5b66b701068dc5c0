"""Attributes of one item or user, aggregated over many rows: texts, prices, groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from string import Formatter

import numpy as np
import pyarrow as pa

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import FloatArray
from pareto_rec.data.table.lists import parse_list
from pareto_rec.data.table.options import Bins
from pareto_rec.data.table.read import EntityAttributes
from pareto_rec.data.table.row_audit import RowAudit
from pareto_rec.data.table.stopwords import STOP_WORDS
from pareto_rec.data.table.values import numbers

MOST_CATEGORIES = 5_000
MOST_COMMON = 0.5  # share of the texts beyond which a word separates no categories

Texts = tuple[str, ...]

_WORD = re.compile(r"[^\W\d_]{3,}")


def commonest(facts: EntityAttributes, column: str, count: int) -> Texts:
    """Return the most frequent text in the rows of each ``[count]``; "" without any.

    Of equally frequent ones the first in the alphabet.
    """
    codes, texts = facts.texts[column]
    known = (codes >= 0) & (facts.code >= 0)
    pairs, rows = np.unique(facts.code[known] * len(texts) + codes[known], return_counts=True)
    if not len(pairs):
        return ("",) * count
    whose, which = np.divmod(pairs, len(texts))
    order = np.lexsort((which, -rows, whose))
    first = np.flatnonzero(np.diff(whose[order], prepend=-1))
    commonest_texts = [""] * count
    best = order[first]
    for owner, text in zip(whose[best].tolist(), which[best].tolist(), strict=True):
        commonest_texts[owner] = texts[text]
    return tuple(commonest_texts)


def differing(facts: EntityAttributes, column: str) -> int:
    """Count those that have rows with different texts in a column."""
    codes, texts = facts.texts[column]
    known = (codes >= 0) & (facts.code >= 0)
    pairs = np.unique(facts.code[known] * max(len(texts), 1) + codes[known])
    _, count = np.unique(pairs // max(len(texts), 1), return_counts=True)
    return int((count > 1).sum())


def filled(template: str, facts: EntityAttributes, count: int) -> Texts:
    """Fill in a template for each ``[count]``; a plain name is its column.

    Where a column says nothing, the text of the template before it is left out as well.
    """
    if "{" not in template:
        return commonest(facts, template, count)
    parts = [(literal, name) for literal, name, _, _ in Formatter().parse(template)]
    columns = {name: commonest(facts, name, count) for _, name in parts if name}
    return tuple(_fill(parts, {n: c[index] for n, c in columns.items()}) for index in range(count))


def _fill(parts: Sequence[tuple[str, str | None]], values: Mapping[str, str]) -> str:
    text, known = "", False
    for literal, name in parts:
        value = values[name] if name else ""
        if name is None:
            text += literal if known else ""
        elif value:
            text, known = text + literal + value, True
        else:
            known = False
    return text.strip(" ,;:-/|")


def median_price(facts: EntityAttributes, count: int) -> FloatArray:
    """Compute the median price in the rows of each ``[count]``, NaN where none is known."""
    assert facts.price is not None
    known = ~np.isnan(facts.price) & (facts.code >= 0)
    code, price = facts.code[known], facts.price[known]
    order = np.lexsort((price, code))
    code, price = code[order], price[order]
    rows = np.bincount(code, minlength=count)
    start = np.cumsum(rows) - rows
    some = rows > 0
    low, high = start[some] + (rows[some] - 1) // 2, start[some] + rows[some] // 2
    medians = np.full(count, np.nan, dtype=np.float32)
    medians[some] = (price[low] + price[high]) / 2
    return medians


def bands(prices: FloatArray, count: int) -> Texts:
    """Assign each item a price band ``[items]`` of about equally many; "" without a price.

    Equal prices are in one band.
    """
    known = ~np.isnan(prices)
    edges = np.quantile(prices[known], np.arange(1, count) / count) if known.any() else np.zeros(0)
    band = np.searchsorted(edges, prices, side="left")
    names = [f"{n} of {count}, up to {edge:g}" for n, edge in enumerate(edges, 1)]
    names.append(f"{count} of {count}")
    return tuple(names[number] if price else "" for number, price in zip(band, known, strict=True))


def binned(texts: Texts, bins: Bins, name: str, account: RowAudit) -> Texts:
    """Sort numbers into bins; "" stays, and what is not a number becomes it.

    Raises:
        BadRequestError: If not one text is a number.
    """
    edges, labels = bins.edges, [f"under {bins.edges[0]:g}"]
    labels += [f"{low:g} to under {high:g}" for low, high in pairwise(edges)]
    labels.append(f"{edges[-1]:g} and over")
    known = sorted(set(texts) - {""})
    values, bad = numbers(pa.chunked_array([pa.array(known, pa.string())]), ())
    if known and bad.all():
        raise BadRequestError(
            f'bins of "{name}": "{known[0][:60]}" is not a number, nor is any other value; leave '
            "the bins out to group by text"
        )
    which = np.searchsorted(edges, values, side="right").tolist()
    unknown = np.isnan(values).tolist()
    bin_of = {
        text: "" if u else labels[n] for text, n, u in zip(known, which, unknown, strict=True)
    }
    lost = [text for text, unreadable in zip(known, bad.tolist(), strict=True) if unreadable]
    if lost:
        count = sum(text in set(lost) for text in texts)
        account.lose(f"{name} (in bins)", lost, count, sum(bool(text) for text in texts))
    return tuple(bin_of.get(text, "") for text in texts)


def frequent_words(texts: Texts, count: int) -> tuple[FloatArray, Texts]:
    """Mark the most frequent words in each text: 0/1 ``[items, words]`` and the words.

    Words of three letters or more, each counted once a text; of equally frequent ones the first in
    the alphabet. A word that stands in one text alone, in more than half of them, or that links
    others (the, with, und) says nothing of kinds and is left out.
    """
    sets = [set(_WORD.findall(text.lower())) - STOP_WORDS for text in texts]
    rows = Counter(word for words in sets for word in words)
    most = max(len(texts) * MOST_COMMON, 2)
    ranked = sorted((-n, word) for word, n in rows.items() if 1 < n <= most)
    chosen = {word for _, word in ranked[:count]}
    return _matrix([sorted(words & chosen) for words in sets])


def categories(texts: Texts, delimiter: str) -> tuple[FloatArray, Texts]:
    """Split texts at a delimiter into a 0/1 matrix ``[items, categories]`` and its names.

    Raises:
        BadRequestError: If there are too many for categories.
    """
    return _matrix([[n.strip() for n in text.split(delimiter) if n.strip()] for text in texts])


def listed_categories(texts: Texts) -> tuple[FloatArray, Texts]:
    """Do the same for texts that are lists (``['a', 'b']``); another text is one category.

    Raises:
        BadRequestError: If there are too many for categories.
    """
    entries = [parse_list(text) for text in texts]
    pairs = zip(texts, entries, strict=True)
    return _matrix([[text] if text and names is None else names or [] for text, names in pairs])


def _matrix(sets: Sequence[Sequence[str]]) -> tuple[FloatArray, Texts]:
    names = tuple(sorted({name for members in sets for name in members}))
    if len(names) > MOST_CATEGORIES:
        raise BadRequestError(
            f"{len(names):,} different categories, more than {MOST_CATEGORIES:,}: name a column of "
            "kinds of items, or check data.items.delimiter"
        )
    columns = {name: number for number, name in enumerate(names)}
    matrix = np.zeros((len(sets), len(names)), dtype=np.float32)
    for row, members in enumerate(sets):
        matrix[row, [columns[name] for name in members]] = 1.0
    return matrix, names
