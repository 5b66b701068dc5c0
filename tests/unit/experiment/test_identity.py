"""What must not differ when a search goes on, and what may."""

from __future__ import annotations

from typing import Any

import pytest
from changed_config import config

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.identity import config_differences, info_differences, refuse


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"search__population": 5}, "search.population: 3 -> 5"),
        ({"fixed__width": 16}, "fixed.width: 8 -> 16"),
        ({"train__pack_size": 2}, "train.pack_size: 1 -> 2"),
        ({"split__test": 0.2}, "split.test: 0.1 -> 0.2"),
        ({"fixed__liked_weight": 0.1}, "fixed.liked_weight: none -> 0.1"),
        ({"reported": ["recall@10"]}, "reported: ['recall@10', "),
        (
            {"space__train__learning_rate__high": 0.2},
            "space.train.learning_rate.high: 0.1 -> 0.2",
        ),
        (
            {"objective": [{"name": "ndcg@10"}, {"name": "ild@10"}]},
            "objective.0.reference: 0.0 -> ",
        ),
    ],
)
def test_what_decides_records_is_shown(changes: dict[str, Any], line: str) -> None:
    found = config_differences(config(), config(**changes))
    assert found
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"search__generations": 9},
        {"search__timeout_s": 5.0},
        {"search__retries": 0},
        {"question": "another?"},
        {"baselines": []},
        {"smoke": {"seed": 4}},
    ],
)
def test_budget_and_words_may_change(changes: dict[str, Any]) -> None:
    assert config_differences(config(), config(**changes)) == []


BEFORE = {
    "versions": {"python": "3.11.1", "torch": "2.13.0", "pandas": "3.0.0"},
    "hardware": {"device": "cpu", "cpus": 2},
    "hashes": {"stage": "s", "features": "f", "references": "r", "code": "c"},
    "git_commit": "abc",
}


@pytest.mark.parametrize(
    ("table", "change", "lines"),
    [
        ("versions", {"torch": "2.14.0"}, ["torch: '2.13.0' -> '2.14.0'"]),
        ("versions", {"python": "3.12.0", "pandas": "3.1.0"}, []),
        ("hardware", {"device": "cuda", "cpus": 64}, ["device: 'cpu' -> 'cuda'"]),
        ("hashes", {"stage": "other"}, ["data has changed"]),
        ("hashes", {"features": "other"}, ["features has changed"]),
        ("hashes", {"references": "other"}, ["references has changed"]),
        ("hashes", {"code": "other"}, ["code of pareto_rec has changed: commit abc -> def"]),
    ],
)
def test_what_a_run_was_made_with(table: str, change: dict[str, Any], lines: list[str]) -> None:
    now = {**BEFORE, "git_commit": "def", table: {**BEFORE[table], **change}}  # type: ignore[dict-item]
    assert info_differences(BEFORE, now) == lines
    assert info_differences(BEFORE, {"versions": {}}) == []


def test_every_difference_is_in_the_one_line() -> None:
    refuse("run", [])
    with pytest.raises(BadRequestError, match="run cannot go on as it began: a; b; undo that"):
        refuse("run", ["a", "b"])
