"""The decisive experiment from its command line, on a tiny experiment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_experiment import environment, write_config

from benchmarks.decisive.arms import ALONE, ARMS, CONDITIONED, MODES, PLAIN, SOUP
from benchmarks.decisive.comparisons import PAIRS
from benchmarks.decisive.job import lines_of, results_path
from pareto_rec.runs.openings import read_openings

REPOSITORY = Path(__file__).parents[2]
SEEDS = 2


def decisive(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.decisive", *arguments],
        cwd=REPOSITORY,
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("configs") / "films").parent


def test_every_arm_is_searched_measured_once_on_test_data_and_compared(
    config: Path, tiny_cache: Path, tmp_path: Path, ledger_of_tests: Path
) -> None:
    out = tmp_path / "decisive"
    command = ("--out", str(out), "--data", str(config), "--seeds", str(SEEDS), "--budget", "0.8")
    ended = decisive(*command, cache=tiny_cache)
    logs = "".join(path.read_text() for path in (out / "logs").glob("*.log"))
    assert ended.returncode == 0, ended.stderr + logs
    for seed in range(SEEDS):
        lines = lines_of(results_path(out / "films", seed))
        assert [(one["arm"], one["mode"]) for one in lines] == [
            (arm, mode) for arm in ARMS for mode in MODES
        ]
        trained = {one["arm"]: one["trained"] for one in lines}
        assert (trained[ALONE], trained[PLAIN], trained[SOUP], trained[CONDITIONED]) == (0, 1, 2, 1)
        for line in lines:
            assert line["points"], line
            assert all(
                set(one["serve"]) == {"fusion"} or line["mode"] == "on" for one in line["points"]
            )
    content = json.loads((out / "decisive.json").read_text())
    assert len(content["comparisons"]) == len(PAIRS) * len(MODES)
    assert content["cases"][0]["losses"] == {"softmax": 0.5, "similarity": 0.0}
    assert all(0 < one["share"]["value"] <= 1 for one in content["cases"][0]["arms"])
    assert ALONE in (out / "tables.md").read_text()
    [opening] = read_openings([ledger_of_tests])
    assert (opening.command, opening.run) == ("benchmarks.decisive", "decisive/films")
    again = decisive(*command, cache=tiny_cache)
    assert again.stdout.splitlines()[-1] == ended.stdout.splitlines()[-1]
    assert read_openings([ledger_of_tests]) == (opening,)


def test_test_data_stays_closed_until_all_searches_are_done(
    config: Path, tiny_cache: Path, tmp_path: Path, ledger_of_tests: Path
) -> None:
    before = read_openings([ledger_of_tests])
    command = ("--out", str(tmp_path), "--data", str(config), "--part", "test")
    ended = decisive(*command, cache=tiny_cache)
    assert ended.returncode == 1
    assert "stays closed" in ended.stderr
    assert read_openings([ledger_of_tests]) == before


def test_a_data_set_that_is_not_there_is_named(tiny_cache: Path, tmp_path: Path) -> None:
    ended = decisive("--out", str(tmp_path), "--data", "nowhere", cache=tiny_cache)
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr
    assert "retail_value_diversity" in ended.stderr
