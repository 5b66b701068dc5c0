"""Fits that raise, hang, run out of memory or kill their worker, in a real search: what is left."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
from running_search import KILLS, Start, group, warmed
from tiny_experiment import records, write_config

from pareto_rec.runs.reader import read_run

INJECT = Path(__file__).parent / "inject"


def spoiled(faults: dict[str, float]) -> dict[str, str]:
    """Environment in which fits fail."""
    paths = [str(INJECT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"FAULTS": json.dumps(faults), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "experiment")


def test_every_kind_of_failure_is_a_record(
    config: Path, tiny_cache: Path, tmp_path: Path, start: Start
) -> None:
    """The Latin hypercube of the first generation puts a learning rate into every sixth."""
    sixths = [0.01 * 10 ** (n / 6) for n in range(6)]
    faults = {"raise": sixths[5], "hang": sixths[4], "kill": sixths[3], "memory": sixths[2]}
    run, cache = tmp_path / "run", warmed(tiny_cache, tmp_path)
    options = ("search.population=6", "search.first=6", "search.offspring=2")  # six fits, then two
    options += ("search.timeout_s=10", "search.retries=1")
    sets = [part for one in options for part in ("--set", one)]
    more = ("--workers", "2", "--set", "train.pack_size=1")
    running = start(run, cache, config, "--out", run, *sets, *more, **spoiled(faults))
    code, said = running.end()
    assert code == 0, said
    found = records(run)
    assert len(found) == (6 + 2) * 4
    expected = {
        "raise": "ValueError: made to fail",
        "hang": "took more than 10 s",
        "kill": "its worker died (SIGKILL(-9)), 2 times",
        "memory": "out of memory",
    }
    for record in found:
        rate = record["train"]["learning_rate"]
        fault = next((name for name, least in faults.items() if rate >= least), None)
        assert record["status"] == ("failed" if fault else "ok")
        assert record["reason"] == (expected[fault] if fault else None)
        assert bool(record["objectives"]) == (fault is None)
    failed = [record for record in found if record["status"] == "failed"]
    assert {record["reason"] for record in failed} == set(expected.values())
    counts = json.loads((run / "run.json").read_text())["counts"]
    assert counts["failed"] == len(failed)
    assert counts["retried"] == sum(r["reason"] == expected["kill"] for r in failed) // 4
    assert f"{len(failed)} failed, {counts['retried']} tried again" in "\n".join(said)
    view = read_run(run)
    assert set(view.front["id"]).isdisjoint(record["id"] for record in failed)


def test_a_first_generation_that_fails_as_a_whole_says_why_once(
    config: Path, tiny_cache: Path, tmp_path: Path, start: Start
) -> None:
    run, cache = tmp_path / "run", warmed(tiny_cache, tmp_path)
    more = ("--workers", "1", "--set", "train.pack_size=3")
    running = start(run, cache, config, "--out", run, *more, **spoiled({"raise": 0.0}))
    code, said = running.end()
    assert code == 1
    assert "\n".join(said).count("made to fail") == 1
    assert said[-1].startswith("failed: all 12 evaluations of the first generation failed, 12 of")
    assert Counter(record["status"] for record in records(run)) == {"failed": 12}
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


def workers_of(leader: int) -> list[int]:
    """Worker processes of a search."""
    found = []
    for pid in group(leader):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"popen_loky_posix" in line and pid != leader:
            found.append(pid)
    return found


def test_workers_that_are_killed_again_and_again(
    config: Path, tiny_cache: Path, tmp_path: Path, start: Start
) -> None:
    fits, kills = 32, max(3, KILLS)
    run, cache = tmp_path / "run", warmed(tiny_cache, tmp_path)
    options = ("search.population=8", "search.generations=4", "search.sweep=2", "search.retries=9")
    sets = [part for one in options for part in ("--set", one)]
    running = start(run, cache, config, "--out", run, *sets, "--workers", "2")
    killed = 0
    for count in range(kills):
        running.wait_for_records(2 * (2 + count * (fits - 10) // kills))
        alive = workers_of(running.process.pid)
        if alive:
            os.kill(random.choice(alive), signal.SIGKILL)
            killed += 1
    code, said = running.end()
    assert code == 0, said
    assert killed >= kills - 1
    found = {(one["generation"], one["position"]): one["status"] for one in records(run)}
    assert found == {(n, place): "ok" for n in range(4) for place in range(2 * 8)}
    assert len(records(run)) == 2 * fits
    counts = json.loads((run / "run.json").read_text())["counts"]
    assert counts["fits"] == fits
    assert counts["failed"] == 0
    assert 1 <= counts["retried"] <= killed  # a worker that was killed as it started costs none
    assert not any("Traceback" in line for line in said)
