"""Gradients of sums of table rows, and of products with them, without gathering the rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.kernels.compiled import compiled

Floats = NDArray[np.float32]


def gather_dot(table: Tensor, rows: Tensor, own: Tensor) -> Tensor:
    """Multiply each row of a bag with the bag's own vector.

    Args:
        table: ``[N, D]``.
        rows: Row numbers ``[bags, L]``.
        own: ``[bags, D]``.

    Returns:
        ``[bags, L]``.
    """
    products = table.new_empty(rows.shape)
    _products(table.detach().numpy(), rows.numpy(), own.detach().numpy(), products.numpy())
    return products


def scatter_add(count: int, rows: Tensor, weights: Tensor, own: Tensor) -> Tensor:
    """Add the bag's own vector, weighted, to each of the table rows in the bag.

    Args:
        count: Rows of the table.
        rows: Row numbers ``[bags, L]``.
        weights: ``[bags, L]``.
        own: ``[bags, D]``.

    Returns:
        ``[count, D]``.
    """
    table = torch.zeros(count, own.shape[1])
    _spread(rows.numpy(), weights.detach().numpy(), own.detach().numpy(), table.numpy())
    return table


@compiled
def _products(table: Floats, rows: NDArray[np.int64], own: Floats, products: Floats) -> None:
    for bag in range(len(rows)):
        for index in range(rows.shape[1]):
            row, total = rows[bag, index], np.float32(0)
            for d in range(own.shape[1]):
                total += table[row, d] * own[bag, d]
            products[bag, index] = total


@compiled
def _spread(rows: NDArray[np.int64], weights: Floats, own: Floats, table: Floats) -> None:
    # bags in turn on one core: rows repeat among bags, so that parallel additions would collide
    for bag in range(len(rows)):
        for index in range(rows.shape[1]):
            row, weight = rows[bag, index], weights[bag, index]
            for d in range(own.shape[1]):
                table[row, d] += weight * own[bag, d]
