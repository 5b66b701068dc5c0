"""Boosted trees and logistic regression over impressions: searched, confirmed, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tables import impressions
from tiny_experiment import pareto_rec, records

from pareto_rec.analysis.confirm import confirm_run
from pareto_rec.bundle.export import ExportOptions, export_run
from pareto_rec.core.errors import BadRequestError
from pareto_rec.execution.callbacks import SearchCallback
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment

CONFIG = """\
name = "impressions"
question = "What do trees over impressions add?"
reported = ["grouped_auc[clicked]"]
baselines = ["popularity"]

[data]
kind = "table"
files = "log.csv"
columns = { user = "user", item = "item", time = "time" }
signals = { clicked = "clicked", bought = "bought" }

[data.items]
text = "{name}"
categories = "kind"
price = "price"

[backbone]
max_length = 8

[[objective]]
name = "ndcg@5"
reference = 0.0

[[objective]]
name = "coverage@5"
reference = 0.0

[tuning]
settings = 3

[space.serve]
fusion = { kind = "simplex", names = ["popularity", "boosted_trees", "logistic_regression"] }
popularity_penalty = { kind = "real", low = 0.0, high = 1.0 }

[search]
population = 6
generations = 1
sweep = 1

[smoke]
search = { population = 2, generations = 1 }
"""
PLAIN = CONFIG.replace('"boosted_trees", "logistic_regression"', '"item_knn"')
TREES, LINES = "boosted_trees", "logistic_regression"


def searched(folder: Path, cache: Path, text: str) -> Path:
    impressions(folder)
    (folder / "config.toml").write_text(text)
    return search_experiment(load_config(folder), folder / "run", cache=cache, workers=1)


def info_of(run: Path, name: str = "run.json") -> dict[str, Any]:
    return dict(json.loads((run / name).read_text()))


@pytest.fixture(scope="module")
def fused(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose lists fuse both."""
    return searched(tmp_path_factory.mktemp("fused"), tiny_cache, CONFIG)


def test_they_are_tuned_fused_and_written_down(fused: Path) -> None:
    experts = info_of(fused)["experts"]
    assert set(experts) == {TREES, LINES}
    assert experts[TREES]["tried"] == 3
    assert experts[TREES]["value"] >= experts[TREES]["default_value"] > 0
    written = (fused / "config.toml").read_text()
    assert f"[baseline_parameters.{TREES}]" in written
    assert f"[baseline_parameters.{LINES}]" in written
    assert all(one["status"] == "ok" for one in records(fused))
    assert {name for one in records(fused) for name in one["members"]} >= {TREES, LINES}


def test_no_bundle_holds_them(fused: Path, tiny_cache: Path, tmp_path: Path) -> None:
    options = ExportOptions(front=True)
    with pytest.raises(BadRequestError, match="whose model no bundle holds"):
        export_run(fused, tmp_path / "bundle", options, cache=tiny_cache)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [(CONFIG, "boosted trees alone"), (PLAIN, "baselines and boosted trees")],
)
def test_confirm_has_the_trees_as_an_opponent(
    text: str, name: str, fused: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    if text is CONFIG:
        run = Path(shutil.copytree(fused, tmp_path / "run"))
    else:
        run = searched(tmp_path, tiny_cache, text)
    confirm_run(run, seeds=1, cache=tiny_cache, workers=1)
    content = info_of(run, "confirm.json")
    fronts = {front["name"]: front for front in content["fronts"]}
    own = fronts[name]
    assert own["kind"] == "tree"
    assert own["records"] == fronts["search"]["records"] == len(records(run))
    points = [point for point in content["points"] if point["front"] == name]
    assert len(points) == own["points"] > 0
    assert fronts["baselines alone"]["records"] == own["records"]
    used = {key for point in points for key, weight in point["serve"]["fusion"].items() if weight}
    assert used == {TREES} if text is CONFIG else used <= {"popularity", "item_knn", TREES}
    assert "gradient-boosted trees over impressions" in own["says"]
    assert TREES not in str(info_of(run).get("experts", {})) or text is CONFIG
    tuned = content["experts"]
    assert tuned.keys() == {TREES}
    assert tuned[TREES]["tried"] == 3
    assert tuned[TREES]["parameters"].keys() == tuned[TREES]["default"].keys()
    assert text is PLAIN or tuned[TREES] == info_of(run)["experts"][TREES]


def test_baselines_are_tuned_by_grouped_auc(tiny_cache: Path, tmp_path: Path) -> None:
    text = CONFIG.replace("settings = 3", 'settings = 3\nmetric = "grouped_auc[clicked]"')
    for entry in info_of(searched(tmp_path, tiny_cache, text))["experts"].values():
        assert entry["metric"] == "grouped_auc[clicked]"
        assert entry["value"] >= entry["default_value"] > 0


def test_a_log_without_impressions_is_refused_before_any_work(
    tiny_cache: Path, tmp_path: Path
) -> None:
    impressions(tmp_path)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    clicked = [line for line in lines[1:] if line.split(",")[3] == "1"]
    (tmp_path / "log.csv").write_text("\n".join([lines[0], *clicked]) + "\n")
    (tmp_path / "config.toml").write_text(CONFIG.replace('"grouped_auc[clicked]"', ""))
    metric = ('tuning.metric="grouped_auc"', 'space.serve.fusion.names=["popularity", "item_knn"]')
    with pytest.raises(BadRequestError, match=r"tuning\.metric: .* no row without an answer"):
        search_experiment(
            load_config(tmp_path, metric), tmp_path / "metric", cache=tiny_cache, workers=1
        )
    stages = Stages()
    with pytest.raises(BadRequestError, match='baseline "boosted_trees" learns from impressions'):
        search_experiment(
            load_config(tmp_path),
            tmp_path / "run",
            cache=tiny_cache,
            workers=1,
            callbacks=[stages],
        )
    assert stages.names == ["reading data"]
    assert not (tmp_path / "run" / "records.jsonl").exists()


class Stages(SearchCallback):
    """Remembers what a search began."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_stage(self, name: str) -> None:
        self.names.append(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("baseline_parameters.boosted_trees.leaves=1", "must be at least 2"),
        ("baseline_parameters.logistic_regression.l2=0", "must be above 0"),
        ("baseline_parameters.boosted_trees.depth=3", "unknown parameter"),
    ],
)
def test_a_parameter_out_of_bounds_is_refused(change: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    with pytest.raises(BadRequestError, match=words):
        Experiment.of(load_config(tmp_path, (change,)))


def test_a_smoke_run_on_the_command_line(tiny_cache: Path, tmp_path: Path) -> None:
    impressions(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    run = tmp_path / "run"
    done = pareto_rec("search", tmp_path, "--out", run, "--smoke", cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    assert records(run)
