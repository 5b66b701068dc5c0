"""Runs on objectives over groups and on set objectives, searched and compared over users."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import CONFIG, pareto_rec, write_config

from pareto_rec.analysis.bootstrap import DRAWS
from pareto_rec.analysis.confirm import statistics
from pareto_rec.analysis.confirm.measure import Question, measure
from pareto_rec.analysis.confirm.reported_front import read_claim
from pareto_rec.core.seeds import child_seed
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.runs.set_values import FILE as SETS

pytestmark = pytest.mark.usefixtures("single_thread")

NAMES = ("ndcg@10", "worst(ndcg@10 by gender)", "coverage@10")
OVERRIDES = ("baselines=[]", "reported=[]", "sample.users=300", "sample.items=400")
Runs = tuple[Path, Path]


def config_text() -> str:
    """The tiny experiment on two set objectives more, with baselines and no network."""
    objectives = "".join(f'[[objective]]\nname = "{name}"\nreference = 0.0\n\n' for name in NAMES)
    head, rest = CONFIG.split("[[objective]]", 1)
    text = head + objectives + rest[rest.index("[fixed]") :]
    return text.replace('"network", "ease_recency"', '"popularity", "ease_recency"')


@pytest.fixture(scope="module")
def runs(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two searches of different length."""
    folder = tmp_path_factory.mktemp("compared")
    path = write_config(folder, config_text())
    first, second = (
        search_experiment(
            load_config(path, (*OVERRIDES, f"search.generations={generations}")),
            folder / f"run{generations}",
            cache=tiny_cache,
            workers=1,
        )
        for generations in (1, 4)
    )
    return first, second


def compared(*runs: Path, cache: Path) -> dict[str, Any]:
    said = pareto_rec("compare", *runs, "--json", cache=cache)
    assert said.returncode == 0, said.stderr
    return dict(json.loads(said.stdout)["paired"])


def by_confirm(runs: Runs, cache: Path) -> Any:
    """The ratio of both fronts as `confirm` resamples validation data."""
    answers: dict[tuple[int, int], Any] = {}
    places: list[list[int]] = []
    for run in runs:
        claim = read_claim(run, cache)
        serve = [point.serve for point in claim.points]
        _, found = measure(claim.experiment.evaluator(), Question(0, {}, serve), cache)
        places.append([len(answers) + number for number in range(len(found))])
        answers |= {(place, 0): one for place, one in zip(places[-1], found, strict=True)}
    goals = claim.experiment.goals
    stage = statistics.figures(
        answers,
        len(answers),
        1,
        names=[goal.name for goal in goals],
        objectives={one.name: one for one in claim.experiment.objectives.searched},
        goals=goals,
        draws=DRAWS,
        seed=child_seed(0, "resample", "validation"),
    )
    assert stage.resampled == "users"
    fronts = [statistics.front_figures(stage, own, goals) for own in places]
    return statistics.paired(*fronts), statistics.p_of_ratio(*fronts)


def test_intervals_are_those_of_confirm(runs: Runs, tiny_cache: Path) -> None:
    paired = compared(*runs, cache=tiny_cache)
    assert (paired["objectives"], paired["left_out"]) == (list(NAMES), {})
    (pair,) = paired["pairs"]
    expected, p = by_confirm(runs, tiny_cache)
    assert expected.low < expected.value < expected.high
    for key, value in vars(expected).items():
        assert pair["ratio"][key] == pytest.approx(value, rel=1e-9)
    assert pair["p"] == pytest.approx(p)


def test_only_selected_points_are_kept(runs: Runs) -> None:
    import pandas as pd

    for run in runs:
        front = pd.read_csv(run / "front.csv", dtype={"id": str})
        selected = front.loc[front["selected"] == 1, "id"]
        table = pd.read_parquet(run / SETS)
        assert set(table["objective"]) == set(NAMES[1:])
        columns = [name.removeprefix("value.") for name in table if name.startswith("value.")]
        assert sorted(columns) == sorted(selected)
        for point in columns:  # what is resampled averages to what was measured
            own = table.loc[table["objective"] == NAMES[2], f"value.{point}"].mean()
            measured = front.loc[front["id"] == point, NAMES[2]].item()
            assert own == pytest.approx(measured, abs=1e-9)
        assert SETS in json.loads((run / "run.json").read_text())["files"]


def test_of_an_older_run_the_rest_is_compared(runs: Runs, tiny_cache: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(runs[1], tmp_path / "old"))
    (old / SETS).unlink()
    said = pareto_rec("compare", runs[0], old, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    for name in NAMES[1:]:
        (line,) = (one for one in lines if one.startswith(f"no intervals over users for {name}:"))
        assert "search it again" in line
    assert any("hypervolume of ndcg@10 alone (95 % interval" in line for line in lines)
    (old / SETS).write_bytes(b"PAR1")
    said = pareto_rec("compare", runs[0], old, cache=tiny_cache)
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1
    assert "sets.parquet" in said.stderr
