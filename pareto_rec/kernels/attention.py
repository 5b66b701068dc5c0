"""Backward pass of additive-attention logits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.kernels.compiled import compiled

Floats = NDArray[np.float32]


def through_tanh(own: Tensor, query: Tensor, keys: Tensor) -> Tensor:
    """Compute the gradient over x of ``sum_h own_h (tanh(x) . query_h)``.

    Args:
        own: ``[P, H, N]``.
        query: ``[P, D, H]``.
        keys: ``tanh(x)``, ``[P, N, D]``.

    Returns:
        ``[P, N, D]``.
    """
    gradient = torch.empty_like(keys)
    queries = query.detach().transpose(1, 2).contiguous()
    _through_tanh(own.contiguous().numpy(), queries.numpy(), keys.numpy(), gradient.numpy())
    return gradient


@compiled
def _through_tanh(own: Floats, queries: Floats, keys: Floats, gradient: Floats) -> None:
    pack, n_items, width = keys.shape
    row = np.empty(width, np.float32)  # own query^T of one item, never held for all of them
    for c in range(pack):
        for n in range(n_items):
            row[:] = np.float32(0)
            for h in range(queries.shape[1]):
                weight = own[c, h, n]
                for d in range(width):
                    row[d] += weight * queries[c, h, d]
            for d in range(width):
                gradient[c, n, d] = row[d] * (np.float32(1) - keys[c, n, d] * keys[c, n, d])
