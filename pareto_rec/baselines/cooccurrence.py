"""Windowed co-occurrence: items that stand close to each other in the histories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.base import TAU, Baseline, ItemModel
from pareto_rec.baselines.knn import BLOCK_PAIRS, strongest
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.data.schema import Interactions
from pareto_rec.data.ties import row_ranks

MOST_WEIGHTS = 50_000_000  # of a model (400 MB); beyond it each item keeps its strongest ones
DENSE_COUNTS = 16_000_000  # most pairs of items that are counted in one array (128 MB)
FEWEST_KEPT = 50  # weights that an item may keep at least


@dataclass(frozen=True)
class Cooccurrence(Baseline):
    """Items that are met within a few rows of each other, each pair weighed by both popularities.

    ``score(user, j) = sum of weight(i) * count(i, j) / (rows(i)^history_power * rows(j)^power)``
    over items i of the history. ``count(i, j)`` is the number of pairs of rows of one user, one of
    i and one of j, at most `window` positions of the history apart; ``rows(i)`` is the number of
    training rows of i. An item-kNN that knows order: with a long window and both powers 0.5 it is
    close to the cosine of `ItemKNN`.

    Source: item-based neighbourhoods as in Deshpande and Karypis, Item-based top-N recommendation
    algorithms, TOIS 2004, on pairs within a window as in Mikolov et al., Distributed
    representations of words and phrases and their compositionality, NeurIPS 2013.

    Attributes:
        window: Most positions between the rows of a pair.
        history_power: Power of the popularity of the item in the history.
        power: Power of the popularity of the item that is scored.
        tau: Recency of the history (see `ItemModel.tau`); it does not enter the fit.
    """

    window: int = 20
    history_power: float = 0.5
    power: float = 0.5
    tau: float | None = None

    method: ClassVar[str] = "cooccurrence"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "window": Parameter(2, 100, log=True, whole=True, least=1),
            "history_power": Parameter(0.0, 1.0),
            "power": Parameter(0.0, 1.0),
            "tau": TAU,
        }
    )
    only_scores: ClassVar[frozenset[str]] = frozenset({"tau"})

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Count pairs at every distance of the window, and divide by popularities."""
        counts = pair_counts(train, shape[1], self.window)
        rows = np.maximum(np.bincount(train.item, minlength=shape[1]), 1).astype(np.float64)
        owner = np.repeat(np.arange(shape[1]), np.diff(counts.indptr))
        scale = rows[owner] ** self.history_power * rows[counts.indices] ** self.power
        weights = sparse.csr_array(
            (counts.data / scale, counts.indices, counts.indptr), shape=counts.shape
        )
        if weights.nnz > MOST_WEIGHTS:
            kept = max(FEWEST_KEPT, MOST_WEIGHTS // shape[1])
            weights = strongest(weights, kept, row_ranks(train, shape[1]))
        zero = np.zeros(shape[1], dtype=np.float32)
        return ItemModel(weights.astype(np.float32), zero, self.tau)


def pair_counts(train: Interactions, n_items: int, window: int) -> sparse.csr_array:
    """Count pairs of rows of one user that are at most some positions apart.

    Args:
        train: Rows sorted by user, then time.
        n_items: Size of the catalogue.
        window: Most positions between the two rows of a pair, 1: neighbours alone.

    Returns:
        Symmetric ``[n_items, n_items]`` of float64 with sorted indices; pairs of an item with
        itself are left out.
    """
    shape, total = (n_items, n_items), sparse.csr_array((n_items, n_items), dtype=np.float64)
    if n_items**2 <= DENSE_COUNTS:
        counts = np.zeros(n_items**2)
        for earlier, later in _pairs(train, window):
            counts += np.bincount(earlier * n_items + later, minlength=n_items**2)
        total = sparse.csr_array(counts.reshape(shape))
    else:
        for earlier, later in _pairs(train, window):
            ones = np.ones(len(earlier))
            total = total + sparse.csr_array((ones, (earlier, later)), shape=shape)
    both = sparse.csr_array(total + total.T)
    both.sort_indices()
    return both


def _pairs(
    train: Interactions, window: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield items of pairs of rows, earlier and later ones, about `BLOCK_PAIRS` at a time."""
    rows = len(train)
    longest = int(np.bincount(train.user).max(initial=0)) if rows else 0
    distances = range(1, min(window, longest - 1) + 1)
    step = max(1, BLOCK_PAIRS // max(rows, 1))
    for begin in range(0, len(distances), step):
        parts = []
        for distance in distances[begin : begin + step]:
            same = train.user[distance:] == train.user[:-distance]
            one, other = train.item[:-distance][same], train.item[distance:][same]
            apart = one != other
            parts.append((one[apart], other[apart]))
        yield np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
