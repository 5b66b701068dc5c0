"""Figures of the predicted distributions of a step, with their gradient in closed form.

A step is bound by passes over ``[P, R, N]``, not by arithmetic. The figures that several losses are
made of are computed together, in parts that stay in the cache of a processor core, and share their
products with the item vectors, forward and back. In bfloat16 the products and what is kept between
the two ways take it, everything else stays in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

CHUNK_ELEMENTS = 160_000  # logits worked on at once: they stay in a processor core's own cache


class Figures(NamedTuple):
    """What the predicted distribution p of each row is like, ``[P, R]`` each.

    Attributes:
        cross_entropy: Mean over the row's targets of ``-log p``, in nats.
        negative_entropy: ``sum_i p_i log p_i``, in nats.
        similarity: ``sum_{i != j} p_i p_j cos(c_i, c_j)``.
        popularity: ``sum_i p_i b_i``, b being the popularity of the items.
    """

    cross_entropy: Tensor
    negative_entropy: Tensor
    similarity: Tensor
    popularity: Tensor


class _CrossEntropy(torch.autograd.Function):
    """The gradient over logits is ``p - q`` (q: even over a row's targets), held as ``m (p - q)``.

    Forward this makes one product and one pass; back it makes two products and no pass at all,
    since a row's factor, and its mass m, can go to the small side of each product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        bias: Tensor,
        targets: Tensor,
        share: Tensor,
        kind: torch.dtype,
    ) -> Tensor:
        low = states.to(kind), table.to(kind)
        logits = torch.bmm(low[0], low[1].transpose(1, 2))
        masses = states.new_empty(*logits.shape[:2], 1)
        values = states.new_empty(logits.shape[:2])
        for rows in _chunks(states, table):
            part = logits[:, rows].to(states.dtype).add_(bias[:, None])
            values[:, rows], masses[:, rows] = _pulled(part, targets[:, rows], share[:, rows])
            _keep(logits[:, rows], part)
        ctx.save_for_backward(states, low[1], logits, masses)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, table, pull, masses = ctx.saved_tensors
        own = gradients[0].unsqueeze(-1) / masses
        scaled = torch.cat([states * own, own], -1).to(pull.dtype)
        of_items = torch.bmm(pull.transpose(1, 2), scaled).to(states.dtype)
        return (
            torch.bmm(pull, table).to(states.dtype) * own,
            of_items[..., :-1],
            of_items[..., -1],
            *(None,) * 3,
        )


