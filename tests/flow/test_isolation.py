"""What a search must never do: look at test data, change the backbone, train in one and not tell.

The whole search runs in this process, on real data.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tiny_experiment import CONFIG, fresh_cache, records, write_config

from pareto_rec.backbone.cached import Backbone
from pareto_rec.data.schema import Split
from pareto_rec.execution import search as run
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment import experiment, inputs
from pareto_rec.experiment.config import Config, load_config
from pareto_rec.experiment.experiment import build_evaluator, plan
from pareto_rec.experiment.inputs import read_features, read_split


class Sealed:
    """Stands where test data would be; whoever looks at it fails the test."""

    def __getattr__(self, name: str) -> NoReturn:
        pytest.fail(f"the search looked at {name} of the test data")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(write_config(tmp_path / "experiment", CONFIG))


def test_a_search_gets_by_without_any_test_data(
    config: Config, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sealed(config: Config, cache: Path) -> Split:
        split = read_split(config, cache)
        return dataclasses.replace(split, test=Sealed())  # type: ignore[arg-type]  # see Sealed

    monkeypatch.setattr(run, "read_split", sealed)
    monkeypatch.setattr(experiment, "read_split", sealed)
    search_experiment(config, tmp_path / "run", cache=tiny_cache, workers=1)
    assert {one["status"] for one in records(tmp_path / "run")} == {"ok"}
    experiment.worker_evaluator.cache_clear()
    evaluator = experiment.worker_evaluator(config.model_dump_json(), tiny_cache)
    experiment.worker_evaluator.cache_clear()
    assert evaluator.stage.name == "validation"


def test_what_is_measured_on_is_what_was_held_out_for_validation(
    config: Config, tiny_cache: Path
) -> None:
    split = read_split(config, tiny_cache)
    features = read_features(config, split.validation.items.texts, tiny_cache)
    evaluator = build_evaluator(plan(config), split.validation, tiny_cache, features)
    test = set(zip(split.test.held_out.user, split.test.held_out.item, strict=True))
    for user, item in test:
        assert not evaluator.scorers.seen[user, item]
    relevant = evaluator.measuring.held_out["watched"].matrix
    pairs = set(zip(*relevant.nonzero(), strict=True))
    held = split.validation.held_out
    assert pairs == set(zip(held.user, held.item, strict=True))
    assert not pairs & test


def test_the_backbone_is_the_same_after_a_search(
    config: Config, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights in memory, through encoding and fits, and its files."""
    cache = fresh_cache(tmp_path / "cache", sources, ("data", "backbones", "experts"))
    kept = Backbone.load(config.backbone.name, cache)
    before, files = kept.state_hash(), kept.weights_hash
    asked: list[Any] = []

    def load(name: str, cache: Path) -> Backbone:
        asked.append((name, cache))
        return kept

    monkeypatch.setattr(inputs.Backbone, "load", load)
    search_experiment(
        config.model_copy(update={"baselines": []}), tmp_path / "run", cache=cache, workers=1
    )
    assert asked == [(config.backbone.name, cache)]
    assert list((cache / "features").glob("*.npy"))  # it did encode
    assert kept.state_hash() == before
    monkeypatch.undo()
    assert Backbone.load(config.backbone.name, cache).weights_hash == files
