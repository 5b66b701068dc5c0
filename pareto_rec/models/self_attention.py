"""Causal self-attention over the last items of a history."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import gelu, scaled_dot_product_attention

from pareto_rec.models.base import (
    Dropout,
    Model,
    Params,
    Shape,
    history_vectors,
    init_linear,
    layer_norm,
    states_at,
)

MIXED = 4.0  # weight of what is attended to beside the last item's own vector, at the start


class SelfAttention(Model):
    """SASRec (Kang & McAuley, ICDM 2018) with pre-normalisation and learned relative positions.

    Positions enter as one learned bias per head and distance on the attention logits (Raffel et
    al., JMLR 2020, section 2.1), which starts as a linear penalty on distance (Press et al., ICLR
    2022). Values and their mixing start as the identity and the feed-forward parts at nothing, so
    that the model starts as a mean of the last item vectors, weighted by recency: a few hundred
    steps are too few to find that from a random start.
    """

    name = "self_attention"

    def init(self, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
        """Initialise the parameters of one candidate."""
        width = shape.width
        distance = torch.arange(shape.history, dtype=torch.float32).unsqueeze(1)
        params = {
            "distance": -distance / 2.0 ** torch.arange(2, 2 + shape.heads),
            "final.scale": torch.ones(width),
            "final.shift": torch.zeros(width),
        }
        for block in range(shape.layers):
            query_key = init_linear(width, 2 * width, generator)
            params |= {
                f"{block}.qkv": torch.cat([query_key, torch.eye(width)], dim=1),
                f"{block}.mix": torch.eye(width) * MIXED,
                f"{block}.up": init_linear(width, 2 * width, generator),
                f"{block}.up_bias": torch.zeros(2 * width),
                f"{block}.down": torch.zeros(2 * width, width),
                f"{block}.down_bias": torch.zeros(width),
            }
            for norm in ("attend", "feed"):
                params[f"{block}.{norm}.scale"] = torch.ones(width)
                params[f"{block}.{norm}.shift"] = torch.zeros(width)
        return params

    def encode(
        self,
        params: Params,
        shape: Shape,
        table: Tensor,
        histories: Tensor,
        at: Tensor,
        dropout: Dropout | None,
    ) -> Tensor:
        """Compute user states ``[P, B, Q, D]`` after the given positions."""
        x = history_vectors(table, histories, dropout)
        bias = self._bias(params, histories >= 0)
        for block in range(shape.layers):
            x = x + self._attend(params, shape, block, x, bias)
            x = x + self._feed(params, block, x)
        return layer_norm(states_at(x, at), params["final.scale"], params["final.shift"])

    def _bias(self, params: Params, mask: Tensor) -> Tensor:
        """Compute the attention bias ``[P * B, heads, L, L]``: distance and causal mask."""
        pack, batch, length = mask.shape
        positions = torch.arange(length, device=mask.device)
        distance = positions.unsqueeze(1) - positions
        bias = params["distance"][:, distance.clamp(min=0)].permute(0, 3, 1, 2).unsqueeze(1)
        here = torch.eye(length, dtype=torch.bool, device=mask.device)
        allowed = ((distance >= 0) & mask.unsqueeze(2)) | here
        bias = bias.masked_fill(~allowed.unsqueeze(2), float("-inf"))
        return bias.reshape(pack * batch, -1, length, length)

    def _attend(self, params: Params, shape: Shape, block: int, x: Tensor, bias: Tensor) -> Tensor:
        pack, batch, length, width = x.shape
        x = layer_norm(x, params[f"{block}.attend.scale"], params[f"{block}.attend.shift"])
        qkv = torch.bmm(x.view(pack, -1, width), params[f"{block}.qkv"])
        qkv = qkv.view(pack * batch, length, 3, shape.heads, width // shape.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias)
        mixed = mixed.transpose(1, 2).reshape(pack, batch * length, width)
        return torch.bmm(mixed, params[f"{block}.mix"]).view(pack, batch, length, width)

    def _feed(self, params: Params, block: int, x: Tensor) -> Tensor:
        pack, batch, length, width = x.shape
        x = layer_norm(x, params[f"{block}.feed.scale"], params[f"{block}.feed.shift"])
        up = torch.baddbmm(
            params[f"{block}.up_bias"][:, None], x.view(pack, -1, width), params[f"{block}.up"]
        )
        down = torch.baddbmm(
            params[f"{block}.down_bias"][:, None], gelu(up), params[f"{block}.down"]
        )
        return down.view(pack, batch, length, width)
