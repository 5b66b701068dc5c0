"""What is fused into lists: serving variables, and scores of experts and of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pareto_rec.policy.ties import Ties

NETWORK = "network"
RELEVANCE = "relevance"  # among the exponents


@dataclass(frozen=True)
class Serving:
    """Every serving variable, natural values.

    Attributes:
        fusion: Scorer name (``"network"`` or an expert) -> weight.
        liked_exponent: Power of P(liked | watched) in the network's score (product of powers).
        popularity_penalty: Weight of standardised log popularity, subtracted.
        mmr: Weight of diversity in maximal marginal relevance, 0 (off) to 1.
        depth: Number of top items that are re-ranked.
        exponents: Task -> its power in the network's score, and under ``"relevance"`` that of
            relevance, 1 unless given.
    """

    fusion: Mapping[str, float] = field(default_factory=lambda: {NETWORK: 1.0})
    liked_exponent: float = 0.0
    popularity_penalty: float = 0.0
    mmr: float = 0.0
    depth: int = 50
    exponents: Mapping[str, float] = field(default_factory=dict)


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
        """Similarity of category vectors of length one ``[N, C]``."""
        if not vectors.shape[1]:  # no item has a category
            vectors = vectors.new_zeros(len(vectors), 1)
        distinct, kind = torch.unique(vectors, dim=0, return_inverse=True)
        blank = ~distinct.any(dim=1)
        table = distinct @ distinct.T
        return cls(kind, table.masked_fill(blank | blank.unsqueeze(1), 1.0))


@dataclass(frozen=True)
class Scorers:
    """What is fused, per user standardised over unseen items (mean 0, deviation 1).

    Attributes:
        experts: Expert name -> ``[users, N]``, standardised.
        relevance: Network's log relevance ``[users, N]``, centred over unseen items; None without.
        liked: Log of P(liked | watched) ``[users, N]``, centred over unseen items; None without.
        moments: ``[users, 3]``: variance of `relevance`, covariance, variance of `liked`.
        seen: ``[users, N]``, True for items of the history.
        popularity: Standardised ``log1p`` popularity ``[N]``.
        similarity: Of items by their categories.
        tasks: Task -> log of what it predicts ``[users, N]``, centred over unseen items.
        products: Where there are tasks, mean products ``[users, A, A]`` of relevance, `liked` and
            each task; else None.
        ties: Order of items of equal score; None: as they stand in the catalogue.
    """

    experts: Mapping[str, Tensor]
    relevance: Tensor | None
    liked: Tensor | None
    moments: Tensor | None
    seen: Tensor
    popularity: Tensor
    similarity: Similarity
    tasks: Mapping[str, Tensor] = field(default_factory=dict)
    products: Tensor | None = None
    ties: Ties | None = None

    def take(self, users: Tensor | slice) -> Scorers:
        """The scorers of some users: row numbers or a slice."""
        own = (self.relevance, self.liked, self.moments, self.products)
        relevance, liked, moments, products = (None if one is None else one[users] for one in own)
        return replace(
            self,
            experts={name: scores[users] for name, scores in self.experts.items()},
            relevance=relevance,
            liked=liked,
            moments=moments,
            seen=self.seen[users],
            tasks={name: scores[users] for name, scores in self.tasks.items()},
            products=products,
        )


@dataclass(frozen=True)
class Parts:
    """Scorers of so many users over so many items that only a part is made at a time.

    Attributes:
        shape: Number of users and of items.
        take: The scorers of some users: row numbers or a slice.
    """

    shape: tuple[int, int]
    take: Callable[[Tensor | slice], Scorers]


def unseen_count(seen: Tensor) -> Tensor:
    """How many items each user has not met ``[users, 1]``, at least 1."""
    return (~seen).sum(-1, keepdim=True).clamp(min=1)


def centre(scores: Tensor, seen: Tensor, count: Tensor | None = None) -> Tensor:
    """Scores ``[..., users, N]`` less their mean over unseen items, 0 at seen ones.

    Args:
        scores: ``[..., users, N]``.
        seen: ``[users, N]``.
        count: `unseen_count` of `seen`, where it is known already.
    """
    kept = torch.where(seen, 0.0, scores)
    count = unseen_count(seen) if count is None else count
    return torch.where(seen, 0.0, kept - kept.sum(-1, keepdim=True) / count)


def standardise(scores: Tensor, seen: Tensor, count: Tensor | None = None) -> Tensor:
    """As `centre`, and with deviation 1 over unseen items."""
    count = unseen_count(seen) if count is None else count
    centred = centre(scores, seen, count)
    deviation = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    return centred / deviation.clamp(min=1e-6)


def with_network(
    base: Scorers,
    relevance: Tensor,
    liked: Tensor | None,
    tasks: Mapping[str, Tensor] | None = None,
) -> Scorers:
    """The scorers together with what a network says.

    Args:
        base: The scorers without it.
        relevance: Logits of relevance ``[users, N]``.
        liked: Logits of the second task ``[users, N]``; None where it has no say.
        tasks: Task of the config -> log of what it predicts ``[users, N]``.
    """
    seen = base.seen
    count = unseen_count(seen)
    relevance = centre(relevance, seen, count)
    if liked is None:
        liked, none = torch.zeros_like(relevance), relevance.new_zeros(len(relevance))
        moments = torch.stack([relevance.square().sum(1), none, none], 1)
    else:
        liked = centre(torch.nn.functional.logsigmoid(liked), seen, count)
        pairs = (relevance, relevance), (relevance, liked), (liked, liked)
        moments = torch.stack([(one * other).sum(1) for one, other in pairs], 1)
    centred = {name: centre(values, seen, count) for name, values in (tasks or {}).items()}
    products = None
    if centred:
        every = torch.stack([relevance, liked, *centred.values()], 1)
        products = torch.bmm(every, every.transpose(1, 2)) / count.view(-1, 1, 1)
    return replace(
        base,
        relevance=relevance,
        liked=liked,
        moments=moments / count,
        tasks=centred,
        products=products,
    )
