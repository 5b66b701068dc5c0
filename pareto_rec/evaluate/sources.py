"""Where scores of the evaluated users come from: held whole, or made for a part of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pareto_rec.models.base import Params, item_table, tower
from pareto_rec.models.scoring import relevance_states, task_scores, user_states
from pareto_rec.policy import Parts, Scorers, Similarity, Ties, standardise, with_network
from pareto_rec.train.data import Fit, TrainData
from pareto_rec.train.facts import Facts

WHOLE_ELEMENTS = 25_000_000  # most scores of one scorer that are held for all users (100 MB)

Rows = slice | NDArray[np.int64]


class ExpertScores(Protocol):
    """Scores of an expert: an array ``[users, N]``, or what makes some rows of one."""

    def __getitem__(self, users: Any, /) -> NDArray[np.float32]:
        """Scores of some users ``[len(users), N]``: a slice or row numbers."""


def as_rows(users: Tensor | slice) -> Rows:
    """What NumPy takes rows by."""
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
    ) -> None:
        """Prepare.

        Args:
            met: Rows of each user and item in the histories ``[users, N]``.
            experts: Expert name -> scores of the same users.
            facts: Facts about items.
            ties: Ranks of items of equal score ``[N]``.
            device: Where tensors live.
        """
        categories, log_popularity, _ = facts
        popularity = (log_popularity - log_popularity.mean()) / max(log_popularity.std(), 1e-9)
        self.met, self.experts, self.device = met, experts, device
        self.popularity = torch.from_numpy(np.array(popularity)).to(device)
        self.similarity = Similarity.of(torch.from_numpy(np.array(categories)).to(device))
        self.ties = Ties.of(ties, device)

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
        """Which items are in the histories of some users ``[len(users), N]``."""
        met = sparse.csr_array(self.met[as_rows(users)])
        seen = np.zeros(met.shape, dtype=bool)
        seen[np.repeat(np.arange(met.shape[0]), np.diff(met.indptr)), met.indices] = True
        return torch.from_numpy(seen).to(self.device)

    def take(self, users: Tensor | slice) -> Scorers:
        """Scorers of some users without a network, made anew.

        An expert with nothing to say of a user without a history falls back on popularity.
        """
        seen, rows = self.seen(users), as_rows(users)
        unknown, experts = ~seen.any(dim=1, keepdim=True), {}
        for name, one in self.experts.items():
            scores = standardise(torch.from_numpy(np.array(one[rows])).to(self.device), seen)
            silent = unknown & (scores == 0).all(dim=1, keepdim=True)
            experts[name] = torch.where(silent, self.popularity, scores) if silent.any() else scores
        known = seen, self.popularity, self.similarity
        return Scorers(experts, None, None, None, *known, ties=self.ties)

    def all(self) -> Scorers | Parts:
        """Scorers of all users, without a network."""
        return self.take(slice(None)) if self.fits else Parts(self.shape, self.take)

    def with_fit(self, base: Scorers | Parts, one: Fit, data: TrainData) -> Scorers | Parts:
        """Scorers of all users together with a fit's scores.

        Args:
            base: Those without a network.
            one: The fit.
            data: Features, and the histories of the same users.
        """
        network = Network.of(one, data)
        if isinstance(base, Scorers):
            return with_network(base, *network.scores(slice(None)))

        def take(users: Tensor | slice) -> Scorers:
            return with_network(self.take(users), *network.scores(users))

        return Parts(self.shape, take)


@dataclass(frozen=True)
class Network:
    """A fit, ready to score any part of the users: what does not depend on the part is computed.

    Attributes:
        params: Parameters with a leading dimension of one.
        table: Item vectors ``[1, N, D]``.
        states: User states ``[1, users, D]``.
        temperature: ``[1]``.
        fit: The fit itself.
    """

    params: Params
    table: Tensor
    states: Tensor
    temperature: Tensor
    fit: Fit

    @classmethod
    def of(cls, one: Fit, data: TrainData) -> Network:
        """A fit on the histories of the evaluated users."""
        device = data.features.device
        params = {name: value.unsqueeze(0).to(device) for name, value in one.params.items()}
        histories = data.histories[:, -one.spec.history :].unsqueeze(0)
        shape = (1, histories.shape[1], 1)
        last = torch.full(shape, histories.shape[2] - 1, device=device)
        with torch.no_grad():
            features = data.item_features(one.spec, one.difference)
            table = item_table(params, features, None)
            states = user_states(params, one.shape, table, histories, last)
        return cls(params, table, states, torch.tensor([one.spec.temperature], device=device), one)

    @torch.no_grad()
    def scores(self, users: Tensor | slice) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What of a ranking the network makes, each ``[len(users), N]``.

        Returns:
            Logits of relevance (zeros where no loss of a fit on tasks ranks), of `liked` given
            watched, and task -> log of what it predicts.
        """
        states, across = self.states[:, users], self.table.transpose(1, 2)
        relevant = relevance_states(self.params, states, self.temperature)
        liked = tower(self.params, "liked", states) * states.shape[-1] ** -0.5
        found = [
            torch.baddbmm(self.params[f"{task}.item_bias"][:, None], one, across)[0]
            for task, one in (("relevance", relevant), ("liked", liked))
        ]
        if self.fit.spec.by_tasks_alone:
            found[0] = torch.zeros_like(found[0])
        return found[0], found[1], task_scores(self.params, self.fit.shape, states, self.table)
