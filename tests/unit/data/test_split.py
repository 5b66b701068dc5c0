"""The per-user split: sizes and parts by hand, and what may not have a say in it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Dataset, Interactions, Items, Stage, Users
from pareto_rec.data.split import split_per_user


def make(
    user: list[int] | NDArray[np.int64],
    item: list[int] | NDArray[np.int64],
    time: list[int] | NDArray[np.int64],
    *,
    rating: list[float] | None = None,
    user_ids: tuple[str, ...] | None = None,
    item_ids: tuple[str, ...] | None = None,
) -> Dataset:
    n_users, n_items = int(np.max(user)) + 1, int(np.max(item)) + 1
    user_ids = user_ids or tuple(f"u{u}" for u in range(n_users))
    item_ids = item_ids or tuple(f"i{i}" for i in range(n_items))
    values = np.ones(len(user)) if rating is None else np.asarray(rating)
    categories = np.zeros((len(item_ids), 1), dtype=np.float32)
    return Dataset(
        "made",
        Interactions(
            np.asarray(user, dtype=np.int64),
            np.asarray(item, dtype=np.int64),
            np.asarray(time, dtype=np.int64),
            {"watched": values.astype(np.float32)},
        ),
        Items(item_ids, item_ids, item_ids, categories, ("any",)),
        Users(user_ids, {}),
    )


def random_data(seed: int, n_rows: int = 3000, moments: int = 40) -> Dataset:
    """Many ties in time; no repeated (user, item) pair."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(60 * 200)[:n_rows]
    return make(pairs // 200, pairs % 200, rng.integers(0, moments, n_rows))


Row = tuple[str, str, int, float]


def named(dataset: Dataset, rows: Interactions) -> list[Row]:
    """Rows by original ids, in their order."""
    return [
        (dataset.users.ids[u], dataset.items.ids[i], int(t), float(w))
        for u, i, t, w in zip(rows.user, rows.item, rows.time, rows.signals["watched"], strict=True)
    ]


def parts(dataset: Dataset, seed: int = 5, share: float = 0.1) -> dict[str, list[Row]]:
    split = split_per_user(dataset, validation=share, test=share, seed=seed)
    rows = {
        "train": split.validation.train,
        "validation": split.validation.held_out,
        "test": split.test.held_out,
    }
    return {name: named(dataset, part) for name, part in rows.items()}


def test_parts_and_leak_by_hand() -> None:
    # User 0 has 10 rows at times 0..9, in a shuffled file: one for the test, one for validation.
    # User 1 has 4 rows: floor(4 * .8) = floor(4 * .9) = 3 are for training, the last for the test.
    times = [3, 9, 0, 8, 1, 7, 2, 6, 4, 5]
    dataset = make([0] * 10 + [1] * 4, [*times, 0, 1, 2, 3], [*times, 10, 11, 1, 2])
    split = split_per_user(dataset, validation=0.1, test=0.1, seed=0)
    assert split.test.held_out.time.tolist() == [9, 11]
    assert split.validation.held_out.time.tolist() == [8]
    train = split.validation.train
    assert train.user.tolist() == [0] * 8 + [1] * 3
    assert train.time.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 10]
    assert split.validation.history is train
    assert split.test.train is train
    assert split.test.history.time.tolist() == [*range(9), 1, 2, 10]
    # None of the 11 training rows is later than the median test row (time 10).
    assert split.late_train_share == 0.0
    assert split.test.history_indptr.tolist() == [0, 9, 12]


def test_leak_by_hand() -> None:
    # Test rows at times 9 and 11; training rows 12, 13, 14 of user 2 are later than their median.
    dataset = make([0] * 10 + [1] * 5, [*range(10), *range(5)], [*range(10), 11, 12, 13, 14, 15])
    split = split_per_user(dataset, validation=0.1, test=0.1, seed=0)
    assert sorted(split.test.held_out.time.tolist()) == [9, 15]
    assert split.late_train_share == pytest.approx(2 / 12)  # 13 and 14 are later than 12


@pytest.mark.parametrize(
    ("rows", "share", "validation", "test"),
    [
        *((1, 0.1, 0, 0), (2, 0.1, 0, 1), (9, 0.1, 1, 1), (10, 0.1, 1, 1), (19, 0.1, 2, 2)),
        *((20, 0.1, 2, 2), (100, 0.29, 29, 29), (3, 0.34, 0, 2)),
    ],
)
def test_sizes_of_the_parts(rows: int, share: float, validation: int, test: int) -> None:
    # A second user with 100 rows keeps the parts from being empty; 0.42 * 100 is below 42.
    dataset = make([0] * rows + [1] * 100, [*range(rows), *range(100)], [*range(rows), *range(100)])
    split = split_per_user(dataset, validation=share, test=share, seed=0)
    held = [int((s.held_out.user == 0).sum()) for s in (split.validation, split.test)]
    assert held == [validation, test]
    assert int((split.validation.train.user == 0).sum()) == rows - validation - test


