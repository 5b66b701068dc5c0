"""Statistics of the predicted distributions of a step, with their gradient in closed form.

A step is bound by passes over ``[P, R, N]``, not by arithmetic. The statistics that several losses
read are computed together and share their products with the item vectors, forward and back; on a
processor, in float32, compiled loops read every row once. In bfloat16 the products and the tensors
saved for the backward pass take it, everything else stays in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pareto_rec.kernels import row_statistics as kernels
from pareto_rec.kernels.compiled import is_cpu_float32
from pareto_rec.kernels.row_statistics import Rows


class RowStatistics(NamedTuple):
    """Statistics of the predicted distribution p of each row, ``[P, R]`` each.

    Attributes:
        cross_entropy: Mean over the row's targets of ``-log p``, in nats.
        negative_entropy: ``sum_i p_i log p_i``, in nats.
        similarity: ``sum_{i != j} p_i p_j s_ij``: the cosine of two items' categories, and 1 where
            one of them has none.
        popularity: ``sum_i p_i b_i``, b being the popularity of the items.
    """

    cross_entropy: Tensor
    negative_entropy: Tensor
    similarity: Tensor
    popularity: Tensor


class _CrossEntropy(torch.autograd.Function):
    """The gradient over logits is ``p - q`` (q: even over a row's targets), held as ``m (p - q)``.

    The forward pass makes one product and one pass over the logits; the backward pass makes two
    products and no pass at all, since a row's factor, and its mass m, can go to the small side of
    each product.
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
        cross_entropy = kernels.cross_entropy if is_cpu_float32(bias) else _torch_cross_entropy
        values, masses = cross_entropy(logits, bias, targets, share)
        ctx.save_for_backward(states, low[1], logits, masses)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, table, pull, masses = ctx.saved_tensors
        # pull is m (p - q): a row's factor 1 / m goes to the states [R, D], not to the logits
        # [R, N]; the extra column of states sums the pull over rows: the gradient over the bias
        own = (gradients[0] / masses).unsqueeze(-1)
        scaled = torch.cat([states * own, own], -1).to(pull.dtype)
        of_items = torch.bmm(pull.transpose(1, 2), scaled).to(states.dtype)
        return (
            torch.bmm(pull, table).to(states.dtype) * own,
            of_items[..., :-1],
            of_items[..., -1],
            *(None,) * 3,
        )


def _torch_cross_entropy(
    logits: Tensor, bias: Tensor, targets: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Run `kernels.cross_entropy` on any device."""
    own = logits.to(bias.dtype) + bias[:, None]
    wanted = (torch.gather(own, 2, targets) * share).sum(-1)
    highest = own.amax(-1, keepdim=True)  # subtracted, so that no exponential overflows
    mass = own.sub_(highest).exp_().sum(-1, keepdim=True)
    # in place: what the backward pass needs takes the memory of the logits
    logits.copy_(own.scatter_add_(2, targets, -mass * share))
    return (highest + mass.log()).squeeze(-1) - wanted, mass.squeeze(-1)


class _SoftmaxStatistics(torch.autograd.Function):
    """The gradient over logits of ``f(p)`` with slopes ``g = df/dp`` is ``p (g - p.g)``.

    Slopes are ``log p`` for the negative entropy, ``2 C s - 2 p |c|^2`` with ``s = C^T p`` for the
    similarity, and b for the popularity.

    Where some items have no categories, a pair with one of them has similarity 1. With h = 1 for
    the others, ``s_ij = c_i.c_j + 1 - h_i h_j``: the similarity gains ``1 - (h.p)^2``, its slopes
    lose ``2 h (h.p)``, and an item without categories has the square 1.
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
        squares: Tensor,
        lacking: bool,
        kind: torch.dtype,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.lacking = lacking
        low = states.to(kind), table.to(kind)
        logits = torch.bmm(low[0], low[1].transpose(1, 2))
        describe = kernels.row_statistics if is_cpu_float32(bias) else _torch_row_statistics
        rows = describe(logits, bias, targets, share, facts, squares)
        # |sum_i p_i c_i|^2 holds all pairs; those of an item with itself are taken out
        pairs = rows.means[..., :-1].square()
        if lacking:  # the last of these columns is h
            similarity = pairs[..., :-1].sum(-1) + (1 - pairs[..., -1]) - rows.same
        else:
            similarity = pairs.sum(-1) - rows.same
        popularity = rows.means[..., -1].clone()
        statistics = rows.cross_entropy, rows.negative_entropy, similarity, popularity
        saved = *low, bias, targets, share, facts, squares, logits, rows.normaliser, rows.means
        ctx.save_for_backward(*saved, torch.stack(statistics))
        return statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (
            states,
            table,
            bias,
            targets,
            share,
            facts,
            squares,
            logits,
            normaliser,
            means,
            statistics,
        ) = ctx.saved_tensors
        own = torch.stack(
            [
                torch.zeros_like(f) if g is None else g
                for g, f in zip(gradients, statistics, strict=True)
            ]
        )
        # p (g - p.g) for the sum of all statistics, weighted by their gradients: w.f, the part of
        # g that is linear in the facts, is one product of [R, C] and [C, N]; `level` collects p.g
        accuracy, entropy, similarity, popularity = own
        doubled = 2 * similarity
        weights = torch.cat([doubled.unsqueeze(-1) * means[..., :-1], popularity.unsqueeze(-1)], -1)
        quadratic = statistics[2]  # the part of the similarity that is quadratic in p
        if ctx.lacking:
            weights[..., -2].neg_()
            quadratic = quadratic - 1
        level = (
            entropy * statistics[1] + doubled * quadratic + popularity * statistics[3] - accuracy
        )
        terms = torch.stack([level, entropy, doubled, accuracy], -1)
        pull = kernels.logit_gradient if is_cpu_float32(bias) else _torch_logit_gradient
        pulls, of_bias = pull(
            logits, bias, normaliser, targets, share, (weights, facts), terms, squares
        )
        return (
            torch.bmm(pulls, table).to(statistics.dtype),
            torch.bmm(pulls.transpose(1, 2), states).to(statistics.dtype),
            of_bias,
            *(None,) * 6,
        )


def _torch_row_statistics(
    logits: Tensor, bias: Tensor, targets: Tensor, share: Tensor, facts: Tensor, squares: Tensor
) -> Rows:
    """Run `kernels.row_statistics` on any device."""
    own = logits.to(bias.dtype) + bias[:, None]
    normaliser = torch.logsumexp(own, -1)
    logs = own.sub_(normaliser.unsqueeze(-1))
    probs = logs.exp()
    return Rows(
        normaliser,
        -(torch.gather(logs, 2, targets) * share).sum(-1),
        (probs * logs).sum(-1),
        torch.matmul(probs.square(), squares),
        torch.matmul(probs, facts),
    )


def _torch_logit_gradient(
    logits: Tensor,
    bias: Tensor,
    normaliser: Tensor,
    targets: Tensor,
    share: Tensor,
    slopes: tuple[Tensor, Tensor],
    terms: Tensor,
    squares: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run `kernels.logit_gradient` on any device."""
    logs = logits.to(bias.dtype) + bias[:, None]
    logs.sub_(normaliser.unsqueeze(-1))
    probs = logs.exp()
    level, entropy, doubled, accuracy = terms.unsqueeze(-2).unbind(-1)
    linear = torch.matmul(slopes[0], slopes[1].T).sub_(level)
    linear.addcmul_(logs, entropy).addcmul_(probs * squares, doubled, value=-1)
    linear.mul_(probs).scatter_add_(2, targets, -accuracy * share)
    return linear.to(logits.dtype), linear.sum(1)


def _share(mask: Tensor, like: Tensor) -> Tensor:
    """Return the weight of each target of a row."""
    return mask.to(like.dtype) / mask.sum(-1, keepdim=True)


def row_cross_entropy(
    states: Tensor,
    table: Tensor,
    bias: Tensor,
    targets: Tensor,
    mask: Tensor,
    matmul_dtype: torch.dtype | None = None,
) -> Tensor:
    """Average ``-log softmax(states table^T + bias)[target]`` over a row's targets.

    Args:
        states: ``[P, R, D]``.
        table: Item vectors ``[P, N, D]``.
        bias: ``[P, N]``.
        targets: Items ``[P, R, H]``.
        mask: ``[P, R, H]``, True where there is a target; every row has one at least.
        matmul_dtype: dtype of the products with the item vectors; None for that of the states.

    Returns:
        ``[P, R]``, in nats.
    """
    kind = matmul_dtype or states.dtype
    values: Tensor = _CrossEntropy.apply(states, table, bias, targets, _share(mask, states), kind)  # type: ignore[no-untyped-call] # torch's own
    return values


def predicted_statistics(
    states: Tensor,
    table: Tensor,
    bias: Tensor,
    targets: Tensor,
    mask: Tensor,
    items: tuple[Tensor, Tensor],
    matmul_dtype: torch.dtype | None = None,
    *,
    described: Tensor | None = None,
) -> RowStatistics:
    """Compute all statistics of the distributions ``softmax(states table^T + bias)``.

    Args:
        states: As `row_cross_entropy` has it.
        table: As `row_cross_entropy` has it.
        bias: As `row_cross_entropy` has it.
        targets: As `row_cross_entropy` has it.
        mask: As `row_cross_entropy` has it.
        items: Their category vectors ``[N, C]`` and their popularity ``[N]``.
        matmul_dtype: As `row_cross_entropy` has it.
        described: 1 for items that have categories, 0 for the others ``[N]``; None where all of
            them, or none, have some.
    """
    categories, popularity = items
    squares, columns = categories.square().sum(-1), [categories]
    if described is not None:
        squares = squares + (1 - described)
        columns.append(described.unsqueeze(1))
    facts = torch.cat([*columns, popularity.unsqueeze(1)], 1)
    kind = matmul_dtype or states.dtype
    share, lacking = _share(mask, states), described is not None
    own: tuple[Tensor, ...] = _SoftmaxStatistics.apply(  # type: ignore[no-untyped-call] # torch's own
        states, table, bias, targets, share, facts, squares, lacking, kind
    )
    return RowStatistics(*own)
