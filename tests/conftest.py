"""Shared by all tests; its place also puts this folder's helper modules on the import path."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # several processes: who waits gives way

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from running_search import endless, start
from tiny_experiment import sources, tiny_cache, tiny_search
from tiny_systems import systems_folder

from pareto_rec.core.threads import one_thread
from pareto_rec.runs.openings import LEDGER_VARIABLE

__all__ = ["endless", "sources", "start", "systems_folder", "tiny_cache", "tiny_search"]

# Modules whose tests take more than two seconds in all because they train, encode, or start
# commands; those of the folders flow and faults nearly all do.
LONG_FOLDERS = {"flow", "faults"}
TRAINING_MODULES = {
    *("aggregation_steps", "confirm_repeats", "members", "monitor", "surrogate", "tuning"),
    *("adapt", "backbone", "bench", "bundle", "bundle_onnx", "bundle_plugins", "cold_start"),
    *("compare", "confirm", "coupon_tables", "drafts", "entire_space", "evaluate", "evidence"),
    *("expert_methods", "fidelity", "fitstore", "items_file", "live_table", "notebook"),
    *("optional_losses", "pool", "prepared", "ranking_objectives", "replay", "rows", "scale"),
    *("search_quality", "serving_costs", "standing", "task_bundle", "task_training", "training"),
    *("tuned_layers", "tuned_training", "ways_to_combine", "workers"),
}
settings.register_profile("check", max_examples=4)  # of each property, for `make check`


@pytest.fixture(scope="module", autouse=True)
def ledger_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger of test data for each module, so that none is written into anybody's own."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("ledger") / "openings.jsonl"
        patch.setenv(LEDGER_VARIABLE, str(path))
        yield path


@pytest.fixture(scope="module")
def single_thread() -> Iterator[None]:
    """For modules that compute in this process: on one thread, as evaluation does.

    Several processes run tests; threads that wait for one that has no core turn in circles
    meanwhile, which makes small computations take several times as long.
    """
    with one_thread():
        yield


def kind_of(path: Path) -> int:
    """0 for files of the folders that take longest, 1 for others that train, 2 for the rest."""
    if LONG_FOLDERS & set(path.parts[-3:-1]):
        return 0
    return 1 if path.stem.removeprefix("test_") in TRAINING_MODULES else 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make check` leaves out, and begin with it: short files fill up the end."""
    items.sort(key=lambda item: kind_of(Path(item.path)))
    for item in items:
        if kind_of(Path(item.path)) < 2:
            item.add_marker(pytest.mark.trains)
