"""Mixture of experts: a trunk's states of a user for each task, read off its parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SHARED = "trunk"  # before the parameters of experts that all tasks share


def gate_shares(params: Mapping[str, Tensor], task: str, states: Tensor) -> Tensor:
    """Compute weights of a task's experts ``[P, R, K]``, summing to one: ``softmax(x W_g)``."""
    return torch.softmax(torch.bmm(states, params[f"{task}.gate"]), dim=-1)


def expert_states(params: Mapping[str, Tensor], owner: str, states: Tensor) -> Tensor:
    """Compute states of some experts ``[P, R, K, D]``: residual two-layer perceptrons.

    Args:
        params: Stacked parameters.
        owner: Whose experts: `SHARED`, or a task.
        states: User states ``[P, R, D]``.
    """
    first, second = params[f"{owner}.experts_in"], params[f"{owner}.experts_out"]
    count, width = first.shape[1], first.shape[2]
    bias = params[f"{owner}.experts_bias"].view(-1, 1, count, width)
    hidden = torch.einsum("prd,pkde->prke", states, first) + bias
    more = torch.einsum("prke,pked->prkd", torch.nn.functional.gelu(hidden), second)
    return states.unsqueeze(2) + more


def task_state(params: Mapping[str, Tensor], task: str, states: Tensor) -> Tensor:
    """Compute what the tower of a task reads ``[P, R, D]``.

    The states themselves for a shared bottom; else the experts that the task's gate can see,
    weighted by it. Which of them there are, the parameters say.
    """
    if f"{task}.gate" not in params:
        return states
    owners = [owner for owner in (task, SHARED) if f"{owner}.experts_in" in params]
    experts = torch.cat([expert_states(params, owner, states) for owner in owners], dim=2)
    shares = gate_shares(params, task, states)
    return torch.einsum("prk,prkd->prd", shares, experts)
