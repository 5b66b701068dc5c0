"""What a search must never do: look at test data, change the backbone, train in one and not tell.

The whole search runs in this process, on real data.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tiny_experiment import CONFIG, fresh_cache, records, write_config

from pareto_rec.analysis.confirm.ledger import note_opening
from pareto_rec.backbone.cached import Backbone
from pareto_rec.core.code_keys import INSTALLED
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Split, Stage
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment import experiment as module
from pareto_rec.experiment import inputs
from pareto_rec.experiment.config import Config, load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import read_split
from pareto_rec.experiment.opening import opening_of, write_down
from pareto_rec.experiment.openings import OpeningLedger

pytestmark = pytest.mark.usefixtures("single_thread")

# Modules that may cut a split, and those that may ask for what only an opened one holds.
CUT = {
    "experiment.inputs": "cuts it",
    "experiment.experiment": "seals its test stage, and opens it for a ledger",
    "cli.data": "describes data before any experiment",
}
OPEN = {
    "analysis.confirm.measure": "measures on it after the opening was written down",
    "bundle.refit": "learns from it once it was opened",
}


class Sealed:
    """Stands where test data would be; whoever looks at more than its hash fails the test."""

    def __init__(self, content_hash: str) -> None:
        self.content_hash = content_hash

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
        test: Any = Sealed(split.test.content_hash)
        return dataclasses.replace(split, test=test)

    monkeypatch.setattr(module, "read_split", sealed)
    search_experiment(config, tmp_path / "run", cache=tiny_cache, workers=1)
    assert {one["status"] for one in records(tmp_path / "run")} == {"ok"}
    evaluator = Experiment.for_worker(config.model_dump_json(), tiny_cache).evaluator()
    assert evaluator.stage.name == "validation"


def test_test_data_is_opened_by_a_ledger_alone(
    config: Config, tiny_cache: Path, tmp_path: Path
) -> None:
    experiment = Experiment.of(config, tiny_cache)
    with pytest.raises(BadRequestError, match="test data is sealed"):
        experiment.split.test  # noqa: B018  # access alone is refused
    held = [part for part in vars(experiment.split).values() if isinstance(part, Stage)]
    assert held == [experiment.split.validation]
    with pytest.raises(BadRequestError, match=r"is sealed: pareto-rec confirm opens it"):
        experiment.open_test(OpeningLedger(tmp_path))
    note_opening(tmp_path, seeds=1)
    with pytest.raises(BadRequestError, match=r"no opening of this test data by .*stays sealed"):
        experiment.open_test(OpeningLedger(tmp_path))
    write_down(opening_of(experiment, tmp_path, "confirm", seeds=1))
    test = experiment.open_test(OpeningLedger(tmp_path))
    assert (test.name, test.content_hash) == ("test", experiment.split.test_hash)
    rows = experiment.rows_before_test()
    assert rows.content_hash == test.history.content_hash
    assert len(rows) == len(experiment.dataset.interactions) - len(test.held_out)


def test_nobody_else_cuts_a_split_or_opens_it() -> None:
    for names, allowed in (
        ({"read_split", "split_dataset"}, CUT),
        ({"open_test", "rows_before_test"}, OPEN),
    ):
        users = set()
        for name in INSTALLED.modules:
            tree = ast.parse(INSTALLED.source(name))
            words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            if words & names:
                users.add(name.removeprefix("pareto_rec."))
        assert users == set(allowed)


def test_what_is_measured_on_is_what_was_held_out_for_validation(
    config: Config, tiny_cache: Path
) -> None:
    split = read_split(config, tiny_cache)
    evaluator = Experiment.of(config, tiny_cache).evaluator()
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
