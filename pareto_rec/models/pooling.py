"""Weighted sums of table rows and products with them, with gradients that cost no more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pareto_rec.kernels import attention
from pareto_rec.kernels import gather_scatter as bags
from pareto_rec.kernels.compiled import is_cpu_float32


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
            bags.scatter_add(len(table), rows, weights, own),
            None,
            bags.gather_dot(table, rows, own),
        )


class _RowProducts(torch.autograd.Function):
    """The reverse of `_WeightedSums`: its gradient is the value here."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, own: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, own)
        return bags.gather_dot(table, rows, own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        table, rows, own = ctx.saved_tensors
        weights = gradients[0].contiguous()
        return (
            bags.scatter_add(len(table), rows, weights, own),
            None,
            embedding_bag(rows, table, mode="sum", per_sample_weights=weights),
        )


class _KeyLogits(torch.autograd.Function):
    """Logits of additive attention; only tanh(keys) is saved for the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, query: Tensor) -> Tensor:
        keys = torch.tanh(hidden)
        ctx.save_for_backward(keys, query)
        return torch.bmm(query.transpose(1, 2), keys.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        keys, query = ctx.saved_tensors
        own = gradients[0]
        return (
            attention.through_tanh(own, query, keys),
            torch.bmm(keys.transpose(1, 2), own.transpose(1, 2)),
        )


def _in_closed_form(table: Tensor, other: Tensor) -> bool:
    """Return whether a gradient is needed that is written here."""
    learns = torch.is_grad_enabled() and (table.requires_grad or other.requires_grad)
    return learns and is_cpu_float32(table, other)


def weighted_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum table rows with a weight each, without gathering the rows.

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
    """Multiply some table rows with a vector per bag, without gathering the rows.

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


def key_logits(hidden: Tensor, query: Tensor) -> Tensor:
    """Compute logits of additive attention, ``tanh(hidden) . query``.

    Args:
        hidden: ``[P, N, D]``.
        query: ``[P, D, H]``.

    Returns:
        ``[P, H, N]``.
    """
    if not _in_closed_form(hidden, query):
        return torch.bmm(query.transpose(1, 2), torch.tanh(hidden).transpose(1, 2))
    logits: Tensor = _KeyLogits.apply(hidden, query)  # type: ignore[no-untyped-call] # torch's own
    return logits
