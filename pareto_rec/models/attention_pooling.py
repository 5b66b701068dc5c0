"""Attention pooling over the last items of a history."""

from __future__ import annotations

import torch
from torch import Tensor

from pareto_rec.models.base import Dropout, Model, Params, Shape, flat_rows, init_linear
from pareto_rec.models.pooling import key_logits, weighted_sums


class AttentionPooling(Model):
    """Weighted mean of the last L item vectors, weights from learned queries and positions.

    Additive attention in the form of Yang et al. (NAACL 2016, eqs. 5-7) with one query per head and
    a learned bias for the position from the end: ``a = softmax(tanh(x W) q + p)``,
    ``u = concat_h(sum a_h x_h)``. The user vector is linear in the item vectors given the weights.
    """

    name = "attention_pooling"

    def init(self, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
        """Initialise the parameters of one candidate."""
        recent = torch.arange(shape.history - 1, -1, -1, dtype=torch.float32)
        return {
            "pool.key": init_linear(shape.width, shape.width, generator),
            "pool.query": init_linear(shape.width, shape.heads, generator),
            "pool.place": (-recent / 8).unsqueeze(1).repeat(1, shape.heads),
        }

    def encode(
        self,
        params: Params,
        shape: Shape,
        table: Tensor,
        histories: Tensor,
        at: Tensor,  # noqa: ARG002 - pooling sees the whole history
        dropout: Dropout | None,
    ) -> Tensor:
        """Compute user states ``[P, B, 1, D]``; `at` must be the last position of the history."""
        pack, batch, length = histories.shape
        width, heads = shape.width, shape.heads
        mask = (histories >= 0).unsqueeze(1)
        ids = histories.clamp(min=0)
        of_items = key_logits(torch.bmm(table, params["pool.key"]), params["pool.query"])
        flat = ids.view(pack, 1, -1).expand(-1, heads, -1)
        logits = torch.gather(of_items, 2, flat).view(pack, heads, batch, length)
        logits = logits + params["pool.place"][:, -length:].transpose(1, 2).unsqueeze(2)
        weights = torch.softmax(logits.masked_fill(~mask, -1e9), dim=-1) * mask
        if dropout is not None:
            weights = weights * dropout.noise.keep((heads, batch, length), dropout.hidden)
        parts = table.reshape(-1, width // heads)  # a head reads its part of a vector
        head = torch.arange(heads, device=ids.device).view(-1, 1, 1)
        rows = flat_rows(ids, table.shape[1]).unsqueeze(1) * heads + head
        pooled = weighted_sums(parts, rows.view(-1, length), weights.view(-1, length))
        return pooled.view(pack, heads, batch, -1).transpose(1, 2).reshape(pack, batch, 1, width)
