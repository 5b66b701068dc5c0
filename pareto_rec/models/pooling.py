"""Weighted sums of table rows and products with them, with gradients that cost no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

_SMALL = np.iinfo(np.int16).max  # NumPy sorts 16-bit integers by radix, in a tenth of the time


def _sums_of_bags(rows: Tensor, count: int, weights: Tensor, own: Tensor) -> Tensor:
    """Gradient over a table of `count` rows: sums of the bags that each row is in, weighted.

    Args:
        rows: Row numbers ``[bags, L]``.
        count: Rows of the table.
        weights: ``[bags, L]``.
        own: What each bag gives ``[bags, D]``.

    Returns:
        ``[count, D]``.
    """
    flat = rows.view(-1).numpy()
    order = np.argsort(flat.astype(np.int16 if count <= _SMALL else np.int64), kind="stable")
    first = np.zeros(count, dtype=np.int64)
    np.cumsum(np.bincount(flat, minlength=count)[:-1], out=first[1:])
    places = torch.from_numpy(order)
    return embedding_bag(
        torch.from_numpy(order // rows.shape[1]),
        own,
        torch.from_numpy(first),
        mode="sum",
        per_sample_weights=weights.reshape(-1)[places],
    )


def _products(table: Tensor, rows: Tensor, own: Tensor) -> Tensor:
    """Product of each row of a bag with what the bag has: ``[bags, L]``."""
    bags, length = rows.shape
    products: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        own,
        table,
        rows.reshape(-1),
        torch.arange(0, bags * length, length),
        torch.arange(bags).repeat_interleave(length),
        0,
    )
    return products.view(bags, length)


class _WeightedSums(torch.autograd.Function):
    """The gradient over the table is a weighted sum again: of the bags that each row is in."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weights)
        return embedding_bag(rows, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        table, rows, weights = ctx.saved_tensors
        own = gradients[0].contiguous()
        return (
            _sums_of_bags(rows, len(table), weights, own),
            None,
            _products(table, rows, own),
        )


class _RowProducts(torch.autograd.Function):
    """The other way round: what was a gradient there is the value here."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, own: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, own)
        return _products(table, rows, own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        table, rows, own = ctx.saved_tensors
        weights = gradients[0].contiguous()
        return (
            _sums_of_bags(rows, len(table), weights, own),
            None,
            embedding_bag(rows, table, mode="sum", per_sample_weights=weights),
        )


def _in_closed_form(table: Tensor, other: Tensor) -> bool:
    """Whether a gradient is wanted that is written here: on a CPU."""
    learns = torch.is_grad_enabled() and (table.requires_grad or other.requires_grad)
    return learns and table.device.type == "cpu" and table.dtype == torch.float32


def weighted_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sums of table rows with a weight each, never holding the rows themselves.

    torch's own ``embedding_bag`` sorts as well, on its way back, and takes twice the time on a CPU.

    Args:
        table: ``[N, D]``.
        rows: Row numbers ``[bags, L]``.
        weights: ``[bags, L]``.

    Returns:
        ``[bags, D]``.
    """
    if not _in_closed_form(table, weights):
        return embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
    sums: Tensor = _WeightedSums.apply(table, rows, weights)  # type: ignore[no-untyped-call] # torch's own
    return sums


def row_products(table: Tensor, rows: Tensor, own: Tensor) -> Tensor:
    """Products of some table rows with a vector per bag, never holding the rows themselves.

    Args:
        table: ``[N, D]``.
        rows: Row numbers ``[bags, L]``.
        own: ``[bags, D]``.

    Returns:
        ``[bags, L]``.
    """
    if not _in_closed_form(table, own):
        return torch.bmm(table[rows], own.unsqueeze(-1)).squeeze(-1)
    products: Tensor = _RowProducts.apply(table, rows, own)  # type: ignore[no-untyped-call] # torch's own
    return products
