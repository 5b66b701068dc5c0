"""From scores to lists: fusion, popularity penalty, re-ranking."""

from pareto_rec.policy.lists import (
    deviations,
    fused_scores,
    largest,
    parts_of,
    powers_of,
    recommend,
)
from pareto_rec.policy.scorers import (
    HIDDEN,
    NETWORK,
    RELEVANCE,
    Parts,
    Scorers,
    Serving,
    Similarity,
    Ties,
    centre,
    standardise,
    unseen_count,
    with_network,
)

__all__ = [
    "HIDDEN",
    "NETWORK",
    "RELEVANCE",
    "Parts",
    "Scorers",
    "Serving",
    "Similarity",
    "Ties",
    "centre",
    "deviations",
    "fused_scores",
    "largest",
    "parts_of",
    "powers_of",
    "recommend",
    "standardise",
    "unseen_count",
    "with_network",
]
