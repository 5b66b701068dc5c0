"""Scores of several experts from the same histories, whose rows are put in order once for all.

Numbers are those of `ItemModel.score`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.base import ItemModel
from pareto_rec.baselines.recency import age_weights, history_ages

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
DENSE = 0.1  # share of weights that are not 0 from which on a dense table is multiplied faster
MOST_DENSE = 16_000_000  # weights of such a table, 64 MB


def densify_if_small(model: ItemModel) -> ItemModel:
    """Return the expert with dense weights where that is faster and costs little memory."""
    weights = model.weights
    if weights is None or isinstance(weights, np.ndarray):
        return model
    cells = weights.shape[0] * weights.shape[1]
    if cells > MOST_DENSE or weights.nnz < DENSE * cells:
        return model
    return replace(model, weights=weights.toarray())


def scores_of(models: Mapping[str, ItemModel], starts: Ints, items: Ints) -> dict[str, Floats]:
    """Return scores ``[people, items]`` by expert.

    Args:
        models: Experts over one catalogue.
        starts: ``[people + 1]``; ``items[starts[p]:starts[p + 1]]`` is the history of person p.
        items: Item indices, oldest first within a person.
    """
    if not models:
        return {}
    ages = history_ages(starts, items, len(next(iter(models.values())).bias))
    return {
        name: _scored(model, ages) if model.linear else model.score(starts, items)
        for name, model in models.items()
    }


def _scored(model: ItemModel, ages: sparse.csr_array) -> Floats:
    if model.weights is None:
        return np.tile(model.bias, (ages.shape[0], 1))
    product = age_weights(ages, model.tau, np.float32) @ model.weights
    dense = product.toarray() if sparse.issparse(product) else product
    dense += model.bias
    return np.asarray(dense, dtype=np.float32)
