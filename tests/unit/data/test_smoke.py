"""What ``--smoke`` bounds, and the sample of the data that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from pareto_rec.data.sample import sample_dataset
from pareto_rec.data.schema import Dataset, Interactions, Items, Users
from pareto_rec.data.split import split
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.config.smoke import MOST, SAMPLE, bounded

CONFIG: dict[str, Any] = {
    "name": "a",
    "question": "What?",
    "data": {"name": "some"},
    "objective": [{"name": "ndcg@10"}, {"name": "epc@10"}],
    "space": {"serve": {"mmr": {"kind": "real", "low": 0.0, "high": 0.5}}},
}


def quick(folder: Path, **more: Any) -> Any:
    path = folder / "config.toml"
    path.write_text(tomli_w.dumps({**CONFIG, **more}))
    return load_config(path, smoke=True)


def test_whatever_a_config_leaves_open_is_bounded(tmp_path: Path) -> None:
    large = {"population": 200, "generations": 90, "sweep": 400, "first": 300}
    found = quick(tmp_path, search=large, fixed={"steps": 5000}, backbone={"max_length": 512})
    assert (found.sample.users, found.sample.items) == (SAMPLE["users"], SAMPLE["items"])
    assert found.fixed["steps"] == MOST["fixed.steps"]
    assert found.backbone.max_length == MOST["backbone.max_length"]
    assert found.search.population == MOST["search.population"]
    assert (found.search.first, found.search.sweep, found.search.generations) == (6, 6, 2)
    assert found.search.offspring is None


def test_a_config_that_asks_for_less_or_says_so_itself_is_left_alone(tmp_path: Path) -> None:
    smoke = {"search": {"population": 30}, "sample": {"users": 0}}
    found = quick(tmp_path, smoke=smoke, fixed={"steps": 7}, sample={"items": 5})
    assert (found.search.population, found.fixed["steps"]) == (30, 7)
    assert (found.sample.users, found.sample.items) == (0, 5)


def test_searched_steps_and_rungs_follow(tmp_path: Path) -> None:
    steps = {"kind": "integer", "low": 100, "high": 400}
    space = {"train": {"steps": steps}, **CONFIG["space"]}
    found = quick(tmp_path, space=space, search={"fidelity": {"rungs": [10, 80]}})
    assert (found.space.train["steps"].low, found.space.train["steps"].high) == (25, 50)
    assert found.search.fidelity.rungs == [10]


def test_what_was_learnt_on_all_data_is_not_sampled(tmp_path: Path) -> None:
    found = quick(tmp_path, backbone={"adapted": True})
    assert (found.sample.users, found.evaluate.users) == (0, 1000)
    assert found.backbone.max_length == 64


def test_bounds_do_not_alter_the_table() -> None:
    table = {**CONFIG, "search": {"population": 200}}
    bounded(table, [])
    assert table["search"] == {"population": 200}
    assert bounded({"search": "x", "fixed": 3, "space": []}, []) is not None  # refused later on


def log(users: int, each: int, items: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), each)
    item = np.concatenate([rng.permutation(items)[:each] for _ in range(users)])
    rows = Interactions(
        user, item, np.arange(len(user)), {"met": np.ones(len(user), np.float32)}
    ).read_only()
    names = tuple(f"i{n}" for n in range(items))
    goods = Items(names, names, names, np.zeros((items, 0), np.float32), ())
    return Dataset("made", rows, goods, Users(tuple(f"u{n}" for n in range(users)), {}))


@pytest.mark.parametrize(("users", "items"), [(50, 0), (0, 60), (50, 200), (3, 10), (1, 3)])
def test_a_sample_is_of_whole_users_and_within_its_bounds(users: int, items: int) -> None:
    whole = log(300, 10, 400)
    before = whole.content_hash
    found = sample_dataset(whole, users, items, relevance="met", seed=1)
    assert whole.content_hash == before
    assert 0 < len(found.users) <= (users or 300)
    assert 0 < len(found.items) <= (items or 400)
    if items == 0 or items >= 10:
        each = np.bincount(found.interactions.user)
        assert set(each.tolist()) == {10}
        split(found, "per_user", validation=0.1, test=0.1, seed=0)
    assert (
        found.content_hash
        == sample_dataset(whole, users, items, relevance="met", seed=1).content_hash
    )


def test_small_data_is_not_sampled() -> None:
    whole = log(20, 5, 30)
    assert sample_dataset(whole, 20, 30, relevance="met", seed=0) is whole
    assert sample_dataset(whole, 0, 0, relevance="met", seed=0) is whole