def test_parts_follow_each_other_in_time_for_every_user() -> None:
    dataset = random_data(0)
    split = split_per_user(dataset, validation=0.1, test=0.1, seed=1)
    ordered = (split.validation.train, split.validation.held_out, split.test.held_out)
    for user in range(len(dataset.users)):
        times = [rows.time[rows.user == user] for rows in ordered]
        for earlier, later in pairwise(times):
            assert len(later) == 0 or earlier.max() <= later.min()
    together = sorted(row for rows in ordered for row in named(dataset, rows))
    assert together == sorted(named(dataset, dataset.interactions))


def test_neither_file_order_nor_numbering_has_a_say() -> None:
    dataset = random_data(1)
    rng = np.random.default_rng(2)
    shuffled = rng.permutation(len(dataset.interactions))
    other = Dataset("made", dataset.interactions.take(shuffled), dataset.items, dataset.users)
    assert parts(other) == parts(dataset)
    first = split_per_user(dataset, validation=0.1, test=0.1, seed=5)
    second = split_per_user(other, validation=0.1, test=0.1, seed=5)
    assert first.validation.content_hash == second.validation.content_hash

    users, items = rng.permutation(len(dataset.users)), rng.permutation(len(dataset.items))
    new_user, new_item = np.argsort(users), np.argsort(items)
    renumbered = make(
        new_user[dataset.interactions.user],
        new_item[dataset.interactions.item],
        dataset.interactions.time,
        user_ids=tuple(dataset.users.ids[u] for u in users),
        item_ids=tuple(dataset.items.ids[i] for i in items),
    )
    before, after = parts(dataset), parts(renumbered)
    assert {name: sorted(rows) for name, rows in after.items()} == {
        name: sorted(rows) for name, rows in before.items()
    }


def test_ties_depend_on_the_seed_and_are_even() -> None:
    # All rows at one moment: the tie hash alone decides what is held out.
    n_users, n_rows = 400, 10
    users = np.repeat(np.arange(n_users), n_rows)
    items = np.tile(np.arange(n_rows), n_users)
    dataset = make(users, items, np.zeros(len(users), dtype=np.int64))
    assert parts(dataset, seed=1) == parts(dataset, seed=1)
    assert parts(dataset, seed=1)["test"] != parts(dataset, seed=2)["test"]
    held = np.bincount(
        split_per_user(dataset, validation=0.1, test=0.1, seed=3).test.held_out.item,
        minlength=n_rows,
    )
    # Each of 10 items is expected 40 times; chi-square with 9 degrees of freedom exceeds 27.9 with
    # probability 0.001.
    assert ((held - 40) ** 2 / 40).sum() < 27.9


def test_rows_alike_in_user_item_and_time_are_ordered_by_their_signals() -> None:
    ratings = [float(r) for r in (4, 1, 3, 2, 5, 0, 9, 7, 8, 6)]
    dataset = make([0] * 10, [0] * 10, [7] * 10, rating=ratings)
    turned = make([0] * 10, [0] * 10, [7] * 10, rating=ratings[::-1])
    assert parts(dataset) == parts(turned)
    assert parts(dataset)["test"] == [("u0", "i0", 7, 9.0)]


def test_content_hash_tells_data_shares_seeds_and_stages_apart() -> None:
    dataset = random_data(3)
    changed = make(
        dataset.interactions.user, dataset.interactions.item, dataset.interactions.time + 1
    )

    def stages(data: Dataset, validation: float, test: float, seed: int) -> list[Stage]:
        split = split_per_user(data, validation=validation, test=test, seed=seed)
        return [split.validation, split.test]

    found = [
        stage.content_hash
        for arguments in (
            (dataset, 0.1, 0.1, 1),
            (dataset, 0.1, 0.1, 2),
            (dataset, 0.2, 0.1, 1),
            (dataset, 0.1, 0.2, 1),
            (changed, 0.1, 0.1, 1),
        )
        for stage in stages(*arguments)
    ]
    assert len(set(found)) == len(found) == 10
    assert found[:2] == [s.content_hash for s in stages(dataset, 0.1, 0.1, 1)]


def test_input_is_untouched_and_output_is_read_only() -> None:
    dataset = random_data(4)
    rows = dataset.interactions
    before = [a.copy() for a in (rows.user, rows.item, rows.time, rows.signals["watched"])]
    split = split_per_user(dataset, validation=0.1, test=0.1, seed=0)
    after = (rows.user, rows.item, rows.time, rows.signals["watched"])
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    for part in (split.test.train, split.test.history, split.test.held_out):
        for array in (part.user, part.item, part.time, *part.signals.values()):
            assert not array.flags.writeable


@pytest.mark.parametrize("share", [-0.1, 0.0, 1.0, float("nan")])
@pytest.mark.parametrize("name", ["validation", "test"])
def test_shares_out_of_range_are_refused(name: str, share: float) -> None:
    shares = {"validation": 0.1, "test": 0.1, name: share}
    with pytest.raises(BadRequestError, match=rf"{name} = .* between 0 and 1"):
        split_per_user(random_data(5), seed=0, **shares)


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(BadRequestError, match="together they must stay below 1"):
        split_per_user(random_data(5), validation=0.5, test=0.5, seed=0)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"the validation part of made is empty.*4 rows"):
        split_per_user(make([0] * 4, [*range(4)], [*range(4)]), validation=0.1, test=0.1, seed=0)
