"""Growth: seconds and peak memory from a file of rows to a fit and its records, by size."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.measure import (
    Result,
    Row,
    exponent,
    in_process,
    peak_mb,
)
from pareto_rec.backbone.features import Features
from pareto_rec.core.seeds import generator
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Dataset, Interactions, Items, Users
from pareto_rec.data.split import split_per_user
from pareto_rec.data.synth import CATEGORIES, WORDS, Recipe, write
from pareto_rec.experiment.config import parse_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.search import Trial
from pareto_rec.search.space import Candidate
from pareto_rec.training.fitting import train_pack

WIDTH = 384  # of the features, as MiniLM's
LIMIT_MB = 6_000  # within which 10^7 rows have to be prepared and fitted
STEPS = ("read", "split", "prepare", "fit", "evaluate")

QUICK = [
    *(Recipe(max(100, rows // 50), 2_000, rows) for rows in (20_000, 60_000, 200_000)),
    *(Recipe(2_000, items, 100_000) for items in (1_000, 5_000, 20_000)),
]
FULL = [
    *(Recipe(rows // 100, 10_000, rows) for rows in (100_000, 1_000_000, 10_000_000)),
    *(Recipe(20_000, items, 1_000_000) for items in (1_000, 10_000, 100_000, 1_000_000)),
]

CONFIG = {
    "name": "growth",
    "question": "How do time and memory grow with the data?",
    "data": {"name": "synth", "relevance": "watched", "liked": "liked"},
    "objective": [{"name": "ndcg@10"}, {"name": "ild@10"}, {"name": "tail_ndcg@10"}],
    "fixed": {
        "loss_weights": {"sampled_softmax": 0.8, "liked": 0.2},
        "steps": 50,
        "check_every": 25,
        "horizon": 1,
        "learning_rate": 0.003,
        "history": 30,
    },
    "space": {
        "serve": {
            "fusion": {"kind": "simplex", "names": ["network", "item_knn"]},
            "mmr": {"kind": "real", "low": 0.0, "high": 0.9},
        }
    },
    "evaluate": {"users": 500},
}


def run(*, quick: bool, only: Sequence[Recipe] | None = None) -> Result:
    """Measure every size in a process of its own.

    Args:
        quick: Small sizes.
        only: Other sizes than those.
    """
    recipes = only or (QUICK if quick else FULL)
    measurements = [measured(recipe) for recipe in recipes]
    pairs = zip(recipes, measurements, strict=True)
    rows: list[Row] = [_row(recipe, measurement) for recipe, measurement in pairs]
    rows += _exponents(recipes, measurements)
    return Result("growth", _checked(measurements), rows, _notes(measurements))


def measured(recipe: Recipe) -> dict[str, Any]:
    """Seconds by step, peak memory and NDCG of one size."""
    with tempfile.TemporaryDirectory(prefix="pareto-rec-bench-") as folder:
        write(recipe, Path(folder))
        given = json.dumps({**vars(recipe), "folder": folder})
        return in_process("benchmarks.suite.growth", given)


def _checked(measurements: Sequence[Mapping[str, Any]]) -> str:
    if not all(one["rows"] == one["rows_asked"] and one["ndcg"] > 0 for one in measurements):
        raise AssertionError(f"rows were lost or nothing was learnt: {measurements}")
    return "every size: rows read = rows asked for, and validation NDCG@10 is above 0"


def _row(recipe: Recipe, measurement: Mapping[str, Any]) -> Row:
    seconds = {f"{name} s": round(measurement["seconds"][name], 2) for name in STEPS}
    return {
        "interactions": f"{recipe.interactions:,}",
        "items": f"{recipe.items:,}",
        "users": f"{recipe.users:,}",
        **seconds,
        "total s": round(sum(measurement["seconds"].values()), 1),
        "peak MB": round(measurement["peak_mb"]),
        "NDCG@10": round(measurement["ndcg"], 4),
    }


def _exponents(recipes: Sequence[Recipe], measurements: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per axis along which at least two sizes lie."""
    rows: list[Row] = []
    for axis, other in (("interactions", "items"), ("items", "interactions")):
        values = [getattr(recipe, other) for recipe in recipes]
        common = max(set(values), key=values.count)
        chosen = [i for i, value in enumerate(values) if value == common]
        sizes = [getattr(recipes[i], axis) for i in chosen]
        if len(set(sizes)) < 2:
            continue

        def slope(values: Sequence[float], sizes: Sequence[float] = sizes) -> float:
            return round(exponent(sizes, values), 2)

        row: dict[str, str | int | float] = {
            "interactions": f"exponent in {axis}" if axis == "interactions" else "",
            "items": f"exponent in {axis}" if axis == "items" else "",
            "users": "",
        }
        for name in STEPS:
            row[f"{name} s"] = slope([measurements[i]["seconds"][name] for i in chosen])
        row["total s"] = slope([sum(measurements[i]["seconds"].values()) for i in chosen])
        row["peak MB"] = slope([measurements[i]["peak_mb"] for i in chosen])
        rows.append(row | {"NDCG@10": ""})
    return rows


