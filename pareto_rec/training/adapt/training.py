"""Continued pre-training of a copy of the backbone: masked tokens and items of one history."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, layer_norm, linear, normalize

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.views import layers_of
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.training.adapt.examples import Ids, Pairs, masked
from pareto_rec.training.adapt.recipe import Recipe
from pareto_rec.training.optimizer import schedule

OnProgress = Callable[[int, int, float, float], None]
"""Called with steps done, steps in all, and the last losses on tokens and on pairs."""


@dataclass(frozen=True)
class Adapted:
    """The result of an adaptation.

    Attributes:
        model: The encoder, of the same kind as the backbone's own.
        curve: Per step the losses on tokens and on pairs, in nats ``[steps, 2]``; NaN without.
    """

    model: torch.nn.Module
    curve: NDArray[np.float64]


class TokenHead(torch.nn.Module):
    """Tells a masked token from its state: BERT's head with the word embeddings as output matrix.

    Source: Devlin et al., BERT, NAACL 2019; tied matrices as in Press and Wolf, EACL 2017. It is
    new, since encoders of sentences come without one, and thrown away afterwards.
    """

    def __init__(self, width: int, vocabulary: int, source: torch.Generator) -> None:
        super().__init__()
        start = torch.eye(width) + 0.02 * torch.randn(width, width, generator=source)
        self.dense = torch.nn.Parameter(start)
        self.shift = torch.nn.Parameter(torch.zeros(width))
        self.bias = torch.nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Compute logits ``[B, vocabulary]`` of states ``[B, width]``."""
        hidden = gelu(linear(states, self.dense, self.shift))
        return linear(layer_norm(hidden, hidden.shape[-1:]), embeddings, self.bias)


def pair_loss(
    left: Tensor, right: Tensor, log_share: Tensor, ids: Ids, temperature: float
) -> Tensor:
    """Compute the cross-entropy of finding each item's partner in the batch, both ways.

    InfoNCE (van den Oord et al., 2018, eq. 4) on cosines, other partners of the same item left out,
    with logits lowered by how often an item is drawn (Yi et al., RecSys 2019, eq. 4), so that
    popular items are not pushed away.

    Args:
        left: Features of the first items ``[B, width]``.
        right: Features of their partners ``[B, width]``.
        log_share: Log of each item's share of the draws, firsts and partners ``[2, B]``.
        ids: Items, firsts and partners ``[2, B]``.
        temperature: Of the softmax.

    Returns:
        Mean of both directions, in nats.
    """
    cosines = normalize(left, dim=1) @ normalize(right, dim=1).T / temperature
    truth = torch.arange(len(left), device=left.device)
    total = left.new_zeros(())
    for logits, which in ((cosines, 1), (cosines.T, 0)):
        same = torch.from_numpy(ids[which][:, None] == ids[which][None]).to(left.device)
        same.fill_diagonal_(False)
        logits = (logits - log_share[which]).masked_fill(same, -torch.inf)
        total = total + cross_entropy(logits, truth) / 2
    return total


class _Texts:
    """Tokens of all texts, and batches of them."""

    def __init__(self, backbone: Backbone, texts: Sequence[str], length: int, device: Any) -> None:
        tokenizer = backbone.tokenizer
        ids = tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
        self.ids = [np.asarray(row, dtype=np.int64) for row in ids]
        self.special = np.array(sorted(tokenizer.all_special_ids), dtype=np.int64)
        self.padding, self.mask = tokenizer.pad_token_id or 0, tokenizer.mask_token_id
        self.device = device

    def batch(self, rows: Ids) -> tuple[Ids, NDArray[np.bool_]]:
        """Return token ids ``[B, L]`` and which of them there are."""
        lengths = np.array([len(self.ids[row]) for row in rows.tolist()])
        here = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.full(here.shape, self.padding, dtype=np.int64)
        tokens[here] = np.concatenate([self.ids[row] for row in rows.tolist()])
        return tokens, here

    def states(self, model: torch.nn.Module, tokens: Ids, here: NDArray[np.bool_]) -> Tensor:
        """Return states after the last layer ``[B, L, width]``."""
        ids, mask = (
            torch.from_numpy(array).to(self.device) for array in (tokens, here.astype(np.int64))
        )
        hidden: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden


