"""Order of items of equal score, independent of their ids.

The catalogue is in the order of the items' ids, and ids often follow time or popularity. A list
that left equal scores in that order would measure the ids. So equals are ordered by a hash of what
is known of the items: their contents, and the users and times of their rows.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.cuts import HashArray, pair_hash
from pareto_rec.data.schema import IntArray, Interactions, Items

ROUNDS = 3  # as far as the hash of an item looks along users and their other items
_START = np.uint64(0x9E3779B97F4A7C15)


def tie_ranks(items: Items, train: Interactions) -> IntArray:
    """Rank every item among items of equal score ``[items]``, 0 first.

    An item's hash takes in its text, categories, price and attributes, then the training rows'
    times and signals and the hashes of their users, which take in those of their other items, and
    so on for `ROUNDS` rounds. Neither ids nor the numbering of users and items have a say, nor a
    text that is the id itself. Items that nothing of this tells apart stand by a hash of their
    ids, so that at least the ids' order decides nothing.

    Args:
        items: The catalogue.
        train: Rows to learn from.

    Source: colour refinement, Weisfeiler and Leman, The reduction of a graph to canonical form and
    the algebra which appears therein, 1968.
    """
    of_item = _refined(_contents(items), train)
    keys = [of_item]
    if len(np.unique(of_item)) < len(of_item):
        keys.insert(0, _hashes(items.ids))
    return _ranks(keys)


def row_ranks(train: Interactions, n_items: int) -> IntArray:
    """Rank by rows alone ``[items]``; items that they do not tell apart stand by number."""
    return _ranks([_refined(np.full(n_items, _START), train)])


def _ranks(keys: list[HashArray]) -> IntArray:
    ranks = np.empty(len(keys[0]), dtype=np.int64)
    ranks[np.lexsort(keys)] = np.arange(len(ranks))
    ranks.flags.writeable = False
    return ranks


def _refined(of_item: HashArray, train: Interactions) -> HashArray:
    """Refine hashes of items ``[items]`` by those of their rows and their users."""
    of_row, n_users = _rows(train), int(train.user.max(initial=-1)) + 1
    for _ in range(ROUNDS):
        of_user = _gathered(pair_hash(of_row, of_item[train.item]), train.user, n_users)
        met = _gathered(pair_hash(of_row, of_user[train.user]), train.item, len(of_item))
        of_item = pair_hash(of_item, met)
    return of_item


def _gathered(values: HashArray, whose: IntArray, count: int) -> HashArray:
    """Sum the values of each owner's rows, independent of their order ``[count]``."""
    total = np.full(count, _START)
    np.add.at(total, whose, values)
    return total


def _rows(rows: Interactions) -> HashArray:
    hashes: HashArray = rows.time.astype(np.int64).view(np.uint64) + _START
    for name in sorted(rows.signals):
        values = rows.signals[name].astype(np.float32) + np.float32(0)  # -0 is 0
        bits = np.where(np.isnan(values), np.float32(np.nan), values).view(np.uint32)
        hashes = pair_hash(hashes, bits.astype(np.uint64) + _START)
    return hashes


def _contents(items: Items) -> HashArray:
    """Hash what is known of every item itself ``[items]``."""
    texts = ["" if text == id_ else text for id_, text in zip(items.ids, items.texts, strict=True)]
    hashes = _hashes(texts)
    tables: list[NDArray[np.float32]] = [items.categories]
    tables += [] if items.prices is None else [items.prices[:, None]]
    for table in tables:
        rows = np.ascontiguousarray(np.nan_to_num(table, nan=-1.0), dtype=np.float32)
        hashes = pair_hash(hashes, _digests([row.tobytes() for row in rows]))
    for name in sorted(items.attributes):
        hashes = pair_hash(hashes, _hashes(items.attributes[name]))
    return hashes


def _hashes(texts: list[str] | tuple[str, ...]) -> HashArray:
    return _digests([text.encode("utf-8", "surrogatepass") for text in texts])


def _digests(parts: list[bytes]) -> HashArray:
    raw = b"".join(hashlib.blake2b(part, digest_size=8).digest() for part in parts)
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64)
