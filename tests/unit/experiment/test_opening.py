"""Openings of an experiment's test data: the same data is known again, changes of a config void."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tables import shop

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.opening import opening_of, write_down
from pareto_rec.experiment.openings import OpeningLedger
from pareto_rec.runs.confirmation import JSON
from pareto_rec.runs.earlier_openings import EarlierOpenings, earlier_openings
from pareto_rec.runs.openings import LEDGER_VARIABLE, now, read_openings

CONFIG = """\
name = "made_up"
question = "Is an opening known again?"
split = { kind = "per_user", test = 0.1 }
objective = [{ name = "ndcg@10", reference = 0.1 }, { name = "ild@10", reference = 0.3 }]
fixed = { model = "attention_pooling", width = 8, heads = 2 }
space.train.learning_rate = { kind = "real", low = 0.01, high = 0.1, log = true }

[data]
kind = "table"
name = "shop"
files = "log.csv"
on_bad_rows = "skip"
items = { files = "items.csv", categories = "category" }
"""


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shop(tmp_path)
    monkeypatch.setenv(LEDGER_VARIABLE, str(tmp_path / "ledger.jsonl"))
    return tmp_path / "ledger.jsonl"


def experiment(folder: Path, *changes: tuple[str, str]) -> Experiment:
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "config.toml").write_text(text)
    return Experiment.of(load_config(folder / "config.toml"), folder / "cache")


def after_one_opening(folder: Path, ledger: Path, *changes: tuple[str, str]) -> EarlierOpenings:
    """What a confirmation is told after a run of the unchanged config has opened test data."""
    write_down(opening_of(experiment(folder), folder / "first", "confirm", seeds=3))
    own = opening_of(experiment(folder, *changes), folder / "second", "confirm", seeds=3)
    return earlier_openings(replace(own, at=now()), read_openings([ledger]))


@pytest.mark.parametrize(
    "change",
    [
        ("width = 8", "width = 16"),
        ("high = 0.1", "high = 0.2"),
        ('name = "shop"', 'name = "the same shop by another name"'),
        ('files = "log.csv"', 'files = "log.csv"\nmin_group = 3'),
    ],
)
def test_two_runs_with_other_configs_meet_on_the_same_test_data(
    ledger: Path, tmp_path: Path, change: tuple[str, str]
) -> None:
    found = after_one_opening(tmp_path, ledger, change)
    assert [one.run for one in found.same] == [f"{tmp_path.name}/first"]
    assert found.says.startswith("Test data had been opened once before, by made_up, on 20")
    assert not found.void


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            ("reference = 0.3", "reference = 0.2"),
            "the reference of ild@10 was changed from 0.3 to 0.2",
        ),
        (('"ild@10"', '"epc@10"'), "the objectives were changed from ndcg@10 and ild@10 to "),
        (("test = 0.1", "test = 0.2"), "held out in another way (test = 0.2 instead of 0.1)"),
        (('"per_user"', '"global_time"'), "(kind = global_time instead of per_user)"),
    ],
)
def test_a_changed_reference_objective_or_split_voids(
    ledger: Path, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    found = after_one_opening(tmp_path, ledger, change)
    assert found.void.startswith("Void: ")
    assert reason in found.void


def test_test_data_stays_sealed_for_a_run_that_the_ledger_does_not_name(
    ledger: Path, tmp_path: Path
) -> None:
    here = experiment(tmp_path)
    runs = [tmp_path / name for name in ("first", "second")]
    for run in runs:
        run.mkdir()
        (run / JSON).touch()  # the run directory alone is not enough
    write_down(opening_of(here, runs[0], "confirm"))
    assert here.open_test(OpeningLedger(runs[0])).name == "test"
    with pytest.raises(BadRequestError, match=r"ledger.jsonl has no opening of this test data by"):
        here.open_test(OpeningLedger(runs[1]))
    assert len(read_openings([ledger])) == 1