def _pulled(logits: Tensor, targets: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Make ``m (p - q)`` of logits ``[P, R, N]``; cross-entropy ``[P, R]`` and m ``[P, R, 1]``."""
    wanted = (torch.gather(logits, 2, targets) * share).sum(-1)
    highest = logits.amax(-1, keepdim=True)
    mass = logits.sub_(highest).exp_().sum(-1, keepdim=True)
    logits.scatter_add_(2, targets, -mass * share)
    return (highest + mass.log()).squeeze(-1) - wanted, mass


class _Figures(torch.autograd.Function):
    """Of a figure ``f(p)`` with slopes ``g = df/dp`` the gradient over logits is ``p (g - p.g)``.

    Slopes are ``log p`` for the negative entropy, ``2 C s - 2 p |c|^2`` with ``s = C^T p`` for the
    similarity, and b for the popularity.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        bias: Tensor,
        targets: Tensor,
        share: Tensor,
        facts: Tensor,
        kind: torch.dtype,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        low = states.to(kind), table.to(kind)
        log_probs = torch.bmm(low[0], low[1].transpose(1, 2))
        found = states.new_empty(4, *log_probs.shape[:2])
        means = states.new_empty(*log_probs.shape[:2], facts.shape[1])
        squares = facts[:, :-1].square().sum(-1)
        for rows in _chunks(states, table):
            part = log_probs[:, rows].to(states.dtype).add_(bias[:, None])
            probs = part.sub_(part.amax(-1, keepdim=True)).exp()
            mass = probs.sum(-1, keepdim=True)
            _keep(log_probs[:, rows], part.sub_(mass.log()))
            mean = means[:, rows] = torch.matmul(probs.div_(mass), facts)
            found[0, :, rows] = -(torch.gather(part, 2, targets[:, rows]) * share[:, rows]).sum(-1)
            found[1, :, rows] = (probs * part).sum(-1)
            same = torch.matmul(probs.square_(), squares)
            found[2, :, rows] = mean[..., :-1].square().sum(-1) - same
            found[3, :, rows] = mean[..., -1]
        saved = *low, targets, share, facts, squares, log_probs, means, found
        ctx.save_for_backward(*saved)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        states, table, targets, share, facts, squares, log_probs, means, found = ctx.saved_tensors
        zero = torch.zeros_like(found[0])
        own = [(zero if one is None else one).unsqueeze(-1) for one in gradients]
        accuracy, entropy, similarity, popularity = own
        doubled = 2 * similarity
        weights = torch.cat([doubled * means[..., :-1], popularity], -1)
        level = entropy * found[1].unsqueeze(-1) + doubled * found[2].unsqueeze(-1)
        level = level + popularity * found[3].unsqueeze(-1) - accuracy
        pull = torch.empty_like(log_probs)
        for rows in _chunks(states, table):
            part = log_probs[:, rows].to(found.dtype)
            probs = part.exp()
            slopes = torch.matmul(weights[:, rows], facts.T).sub_(level[:, rows])
            if gradients[1] is not None:
                slopes.addcmul_(part, entropy[:, rows])
            if gradients[2] is not None:
                slopes.addcmul_(probs * squares, doubled[:, rows], value=-1)
            slopes.mul_(probs).scatter_add_(
                2, targets[:, rows], -accuracy[:, rows] * share[:, rows]
            )
            pull[:, rows] = slopes
        ones = states.new_ones(*states.shape[:2], 1)
        of_items = torch.bmm(pull.transpose(1, 2), torch.cat([states, ones], -1)).to(found.dtype)
        return (
            torch.bmm(pull, table).to(found.dtype),
            of_items[..., :-1],
            of_items[..., -1],
            *(None,) * 4,
        )


def _keep(kept: Tensor, part: Tensor) -> None:
    """Keep what was made of a part, unless that was made in place."""
    if part.dtype != kept.dtype:
        kept.copy_(part)


def _chunks(states: Tensor, table: Tensor) -> list[slice]:
    (pack, rows, _), n_items = states.shape, table.shape[1]
    size = max(1, CHUNK_ELEMENTS // (pack * n_items)) if table.device.type == "cpu" else rows
    return [slice(begin, begin + size) for begin in range(0, rows, size)]


def _share(mask: Tensor, like: Tensor) -> Tensor:
    """What each target of a row counts for."""
    return mask.to(like.dtype) / mask.sum(-1, keepdim=True)


def row_cross_entropy(
    states: Tensor,
    table: Tensor,
    bias: Tensor,
    targets: Tensor,
    mask: Tensor,
    products: torch.dtype | None = None,
) -> Tensor:
    """Mean over a row's targets of ``-log softmax(states table^T + bias)[target]``.

    Args:
        states: ``[P, R, D]``.
        table: Item vectors ``[P, N, D]``.
        bias: ``[P, N]``.
        targets: Items ``[P, R, H]``.
        mask: ``[P, R, H]``, True where there is a target; every row has one at least.
        products: Numbers that products with the item vectors compute in; None for those given.

    Returns:
        ``[P, R]``, in nats.
    """
    kind = products or states.dtype
    values: Tensor = _CrossEntropy.apply(states, table, bias, targets, _share(mask, states), kind)  # type: ignore[no-untyped-call] # torch's own
    return values


def row_figures(
    states: Tensor,
    table: Tensor,
    bias: Tensor,
    targets: Tensor,
    mask: Tensor,
    items: tuple[Tensor, Tensor],
    products: torch.dtype | None = None,
) -> Figures:
    """All figures of the distributions ``softmax(states table^T + bias)``.

    Args:
        states: As `row_cross_entropy` has it.
        table: As `row_cross_entropy` has it.
        bias: As `row_cross_entropy` has it.
        targets: As `row_cross_entropy` has it.
        mask: As `row_cross_entropy` has it.
        items: Their category vectors ``[N, C]`` and their popularity ``[N]``.
        products: As `row_cross_entropy` has it.
    """
    facts = torch.cat([items[0], items[1].unsqueeze(1)], 1)
    kind = products or states.dtype
    own: tuple[Tensor, ...] = _Figures.apply(  # type: ignore[no-untyped-call] # torch's own
        states, table, bias, targets, _share(mask, states), facts, kind
    )
    return Figures(*own)
