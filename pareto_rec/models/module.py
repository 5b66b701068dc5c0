"""A plain `torch.nn.Module` as a user encoder, for models of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pareto_rec.models.base import Dropout, Model, Params, Shape, history_vectors, states_at

PREFIX = "module."


class ModuleModel(Model):
    """A user encoder made of any module that reads sequences, such as one around `nn.GRU`.

    The candidates of a pack run one after the other instead of in batched products, so that a step
    costs as much as so many single ones: good for trying an idea, slower than a `Model` whose
    arithmetic is written for packs.

    The module maps vectors ``[users, L, D]`` of the items of histories, oldest first and without
    gaps, to states ``[users, L, D]``, where L is the longest history asked for and D the width.
    Behind the end of a shorter history stand zeros. A state may depend on its own item and those
    before it, never on later ones. Dropout is ours (training variable `dropout`, on items): the
    module runs in evaluation mode, so that its own dropout does nothing.
    """

    def __init__(self, name: str, build: Callable[[Shape], nn.Module]) -> None:
        """Wrap a module.

        Args:
            name: As written in a config, ``fixed.model``.
            build: Makes the module for a shape; PyTorch's generator is seeded before each call.
        """
        self.name = name  # type: ignore[misc]  # a class variable of models that have a class each
        self._build = build
        self._template = lru_cache(maxsize=8)(self._made)

    def _made(self, shape: Shape, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._build(shape).eval()

    def init(self, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the module's parameters for one candidate, as it initialises them."""
        seed = int(torch.randint(2**31, (1,), generator=generator))
        module = self._made(shape, seed)
        return {
            f"{PREFIX}{name}": value.detach().clone() for name, value in module.named_parameters()
        }

    def encode(
        self,
        params: Params,
        shape: Shape,
        table: Tensor,
        histories: Tensor,
        at: Tensor,
        dropout: Dropout | None,
    ) -> Tensor:
        """Compute user states ``[P, B, Q, D]`` at positions; zeros before the first item."""
        pack, _, length = histories.shape
        vectors = history_vectors(table, histories, dropout)
        # left-aligned, so that a module never sees the padding before a history
        empty = ((histories >= 0).cumsum(-1) == 0).sum(-1, keepdim=True)
        positions = torch.arange(length, device=histories.device) + empty
        inside = positions < length
        moved = states_at(vectors, positions.clamp(max=length - 1)) * inside.unsqueeze(-1)
        module = self._template(shape).to(table.device)
        states = torch.stack(
            [
                functional_call(module, self._of(params, index), (moved[index],))
                for index in range(pack)
            ]
        )
        wanted = at - empty
        return states_at(states, wanted.clamp(min=0)) * (wanted >= 0).unsqueeze(-1)

    def _of(self, params: Params, index: int) -> dict[str, Tensor]:
        return {
            name.removeprefix(PREFIX): value[index]
            for name, value in params.items()
            if name.startswith(PREFIX)
        }
