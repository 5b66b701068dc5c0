"""AdamW for a pack: one update of all parameters, a learning rate and a decay per candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pareto_rec.kernels import adamw
from pareto_rec.kernels.compiled import is_cpu_float32

BETA1, BETA2, EPS = 0.9, 0.99, 1e-8


class StackedAdamW:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with a learning rate and decay per candidate.

    Parameters that get a gradient are moved end to end into one vector, of which they become views:
    a step then is ten passes over it, however many parameters there are. Which ones get a gradient
    is settled by the first step.
    """

    def __init__(self, params: Mapping[str, Tensor], rate: Tensor, decay: Tensor) -> None:
        """Start with moments of zero.

        Args:
            params: Stacked parameters ``[P, ...]``, leaves.
            rate: Learning rates ``[P]``.
            decay: Decoupled weight decays ``[P]``, of matrices alone.
        """
        self.params = params
        self.rate, self.decay = rate, decay
        self.count = 0
        self.names: list[str] = []
        self.moved: list[Tensor] = []

    def _start(self, names: Sequence[str]) -> None:
        """Lay these parameters out, and beside them what an update by PyTorch's operators needs."""
        self.names = list(names)
        self.moved = [self.params[name] for name in self.names]
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.moved])
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        for p, part in zip(self.moved, self._parts(self.flat), strict=True):
            p.data = part
        self.compiled = is_cpu_float32(self.flat)
        if self.compiled:
            first, second = self._parts(self.first), self._parts(self.second)
            self.moments = list(zip(first, second, strict=True))
            return
        sizes = [p[0].numel() for p in self.moved]
        rates = [self.rate.repeat_interleave(size) for size in sizes]
        decays = [
            self.decay.repeat_interleave(size) * (p.dim() > 2)
            for p, size in zip(self.moved, sizes, strict=True)
        ]
        self.rates = torch.cat(rates)
        self.kept = self.rates * torch.cat(decays)

    @torch.no_grad()
    def step(self, schedule: float) -> None:
        """Make one update; `schedule` multiplies every learning rate."""
        if not self.moved:
            self._start([name for name, p in self.params.items() if p.grad is not None])
        self.count += 1
        correct = float((1 - BETA2**self.count) ** 0.5 / (1 - BETA1**self.count))
        if self.compiled:
            self._step_compiled(schedule, correct)
            return
        gradient = torch.cat([_taken(p) for p in self.moved])
        self.first.lerp_(gradient, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        update = torch.div(
            self.first, torch.sqrt(self.second, out=gradient).add_(EPS), out=gradient
        )
        self.flat.addcmul_(self.flat, self.kept, value=-schedule)
        self.flat.addcmul_(update, self.rates, value=-schedule * correct)

    def _step_compiled(self, schedule: float, correct: float) -> None:
        """Update all parameters in one pass of a compiled loop."""
        rate, decay = self.rate * schedule * correct, self.rate * self.decay * schedule
        none = torch.zeros_like(decay)
        for p, both in zip(self.moved, self.moments, strict=True):
            own = decay if p.dim() > 2 else none  # of matrices alone
            adamw.update(p, _taken(p), both, rate, own, (BETA1, BETA2), EPS)

    def state(self, index: int) -> dict[str, Tensor]:
        """Return moments of a candidate: ``first/NAME``, ``second/NAME`` by parameter."""
        found = {}
        for moment, flat in (("first", self.first), ("second", self.second)):
            for name, part in zip(self.names, self._parts(flat), strict=True):
                found[f"{moment}/{name}"] = part[index].clone()
        return found

    def load(self, count: int, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Go on after `count` steps with the moments of every candidate."""
        moved = {name.partition("/")[2] for name in states[0]}
        self._start([name for name in self.params if name in moved])
        self.count = count
        for moment, flat in (("first", self.first), ("second", self.second)):
            for name, part in zip(self.names, self._parts(flat), strict=True):
                part.copy_(torch.stack([state[f"{moment}/{name}"] for state in states]))

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Return views of a vector, one per moved parameter in its shape."""
        parts = torch.split(flat, [p.numel() for p in self.moved])
        return [part.view_as(p) for p, part in zip(self.moved, parts, strict=True)]


def _taken(p: Tensor) -> Tensor:
    """Return the gradient of a parameter, which has none any more."""
    gradient, p.grad = p.grad, None
    assert gradient is not None, "what has a gradient at the first step has one at every step"
    return gradient.reshape(-1)


def schedule(step: int, steps: int, warmup: float = 0.1) -> float:
    """Return the factor of a step: linear warm-up, then a cosine to a tenth (SGDR, ICLR 2017)."""
    if step < warmup * steps:
        return (step + 1) / (warmup * steps + 1)
    done = (step - warmup * steps) / max(1.0, (1 - warmup) * steps)
    return 0.1 + 0.45 * (1 + float(np.cos(np.pi * done)))
