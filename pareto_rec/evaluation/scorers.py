"""Scorers of the evaluated users: held for all, or computed for a block of users at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pareto_rec.ranking import BlockwiseScorers, ScorerBuilder, Scorers
from pareto_rec.training.data import Fit, TrainData
from pareto_rec.training.item_features import Facts

WHOLE_ELEMENTS = 25_000_000  # most scores of one scorer that are held for all users (100 MB)

Rows = slice | NDArray[np.int64]


class ExpertScores(Protocol):
    """Scores of an expert: an array ``[users, N]``, or what makes some rows of one."""

    def __getitem__(self, users: Any, /) -> NDArray[np.float32]:
        """Return scores of some users ``[len(users), N]``: a slice or row numbers."""


def as_rows(users: Tensor | slice) -> Rows:
    """Convert row numbers or a slice to what NumPy indexes with."""
    return users if isinstance(users, slice) else users.cpu().numpy()


class UserScorers:
    """Standardised scores of experts, and what has been seen, for any part of the users."""

    def __init__(
        self,
        met: sparse.csr_array,
        experts: Mapping[str, ExpertScores],
        facts: Facts,
        ties: NDArray[np.int64],
        device: torch.device,
        *,
        boosts: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        """Set up what all blocks of users share.

        Args:
            met: Rows of each user and item in the histories ``[users, N]``.
            experts: Expert name -> scores of the same users.
            facts: Facts about items.
            ties: Ranks of items of equal score ``[N]``.
            device: Where tensors live.
            boosts: Gain -> its standardised logarithm ``[N]``.
        """
        self.met, self.experts, self.device = met, experts, device
        self.builder = ScorerBuilder(facts[0], facts[1], ties, device, boosts=boosts)
        self.ties = self.builder.ties

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items."""
        users, items = self.met.shape
        return int(users), int(items)

    @property
    def fits(self) -> bool:
        """Whether the scores of all users are held at once."""
        return self.shape[0] * self.shape[1] <= WHOLE_ELEMENTS

    def seen(self, users: Tensor | slice) -> Tensor:
        """Find which items are in the histories of some users ``[len(users), N]``."""
        met = sparse.csr_array(self.met[as_rows(users)])
        seen = np.zeros(met.shape, dtype=bool)
        seen[np.repeat(np.arange(met.shape[0]), np.diff(met.indptr)), met.indices] = True
        return torch.from_numpy(seen).to(self.device)

    def take(self, users: Tensor | slice) -> Scorers:
        """Return scorers of some users without a network, made anew.

        An expert with nothing to say of a user without a history falls back on popularity.
        """
        seen, rows = self.seen(users), as_rows(users)
        scores = {
            name: torch.from_numpy(np.array(one[rows])).to(self.device)
            for name, one in self.experts.items()
        }
        unread = (~seen.any(dim=1)).cpu().numpy()
        return self.builder.build(seen, scores, dict.fromkeys(scores, unread))

    def all(self) -> Scorers | BlockwiseScorers:
        """Return scorers of all users, without a network."""
        return self.take(slice(None)) if self.fits else BlockwiseScorers(self.shape, self.take)

    def with_fits(
        self, base: Scorers | BlockwiseScorers, fits: Mapping[str, Fit], data: TrainData
    ) -> Scorers | BlockwiseScorers:
        """Return scorers of all users together with those of fits.

        Args:
            base: Those without a network.
            fits: Name in a fusion -> fit.
            data: Features, and the histories of the same users.
        """
        heads = {name: data.head(fit) for name, fit in fits.items()}
        if isinstance(base, Scorers):
            return base.with_networks(
                {n: head.scores(states) for n, (head, states) in heads.items()}
            )

        def take(users: Tensor | slice) -> Scorers:
            network_scores = {
                n: head.scores(states[:, users]) for n, (head, states) in heads.items()
            }
            return self.take(users).with_networks(network_scores)

        return BlockwiseScorers(self.shape, take)
