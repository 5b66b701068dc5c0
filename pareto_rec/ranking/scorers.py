"""Serving variables, and the scores of baselines and networks that lists are fused from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pareto_rec.baselines import BASELINES
from pareto_rec.core.declarations import variable
from pareto_rec.core.limits import Number, Weights
from pareto_rec.models.head import NetworkScores
from pareto_rec.objectives.gains import BOOSTS
from pareto_rec.ranking.ties import Ties
from pareto_rec.tasks import EXPONENTS

NETWORK = "network"


@dataclass(frozen=True)
class ServingParams:
    """Every serving variable, natural values."""

    fusion: Mapping[str, float] = variable(
        {NETWORK: 1.0},
        Weights("expert", BASELINES, also=(NETWORK,)),
        'Name of a scorer -> weight: an expert, `"network"` for the one network of a point, or '
        "ids of fits where there are several.",
    )
    popularity_penalty: float = variable(
        0.0,
        Number(low=-1e3, high=1e3),
        "Weight of standardised log popularity, subtracted.",
    )
    mmr: float = variable(
        0.0,
        Number(low=0, high=1),
        "Weight of diversity in maximal marginal relevance, 0 (off) to 1.",
    )
    depth: int = variable(
        50,
        Number(low=1, high=1_000_000_000, whole=True),
        "Number of top items that are re-ranked.",
    )
    exponents: Mapping[str, float] = variable(
        {},
        EXPONENTS,
        'Task -> its power in the network\'s score, and under `"relevance"` that of relevance, '
        "1 unless given.",
    )
    boosts: Mapping[str, float] = variable(
        {},
        BOOSTS,
        "Gain (what a hit is worth: `tail`, `novelty`, `cold`, `price`, `category=VALUE`, "
        "`ATTRIBUTE=VALUE` of an item attribute, or `signal=NAME`, the mean value of a signal) -> "
        "weight of its standardised logarithm, added.",
    )

    def weighed_tasks(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Return the tasks that have an exponent other than 0 in the network's score."""
        return tuple(name for name in tasks if self.exponents.get(name, 0.0) != 0)


@dataclass(frozen=True)
class Similarity:
    """Cosine of category vectors, looked up by kind: items of equal categories are of one kind.

    Items without categories are like all others (1): what is not known of them makes no list
    diverse.

    Attributes:
        kind: Kind of each item ``[N]``.
        table: Cosine of each pair of kinds ``[kinds, kinds]``.
    """

    kind: Tensor
    table: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Similarity:
        """Compute the similarity of category vectors of length one ``[N, C]``."""
        if not vectors.shape[1]:  # no item has a category
            vectors = vectors.new_zeros(len(vectors), 1)
        distinct, kind = torch.unique(vectors, dim=0, return_inverse=True)
        blank = ~distinct.any(dim=1)
        table = distinct @ distinct.T
        return cls(kind, table.masked_fill(blank | blank.unsqueeze(1), 1.0))


@dataclass(frozen=True)
class Network:
    """What a network adds to a fusion, per user centred over unseen items.

    Attributes:
        relevance: Log relevance ``[users, N]``.
        tasks: Task -> log of what it predicts ``[users, N]``.
        products: Mean products ``[users, A, A]`` of relevance and each task, which give the
            deviation of any product of their powers.
    """

    relevance: Tensor
    tasks: Mapping[str, Tensor]
    products: Tensor

    @classmethod
    def of(cls, scores: NetworkScores, seen: Tensor) -> Network:
        """Return what a network's scores add for users who have seen some items ``[users, N]``."""
        count = unseen_count(seen)
        relevance = centre(scores.relevance, seen, count)
        tasks = {name: centre(values, seen, count) for name, values in scores.tasks.items()}
        every = torch.stack([relevance, *tasks.values()], 1) if tasks else relevance.unsqueeze(1)
        products = torch.bmm(every, every.transpose(1, 2)) / count.view(-1, 1, 1)
        return cls(relevance, tasks, products)

    def take(self, users: Tensor | slice) -> Network:
        """Return the same of some users: row numbers or a slice."""
        tasks = {name: values[users] for name, values in self.tasks.items()}
        return Network(self.relevance[users], tasks, self.products[users])


@dataclass(frozen=True)
class Scorers:
    """What is fused, per user standardised over unseen items (mean 0, deviation 1).

    Attributes:
        experts: Expert name -> ``[users, N]``, standardised.
        seen: ``[users, N]``, True for items of the history.
        popularity: Standardised ``log1p`` popularity ``[N]``.
        similarity: Of items by their categories.
        networks: Name in a fusion -> network; `NETWORK` where there is one alone.
        boosts: Gain -> its standardised logarithm ``[N]``.
        ties: Order of items of equal score; None: as they stand in the catalogue.
    """

    experts: Mapping[str, Tensor]
    seen: Tensor
    popularity: Tensor
    similarity: Similarity
    networks: Mapping[str, Network] = field(default_factory=dict)
    boosts: Mapping[str, Tensor] = field(default_factory=dict)
    ties: Ties | None = None

    def take(self, users: Tensor | slice) -> Scorers:
        """Return the scorers of some users: row numbers or a slice."""
        return replace(
            self,
            experts={name: scores[users] for name, scores in self.experts.items()},
            seen=self.seen[users],
            networks={name: network.take(users) for name, network in self.networks.items()},
        )

    def with_networks(self, scores: Mapping[str, NetworkScores]) -> Scorers:
        """Return the scorers together with what networks say, by their names in a fusion."""
        networks = {
            name: Network.of(network_scores, self.seen) for name, network_scores in scores.items()
        }
        return replace(self, networks={**self.networks, **networks})


@dataclass(frozen=True)
class BlockwiseScorers:
    """Scorers of so many users over so many items that only a part is made at a time.

    Attributes:
        shape: Number of users and of items.
        take: The scorers of some users: row numbers or a slice.
    """

    shape: tuple[int, int]
    take: Callable[[Tensor | slice], Scorers]


def unseen_count(seen: Tensor) -> Tensor:
    """Count the items that each user has not met ``[users, 1]``, at least 1."""
    return (~seen).sum(-1, keepdim=True).clamp(min=1)


def centre(scores: Tensor, seen: Tensor, count: Tensor | None = None) -> Tensor:
    """Return scores ``[..., users, N]`` less their mean over unseen items, 0 at seen ones.

    Args:
        scores: ``[..., users, N]``.
        seen: ``[users, N]``.
        count: `unseen_count` of `seen`, where it is known already.
    """
    unseen = torch.where(seen, 0.0, scores)
    count = unseen_count(seen) if count is None else count
    return torch.where(seen, 0.0, unseen - unseen.sum(-1, keepdim=True) / count)


def standardise(scores: Tensor, seen: Tensor, count: Tensor | None = None) -> Tensor:
    """Centre scores and divide them by their deviation over unseen items."""
    count = unseen_count(seen) if count is None else count
    centred = centre(scores, seen, count)
    deviation = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    return centred / deviation.clamp(min=1e-6)
