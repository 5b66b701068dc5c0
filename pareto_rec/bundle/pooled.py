"""Attention pooling as a sum over the rows of the history."""

from __future__ import annotations

import torch
from torch import Tensor

from pareto_rec.models.base import Params


def attention_shares(params: Params, heads: int, vectors: Tensor, mask: Tensor) -> Tensor:
    """Return what each row of a history adds to the state of `AttentionPooling`; they sum to it.

    Args:
        params: Parameters of a pack of one.
        heads: Attention heads.
        vectors: Item vectors of the last rows ``[people, L, D]``.
        mask: Which of them are there ``[people, L]``.

    Returns:
        ``[people, L, D]``.
    """
    people, length, width = vectors.shape
    keys = torch.tanh(vectors @ params["pool.key"][0])
    places = params["pool.place"][0]
    logits = keys @ params["pool.query"][0] + places[len(places) - length :]
    there = mask.unsqueeze(2)
    weights = torch.softmax(logits.masked_fill(~there, -1e9), dim=1) * there
    own = vectors.view(people, length, heads, width // heads)
    return (weights.unsqueeze(3) * own).reshape(people, length, width)
