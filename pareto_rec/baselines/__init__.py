"""Non-neural scorers: baselines, and parts to fuse with the network.

Each comes plain and with recency, which for people means the last rows of their own history, and
for popularity the last rows of the whole log. The defaults do well on validation data of MovieLens
100K and need not elsewhere: a search first tunes them on its own validation data
(`pareto_rec.evaluation.tuning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pareto_rec.baselines import ease
from pareto_rec.baselines.base import Baseline, ItemModel
from pareto_rec.baselines.boosted_trees import BoostedTrees
from pareto_rec.baselines.cache import (
    Mapped,
    ScoresOnDemand,
    cached_model,
    cached_scores,
    expert_key,
)
from pareto_rec.baselines.cooccurrence import Cooccurrence
from pareto_rec.baselines.ease import EASE
from pareto_rec.baselines.ials import IALS
from pareto_rec.baselines.impressions import check_impressions, has_impressions
from pareto_rec.baselines.knn import ItemKNN
from pareto_rec.baselines.logistic_regression import LogisticRegression
from pareto_rec.baselines.popularity import Popularity
from pareto_rec.baselines.rp3beta import RP3Beta
from pareto_rec.baselines.user_knn import UserKNN
from pareto_rec.core.errors import unknown
from pareto_rec.core.registry import Registry
from pareto_rec.data.schema import Stage

__all__ = [
    "BASELINES",
    "EASE",
    "IALS",
    "Baseline",
    "BoostedTrees",
    "Cooccurrence",
    "ItemKNN",
    "ItemModel",
    "LogisticRegression",
    "Popularity",
    "RP3Beta",
    "ScoresOnDemand",
    "UserKNN",
    "check_impressions",
    "expert_key",
    "expert_scores",
    "has_impressions",
    "scores_on_demand",
    "stand_ins",
    "with_given_parameters",
]

BASELINES: Registry[Baseline] = Registry(
    "baseline",
    {
        "popularity": Popularity(),
        "popularity_recency": Popularity(tau=0.5),
        "item_knn": ItemKNN(neighbours=10),
        "item_knn_recency": ItemKNN(neighbours=200, tau=2.0),
        "ease": EASE(l2=100.0),
        "ease_recency": EASE(l2=1000.0, tau=7.0),
        "cooccurrence": Cooccurrence(),
        "cooccurrence_recency": Cooccurrence(tau=5.0),
        "rp3beta": RP3Beta(),
        "rp3beta_recency": RP3Beta(tau=5.0),
        "ials": IALS(),
        "ials_recency": IALS(tau=8.0),
        "user_knn": UserKNN(),
        "user_knn_recency": UserKNN(tau=10.0),
        "boosted_trees": BoostedTrees(),
        "logistic_regression": LogisticRegression(),
    },
)
"""Name -> expert."""


def with_given_parameters(
    parameters: Mapping[str, Mapping[str, object]], where: str = "baseline_parameters"
) -> dict[str, Baseline]:
    """Return every registered baseline, some of them with other parameters than their own.

    Args:
        parameters: Name -> parameter -> value.
        where: Key of the config that they come from, for messages.

    Raises:
        BadRequestError: If a baseline or a parameter is not known, or a value is out of bounds.
    """
    changed = {
        name: BASELINES[name].with_parameters(parameters[name], f"{where}.{name}")
        for name in _known(parameters)
    }
    return {**BASELINES, **changed}


def expert_scores(
    names: Iterable[str],
    stage: Stage,
    cache: Path,
    *,
    learn: Stage | None = None,
    baselines: Mapping[str, Baseline] = BASELINES,
) -> dict[str, Mapped]:
    """Return scores of the named experts on a stage, computed once and then read from disk.

    Args:
        names: Names out of `BASELINES`.
        stage: Scored from its histories.
        cache: Root of the cache; the files lie in ``experts/`` below it.
        learn: Stage whose training rows experts are fitted on; None: `stage` itself.
        baselines: Every baseline with its parameters.

    Returns:
        Name -> read-only scores ``[users, items]`` float32 over the whole catalogue, not masked.

    Raises:
        BadRequestError: If no registry knows a name, the cache cannot be written, or an expert
            refuses the data.
    """
    return cached_scores(baselines, _known(names), stage, cache, learn)


def scores_on_demand(
    names: Iterable[str],
    stage: Stage,
    cache: Path,
    *,
    learn: Stage | None = None,
    baselines: Mapping[str, Baseline] = BASELINES,
) -> dict[str, ScoresOnDemand]:
    """Return the same scores, computed only for the requested users; experts are fitted once.

    Raises:
        BadRequestError: As :func:`expert_scores`.
    """
    return {
        name: ScoresOnDemand.of(cached_model(baselines[name], learn or stage, cache), stage)
        for name in _known(names)
    }


def stand_ins(names: Iterable[str], n_items: int) -> dict[str, str]:
    """Map experts that a catalogue of that size is too large for to their replacement, in words."""
    return {
        name: f"item-kNN of {ease.NEIGHBOURS} neighbours: {n_items:,} items are more than the "
        f"{ease.MAX_ITEMS:,} up to which {name.removesuffix('_recency')} has a dense matrix"
        for name in names
        if isinstance(BASELINES.get(name), EASE | IALS) and n_items > ease.MAX_ITEMS
    }


def _known(names: Iterable[str]) -> list[str]:
    wanted = list(names)
    for name in wanted:
        if name not in BASELINES:
            raise unknown("expert", name, BASELINES)
    return wanted
