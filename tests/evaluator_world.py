"""An evaluator on a small world, and trials for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from toy_learning import next_item_stage

from pareto_rec.evaluation.evaluator import Evaluator, ObjectiveSet
from pareto_rec.evaluation.inputs import CandidateVariables, EvaluationData
from pareto_rec.objectives import parse
from pareto_rec.search import Trial
from pareto_rec.search.space import Candidate, Real, SearchSpace, Simplex
from pareto_rec.tasks import built_in
from pareto_rec.training.fit_store import FitStore

STAGE = next_item_stage()
FIXED = {
    "model": "attention_pooling",
    "width": 8,
    "history": 6,
    "heads": 2,
    "steps": 40,
    "batch": 16,
    "check_every": 20,
    "horizon": 1,
}
SPACE = SearchSpace(
    train={
        "loss_weights": Simplex(("softmax", "negative_entropy"), floor={"softmax": 0.3}),
        "learning_rate": Real(1e-4, 1e38, log=True),
    },
    serve={
        "fusion": Simplex(("network", "popular")),
        "mmr": Real(0.0, 0.9),
        "popularity_penalty": Real(0.0, 1.0),
    },
)
SEARCHED = ("ndcg@10", "ild@10")
REPORTED = ("recall@5[liked]", "coverage@10", "worst(ndcg@10 by gender)", "train_seconds")


def evaluator(folder: Path, seed: int = 1, **other: Any) -> Evaluator:
    rng = np.random.default_rng(2)
    popular = np.tile(STAGE.popularity, (len(STAGE.users), 1)).astype(np.float32)
    parts: dict[str, Any] = {
        "stage": STAGE,
        "features": rng.normal(size=(len(STAGE.items), 12)).astype(np.float16),
        "experts": {"popular": popular},
        "space": SPACE,
        "fixed": FIXED,
        "measures": ObjectiveSet(
            tuple(parse(name) for name in SEARCHED), tuple(parse(name) for name in REPORTED)
        ),
        **other,
    }
    known = {one.name for one in dataclasses.fields(EvaluationData)}
    return Evaluator(
        EvaluationData(relevance="watched", **{n: v for n, v in parts.items() if n in known}),
        CandidateVariables(parts["space"], parts["fixed"], tasks=built_in("liked", ())),
        parts["measures"],
        train=SimpleNamespace(pack_size=4, device="cpu"),
        store=FitStore(folder, STAGE.content_hash),
        seed=seed,
    )


def trial(index: int = 0, rate: float = 0.02, candidates: int = 3, accuracy: float = 0.8) -> Trial:
    """One fit, a candidate of its own and some of the sweep."""
    train = {"loss_weights": (accuracy, 1 - accuracy), "learning_rate": rate}
    serves = [
        {"fusion": (1 - share, share), "mmr": share / 2, "popularity_penalty": share}
        for share in np.linspace(0, 0.6, candidates).tolist()
    ]
    made = tuple(Candidate(train, serve) for serve in serves)
    return Trial(generation=4, index=index, position=10 + index * candidates, candidates=made)


def untimed(records: list[Any]) -> list[Any]:
    return [dataclasses.replace(record, timing={}) for record in records]
