"""Top scores of a row, and the order of equal ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HIDDEN = -1e9  # score of items that must not be shown


@dataclass(frozen=True)
class Ties:
    """Which of items of equal score stands first in a list.

    Attributes:
        order: All items, the first of equals first ``[N]``.
        ranks: Where each item stands in `order` ``[N]``.
    """

    order: Tensor
    ranks: Tensor

    @classmethod
    def of(cls, ranks: NDArray[np.int64], device: torch.device | None = None) -> Ties:
        """Return ties by rank, a permutation ``[N]``."""
        own = torch.from_numpy(np.array(ranks, dtype=np.int64)).to(device)
        return cls(torch.argsort(own), own)


def as_they_stand(count: int, device: torch.device) -> Ties:
    """Return ties in the order of the catalogue, of `count` items."""
    places = torch.arange(count, device=device)
    return Ties(places, places)


def largest(scores: Tensor, count: int, ties: Ties) -> tuple[Tensor, Tensor]:
    """Return the largest scores of the last axis and their positions, best first ``[..., count]``.

    Args:
        scores: ``[..., N]``.
        count: How many are wanted, N at most.
        ties: Order of equal scores.
    """
    # no top-k of PyTorch's says which of equals it takes
    values, places = torch.sort(scores[..., ties.order], dim=-1, descending=True, stable=True)
    return values[..., :count], ties.order[places[..., :count]]
