"""Scores over the catalogue, from parameters and histories."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pareto_rec.models import MODELS
from pareto_rec.models.base import Dropout, Params, Shape, flat_rows, tower
from pareto_rec.models.pooling import row_products

LEAST_VALUE = 0.01  # of a value in the ranking, in deviations of its training labels
STATE_USERS = 4096  # users whose histories are read at a time


def user_states(
    params: Params,
    shape: Shape,
    table: Tensor,
    histories: Tensor,
    at: Tensor,
    dropout: Dropout | None = None,
) -> Tensor:
    """Compute states of the shared bottom.

    Args:
        params: Stacked parameters of a pack.
        shape: Shape of the pack.
        table: Item vectors ``[P, N, D]``.
        histories: Item indices ``[P, B, L]``, oldest first, right-aligned, -1 where there is none.
        at: Positions after which the state is wanted ``[P, B, Q]``.
        dropout: Rates and draws in training.

    Returns:
        ``[P, B * Q, D]``.
    """
    states = MODELS[shape.model].encode(params, shape, table, histories, at, dropout)
    return states.reshape(states.shape[0], -1, shape.width)


def relevance_states(params: Params, states: Tensor, temperature: Tensor) -> Tensor:
    """Apply the relevance tower, with the softmax temperature ``[P]``: ``[P, R, D]``."""
    scale = states.shape[-1] ** -0.5 / temperature
    scaled: Tensor = tower(params, "relevance", states) * scale.view(-1, 1, 1)
    return scaled


def task_logits(params: Params, task: str, states: Tensor, table: Tensor, ids: Tensor) -> Tensor:
    """Compute logits of a task at some items, without temperature.

    Args:
        params: Stacked parameters of a pack.
        task: Its name.
        states: States of the shared bottom ``[P, R, D]``.
        table: Item vectors ``[P, N, D]``.
        ids: Items ``[P, R, H]``.

    Returns:
        ``[P, R, H]``.
    """
    scaled = tower(params, task, states) * states.shape[-1] ** -0.5
    flat = ids.reshape(len(ids), -1)
    bias = torch.gather(params[f"{task}.item_bias"], 1, flat).view_as(ids)
    width = table.shape[-1]
    rows = flat_rows(ids, table.shape[1]).view(-1, ids.shape[2])
    logits = row_products(table.reshape(-1, width), rows, scaled.reshape(-1, width))
    return logits.view_as(ids) + bias


def whole_logits(params: Params, task: str, states: Tensor, table: Tensor) -> Tensor:
    """Compute logits of a task, without temperature, at every item ``[P, R, N]``."""
    scaled = tower(params, task, states) * states.shape[-1] ** -0.5
    bias = params[f"{task}.item_bias"][:, None]
    return torch.baddbmm(bias, scaled, table.transpose(1, 2))


def natural(params: Params, task: str, logits: Tensor) -> Tensor:
    """Convert logits to a task's prediction in the unit of its signal: a probability, or a value.

    Args:
        params: Stacked parameters; those of a value hold its training mean and deviation.
        task: Name of its parameters.
        logits: Raw outputs ``[P, ...]``.
    """
    scale = params.get(f"{task}.stars")
    if scale is None:
        return torch.sigmoid(logits)
    mean, deviation = (scale[:, n].view(-1, *[1] * (logits.dim() - 1)) for n in (0, 1))
    return mean + deviation * logits


def log_natural(params: Params, task: str, logits: Tensor) -> Tensor:
    """Convert logits to the log of a task's prediction, its factor in the ranking.

    A value may be predicted below zero, which has no power: a hundredth of the deviation of its
    training labels is the least that counts.
    """
    scale = params.get(f"{task}.stars")
    if scale is None:
        return logsigmoid(logits)
    least = LEAST_VALUE * scale[:, 1].view(-1, *[1] * (logits.dim() - 1))
    return torch.maximum(natural(params, task, logits), least).log()


def last_states(params: Params, shape: Shape, table: Tensor, histories: Tensor) -> Tensor:
    """Compute states after complete histories, a part of the users at a time.

    Args:
        params: Stacked parameters of a pack.
        shape: Shape of the pack.
        table: Item vectors ``[P, N, D]``.
        histories: ``[users, L]``, right-aligned, -1 where there is none.

    Returns:
        ``[P, users, D]``.
    """
    pack, last = len(table), histories.shape[1] - 1
    parts = []
    for begin in range(0, max(1, len(histories)), STATE_USERS):
        part = histories[begin : begin + STATE_USERS].unsqueeze(0).expand(pack, -1, -1)
        at = torch.full((pack, part.shape[1], 1), last, device=table.device)
        parts.append(user_states(params, shape, table, part, at))
    return torch.cat(parts, dim=1)


def relevance_scores(params: Params, states: Tensor, table: Tensor, temperature: Tensor) -> Tensor:
    """Compute relevance logits ``[P, R, N]`` of user states ``[P, R, D]`` for every item."""
    wanted = relevance_states(params, states, temperature)
    bias = params["relevance.item_bias"][:, None]
    return torch.baddbmm(bias, wanted, table.transpose(1, 2))
