"""Parts that all recommenders share: stacked parameters, item table, task towers, noise.

A pack of ``P`` candidates of equal shape is one set of tensors with a leading dimension ``P``, so
that every product is a batched product. A pack of one is the ordinary case, not a special one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pareto_rec.models.mixture import task_state
from pareto_rec.tasks import RELEVANCE, key_of

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Shape that candidates must share to be trained in one pack.

    Attributes:
        model: Registered name of the user encoder.
        n_items: Size of the catalogue.
        feature_dim: Width of the backbone's features.
        width: Width of item and user vectors.
        history: Number of last items that the user encoder reads.
        layers: Number of blocks (self-attention only).
        heads: Number of attention heads.
        trunk: Registered name of what lies between user encoder and task towers.
        experts: Number of its experts.
        tasks: Names of the trained tasks.
    """

    model: str
    n_items: int
    feature_dim: int
    width: int
    history: int
    layers: int
    heads: int
    trunk: str = "shared_bottom"
    experts: int = 4
    tasks: tuple[str, ...] = ()

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of the parameters of its towers: that of relevance and one per task."""
        return (RELEVANCE, *map(key_of, self.tasks))


class Noise:
    """Random draws of a pack: one generator per candidate, so that packing changes no draw.

    Sampled on the CPU so that results do not depend on the device.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device

    def keep(self, shape: tuple[int, ...], drop: Tensor) -> Tensor:
        """Draw an inverted-dropout mask ``[P, *shape]``: 0 at the rate `drop`, else 1 / (1 - drop).

        Args:
            shape: Shape of one candidate's mask.
            drop: ``[P]`` probabilities below 1.
        """
        draws = torch.stack(
            [torch.rand(shape, generator=generator) for generator in self.generators]
        )
        drop = drop.view(-1, *[1] * len(shape))
        return (draws.to(self.device) >= drop) / (1 - drop)


@dataclass(frozen=True)
class Dropout:
    """Rates ``[P]`` of a pack and where its draws come from; absent outside training."""

    noise: Noise
    hidden: Tensor
    item_embedding: Tensor


def history_vectors(table: Tensor, histories: Tensor, dropout: Dropout | None) -> Tensor:
    """Gather the item vectors of histories, some of them dropped in training.

    Args:
        table: Item vectors of each candidate ``[P, N, D]``.
        histories: Item numbers ``[P, B, L]``, -1 where a place is empty.
        dropout: Rates of the candidates; None outside training.

    Returns:
        ``[P, B, L, D]``, zero at empty places and at dropped items.
    """
    vectors = gather_items(table, histories.clamp(min=0)) * (histories >= 0).unsqueeze(-1)
    if dropout is None:
        return vectors
    return vectors * dropout.noise.keep((*histories.shape[1:], 1), dropout.hidden)


def states_at(states: Tensor, positions: Tensor) -> Tensor:
    """Gather states ``[P, B, L, D]`` at positions ``[P, B, Q]``: ``[P, B, Q, D]``."""
    return torch.gather(states, 2, positions.unsqueeze(-1).expand(-1, -1, -1, states.shape[-1]))


def init_linear(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw weights ``[rows, columns]`` of variance 1 / rows (Glorot & Bengio 2010, fan-in form)."""
    return torch.randn(rows, columns, generator=generator) / math.sqrt(rows)


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalise ``x [P, ..., D]`` over its last axis, with ``scale, shift [P, D]``."""
    x = torch.nn.functional.layer_norm(x, x.shape[-1:])
    view = (x.shape[0], *[1] * (x.dim() - 2), x.shape[-1])
    return x * scale.view(view) + shift.view(view)


class Model(ABC):
    """A user encoder over shared item vectors; stateless, its parameters are arguments."""

    name: ClassVar[str]

    @abstractmethod
    def init(self, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
        """Initialise the parameters of the encoder for one candidate (no leading dimension)."""

    @abstractmethod
    def encode(
        self,
        params: Params,
        shape: Shape,
        table: Tensor,
        histories: Tensor,
        at: Tensor,
        dropout: Dropout | None,
    ) -> Tensor:
        """Compute user states.

        Args:
            params: Stacked parameters.
            shape: Shape of the pack.
            table: Item vectors ``[P, N, D]``.
            histories: Item indices ``[P, B, L]``, oldest first, right-aligned, -1 where there is
                none.
            at: Positions in the history ``[P, B, Q]`` after which the state is wanted.
            dropout: Rates and draws in training, else None.

        Returns:
            States ``[P, B, Q, D]``.
        """


def init_shared(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    """Initialise the parameters of the item table and the task towers for one candidate."""
    width = shape.width
    params = {
        "item.project": init_linear(shape.feature_dim, width, generator),
        "item.embed": torch.randn(shape.n_items, width, generator=generator) * 0.02,
    }
    for task in shape.towers:
        params[f"{task}.in"] = init_linear(width, width, generator)
        params[f"{task}.in_bias"] = torch.zeros(width)
        params[f"{task}.out"] = torch.zeros(width, width)
        params[f"{task}.item_bias"] = torch.zeros(shape.n_items)
    return params


def item_table(params: Params, features: Tensor, dropout: Dropout | None) -> Tensor:
    """Compute item vectors ``[P, N, D]``: projected features ``[N, F]`` plus item embedding.

    In training the embedding of an item is dropped at random, whole and without rescaling, so that
    an item without one (unseen in training) is scored from its text alone.
    """
    embed = params["item.embed"]
    if dropout is not None:
        drop = dropout.item_embedding
        mask = dropout.noise.keep((embed.shape[1], 1), drop) * (1 - drop).view(-1, 1, 1)
        embed = embed * mask
    projected = features.expand(len(embed), -1, -1)
    return torch.baddbmm(embed, projected, params["item.project"])


def tower(params: Params, task: str, states: Tensor) -> Tensor:
    """Apply a task tower to user states ``[P, R, D]``: a residual two-layer perceptron.

    It reads what the trunk makes of the states for this task.
    """
    states = task_state(params, task, states)
    hidden = torch.baddbmm(params[f"{task}.in_bias"][:, None], states, params[f"{task}.in"])
    return torch.baddbmm(states, torch.nn.functional.gelu(hidden), params[f"{task}.out"])


def gather_items(table: Tensor, ids: Tensor) -> Tensor:
    """Gather rows of per-candidate tables: ``[P, N, D]``, ``ids [P, ...]`` -> ``[P, ..., D]``."""
    flat = table.reshape(-1, table.shape[2])
    return torch.nn.functional.embedding(flat_rows(ids, table.shape[1]), flat)


def flat_rows(ids: Tensor, n_items: int) -> Tensor:
    """Turn rows ``ids [P, ...]`` of tables ``[P, N, D]`` into rows of ``[P * N, D]``."""
    first = torch.arange(len(ids), device=ids.device) * n_items
    return ids + first.view(-1, *[1] * (ids.dim() - 1))
