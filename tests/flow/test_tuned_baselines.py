"""Baselines of a run: tuned once, written down, and the same for whoever reads the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import pareto_rec, records, write_config

from pareto_rec.baselines import BASELINES
from pareto_rec.bundle.export import ExportOptions, export_run
from pareto_rec.bundle.source import check_exported
from pareto_rec.core.errors import BadRequestError
from pareto_rec.evaluation.tuning import Tuner
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment

pytestmark = pytest.mark.usefixtures("single_thread")

NAMES = ("ease_recency", "cooccurrence_recency", "rp3beta_recency", "ials_recency")
OVERRIDES = (
    *("search.generations=1", "search.population=2", "tuning.settings=6", "sample.users=300"),
    *("sample.items=400", "baselines=[]"),
    "baseline_parameters.rp3beta_recency.alpha=0.7",
)


def config_of(folder: Path, *more: str) -> Any:
    """The tiny experiment on a sample, with four baselines and no network."""
    path = write_config(folder)
    names = ", ".join(f'"{name}"' for name in NAMES)
    content = path.read_text().replace('"network", "ease_recency"', names)
    path.write_text(content)
    return load_config(path, (*OVERRIDES, *more))


@pytest.fixture(scope="module")
def run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    return search_experiment(config_of(folder), folder / "run", cache=tiny_cache, workers=1)


def experts_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())["experts"]
    return found


def test_a_run_says_what_was_chosen_and_what_it_is_worth(run: Path) -> None:
    experts = experts_of(run)
    assert set(experts) == set(NAMES) - {"rp3beta_recency"}  # whose parameters are given
    for name, entry in experts.items():
        assert entry["default"] == BASELINES[name].parameters()
        assert 0 < entry["default_value"] <= entry["value"]
        assert entry["tried"] == 6
        assert entry["metric"] == "ndcg@10"
    assert any(entry["value"] > entry["default_value"] for entry in experts.values())
    assert json.loads((run / "run.json").read_text())["seconds"]["tuning"] > 0


def test_whoever_reads_the_run_has_the_chosen_parameters(run: Path, tiny_cache: Path) -> None:
    experiment = Experiment.from_run(run, tiny_cache)
    worker = Experiment.for_worker(experiment.config.model_dump_json(), tiny_cache)
    for read in (experiment, worker):
        for name, entry in experts_of(run).items():
            assert read.baselines[name].parameters() == entry["parameters"]
        assert read.baselines["rp3beta_recency"].parameters()["alpha"] == 0.7
        assert read.baselines["rp3beta_recency"].parameters()["tau"] == 5.0


def test_a_bundle_serves_the_chosen_parameters(run: Path, tiny_cache: Path, tmp_path: Path) -> None:
    """Its lists are compared with the run's as it is written."""
    bundle = export_run(run, tmp_path / "bundle", ExportOptions(front=True), cache=tiny_cache)
    served = set(bundle.parts.experts)
    assert served
    for name in served - {"rp3beta_recency"}:
        assert bundle.parts.experts[name].tau == experts_of(run)[name]["parameters"]["tau"]
    about = bundle.parts.about
    assert about.agreement["fp32"]["same_lists"] > 0.999


def test_a_baseline_that_no_bundle_holds_is_refused_before_any_work() -> None:
    check_exported("a1", {"f00d": 0.5, "ease_recency": 0.5})
    with pytest.raises(BadRequestError, match='point a2 fuses the baseline "user_knn_recency"'):
        check_exported("a2", {"f00d": 0.5, "user_knn_recency": 0.5})


def test_the_report_says_what_was_chosen(run: Path, tiny_cache: Path) -> None:
    said = pareto_rec("report", run, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    lines = [line for line in said.stdout.splitlines() if line.startswith("baseline ")]
    assert len(lines) == 3
    assert any("ease_recency: l2 = " in line and "6 settings" in line for line in lines)
    assert "ials_recency" in (run / "report.html").read_text()


def test_a_search_goes_on_with_what_was_chosen(
    run: Path, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, experts = records(run), experts_of(run)
    monkeypatch.setattr(Tuner, "choose", lambda *_: pytest.fail("tuned again"))
    monkeypatch.setattr("pareto_rec.evaluation.tuning.read_json", lambda *_: None)
    longer = config_of(tmp_path, "search.generations=2")
    search_experiment(longer, run, cache=tiny_cache, workers=1, resume=True)
    assert records(run)[: len(before)] == before
    assert len(records(run)) > len(before)
    assert experts_of(run) == experts


def test_a_search_does_not_go_on_with_other_parameters(
    run: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    for change, words in (
        ("tuning.settings=7", "tuning.settings: 6 -> 7"),
        ("baseline_parameters.ease_recency.l2=7.0", "baseline_parameters.ease_recency.l2"),
    ):
        with pytest.raises(BadRequestError, match=words):
            search_experiment(
                config_of(tmp_path, change), run, cache=tiny_cache, workers=1, resume=True
            )
