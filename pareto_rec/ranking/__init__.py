"""Ranking: scores to lists by fusion, popularity penalty and re-ranking."""

from pareto_rec.ranking.builder import ScorerBuilder, seen_by
from pareto_rec.ranking.fusion import deviations, powers_of
from pareto_rec.ranking.lists import fused_scores, parts_of, recommend
from pareto_rec.ranking.scorers import (
    NETWORK,
    BlockwiseScorers,
    Network,
    Scorers,
    ServingParams,
    Similarity,
    centre,
    standardise,
    unseen_count,
)
from pareto_rec.ranking.ties import HIDDEN, Ties, largest

__all__ = [
    "HIDDEN",
    "NETWORK",
    "BlockwiseScorers",
    "Network",
    "ScorerBuilder",
    "Scorers",
    "ServingParams",
    "Similarity",
    "Ties",
    "centre",
    "deviations",
    "fused_scores",
    "largest",
    "parts_of",
    "powers_of",
    "recommend",
    "seen_by",
    "standardise",
    "unseen_count",
]
