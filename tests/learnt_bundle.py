"""A bundle of a small world in which there is something to learn: made-up films, a random BERT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_bert import random_bert
from several_fits import fused_record

from pareto_rec.baselines import BASELINES
from pareto_rec.bundle import BundleData, BundleManifest, PointAbout, write_bundle
from pareto_rec.bundle.data import TRAIN, VALIDATION, ObjectiveAbout
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import encode_texts
from pareto_rec.ranking import ServingParams
from pareto_rec.runs.record import Record
from pareto_rec.search import Trial
from pareto_rec.search.space import Candidate

NAMES = ("Comedy", "Drama", "War")
USERS, ITEMS, ROWS = 40, 60, 14
CONFIG = """\
name = "tiny"
question = "Does it serve?"
reported = ["coverage@5"]
baselines = ["popularity"]

[data]
name = "movielens-100k"
relevance = "watched"
liked = "liked"

[backbone]
name = "ENCODER"
max_length = 8
components = 4

[[objective]]
name = "ndcg@5"
reference = 0.0

[[objective]]
name = "ild@5"
reference = 0.1

[fixed]
model = "attention_pooling"
steps = 30
batch = 32
horizon = 1
history = 6
width = 8
heads = 2
learning_rate = 0.02

[space.train]
loss_weights = { kind = "simplex", names = ["softmax", "popularity"] }

[space.serve]
fusion = { kind = "simplex", names = ["network", "ease_recency"] }
mmr = { kind = "real", low = 0.0, high = 0.9 }
depth = { kind = "integer", low = 5, high = 30 }

[search]
population = 2
generations = 1
"""


def catalogue() -> Items:
    """Films of three genres with words that the random BERT knows; one has no genre."""
    words = ["war", "love", "film", "a", "b", "c"]
    titles = [f"{words[i % 6]} {words[i // 6 % 6]} ({i})" for i in range(ITEMS)]
    categories = np.zeros((ITEMS, 3), dtype=np.float32)
    categories[np.arange(ITEMS), np.arange(ITEMS) % 3] = 1
    categories[-1] = 0
    ids = tuple(f"i{place}" for place in range(ITEMS))
    return Items(ids, tuple(titles), tuple(titles), categories, NAMES)


def log(seed: int = 0, *, users: int = USERS, rows: int = ROWS, start: int = 0) -> Interactions:
    """Rows of people who walk through the catalogue in steps of their own taste."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, ITEMS, users)
    steps = 3 * rng.integers(1, 3, (users, rows))  # three genres: a taste stays within one
    item = (first[:, None] + np.cumsum(steps, axis=1)) % ITEMS
    time = start + 60 * np.arange(rows)[None, :] + rng.integers(0, 50, (users, 1))
    user = np.repeat(np.arange(users), rows)
    liked = (item % 2).astype(np.float32).ravel()
    signals = {"watched": np.ones_like(liked), "liked": liked}
    flat = item.ravel().astype(np.int64), time.ravel().astype(np.int64)
    return Interactions(user.astype(np.int64), *flat, signals)


def stage_of(rows: Interactions, held: NDArray[np.bool_], label: str = "tiny") -> Stage:
    """Learn from some rows, predict the others."""
    people = tuple(f"u{place}" for place in range(USERS))
    users = Users(people, {"gender": tuple("FM"[place % 2] for place in range(USERS))})
    train = rows.take(~held)
    return Stage("validation", train, train, rows.take(held), catalogue(), users, label)


def learnt_parts(folder: Path, fits: int = 1) -> BundleData:
    """Parts of a bundle with two points on one fit; encoder and cache are in the folder.

    With more fits, the default is a point that fuses all of them.
    """
    random_bert(folder / "encoder")
    text = CONFIG.replace("ENCODER", str(folder / "encoder"))
    (folder / "config.toml").write_text(text)
    rows = log()
    held = np.arange(len(rows)) % ROWS >= ROWS - 3
    stage = stage_of(rows, held)
    cache = folder / "cache"
    experiment = Experiment.of(load_config(folder / "config.toml"), cache)
    features = encode_texts(experiment.config, experiment.backbone, stage.items.texts, cache)
    evaluator = experiment.evaluator(stage, features)
    train = {"loss_weights": (0.9, 0.1)}
    candidates = [
        Candidate(train, {"fusion": (share, 1 - share), "mmr": mmr, "depth": 20})
        for share, mmr in ((0.5, 0.0), (0.9, 0.8))
    ]
    records = evaluator.evaluate([Trial(0, 0, 0, tuple(candidates))])
    if fits > 1:
        others = [
            Trial(0, n, 1 + n, (Candidate({"loss_weights": (0.9 - n / 9, 0.1 + n / 9)}, {}),))
            for n in range(1, fits)
        ]
        ids = [records[0].fit, *(evaluator.evaluate([one])[0].fit for one in others)]
        weights = {name: 0.1 + n / 20 for n, name in enumerate(ids)} | {"ease_recency": 0.3}
        records.insert(0, fused_record(evaluator, weights, mmr=0.2, depth=20))
    states = np.asarray(features.states, dtype=np.float32)
    vectors = evaluator.data.features.numpy()
    mean = states.mean(axis=0)
    return BundleData(
        about=_about(records, [evaluator.serving(one.serve) for one in records]),
        config=text,
        items=stage.items,
        users=stage.users,
        interactions=rows,
        part=np.where(held, VALIDATION, TRAIN).astype(np.uint8),
        features=states,
        vectors=vectors,
        mean=mean,
        loadings=np.linalg.lstsq(states - mean, vectors, rcond=None)[0].astype(np.float32),
        experts={"ease_recency": BASELINES["ease_recency"].fit(stage.train, stage.shape)},
        fits=dict(evaluator.scorers_of(records[0].members)[1]),
        backbone=folder / "encoder",
    )


def _about(records: Sequence[Record], settings: Sequence[ServingParams]) -> BundleManifest:
    def objective(name: str, reference: float | None) -> ObjectiveAbout:
        searched = reference is not None
        return ObjectiveAbout(
            name=name, maximise=True, unit="1", reference=reference, searched=searched
        )

    points = [
        PointAbout(
            id=one.id,
            fit=one.fit,
            members=dict(one.members),
            seed=one.seed,
            train=_plain(one.train),
            serve=_plain(one.serve),
            serving=asdict(setting),
            objectives=dict(one.objectives),
            selected=True,
        )
        for one, setting in zip(records, settings, strict=True)
    ]
    known = [("ndcg@5", 0.0), ("ild@5", 0.1), ("coverage@5", None)]
    return BundleManifest(
        experiment="tiny",
        question="Does it serve?",
        seed=0,
        k=5,
        learned_from="train",
        relevance="watched",
        liked="liked",
        objectives=[objective(name, reference) for name, reference in known],
        experts={"ease_recency": 7.0},
        points=points,
        default=points[0].id,
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {n: list(one) if isinstance(one, tuple) else one for n, one in values.items()}


def learnt_bundle(folder: Path, fits: int = 1) -> Path:
    """The bundle on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread():
        write_bundle(folder / "bundle", learnt_parts(folder, fits))
    return folder / "bundle"
