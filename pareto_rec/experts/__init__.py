"""Non-neural scorers: baselines, and parts to fuse with the network.

Each comes plain and with recency, which for people means the last rows of their own history, and
for popularity the last rows of the whole log. The parameters of item-kNN and EASE do well on
validation data of MovieLens 100K.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from pareto_rec.data.schema import Stage
from pareto_rec.errors import unknown
from pareto_rec.experts.base import Expert, ItemModel
from pareto_rec.experts.cache import Mapped, cached_scores
from pareto_rec.experts.ease import EASE
from pareto_rec.experts.knn import ItemKNN
from pareto_rec.experts.popularity import Popularity

__all__ = ["EASE", "EXPERTS", "Expert", "ItemKNN", "ItemModel", "Popularity", "expert_scores"]

EXPERTS: Mapping[str, Expert] = MappingProxyType(
    {
        "popularity": Popularity(),
        "popularity_recency": Popularity(tau=0.5),
        "item_knn": ItemKNN(neighbours=10),
        "item_knn_recency": ItemKNN(neighbours=200, tau=2.0),
        "ease": EASE(l2=100.0),
        "ease_recency": EASE(l2=1000.0, tau=7.0),
    }
)
"""Name -> expert."""


def expert_scores(names: Iterable[str], stage: Stage, cache: Path) -> dict[str, Mapped]:
    """Scores of the named experts on a stage, computed once and then read from disk.

    Args:
        names: Names out of `EXPERTS`.
        stage: Fitted on its training rows, scored from its histories.
        cache: Root of the cache; the files lie in ``experts/`` below it.

    Returns:
        Name -> read-only scores ``[users, items]`` float32 over the whole catalogue, not masked.

    Raises:
        BadRequestError: If no registry knows a name, the cache cannot be written, or an expert
            refuses the catalogue's size.
    """
    wanted = list(names)
    for name in wanted:
        if name not in EXPERTS:
            raise unknown("expert", name, EXPERTS)
    return cached_scores(EXPERTS, wanted, stage, cache)
