"""``search --controls`` through the real command line, and the values per user of a real front."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_experiment import pareto_rec, write_config

from pareto_rec.execution.ablations.kinds import applicable
from pareto_rec.experiment.config import load_config


@pytest.fixture(scope="module")
def run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = write_config(tmp_path_factory.mktemp("controls"))
    out = tmp_path_factory.mktemp("run") / "out"
    command = ("search", config, "--controls", "--out", out, "--workers", "1")
    said = pareto_rec(*command, "--set", "search.generations=1", cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    return out


def test_every_control_is_run_and_spoken_of(run: Path) -> None:
    found = json.loads((run / "controls.json").read_text())
    names = [control.name for control in applicable(load_config(run))]
    assert [row["name"] for row in found["controls"]] == names
    page = (run / "report.html").read_text()
    for row in found["controls"]:
        out = run / "controls" / row["name"]
        info = json.loads((out / "run.json").read_text())
        assert (info["status"], info["counts"]["failed"]) == ("finished", 0)
        assert info["hypervolume"]["front"] == row["hypervolume"]
        assert row["says"] in page
        if row["name"] not in ("no_network", "no_serving"):
            assert row["records"] == found["search"]["records"]
            assert row["fits"] == found["search"]["fits"]


def test_no_network_trains_nothing(run: Path) -> None:
    lines = (run / "controls" / "no_network" / "records.jsonl").read_text().splitlines()
    assert {json.loads(line)["fit"] for line in lines} == {"experts"}
    assert {json.loads(line)["timing"]["train_seconds"] for line in lines} == {0.0}


def test_values_per_user_average_to_the_front(run: Path) -> None:
    front = pd.read_csv(run / "front.csv").set_index("id")
    values = pd.read_parquet(run / "per_user" / "front.parquet")
    assert set(values["id"]) == set(front.index)
    means = values.groupby("id")[["ndcg@10", "ild@10", "recall@10"]].mean()
    for name in means:
        np.testing.assert_allclose(means[name], front.loc[means.index, name], atol=1e-12)
    assert "coverage@10" not in values  # no value per user
