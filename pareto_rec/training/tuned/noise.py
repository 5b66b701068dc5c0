"""Dropout of adapters, independent of batch and pack."""

from __future__ import annotations

import torch
from torch import Tensor


class SeededDropout(torch.nn.Module):
    """Dropout of whole channels of a text, drawn once per step from a generator of its own.

    A row keeps or loses a channel in all of its tokens, so that neither the padding of a batch nor
    the rest of it changes a draw.
    """

    def __init__(self, rate: float, width: int, seed: int) -> None:
        super().__init__()
        self.rate, self.width = rate, width
        self.source = torch.Generator().manual_seed(seed)
        self.kept: Tensor | None = None
        self.row = 0

    def draw(self, rows: int) -> None:
        """Draw for the next `rows` rows; switch off with 0."""
        self.row = 0
        self.kept = None
        if rows and self.rate:
            draws = torch.rand(rows, 1, self.width, generator=self.source)
            self.kept = (draws >= self.rate) / (1 - self.rate)

    def forward(self, x: Tensor) -> Tensor:
        """Drop channels of the next rows ``x [B, L, width]``, where it is switched on."""
        if self.kept is None:
            return x
        mask = self.kept[self.row : self.row + len(x)]
        self.row += len(x)
        return x * mask.to(x.device)
