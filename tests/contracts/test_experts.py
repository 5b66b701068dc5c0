"""What every registered expert promises; new ones are found by themselves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pareto_rec.baselines import BASELINES, Baseline, ItemModel, expert_scores
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Items, Stage, Users

USERS, ITEMS = 61, 23
NAMES = list(BASELINES)


def log(users: np.ndarray, items: np.ndarray, times: np.ndarray) -> Interactions:
    order = np.lexsort((times, users))
    ones = np.ones(len(users), np.float32)
    rows = Interactions(users[order], items[order], times[order], {"watched": ones})
    for array in (rows.user, rows.item, rows.time):
        array.flags.writeable = False
    return rows


def toy_stage(seed: int, relabel: np.ndarray | None = None) -> Stage:
    """Every user likes one half of the catalogue; user 0 has no history at all."""
    rng = np.random.default_rng(seed)
    likely = np.where((np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2, 0.45, 0.08)
    users, items = np.nonzero(rng.random((USERS, ITEMS)) < likely)
    users, items = users[users > 0], items[users > 0]
    times = rng.permutation(len(users)).astype(np.int64)
    names = tuple(str(n) for n in range(ITEMS))
    items = items if relabel is None else relabel[items]
    rows = log(users.astype(np.int64), items.astype(np.int64), times)
    catalogue = Items(names, names, names, np.zeros((ITEMS, 1), np.float32), ("c",))
    people = Users(tuple(str(n) for n in range(USERS)), {})
    return Stage("validation", rows, rows, rows, catalogue, people, f"toy {seed}")


@pytest.fixture(params=NAMES)
def expert(request: pytest.FixtureRequest) -> Baseline:
    return BASELINES[request.param]


def test_scores_cover_everybody_and_everything(expert: Baseline) -> None:
    scores = expert.scores(toy_stage(0))
    assert scores.shape == (USERS, ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0


def test_the_same_stage_gives_the_same_scores(expert: Baseline) -> None:
    np.testing.assert_array_equal(expert.scores(toy_stage(1)), expert.scores(toy_stage(1)))


def test_a_fitted_model_scores_people_it_never_saw(expert: Baseline) -> None:
    stage = toy_stage(2)
    model = expert.fit(stage.train, stage.shape)
    assert isinstance(model, ItemModel)
    of_user = stage.history.item[stage.history.user == 17]
    alone = model.score(np.array([0, len(of_user)]), of_user)
    np.testing.assert_allclose(alone[0], expert.scores(stage)[17], rtol=1e-5, atol=1e-6)


def test_an_empty_history_gets_the_bias_alone(expert: Baseline) -> None:
    stage = toy_stage(3)
    model = expert.fit(stage.train, stage.shape)
    np.testing.assert_array_equal(expert.scores(stage)[0], model.bias)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_numbering_of_items_does_not_matter(expert: Baseline, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(ITEMS)
    plain, moved = expert.scores(toy_stage(seed)), expert.scores(toy_stage(seed, relabel=order))
    np.testing.assert_allclose(moved[:, order], plain, rtol=1e-4, atol=1e-5)


def test_held_out_rows_are_not_used(expert: Baseline) -> None:
    stage = toy_stage(4)
    other = dataclasses.replace(stage, held_out=stage.held_out.take(np.arange(3)))
    np.testing.assert_array_equal(expert.scores(stage), expert.scores(other))


def test_it_learns_from_train_and_reads_the_history(expert: Baseline) -> None:
    stage = toy_stage(5)
    short = stage.history.take(np.flatnonzero(stage.history.user != 30))
    forgotten = dataclasses.replace(stage, history=short)
    plain, without = expert.scores(stage), expert.scores(forgotten)
    others = np.arange(USERS) != 30
    np.testing.assert_allclose(without[others], plain[others], rtol=1e-5, atol=1e-6)
    model = expert.fit(stage.train, stage.shape)
    np.testing.assert_array_equal(without[30], model.bias)


def test_items_without_rows_are_no_obstacle(expert: Baseline) -> None:
    stage = toy_stage(6)
    train = stage.train.take(np.flatnonzero(stage.train.item != 5))
    assert np.isfinite(expert.scores(dataclasses.replace(stage, train=train))).all()


def test_inputs_are_not_mutated(expert: Baseline) -> None:
    stage, before = toy_stage(7), toy_stage(7)
    expert.scores(stage)
    assert stage.train.content_hash == before.train.content_hash
    assert stage.history.content_hash == before.history.content_hash


def test_parameters_are_frozen_and_can_be_written_down(expert: Baseline) -> None:
    parameters = json.loads(json.dumps(expert.parameters()))
    assert type(expert)(**parameters) == expert
    with pytest.raises(dataclasses.FrozenInstanceError):
        expert.tau = 1.0  # type: ignore[attr-defined]
    assert (type(expert).__doc__ or "").splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("popularity")])
def test_it_tells_the_two_halves_apart(name: str) -> None:
    """Quality floor: unseen items of the user's half score above those of the other half."""
    stage = toy_stage(8)
    scores = BASELINES[name].scores(stage)
    seen = np.zeros((USERS, ITEMS), bool)
    seen[stage.history.user, stage.history.item] = True
    own = (np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2 == 1
    margin = [
        scores[u][~seen[u] & own[u]].mean() - scores[u][~seen[u] & ~own[u]].mean()
        for u in range(1, USERS)
    ]
    assert np.mean(np.array(margin) > 0) > 0.8


def test_cached_scores_are_the_scores(tmp_path: Path) -> None:
    stage = toy_stage(9)
    found = expert_scores(NAMES, stage, tmp_path)
    assert list(found) == NAMES
    for name, mapped in found.items():
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        np.testing.assert_array_equal(mapped, BASELINES[name].scores(stage))


def test_an_unknown_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r'unknown expert "eas" .*"ease".*known: ease, '):
        expert_scores(["popularity", "eas"], toy_stage(0), tmp_path)
    assert not list(tmp_path.iterdir())