def adapt(
    backbone: Backbone,
    texts: Sequence[str],
    pairs: Pairs | None,
    recipe: Recipe,
    device: torch.device,
    on_progress: OnProgress | None = None,
) -> Adapted:
    """Train a copy of the backbone on masked tokens of texts and on pairs of items.

    Args:
        backbone: Where to start; not altered.
        texts: One per item.
        pairs: Draws items of one history; None for texts alone.
        recipe: How.
        device: Where to compute.
        on_progress: Called after every step with the step, all steps and both losses.
    """
    model = copy.deepcopy(backbone.model)
    module: torch.nn.Module = model
    module.to(device).requires_grad_(True)  # dropout stays off: there is no global random state
    source = torch.Generator().manual_seed(child_seed(recipe.seed, "token head"))
    read = _Texts(backbone, texts, recipe.max_length, device)
    embeddings = model.get_input_embeddings().weight
    assert isinstance(embeddings, Tensor)
    head = TokenHead(backbone.width, len(embeddings), source).to(device)
    optimiser = _optimiser(backbone, module, head, recipe)
    curve = np.full((recipe.steps, 2), np.nan)
    for step in range(recipe.steps):
        rng = generator(recipe.seed, "adapt", step)
        total = embeddings.new_zeros(())
        if recipe.texts and read.mask is not None:
            loss = _token_loss(module, head, read, embeddings, rng, recipe)
            total, curve[step, 0] = total + loss, float(loss.detach())
        if recipe.pairs and pairs is not None:
            loss = _pair_step(module, read, pairs, rng, recipe)
            total, curve[step, 1] = total + loss, float(loss.detach())
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        torch.nn.utils.clip_grad_norm_(_moving(optimiser), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * schedule(step, recipe.steps)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if on_progress is not None:
            on_progress(step + 1, recipe.steps, *curve[step].tolist())
    module.requires_grad_(False)
    return Adapted(module.cpu(), curve)


def _token_loss(
    model: torch.nn.Module,
    head: TokenHead,
    read: _Texts,
    embeddings: Tensor,
    rng: np.random.Generator,
    recipe: Recipe,
) -> Tensor:
    rows = rng.choice(len(read.ids), min(recipe.texts, len(read.ids)), replace=False)
    tokens, here = read.batch(rows)
    fixed = ~here | np.isin(tokens, read.special)
    hidden = masked(
        tokens, fixed, rng, share=recipe.mask, mask=read.mask, vocabulary=len(embeddings)
    )
    if not len(hidden.truth):
        return embeddings.sum() * 0
    states = read.states(model, hidden.tokens, here)
    chosen = states[torch.from_numpy(hidden.chosen).to(states.device)]
    truth = torch.from_numpy(hidden.truth).to(states.device)
    return cross_entropy(head(chosen, embeddings), truth)


def _pair_step(
    model: torch.nn.Module,
    read: _Texts,
    pairs: Pairs,
    rng: np.random.Generator,
    recipe: Recipe,
) -> Tensor:
    ids = np.stack(pairs.draw(rng, recipe.pairs, recipe.window))
    needed, position = np.unique(ids, return_inverse=True)  # a text that comes twice is read once
    tokens, here = read.batch(needed)
    states = read.states(model, tokens, here)
    weight = torch.from_numpy(here).to(states).unsqueeze(-1)
    pooled = (states * weight).sum(1) / weight.sum(1)
    left, right = pooled[torch.from_numpy(position.reshape(ids.shape)).to(pooled.device)]
    share = np.log(np.maximum(pairs.share[ids], 1e-12)).astype(np.float32)
    return pair_loss(
        left, right, torch.from_numpy(share).to(pooled.device), ids, recipe.temperature
    )


def _moving(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimiser.param_groups:
        yield from group["params"]


def _optimiser(
    backbone: Backbone, model: torch.nn.Module, head: TokenHead, recipe: Recipe
) -> torch.optim.AdamW:
    """Return AdamW with a rate per layer; embeddings count as the layer below the first."""
    layers = layers_of(model, backbone.n_layers, backbone.folder)  # type: ignore[arg-type] # its copy
    height = {
        id(p): n
        for n, layer_module in enumerate(layers, start=1)
        for p in layer_module.parameters()
    }
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, value in model.named_parameters():
        if "pooler" not in name:  # no loss reads it
            groups.setdefault((height.get(id(value), 0), value.dim() > 1), []).append(value)
    peaks = [
        {
            "params": values,
            "peak": recipe.rate * recipe.decay ** (backbone.n_layers - layer),
            "weight_decay": 0.01 if matrix and layer else 0.0,
        }
        for (layer, matrix), values in groups.items()
    ]
    fresh = {"params": list(head.parameters()), "peak": 10 * recipe.rate, "weight_decay": 0.0}
    return torch.optim.AdamW([*peaks, fresh], lr=0.0, betas=(0.9, 0.98))
