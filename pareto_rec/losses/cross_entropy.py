"""Cross-entropy over the whole catalogue with its gradient in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 110_000  # logits worked on at once: they stay in a processor core's own cache


class _RowCrossEntropy(torch.autograd.Function):
    """The gradient over logits is ``p - q`` (q: even over a row's targets).

    A step is bound by passes over ``[P, R, N]``, not by arithmetic: this makes one product and one
    pass forward, and one pass and two products back, where log-softmax and gather make twice as
    many passes.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, bias: Tensor, targets: Tensor, share: Tensor
    ) -> Tensor:
        logits = torch.baddbmm(bias[:, None], states, table.transpose(1, 2))
        wanted = (torch.gather(logits, 2, targets) * share).sum(-1)
        total = logits.new_empty(logits.shape[:2])
        for rows in _chunks(logits):
            part = logits[:, rows]
            highest = part.amax(-1, keepdim=True)
            mass = part.sub_(highest).exp_().sum(-1, keepdim=True)
            part.div_(mass)
            total[:, rows] = (highest + mass.log()).squeeze(-1)
        ctx.save_for_backward(states, table, logits, targets, share)
        return total - wanted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, table, probs, targets, share = ctx.saved_tensors
        own = gradients[0].unsqueeze(-1)
        over_logits = torch.empty_like(probs)
        for rows in _chunks(probs):
            torch.mul(probs[:, rows], own[:, rows], out=over_logits[:, rows])
        over_logits.scatter_add_(2, targets, -own * share)
        return (
            torch.bmm(over_logits, table),
            torch.bmm(over_logits.transpose(1, 2), states),
            over_logits.sum(1),
            None,
            None,
        )


def _chunks(logits: Tensor) -> list[slice]:
    pack, rows, n_items = logits.shape
    size = max(1, CHUNK_ELEMENTS // (pack * n_items)) if logits.device.type == "cpu" else rows
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
