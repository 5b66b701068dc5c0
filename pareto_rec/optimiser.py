"""AdamW for a pack: one update, a learning rate and a decay per candidate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class StackedAdamW:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with a learning rate and decay per candidate."""

    def __init__(self, params: Mapping[str, Tensor], rate: Tensor, decay: Tensor) -> None:
        self.params = params
        self.rate, self.decay = rate, decay
        self.first = {name: torch.zeros_like(p) for name, p in params.items()}
        self.second = {name: torch.zeros_like(p) for name, p in params.items()}
        self.count = 0

    @torch.no_grad()
    def step(self, schedule: float) -> None:
        """One update; `schedule` multiplies every learning rate."""
        self.count += 1
        beta1, beta2, eps = 0.9, 0.99, 1e-8
        correct = (1 - beta2**self.count) ** 0.5 / (1 - beta1**self.count)
        for name, p in self.params.items():
            if p.grad is None:
                continue
            view = (-1, *[1] * (p.dim() - 1))
            rate = (self.rate * schedule).view(view)
            first = self.first[name].lerp_(p.grad, 1 - beta1)
            second = self.second[name].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            if p.dim() > 2:
                p.mul_(1 - rate * self.decay.view(view))
            p.sub_(rate * correct * first / (second.sqrt() + eps))
            p.grad = None


def schedule(step: int, steps: int, warmup: float = 0.1) -> float:
    """Linear warm-up, then a cosine to a tenth (Loshchilov & Hutter, ICLR 2017)."""
    if step < warmup * steps:
        return (step + 1) / (warmup * steps + 1)
    done = (step - warmup * steps) / max(1.0, (1 - warmup) * steps)
    return 0.1 + 0.45 * (1 + float(np.cos(np.pi * done)))