def _notes(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    largest = max(one["peak_mb"] for one in measurements)
    verdict = "within" if largest <= LIMIT_MB else "above"
    return [
        f"Largest peak {largest:,.0f} MB: {verdict} {LIMIT_MB:,} MB.",
        "Seconds of processor time, one thread as a worker has; each size in a fresh process. "
        "Features are sums of a random vector per word, so that encoding is no part of it.",
        "`prepare` is item-kNN, features on principal components and the evaluator; `fit` is 50 "
        "steps of sampled softmax and two looks at validation; `evaluate` is 4 serving "
        "settings on a sample of 500 users.",
    ]


@contextmanager
def _clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.process_time()  # of one thread: what else the machine does has no say
    yield
    seconds[name] = time.process_time() - began


def _measure(recipe: Recipe, folder: Path) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    with one_thread():
        with _clock(seconds, "read"):
            dataset = read(folder)
        with _clock(seconds, "split"):
            stage = split_per_user(dataset, validation=0.1, test=0.1, seed=0).validation
            rows = len(dataset.interactions)
            del dataset
        with _clock(seconds, "prepare"):
            features = _features(stage.items.texts, folder)
            experiment = Experiment.of(parse_config(CONFIG, "growth"), folder)
            evaluator = experiment.evaluator(stage, features)
        trial = _trial()
        with _clock(seconds, "fit"):
            spec, data = evaluator.spec(trial), evaluator.data
            [made] = train_pack([spec], [evaluator.seed], data, evaluator.monitor(), pack_size=1)
        with _clock(seconds, "evaluate"):
            records = evaluator.records(trial, "growth", made, made.reason)
    failed = [record.reason for record in records if record.reason]
    if failed:
        raise RuntimeError(failed[0])
    return {
        "rows": rows,
        "rows_asked": recipe.interactions,
        "seconds": seconds,
        "peak_mb": peak_mb(),
        "ndcg": max(record.objectives["ndcg@10"] for record in records),
        "users": evaluator.stage.shape[0],
    }


def _trial() -> Trial:
    made = tuple(
        Candidate({}, {"fusion": (1 - share, share), "mmr": mmr})
        for share, mmr in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.5), (0.6, 0.3))
    )
    return Trial(0, 0, 0, made)


def read(folder: Path) -> Dataset:
    """The made-up data, a group of rows at a time into compact columns."""
    from pyarrow import parquet

    people = parquet.read_table(folder / "users.parquet")
    catalogue = parquet.read_table(folder / "items.parquet").to_pydict()
    file = parquet.ParquetFile(folder / "interactions.parquet")
    count = file.metadata.num_rows
    user, item, moment = (np.empty(count, dtype=np.int64) for _ in range(3))
    liked, done = np.empty(count, dtype=np.float32), 0
    for batch in file.iter_batches():
        rows = slice(done, done + len(batch))
        user[rows], item[rows] = batch["user_id"].to_numpy(), batch["item_id"].to_numpy()
        moment[rows], liked[rows] = batch["timestamp"].to_numpy(), batch["rating"].to_numpy() >= 4
        done = rows.stop
    signals = {"watched": np.ones(count, dtype=np.float32), "liked": liked}
    titles = tuple(catalogue["title"])
    texts = tuple(
        f"{title}: {about}" for title, about in zip(titles, catalogue["description"], strict=True)
    )
    ids = tuple(map(str, catalogue["item_id"]))
    items = Items(ids, titles, texts, _categories(catalogue["categories"]), CATEGORIES)
    users = Users(tuple(map(str, people["user_id"].to_pylist())), {})
    return Dataset("synth", Interactions(user, item, moment, signals), items, users)


def _categories(joined: Sequence[str]) -> NDArray[np.float32]:
    place = {name: index for index, name in enumerate(CATEGORIES)}
    measurements = np.zeros((len(joined), len(place)), dtype=np.float32)
    for row, names in enumerate(joined):
        for name in names.split("|"):
            measurements[row, place[name]] = 1.0
    return measurements


def _features(texts: Sequence[str], folder: Path) -> Features:
    """Sums of a random vector per word, in half precision and mapped from disk."""
    words = {word: row for row, word in enumerate(dict.fromkeys((*CATEGORIES, *WORDS)))}
    vectors = generator(0, "words").normal(size=(len(words), WIDTH)).astype(np.float32)
    path = folder / "features.npy"
    shape = (len(texts), WIDTH)
    states = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for begin in range(0, len(texts), 10_000):
        part = texts[begin : begin + 10_000]
        count = np.zeros((len(part), len(words)), dtype=np.float32)
        for row, text in enumerate(part):
            for word in text.lower().replace(":", " ").split():
                if word in words:
                    count[row, words[word]] += 1.0
        states[begin : begin + len(part)] = count @ vectors
    states.flush()
    del states
    return Features(np.load(path, mmap_mode="r", allow_pickle=False), "words", cached=False)


def main(given: str) -> None:
    """Measure files that were made; the result is one line of JSON."""
    content = json.loads(given)
    folder = Path(content.pop("folder"))
    print(json.dumps(_measure(Recipe(**content), folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
