"""Splits on logs small enough to cut by hand; the working is in the comments."""

from __future__ import annotations

import numpy as np
import pytest

from pareto_rec.data.schema import Dataset, Interactions, Items, Split, Users
from pareto_rec.data.split import split


def log(user: list[int], item: list[int], time: list[int]) -> Dataset:
    n_users, n_items = max(user) + 1, max(item) + 1
    names = tuple(f"i{n}" for n in range(n_items))
    return Dataset(
        "made",
        Interactions(
            np.array(user),
            np.array(item),
            np.array(time),
            {"watched": np.ones(len(user), np.float32)},
        ),
        Items(names, names, names, np.zeros((n_items, 0), np.float32), ()),
        Users(tuple(f"u{n}" for n in range(n_users)), {}),
    )


def cut(dataset: Dataset, kind: str, validation: float, test: float, seed: int = 0) -> Split:
    return split(dataset, kind, validation=validation, test=test, seed=seed)


def test_leave_last_out() -> None:
    # user 0 has 4 rows, user 1 has 3, users 2 and 3 too few to be asked
    made = cut(
        log([0, 0, 0, 0, 1, 1, 1, 2, 2, 3], [*range(10)], [3, 1, 4, 2, 5, 7, 6, 1, 2, 9]),
        *("leave_last_out", 0.1, 0.1),
    )
    assert made.test.held_out.time.tolist() == [4, 7]
    assert made.validation.held_out.time.tolist() == [3, 6]
    assert made.validation.train.time.tolist() == [1, 2, 5, 1, 2, 9]
    assert made.test.history.time.tolist() == [1, 2, 3, 5, 6, 1, 2, 9]
    assert made.validation.history is made.validation.train
    # of the 6 training rows one (time 9) is later than 5.5, none than its own user's test row
    assert made.leak.startswith("17% of the training rows are later than the median test row; 100")


def test_global_time() -> None:
    # 10 rows: 60 % are 6 rows, times 0-5; 80 % are 8, times 0-7
    made = cut(log([0] * 5 + [1] * 5, [*range(10)], [*range(0, 10, 2), *range(1, 10, 2)]),
               "global_time", 0.2, 0.2)  # fmt: skip
    assert made.validation.train.time.tolist() == [0, 2, 4, 1, 3, 5]
    assert made.validation.held_out.time.tolist() == [6, 7]
    assert made.test.held_out.time.tolist() == [8, 9]
    assert made.test.history.time.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert made.late_train_share == 0.0


def test_global_time_keeps_a_moment_together() -> None:
    # Moments of 5, 2, 2 and 1 rows begin at rows 0, 5, 7 and 9. 60 % = row 6 is as near to 5 as to
    # 7 (the earlier is taken), 80 % = row 8 as near to 7 as to 9.
    made = cut(
        log([0] * 10, [*range(10)], [1] * 5 + [2] * 2 + [3] * 2 + [4]), "global_time", 0.2, 0.2
    )
    assert set(made.validation.train.time.tolist()) == {1}
    assert made.validation.held_out.time.tolist() == [2, 2]
    assert sorted(made.test.held_out.time.tolist()) == [3, 3, 4]


def test_global_time_names_the_strangers() -> None:
    # user 1 comes last and is in the test alone; so are items 8 and 9
    made = cut(log([0] * 8 + [1] * 2, [*range(10)], [*range(10)]), "global_time", 0.2, 0.2)
    assert made.test.held_out.user.tolist() == [1, 1]
    assert "100.0% of the test rows are of users without training rows" in made.leak
    assert "100.0% of the test rows are of items without training rows" in made.leak
    assert np.diff(made.test.history_indptr).tolist() == [8, 0]


def test_random_keeps_a_pair_together_and_draws_the_shares() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.permutation(30 * 40)
    once = log((pairs // 40).tolist(), (pairs % 40).tolist(), rng.integers(0, 9, 1200).tolist())
    made = cut(once, "random", 0.15, 0.25)
    assert (len(made.validation.held_out), len(made.test.held_out)) == (180, 300)
    other = cut(once, "random", 0.15, 0.25, seed=1)
    both = set(zip(made.test.held_out.user, made.test.held_out.item, strict=True)) & set(
        zip(other.test.held_out.user, other.test.held_out.item, strict=True)
    )
    assert 40 < len(both) < 110  # 300 / 4 = 75 by chance, deviation 7

    twice = log([0, 1, 2, 3] * 30, [*range(60)] * 2, [*range(120)])
    made = cut(twice, "random", 0.2, 0.2)
    for stage in (made.validation, made.test):
        known = set(zip(stage.history.user.tolist(), stage.history.item.tolist(), strict=True))
        asked = set(zip(stage.held_out.user.tolist(), stage.held_out.item.tolist(), strict=True))
        assert not known & asked


@pytest.mark.parametrize("seed", [0, 1])
def test_cold_items(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = cut(
        log(rng.integers(0, 20, 600).tolist(), rng.integers(0, 50, 600).tolist(), [*range(600)]),
        *("cold_items", 0.2, 0.1, seed),
    )
    warm, validation, test = (
        set(rows.item.tolist())
        for rows in (made.validation.train, made.validation.held_out, made.test.held_out)
    )
    assert (len(warm), len(validation), len(test)) == (35, 10, 5)  # all 50 have rows
    assert len(warm | validation | test) == 50
    assert set(made.validation.history.item.tolist()) == warm
    assert set(made.test.history.item.tolist()) == warm | validation
    assert "100.0% of the test rows are of items without training rows" in made.leak


@pytest.mark.parametrize("seed", [0, 1])
def test_cold_users(seed: int) -> None:
    # 20 users of 1 to 20 rows; who has one row cannot be asked: 19 can, of whom 20 % are 3
    users = [user for user in range(20) for _ in range(user + 1)]
    made = cut(log(users, [*range(210)], [*range(210)]), "cold_users", 0.2, 0.2, seed)
    groups = [
        set(rows.user.tolist())
        for rows in (made.validation.train, made.validation.held_out, made.test.held_out)
    ]
    assert [len(group) for group in groups[1:]] == [4, 3]  # floor(.4 * 19) = 7 less 3
    assert len(set.union(*groups)) == 20 == sum(len(group) for group in groups)
    for stage, asked in ((made.validation, groups[1]), (made.test, groups[2])):
        for user in asked:
            history = stage.history.time[stage.history.user == user]
            held = stage.held_out.time[stage.held_out.user == user]
            assert len(history) == (user + 1) // 2
            assert len(history) + len(held) == user + 1
            assert history.max() < held.min()
    assert not set(made.validation.history.user.tolist()) & groups[2]
