"""Weighted sums of table rows, with a gradient that costs no more than they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

_SMALL = np.iinfo(np.int16).max  # NumPy sorts 16-bit integers by radix, in a tenth of the time


class _WeightedSums(torch.autograd.Function):
    """The gradient over the table is a weighted sum again: of the bags that each row is in."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weights)
        return embedding_bag(rows, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        table, rows, weights = ctx.saved_tensors
        own, (bags, length) = gradients[0].contiguous(), rows.shape
        flat = rows.view(-1).numpy()
        order = np.argsort(
            flat.astype(np.int16 if len(table) <= _SMALL else np.int64), kind="stable"
        )
        first = np.searchsorted(flat[order], np.arange(len(table)))
        places = torch.from_numpy(order)
        over_table = embedding_bag(
            torch.div(places, length, rounding_mode="floor"),
            own,
            torch.from_numpy(first),
            mode="sum",
            per_sample_weights=weights.view(-1)[places],
        )
        over_weights = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            own,
            table,
            rows.view(-1),
            torch.arange(0, bags * length, length),
            torch.arange(bags).repeat_interleave(length),
            0,
        )
        return over_table, None, over_weights.view_as(weights)


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
    learns = torch.is_grad_enabled() and (table.requires_grad or weights.requires_grad)
    if not learns or table.device.type != "cpu" or table.dtype != torch.float32:
        return embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
    sums: Tensor = _WeightedSums.apply(table, rows, weights)  # type: ignore[no-untyped-call] # torch's own
    return sums
