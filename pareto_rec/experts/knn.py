"""Item-kNN: items that the same people met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from pareto_rec.data.schema import Interactions
from pareto_rec.experts.base import Expert, ItemModel, presence

BLOCK = 1024  # rows of the similarity matrix held at a time


@dataclass(frozen=True)
class ItemKNN(Expert):
    """Cosine similarity of items; each item of the history votes for its nearest neighbours.

    ``score(user, j) = sum of weight(i) * cosine(i, j)`` over items i of the history that have j
    among their nearest `neighbours`. (Keeping the neighbours of j instead is a little worse here.)
    Only similarities above 0 count; ties go to the lower item index.

    Source: Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW 2001;
    Deshpande and Karypis, Item-based top-N recommendation algorithms, TOIS 2004.

    Attributes:
        neighbours: How many neighbours each item keeps.
        tau: Recency of the history (see `ItemModel.tau`).
    """

    neighbours: int = 10
    tau: float | None = None

    method: ClassVar[str] = "item_knn"

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Find the neighbours, a block of items at a time; the matrix stays sparse."""
        met = presence(train, shape)
        norm = np.sqrt(met.sum(axis=0))
        unit = sparse.csr_array(met / np.where(norm > 0, norm, 1.0))
        transposed = sparse.csr_array(unit.T)
        blocks = [
            self._nearest(sparse.csr_array(transposed[start : start + BLOCK] @ unit), start)
            for start in range(0, shape[1], BLOCK)
        ]
        weights = sparse.csr_array(sparse.vstack(blocks)).astype(np.float32)
        weights.sort_indices()
        return ItemModel(weights, np.zeros(shape[1], dtype=np.float32), self.tau)

    def _nearest(self, similar: sparse.csr_array, start: int) -> sparse.csr_array:
        row = np.repeat(np.arange(similar.shape[0]), np.diff(similar.indptr))
        column, value = similar.indices, similar.data
        other = column != row + start
        row, column, value = row[other], column[other], value[other]
        # rounded, so that equal cosines tie whatever the order of summation
        order = np.lexsort((column, -np.round(value, 12), row))
        row, column, value = row[order], column[order], value[order]
        first = np.searchsorted(row, row)  # where each row begins
        keep = np.arange(len(row)) - first < self.neighbours
        return sparse.csr_array((value[keep], (row[keep], column[keep])), shape=similar.shape)
