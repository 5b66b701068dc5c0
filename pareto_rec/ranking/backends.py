"""Backends of the scoring engine: raw scores of baselines and networks for some histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.baselines.base import ItemModel
from pareto_rec.models.head import NetworkScores, ScoringHead, right_aligned
from pareto_rec.ranking.linear import densify_if_small, scores_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class UserHistory:
    """User history that scores depend on.

    Attributes:
        items: Items of the catalogue, oldest first, and beyond its end rows of `vectors`.
        vectors: What networks read of items that are in no catalogue ``[M, D]``; None without.
    """

    items: Ints
    vectors: Floats | None = None


class Backend(Protocol):
    """The arithmetic of baselines and networks; scores are over the whole catalogue."""

    def expert_scores(self, names: Sequence[str], starts: Ints, items: Ints) -> dict[str, Floats]:
        """Return scores ``[people, N]`` of some experts of equal catalogues by name.

        Histories are given as `ItemModel.score` takes them.
        """

    def network(
        self, fit_id: str, people: Sequence[UserHistory], tasks: Sequence[str]
    ) -> NetworkScores:
        """Return what a fit says of relevance and of those of its tasks that are wanted."""


def histories_of(
    people: Sequence[UserHistory], length: int, n_items: int
) -> tuple[Ints, Tensor | None]:
    """Return histories as a network reads them.

    Returns:
        The last items ``[people, length]``, right-aligned, -1 where there is none; and the vectors
        ``[M, D]`` of those beyond the end of the catalogue, all people's together.
    """
    more: list[Floats] = []
    histories: list[Ints] = []
    for user in people:
        last = user.items[-length:]
        if user.vectors is not None:
            beyond = sum(len(part) for part in more)
            last = np.where(last >= n_items, last + beyond, last)
            more.append(user.vectors)
        histories.append(last)
    vectors = torch.from_numpy(np.concatenate(more)) if more else None
    return right_aligned(histories, length), vectors


class TorchBackend:
    """Baselines and networks as they were fitted, in float32.

    Attributes:
        experts: Expert name -> its item-item model.
        heads: Fit id -> its scoring head.
    """

    def __init__(self, experts: Mapping[str, ItemModel], heads: Mapping[str, ScoringHead]) -> None:
        self.experts = {name: densify_if_small(model) for name, model in experts.items()}
        self.heads = dict(heads)

    def expert_scores(self, names: Sequence[str], starts: Ints, items: Ints) -> dict[str, Floats]:
        """As `Backend.expert_scores`."""
        return scores_of({name: self.experts[name] for name in names}, starts, items)

    def network(
        self, fit_id: str, people: Sequence[UserHistory], tasks: Sequence[str]
    ) -> NetworkScores:
        """As `Backend.network`."""
        head = self.heads[fit_id]
        with torch.inference_mode():
            return head.scores(self.states(fit_id, people), tasks)

    def states(self, fit_id: str, people: Sequence[UserHistory]) -> Tensor:
        """Return user states of a fit ``[1, people, D]``."""
        head = self.heads[fit_id]
        return head.states(*histories_of(people, head.shape.history, head.n_items))
