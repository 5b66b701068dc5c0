"""Rows of items that their users had met before: lists may not hold them, so they are no truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.wording import repeats_in_words
from pareto_rec.data.history_length import check_truth
from pareto_rec.data.inspect import as_text, describe
from pareto_rec.data.sample import sample_users
from pareto_rec.data.schema import Dataset, Interactions, Items, Stage, Users
from pareto_rec.data.split import split_per_user
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, parse

# Ten rows a user: eight to learn from, the ninth for validation, the last for the test.
BOUGHT = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],  # nothing again
    [0, 1, 2, 3, 4, 5, 6, 7, 7, 8],  # the validation row again
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 8],  # the test row is the validation row's item
    [0, 1, 0, 1, 0, 1, 0, 1, 0, 1],  # everything again
]


def data(bought: list[list[int]] = BOUGHT) -> Dataset:
    user = np.repeat(np.arange(len(bought)), 10)
    ones = {"watched": np.ones(len(user), np.float32), "liked": np.ones(len(user), np.float32)}
    rows = Interactions(user, np.array(bought).ravel(), np.arange(len(user)), ones)
    names = tuple(f"i{place}" for place in range(10))
    items = Items(names, names, names, np.eye(10, dtype=np.float32), names)
    return Dataset("shop", rows, items, Users(tuple(f"u{n}" for n in range(len(bought))), {}))


def test_repeats_are_left_out_of_the_truth_of_both_stages() -> None:
    split = split_per_user(data(), validation=0.1, test=0.1, seed=0)
    assert split.validation.held_out.item.tolist() == [8, 7, 8, 0]
    assert split.validation.relevance("watched").toarray().nonzero()[0].tolist() == [0, 2]
    assert split.test.held_out.item.tolist() == [9, 8, 8, 1]
    assert split.test.truth.item.tolist() == [9, 8]  # of the users 0 and 1
    assert split.test.relevance("liked").toarray().nonzero()[0].tolist() == [0, 1]


def test_nobody_without_a_truth_is_measured() -> None:
    """The best lists that there can be reach 1; with repeats as truth they could not."""
    stage = split_per_user(data(), validation=0.1, test=0.1, seed=0).validation
    lists = np.array([[8, 9], [8, 9], [8, 9], [2, 3]])
    catalogue = Catalogue(stage.items, stage.users, stage.popularity)
    truth = {"watched": HeldOut(stage.relevance("watched"))}
    outcome = Outcome(lists, np.zeros((4, 2), np.float32), truth, "watched", catalogue)
    values = parse("ndcg@2").per_user(outcome)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(values, [1.0, np.nan, 1.0, np.nan])
    assert parse("recall@2").value(outcome) == 1.0


def test_what_is_left_out_is_counted_and_said() -> None:
    dataset = data()
    split = split_per_user(dataset, validation=0.1, test=0.1, seed=0)
    account = split.validation.truth_account
    assert account == {"held_out": 4, "repeats": 2, "users": 4, "users_left_out": 2}
    said = "2 of 4 test rows are of items that their users had met before"
    assert said in repeats_in_words(split.test.truth_account, "test")
    summary = describe(dataset, split)
    assert summary["split"]["repeats"]["validation"] == account  # type: ignore[index]
    assert summary["split"]["users_asked"] == {"validation": 2, "test": 2}  # type: ignore[index]
    assert said in as_text(summary)


def test_data_without_repeats_are_what_they_were() -> None:
    stage = split_per_user(data(BOUGHT[:1]), validation=0.1, test=0.1, seed=0).validation
    assert stage.truth is stage.held_out
    assert repeats_in_words(stage.truth_account, "validation") == ""


def test_another_truth_has_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was trained and measured while repeats were truth is not taken for the new."""

    def hashes(bought: list[list[int]]) -> list[str]:
        split = split_per_user(data(bought), validation=0.1, test=0.1, seed=0)
        return [split.validation.content_hash, split.test.content_hash]

    now, now_without = hashes(BOUGHT), hashes(BOUGHT[:1])
    monkeypatch.setattr(Stage, "repeats", np.zeros(4, dtype=bool))
    before, before_without = hashes(BOUGHT), hashes(BOUGHT[:1])
    assert now_without == before_without
    assert not set(now) & set(before)


def test_a_sample_asks_those_who_can_be_measured() -> None:
    stage = split_per_user(data(), validation=0.1, test=0.1, seed=0).validation
    for seed in range(5):
        assert sample_users(stage, 2, seed=seed).users.ids == ("u0", "u2")


def alone(stage: Stage, user: int) -> Stage:
    return dataclasses.replace(stage, held_out=stage.held_out.take(stage.held_out.user == user))


def test_a_stage_without_any_truth_is_refused_before_any_work() -> None:
    stage = split_per_user(data(), validation=0.1, test=0.1, seed=0).validation
    check_truth(stage, "watched")
    message = r'all 1 validation rows with "watched" above 0 .* met before.* data\.duplicates'
    with pytest.raises(BadRequestError, match=message):
        check_truth(alone(stage, 3), "watched")
    nothing = dataclasses.replace(
        stage, held_out=dataclasses.replace(stage.held_out, signals={"watched": np.zeros(4)})
    )
    with pytest.raises(BadRequestError, match='no validation row has "watched" above 0'):
        check_truth(nothing, "watched")


def test_inputs_are_left_as_they_are() -> None:
    stage = split_per_user(data(), validation=0.1, test=0.1, seed=0).validation
    before = stage.held_out.content_hash
    assert not stage.truth.user.flags.writeable
    assert len(stage.held_out) == 4
    assert stage.held_out.content_hash == before
