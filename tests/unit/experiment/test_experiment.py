"""Experiments as far as they go without data, and evaluators that differ in a part."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from evaluator_world import evaluator, trial

from pareto_rec.experiment.config import Config, load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.search import Settings
from pareto_rec.training.fit_store import FitStore

ROOT = Path(__file__).parents[3] / "experiments"


@pytest.fixture
def config() -> Config:
    return load_config(ROOT / "movielens_accuracy_diversity_novelty")


def test_the_search_gets_every_setting_of_the_config(config: Config) -> None:
    changed = {
        "population": 7,
        "offspring": 3,
        "first": 5,
        "sweep": 2,
        "start": "random",
        "corners": False,
        "surrogate": "gaussian_process",
    }
    search = config.search.model_copy(update=changed)
    settings = Experiment.of(config.model_copy(update={"search": search})).settings
    shared = {one.name for one in fields(Settings)} & type(search).model_fields.keys()
    assert shared == {*changed, "algorithm"}
    assert {name: getattr(settings, name) for name in changed} == changed


def test_nothing_is_read_before_it_is_asked_for(config: Config, tmp_path: Path) -> None:
    experiment = Experiment.of(config, tmp_path / "cache")
    assert experiment.variables.trains
    assert experiment.objectives.searched[0].name == experiment.goals[0].name
    assert not (tmp_path / "cache").exists()


def test_a_worker_keeps_its_experiment(config: Config, tmp_path: Path) -> None:
    text = config.model_dump_json()
    first = Experiment.for_worker(text, tmp_path)
    assert Experiment.for_worker(text, tmp_path) is first
    assert Experiment.for_worker(text, tmp_path / "other") is not first
    assert first.config == config


def test_an_evaluator_that_differs_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    first = evaluator(tmp_path / "fits", seed=1)
    other = first.with_(seed=2, store=FitStore(tmp_path / "other", "key"))
    assert (first.seed, other.seed) == (1, 2)
    assert first.fit_id(trial()) != other.fit_id(trial())
    assert other.data is first.data
    fewer = first.measuring.measures.searched[:1]
    alone = first.with_(objectives=type(first.measuring.measures)(fewer, ()))
    assert [one.name for one in alone.measuring.measures.all] == [fewer[0].name]
    assert len(first.measuring.measures.searched) > 1
