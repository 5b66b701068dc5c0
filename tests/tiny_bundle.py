"""A bundle in small: 24 items with texts, a random BERT, random heads, real experts."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from pathlib import Path

import numpy as np
from random_bert import WORDS, random_bert
from toy_learning import next_item_stage, random_params, shape_of

from pareto_rec.baselines import BASELINES
from pareto_rec.bundle.collect import log_of, reading
from pareto_rec.bundle.data import BundleData, BundleManifest, ObjectiveAbout, PointAbout
from pareto_rec.bundle.texts import Texts
from pareto_rec.data.schema import Stage
from pareto_rec.ranking import ServingParams
from pareto_rec.training.data import Fit
from pareto_rec.training.item_features import principal_components
from pareto_rec.training.spec import TrainSpec

COMPONENTS = 6
CONFIG = """\
name = "tiny"
question = "Which?"

[data]
name = "made up"

[backbone]
name = "random"
max_length = 12
"""
SERVINGS = {
    "aa01": ServingParams({"network": 0.6, "ease_recency": 0.4}, 0.3, 0.4, 15, {"liked": 0.7}),
    "aa02": ServingParams({"network": 1.0}, mmr=0.2),
    "bb01": ServingParams({"network": 0.5, "item_knn_recency": 0.5}, popularity_penalty=0.2),
    "cc01": ServingParams({"ease_recency": 0.7, "item_knn_recency": 0.3}, popularity_penalty=0.5),
}
FITS = {"aa01": "attention", "aa02": "attention", "bb01": "causal", "cc01": "experts"}
VALUES = {"aa01": (0.2, 0.5), "aa02": (0.3, 0.4), "bb01": (0.25, 0.45), "cc01": (0.1, 0.9)}


def described_stage() -> Stage:
    """The stage of the toy world, its items with texts that differ; the last two are unknown."""
    stage = next_item_stage(n_items=22)
    rng = np.random.default_rng(3)
    texts = tuple(" ".join(rng.choice(WORDS, 6)) for _ in range(24))
    ids, titles = (tuple(f"{kind}{n}" for n in range(24)) for kind in ("i", "Film "))
    categories = np.eye(4, dtype=np.float32)[np.arange(24) % 4]
    items = dataclasses.replace(
        stage.items, ids=ids, titles=titles, texts=texts, categories=categories
    )
    return dataclasses.replace(stage, items=items)


def points() -> list[PointAbout]:
    return [
        PointAbout(
            id=id_,
            fit=FITS[id_],
            members={
                FITS[id_] if name == "network" else name: weight
                for name, weight in serving.fusion.items()
            },
            seed=1,
            train={},
            serve={},
            serving=asdict(serving),
            objectives=dict(zip(("ndcg@10", "latency_p95"), VALUES[id_], strict=True)),
            selected=id_ != "aa02",
        )
        for id_, serving in SERVINGS.items()
    ]


def about() -> BundleManifest:
    kinds = {"ndcg@10": True, "latency_p95": False}
    return BundleManifest(
        experiment="tiny",
        question="Which?",
        seed=0,
        k=5,
        learned_from="train",
        relevance="watched",
        liked="liked",
        objectives=[
            ObjectiveAbout(name=name, maximise=up, unit="1", reference=0.0, searched=True)
            for name, up in kinds.items()
        ],
        experts={name: BASELINES[name].parameters()["tau"] for name in _EXPERTS},
        points=points(),
        default="aa01",
    )


_EXPERTS = ("ease_recency", "item_knn_recency")
_MODELS = {"attention": "attention_pooling", "causal": "self_attention"}


def tiny_fit(model: str, seed: int) -> Fit:
    """A head with random weights."""
    shape = shape_of(model, ("liked",), n_items=24, feature_dim=COMPONENTS)
    spec = TrainSpec(model=model, width=8, history=7, layers=2, heads=2, temperature=0.7)
    return Fit(spec, shape, random_params(shape, seed), ((25, 0.1),), 25, 1.0)


def tiny_parts(folder: Path) -> BundleData:
    """Parts whose backbone is in the folder."""
    stage = described_stage()
    rows, part = log_of(stage)
    features = np.zeros((24, 16), dtype=np.float32)
    loadings = np.zeros((16, COMPONENTS), dtype=np.float32)
    parts = BundleData(
        about=about(),
        config=CONFIG,
        items=stage.items,
        users=stage.users,
        interactions=rows,
        part=part,
        features=features,
        vectors=features[:, :COMPONENTS],
        mean=features[0],
        loadings=loadings,
        experts={name: BASELINES[name].fit(stage.train, stage.shape) for name in _EXPERTS},
        fits={name: tiny_fit(model, seed) for seed, (name, model) in enumerate(_MODELS.items())},
        backbone=random_bert(folder / "bert"),
    )
    features = Texts(parts).features(stage.items.texts)
    vectors = principal_components(features, COMPONENTS)
    mean, loadings = reading(features, vectors)
    return dataclasses.replace(
        parts, features=features, vectors=vectors, mean=mean, loadings=loadings
    )
