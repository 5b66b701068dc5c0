"""Attribution of a trunk's output to history items, gates held fixed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pareto_rec.models.mixture import SHARED


def mixed_shares(params: Mapping[str, Tensor], task: str, states: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each row adds to the state that a task's tower reads, and what no row adds.

    Given the gate of the task and ``gelu(h) = Phi(h) h`` given ``Phi(h)``, experts are linear.

    Args:
        params: Parameters of one fit, no leading dimension.
        task: Whose tower.
        states: What each row adds to the user state ``[rows, D]``.

    Returns:
        ``[rows, D]`` and ``[D]``; their sum over rows is the mixed state.
    """
    rest = torch.zeros_like(states[:1].sum(0))
    if f"{task}.gate" not in params:
        return states, rest
    weights = torch.softmax(states.sum(0) @ params[f"{task}.gate"], dim=0)
    shares, first = states * weights.sum(), 0
    for owner in (task, SHARED):
        if f"{owner}.experts_in" not in params:
            continue
        inward, outward = params[f"{owner}.experts_in"], params[f"{owner}.experts_out"]
        count, width = inward.shape[:2]
        bias = params[f"{owner}.experts_bias"].view(count, width)
        inner = torch.einsum("rd,kde->kre", states, inward)
        open_ = 0.5 * (1 + torch.erf((inner.sum(1) + bias) / 2**0.5))
        own = weights[first : first + count]
        shares = shares + torch.einsum("k,ke,kre,ked->rd", own, open_, inner, outward)
        rest = rest + torch.einsum("k,ke,ke,ked->d", own, open_, bias, outward)
        first += count
    return shares, rest
