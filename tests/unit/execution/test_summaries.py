"""How often a running search brings its summaries up to date."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from pareto_rec.core.provenance import PeakMemory
from pareto_rec.execution import run_writer
from pareto_rec.execution.run_writer import RunWriter
from pareto_rec.search import Progress


def test_summing_up_takes_at_most_a_fifth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(run_writer.time, "perf_counter", lambda: clock[0])
    journal = object.__new__(RunWriter)
    state: dict[str, Any] = {"_history": [], "_memory": PeakMemory()}
    vars(journal).update(state, _written_at=0.0, _write_seconds=0.0)
    written: list[float] = []

    def write(status: str) -> None:
        assert status == "running"
        written.append(clock[0])
        clock[0] += 2.0
        vars(journal).update(_written_at=clock[0], _write_seconds=2.0)

    monkeypatch.setattr(journal, "write", write)
    for generation in range(30):
        clock[0] += 1.0
        journal.end_generation(Progress(generation, 1, 1, 0, 1, 0.0))
    assert written[0] == 101.0
    assert {round(later - before, 6) for before, later in itertools.pairwise(written)} == {10.0}
    assert len(vars(journal)["_history"]) == 30


def test_what_was_only_replayed_is_not_summed_up() -> None:
    journal = object.__new__(RunWriter)
    vars(journal).update(_history=[])
    journal.end_generation(Progress(0, 1, 1, 0, 1, 0.0), replayed=True)
    assert len(vars(journal)["_history"]) == 1
