"""Scores of several experts from the same histories, whose rows are put in order once for all.

Numbers are those of `ItemModel.score`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.experts.base import ItemModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
DENSE = 0.1  # share of weights that are not 0 from which on a dense table is multiplied faster
MOST_DENSE = 16_000_000  # weights of such a table, 64 MB


def handy(model: ItemModel) -> ItemModel:
    """The same expert, its weights dense where that is faster and does not cost much memory."""
    weights = model.weights
    if weights is None or isinstance(weights, np.ndarray):
        return model
    cells = weights.shape[0] * weights.shape[1]
    if cells > MOST_DENSE or weights.nnz < DENSE * cells:
        return model
    return replace(model, weights=weights.toarray())


def scores_of(models: Mapping[str, ItemModel], starts: Ints, items: Ints) -> dict[str, Floats]:
    """Scores ``[people, items]`` by expert.

    Args:
        models: Experts over one catalogue.
        starts: ``[people + 1]``; ``items[starts[p]:starts[p + 1]]`` is the history of person p.
        items: Item indices, oldest first within a person.
    """
    if not models:
        return {}
    ages = ages_of(starts, items, len(next(iter(models.values())).bias))
    return {name: _scored(model, ages) for name, model in models.items()}


def ages_of(starts: Ints, items: Ints, n_items: int) -> sparse.csr_array:
    """How many rows of a history came after the last one of each of its items.

    Returns:
        ``[people, n_items]`` with sorted indices; only items of the history are there.
    """
    people, lengths = len(starts) - 1, np.diff(starts)
    owner = np.repeat(np.arange(people), lengths)
    key = (owner * n_items + items)[::-1]
    order = np.argsort(key, kind="stable")  # backwards, so that an item's last row comes first
    key = key[order]
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[1:] != key[:-1]
    rows = (len(items) - 1 - order)[first]
    owner = owner[rows]
    pointers = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=people))])
    age = (starts[1:][owner] - 1 - rows).astype(np.float64)
    return sparse.csr_array((age, items[rows], pointers), shape=(people, n_items))


def _scored(model: ItemModel, ages: sparse.csr_array) -> Floats:
    if model.weights is None:
        return np.tile(model.bias, (ages.shape[0], 1))
    product = _weighed(ages, model.tau) @ model.weights
    dense = product.toarray() if sparse.issparse(product) else product
    dense += model.bias
    return np.asarray(dense, dtype=np.float32)


def _weighed(ages: sparse.csr_array, tau: float | None) -> sparse.csr_array:
    """Histories as weights, as `history_matrix` has them, without those that round to 0."""
    weight = np.ones(ages.nnz) if tau is None else np.exp(-ages.data / tau)
    weights = weight.astype(np.float32)
    found = sparse.csr_array((weights, ages.indices, ages.indptr), shape=ages.shape)
    if not weights.all():
        found = found.copy()
        found.eliminate_zeros()
    return found
