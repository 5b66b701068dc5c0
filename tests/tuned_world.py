"""Data and specs of fits that train layers of a random two-layer BERT."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_bert import random_bert
from toy_learning import CPU, next_item_stage, train_data

from pareto_rec.backbone.cached import Backbone
from pareto_rec.data.schema import Stage
from pareto_rec.training.data import TrainData
from pareto_rec.training.spec import TrainSpec
from pareto_rec.training.tuned.source import TextSource

PLAIN: dict[str, Any] = {
    "width": 8, "heads": 2, "history": 8, "steps": 30, "batch": 32, "check_every": 15,
    "learning_rate": 0.02, "item_inputs": "text", "horizon": 1,
}  # fmt: skip
LORA: dict[str, Any] = {**PLAIN, "tuned_layers": 1, "lora_rank": 4, "encoder_rate": 0.003}
FULL: dict[str, Any] = {**PLAIN, "tuned_layers": 1, "tuning": "full", "encoder_rate": 0.001}


@pytest.fixture(scope="module")
def stage() -> Stage:
    """Next item round the circle; texts are words of the vocabulary in ever new orders."""
    made = next_item_stage()
    words = ["a", "b", "c", "film", "war", "love", "of", "the"]
    rng = np.random.default_rng(1)
    texts = tuple(" ".join(rng.permutation(words)[: 2 + n % 4]) for n in range(len(made.items)))
    return dataclasses.replace(made, items=dataclasses.replace(made.items, texts=texts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def source_of(folder: Path, cache: Path, stage: Stage) -> TextSource:
    return TextSource(
        lambda: Backbone.load(folder, cache),
        stage.items.texts,
        max_length=16,
        cut=None,
        components=6,
        device=CPU,
        cache=cache,
    )


@pytest.fixture(scope="module")
def data(folder: Path, cache: Path, stage: Stage) -> TrainData:
    source = source_of(folder, cache, stage)
    made = train_data(stage)
    return dataclasses.replace(made, texts=source, features=source.frozen(TrainSpec()))
