"""Item-kNN: items that the same users interacted with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.base import TAU, Baseline, ItemModel, presence
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.data.schema import Interactions
from pareto_rec.data.ties import row_ranks

BLOCK_PAIRS = 20_000_000  # most pairs of items that are added up at a time
MAX_PAIRS = 2_000_000_000  # in all; beyond it the longest histories are cut
SHORTEST_CUT = 20  # rows that every history may keep
_DIGITS = 10**12  # weights are compared to twelve digits of a row's largest


@dataclass(frozen=True)
class ItemKNN(Baseline):
    """Cosine similarity of items; each item of the history votes for its nearest neighbours.

    ``score(user, j) = sum of weight(i) * cosine(i, j)`` over items i of the history that have j
    among their nearest `neighbours`. (Keeping the neighbours of j instead is a little worse here.)
    Only similarities above 0 count; ties are broken by the items' rows (`row_ranks`), not by
    their order in the catalogue.

    A user of n rows adds n x n pairs of items. Where all users together would add more than
    `MAX_PAIRS`, only the last rows of the longest histories are counted, as many as keep below it.

    Source: Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW 2001;
    Deshpande and Karypis, Item-based top-N recommendation algorithms, TOIS 2004.

    Attributes:
        neighbours: How many neighbours each item keeps.
        tau: Recency of the history (see `ItemModel.tau`).
    """

    neighbours: int = 10
    tau: float | None = None

    method: ClassVar[str] = "item_knn"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"neighbours": Parameter(5, 1000, log=True, whole=True, least=1), "tau": TAU}
    )
    only_scores: ClassVar[frozenset[str]] = frozenset({"tau"})

    def most_weights(self, n_items: int) -> int:
        """Return how many neighbours all items keep at most."""
        return min(self.neighbours, n_items) * n_items

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Find the neighbours, a block of items at a time; the matrix stays sparse."""
        met = presence(shortened(train, shape[0]), shape)
        norm = np.sqrt(np.asarray(met.sum(axis=0)))
        unit = sparse.csr_array(met / np.where(norm > 0, norm, 1.0))
        transposed = sparse.csr_array(unit.T)
        ties = row_ranks(train, shape[1])
        blocks = [
            strongest(sparse.csr_array(transposed[begin:end] @ unit), self.neighbours, ties, begin)
            for begin, end in blocks_of(met, transposed)
        ]
        weights = sparse.csr_array(sparse.vstack(blocks)).astype(np.float32)
        weights.sort_indices()
        return ItemModel(weights, np.zeros(shape[1], dtype=np.float32), self.tau)


def strongest(
    similar: sparse.csr_array, count: int, ties: NDArray[np.int64], start: int = 0
) -> sparse.csr_array:
    """Keep the largest weights of each row, without the one on the diagonal.

    Args:
        similar: Rows of a matrix over all items ``[rows, items]``, weights of 0 or more.
        count: Weights that each row keeps.
        ties: Rank of each item among those of equal weight ``[items]``, the first is kept.
        start: Item that the first row belongs to.
    """
    starts, columns, values = similar.indptr, similar.indices, similar.data
    # rounded, so that equal weights tie in any order of summation
    row = np.repeat(np.arange(similar.shape[0]), np.diff(starts))
    largest = np.zeros(similar.shape[0])
    np.maximum.at(largest, row, values)
    rank = np.round(values / np.maximum(largest, 1e-300)[row] * _DIGITS).astype(np.int64)
    many = np.flatnonzero(np.diff(starts) > count)
    keep = np.ones(len(values), dtype=bool)
    keep[columns == row + start] = False
    rank[~keep] = -1
    for index in many.tolist():
        begin, end = starts[index], starts[index + 1]
        keep[begin:end] &= _largest(rank[begin:end], ties[columns[begin:end]], count)
    return sparse.csr_array((values[keep], (row[keep], columns[keep])), shape=similar.shape)


def shortened(train: Interactions, n_users: int) -> Interactions:
    """Return the rows, without the oldest of the longest histories if pairs would be too many."""
    lengths = np.bincount(train.user, minlength=n_users)
    squares = np.square(lengths)
    if squares.sum() <= MAX_PAIRS:
        return train
    ordered = np.sort(lengths)
    shorter = np.concatenate([[0], np.cumsum(np.square(ordered))])
    # pairs if every history were cut to the n-th shortest one's length
    pairs = shorter[:-1] + np.square(ordered) * np.arange(n_users, 0, -1)
    longest = max(0, int(np.searchsorted(pairs, MAX_PAIRS, "right")) - 1)
    cut = max(SHORTEST_CUT, int(ordered[longest]))
    ends = np.cumsum(lengths)
    return train.take(np.arange(len(train)) >= (ends - cut)[train.user])


def blocks_of(met: sparse.csr_array, transposed: sparse.csr_array) -> list[tuple[int, int]]:
    """Split items into runs that add up at most `BLOCK_PAIRS` pairs, one item at least."""
    lengths = np.diff(met.indptr).astype(np.int64)
    per_row = np.concatenate([[0], np.cumsum(lengths[transposed.indices])])
    pairs = per_row[transposed.indptr[1:]]
    blocks, begin, n_items = [], 0, len(pairs)
    while begin < n_items:
        before = pairs[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(pairs, before + BLOCK_PAIRS, "right")))
        blocks.append((begin, end))
        begin = end
    return blocks


def _largest(rank: NDArray[np.int64], ties: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Mark the `count` largest entries of a row, of equals those that come first in `ties`."""
    border = np.partition(rank, len(rank) - count)[len(rank) - count]
    keep = rank > border
    tied = np.flatnonzero(rank == border)
    short = count - int(keep.sum())
    keep[tied[np.argsort(ties[tied], kind="stable")[:short]]] = True
    return np.asarray(keep)
