"""Cross-entropy over the whole catalogue with its gradient in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 110_000  # logits worked on at once: they stay in a processor core's own cache


class _RowCrossEntropy(torch.autograd.Function):
    """The gradient over logits is ``p - q`` (q: even over a row's targets), held as ``m (p - q)``.

    A step is bound by passes over ``[P, R, N]``, not by arithmetic. Forward this makes one product
    and one pass, in parts that stay in the cache; back it makes two products and no pass at all,
    since a row's factor, and its mass m, can go to the small side of each product.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, bias: Tensor, targets: Tensor, share: Tensor
    ) -> Tensor:
        logits = torch.bmm(states, table.transpose(1, 2))
        masses = logits.new_empty(*logits.shape[:2], 1)
        values = logits.new_empty(logits.shape[:2])
        for rows in _chunks(states, table):
            part = logits[:, rows].add_(bias[:, None])
            values[:, rows], masses[:, rows] = _pulled(part, targets[:, rows], share[:, rows])
        ctx.save_for_backward(states, table, logits, masses)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, table, pull, masses = ctx.saved_tensors
        own = gradients[0].unsqueeze(-1) / masses
        return (
            torch.bmm(pull, table) * own,
            torch.bmm(pull.transpose(1, 2), states * own),
            torch.bmm(own.transpose(1, 2), pull).squeeze(1),
            None,
            None,
        )


def _pulled(logits: Tensor, targets: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Make ``m (p - q)`` of logits ``[P, R, N]``; cross-entropy ``[P, R]`` and m ``[P, R, 1]``."""
    wanted = (torch.gather(logits, 2, targets) * share).sum(-1)
    highest = logits.amax(-1, keepdim=True)
    mass = logits.sub_(highest).exp_().sum(-1, keepdim=True)
    logits.scatter_add_(2, targets, -mass * share)
    return (highest + mass.log()).squeeze(-1) - wanted, mass


def _chunks(states: Tensor, table: Tensor) -> list[slice]:
    (pack, rows, _), n_items = states.shape, table.shape[1]
    size = max(1, CHUNK_ELEMENTS // (pack * n_items)) if table.device.type == "cpu" else rows
    return [slice(begin, begin + size) for begin in range(0, rows, size)]


def row_cross_entropy(
    states: Tensor, table: Tensor, bias: Tensor, targets: Tensor, mask: Tensor
) -> Tensor:
    """Mean over a row's targets of ``-log softmax(states table^T + bias)[target]``.

    Args:
        states: ``[P, R, D]``.
        table: Item vectors ``[P, N, D]``.
        bias: ``[P, N]``.
        targets: Items ``[P, R, H]``.
        mask: ``[P, R, H]``, True where there is a target; every row has one at least.

    Returns:
        ``[P, R]``, in nats.
    """
    share = mask.to(states.dtype) / mask.sum(-1, keepdim=True)
    values: Tensor = _RowCrossEntropy.apply(states, table, bias, targets, share)  # type: ignore[no-untyped-call] # torch's own
    return values
