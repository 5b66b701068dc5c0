"""Builder of scorers: raw scores of baselines and networks, standardised for fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.models.head import NetworkScores
from pareto_rec.ranking.scorers import Scorers, Similarity, standardise, unseen_count
from pareto_rec.ranking.ties import Ties

FEW = 32_768  # scores standardised at once; torch cuts more among threads, in another order


class ScorerBuilder:
    """Makes scorers of users; what does not depend on users is computed once.

    Attributes:
        popularity: Standardised ``log1p`` popularity ``[N]``.
        similarity: Of items by their categories.
        ties: Order of items of equal score.
        boosts: Gain -> its standardised logarithm ``[N]``.
    """

    def __init__(
        self,
        categories: NDArray[np.floating[Any]],
        log_popularity: NDArray[np.floating[Any]],
        ties: NDArray[np.int64],
        device: torch.device | str = "cpu",
        *,
        boosts: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        """Prepare what is known of the items.

        Args:
            categories: Category vectors of length one ``[N, C]``.
            log_popularity: ``log1p`` popularity in any unit ``[N]``.
            ties: Ranks of items of equal score ``[N]``.
            device: Where scores are fused.
            boosts: Gain -> its standardised logarithm ``[N]``, for what a setting may weigh.
        """
        spread = max(log_popularity.std(), 1e-9)
        standard = ((log_popularity - log_popularity.mean()) / spread).astype(np.float32)
        self.popularity = torch.from_numpy(standard).to(device)
        vectors = torch.from_numpy(np.array(categories, dtype=np.float32))
        self.similarity = Similarity.of(vectors.to(device))
        self.ties = Ties.of(ties, torch.device(device))
        self.boosts = {
            name: torch.from_numpy(values).to(device) for name, values in (boosts or {}).items()
        }

    def build(
        self,
        seen: Tensor,
        baselines: Mapping[str, Tensor],
        unread: Mapping[str, NDArray[np.bool_]],
        networks: Mapping[str, NetworkScores] | None = None,
    ) -> Scorers:
        """Return what is fused for some users.

        Args:
            seen: ``[users, N]``, True for items of the histories.
            baselines: Name -> raw scores ``[users, N]``.
            unread: Name -> for whom a baseline knows no item of the history ``[users]``. There it
                falls back on popularity, if it has nothing to say.
            networks: Name in a fusion -> what a network says.
        """
        experts = {
            name: self._or_popularity(scores, unread[name])
            for name, scores in self._standardised(seen, baselines).items()
        }
        base = self._scorers(experts, seen)
        return base.with_networks(networks) if networks else base

    def popular(self, users: int, name: str) -> Scorers:
        """Return scorers of users without a history: popularity, under a name."""
        seen = torch.zeros(users, len(self.popularity), dtype=torch.bool)
        scores = standardise(self.popularity.expand(users, -1), seen)
        return self._scorers({name: scores}, seen)

    def _scorers(self, experts: Mapping[str, Tensor], seen: Tensor) -> Scorers:
        return Scorers(
            experts, seen, self.popularity, self.similarity, boosts=self.boosts, ties=self.ties
        )

    def _standardised(self, seen: Tensor, baselines: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return standardised scores; of few users, of all baselines at once."""
        count = unseen_count(seen)
        if not baselines or len(baselines) * seen.numel() > FEW:
            return {name: standardise(raw, seen, count) for name, raw in baselines.items()}
        scores = standardise(torch.stack(list(baselines.values())), seen, count)
        return dict(zip(baselines, scores.unbind(), strict=True))

    def _or_popularity(self, scores: Tensor, unread: NDArray[np.bool_]) -> Tensor:
        """Standardised scores ``[users, N]``; popularity where a baseline has nothing to say."""
        if not unread.any():
            return scores
        of_whom = torch.from_numpy(unread).to(scores.device)
        silent = of_whom[:, None] & (scores == 0).all(dim=1, keepdim=True)
        return torch.where(silent, self.popularity, scores)


def seen_by(histories: list[NDArray[np.int64]], n_items: int) -> Tensor:
    """Find which items are in histories ``[users, n_items]``."""
    lengths = [len(items) for items in histories]
    met = np.zeros((len(histories), n_items), dtype=bool)
    flat = np.concatenate([*histories, np.empty(0, dtype=np.int64)])
    met[np.repeat(np.arange(len(histories)), lengths), flat] = True
    return torch.from_numpy(met)
