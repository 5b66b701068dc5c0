"""Re-ranking by maximal marginal relevance (MMR)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pareto_rec.kernels.fused_lists import LEAST_RANGE
from pareto_rec.ranking.scorers import ServingParams, Similarity
from pareto_rec.ranking.ties import HIDDEN


def rerank(
    top: Tensor, items: Tensor, similarity: Similarity, settings: Sequence[ServingParams], k: int
) -> Tensor:
    """Return places in the top ``[users, S, depth]`` that make the lists ``[users, S, k]``.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998):
    ``argmax (1 - m) s_i - m max_j cos(c_i, c_j)`` over the chosen j, with s scaled to [0, 1] within
    the depth.

    Args:
        top: Fused scores, best first.
        items: The items that have them.
        similarity: Of items by their categories.
        settings: Serving variables, S of them.
        k: Length of the lists; they are shorter where the top is.
    """
    users, sets, depth = top.shape
    count = min(k, depth)
    if not any(setting.mmr for setting in settings):
        return torch.arange(count, device=top.device).expand(users, sets, -1)
    limits = [max(k, min(setting.depth, depth)) for setting in settings]
    return _together(top, items, similarity, settings, limits, count)


def _together(
    top: Tensor,
    items: Tensor,
    similarity: Similarity,
    settings: Sequence[ServingParams],
    limits: Sequence[int],
    count: int,
) -> Tensor:
    """Choose `count` positions of all lists at once; each setting looks at so many of the top."""
    users, sets, depth = top.shape
    weight = torch.tensor([setting.mmr for setting in settings], device=top.device).view(1, -1, 1)
    limit = torch.tensor(limits, device=top.device).view(1, -1, 1)
    outside = torch.arange(depth, device=top.device) >= limit
    outside = outside | (top <= HIDDEN / 2)
    lowest = torch.where(outside, float("inf"), top).amin(-1, keepdim=True)
    relevance = (top - lowest) / (top[..., :1] - lowest).clamp(min=LEAST_RANGE)
    relevance = torch.where(outside, top + HIDDEN, (1 - weight) * relevance)
    kinds = similarity.kind[items]
    closest = torch.zeros_like(top)
    places = torch.empty(users, sets, count, dtype=torch.long, device=top.device)
    for position in range(count):
        best = torch.addcmul(relevance, weight, closest, value=-1).argmax(-1, keepdim=True)
        places[..., position : position + 1] = best
        if position + 1 == count:
            break  # nothing is chosen after it
        relevance.scatter_(2, best, 4 * HIDDEN)
        row = similarity.table[torch.gather(kinds, 2, best).squeeze(-1)]
        closest = torch.maximum(closest, torch.gather(row, 2, kinds))
    return places
