"""What every registered split promises; new kinds are found by themselves."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareto_rec.baselines import BASELINES
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.inspect import as_text, describe
from pareto_rec.data.schema import Dataset, Interactions, Items, Split, Stage, Users
from pareto_rec.data.split import SPLITS, split, split_kind
from pareto_rec.data.table.clean import numbered_within_users

USERS, ITEMS = 40, 60
KINDS = list(SPLITS)
SHARED = [name for name, kind in SPLITS.items() if kind.shares]
EXAMPLES = settings(max_examples=10, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
Row = tuple[str, str, int, float]


def log(seed: int, rows: int = 900, users: int = USERS, items: int = ITEMS) -> Dataset:
    """Ties in time, repeated pairs, users of one row, items and a user without any."""
    rng = np.random.default_rng(seed)
    user = np.minimum(rng.geometric(2.5 / users, rows), users - 1) - 1
    item = rng.integers(0, items - 3, rows)
    signals = {
        "watched": np.ones(rows, np.float32),
        "rating": rng.integers(1, 6, rows).astype(np.float32),
    }
    names = tuple(f"item {n}" for n in range(items))
    categories = np.zeros((items, 1), np.float32)
    return Dataset(
        "made",
        Interactions(user, item, rng.integers(0, 300, rows), signals),
        Items(names, names, names, categories, ("any",)),
        Users(tuple(f"user {n}" for n in range(users)), {}),
    )


def cut(dataset: Dataset, kind: str, share: float = 0.15, seed: int = 3) -> Split:
    return split(dataset, kind, validation=share, test=share, seed=seed)


def named(dataset: Dataset, rows: Interactions) -> list[Row]:
    return [
        (dataset.users.ids[u], dataset.items.ids[i], int(t), float(r))
        for u, i, t, r in zip(rows.user, rows.item, rows.time, rows.signals["rating"], strict=True)
    ]


def counted(stage: Stage, part: str) -> Counter[Row]:
    dataset = Dataset("", getattr(stage, part), stage.items, stage.users)
    return Counter(named(dataset, dataset.interactions))


def everything(made: Split) -> dict[str, Counter[Row]]:
    return {
        f"{stage.name} {part}": counted(stage, part)
        for stage in (made.validation, made.test)
        for part in ("train", "history", "held_out")
    }


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@EXAMPLES
def test_no_row_is_lost_or_doubled(kind: str, seed: int) -> None:
    dataset = log(seed)
    made = everything(cut(dataset, kind))
    rows = Counter(named(dataset, dataset.interactions))
    assert made["test history"] + made["test held_out"] == rows
    assert made["validation train"] == made["test train"]
    for part in ("validation history", "validation held_out", "test train"):
        assert not made[part] - rows  # nothing is made up
    assert not made["validation train"] - made["validation history"]
    assert not made["validation history"] + made["validation held_out"] - made["test history"]


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@EXAMPLES
def test_a_stage_never_holds_what_it_asks_for(kind: str, seed: int) -> None:
    """Counted, so that of a row that the log holds twice one may be known."""
    dataset = log(seed)
    made = everything(cut(dataset, kind))
    rows = Counter(named(dataset, dataset.interactions))
    for stage in ("validation", "test"):
        assert not made[f"{stage} history"] + made[f"{stage} held_out"] - rows
    assert (
        not made["validation history"] + made["validation held_out"] + made["test held_out"] - rows
    )


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@EXAMPLES
def test_neither_file_order_nor_numbering_has_a_say(kind: str, seed: int) -> None:
    dataset = log(seed)
    rows, rng = dataset.interactions, np.random.default_rng(seed + 1)
    shuffled = Dataset("made", rows.take(rng.permutation(len(rows))), dataset.items, dataset.users)
    before, after = cut(dataset, kind), cut(shuffled, kind)
    assert before.validation.content_hash == after.validation.content_hash
    assert everything(before) == everything(after)

    users, items = rng.permutation(USERS), rng.permutation(ITEMS)
    names = tuple(dataset.items.ids[n] for n in items)
    renumbered = Dataset(
        "made",
        Interactions(
            np.argsort(users)[rows.user], np.argsort(items)[rows.item], rows.time, rows.signals
        ),
        Items(names, names, names, dataset.items.categories[items], ("any",)),
        Users(tuple(dataset.users.ids[n] for n in users), {}),
    )
    assert everything(cut(renumbered, kind)) == everything(before)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_ordered_by_user_and_time(kind: str) -> None:
    made = cut(log(5), kind)
    for stage in (made.validation, made.test):
        for rows in (stage.train, stage.history, stage.held_out):
            order = np.lexsort((rows.time, rows.user))
            np.testing.assert_array_equal(rows.user[order], rows.user)
            np.testing.assert_array_equal(rows.time[order], rows.time)
            for array in (rows.user, rows.item, rows.time, *rows.signals.values()):
                assert not array.flags.writeable


@pytest.mark.parametrize("kind", [name for name, one in SPLITS.items() if one.needs != "times"])
def test_an_order_of_rows_does_as_well_as_times(kind: str) -> None:
    dataset = log(5)
    numbered = numbered_within_users(dataset.interactions)
    ordered = replace(dataset, interactions=numbered, timed=False, ordered=True)
    as_times = everything(cut(replace(dataset, interactions=numbered), kind))
    assert everything(cut(ordered, kind)) == as_times


@pytest.mark.parametrize("kind", [name for name, one in SPLITS.items() if one.needs != "nothing"])
def test_without_times_and_order_a_split_that_needs_them_is_refused(kind: str) -> None:
    with pytest.raises(BadRequestError, match="no times"):
        cut(replace(log(5), timed=False), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hash_tells_requests_apart(kind: str) -> None:
    dataset = log(6)
    requests = [(0.15, 0.15, 3), (0.15, 0.15, 4)]
    requests += [(0.2, 0.15, 3), (0.15, 0.2, 3)] if kind in SHARED else []
    made = [
        stage.content_hash
        for validation, test, seed in requests
        for one in [split(dataset, kind, validation=validation, test=test, seed=seed)]
        for stage in (one.validation, one.test)
    ]
    assert len(set(made)) == len(made)
    assert cut(dataset, kind).validation.content_hash == made[0]


def test_the_hash_tells_kinds_apart() -> None:
    assert len({cut(log(7), kind).validation.content_hash for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", SHARED)
def test_shares_hold(kind: str) -> None:
    """Of rows, users or items: within a factor of two of what was asked for, on uneven data."""
    made = cut(log(8, rows=4000), kind)
    for stage in (made.validation, made.test):
        assert 0.075 < len(stage.held_out) / 4000 < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_not_mutated(kind: str) -> None:
    dataset, before = log(9), log(9)
    cut(dataset, kind)
    assert dataset.content_hash == before.content_hash


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_part_is_refused_in_one_line(kind: str) -> None:
    one = log(10, rows=2)
    with pytest.raises(BadRequestError, match=f'part of made is empty.*split "{kind}"') as said:
        cut(one, kind)
    assert "\n" not in str(said.value)
    nothing = Dataset("made", one.interactions.take(np.zeros(2, dtype=bool)), one.items, one.users)
    with pytest.raises(BadRequestError, match="part of made is empty"):
        cut(nothing, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_it_leaks(kind: str) -> None:
    dataset = log(11)
    made = cut(dataset, kind)
    assert made.kind == kind
    assert f"{made.late_train_share:.0%} of the training rows are later" in made.leak
    assert "\n" not in made.leak
    summary = describe(dataset, made)
    (line,) = [line for line in as_text(summary).splitlines() if line.startswith("split ")]
    assert kind in line
    assert made.leak in line


@pytest.mark.parametrize("kind", SPLITS.values(), ids=lambda kind: kind.name)
def test_it_is_documented(kind: object) -> None:
    doc = kind.cut.__doc__ or ""
    assert doc.splitlines()[0].endswith(".")
    for section in ("Leaks:", "Source:"):
        assert len(doc.partition(section)[2].split("\n\n")[0].split()) >= 4, section


@pytest.fixture(scope="module")
def large() -> Dataset:
    return log(12, rows=1_000_000, users=20_000, items=5_000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_million_rows_take_seconds(kind: str, large: Dataset) -> None:
    began = time.perf_counter()
    cut(large, kind, share=0.1)
    assert time.perf_counter() - began < 10  # about 1 s alone on one core


def with_impressions(dataset: Dataset) -> Dataset:
    """The same log in which nothing came of every third row."""
    rows, answered = dataset.interactions, np.arange(len(dataset.interactions)) % 3 > 0
    signals = {name: values * answered for name, values in rows.signals.items()}
    return replace(dataset, interactions=replace(rows, signals=signals))


@pytest.mark.parametrize("expert", BASELINES)
@pytest.mark.parametrize("kind", KINDS)
def test_experts_score_users_and_items_without_rows(kind: str, expert: str) -> None:
    dataset = log(13)
    if BASELINES[expert].needs_impressions:
        dataset = with_impressions(dataset)
    made = cut(dataset, kind)
    for stage in (made.validation, made.test):
        scores = BASELINES[expert].scores(stage)
        assert scores.shape == (USERS, ITEMS)
        assert np.isfinite(scores).all()


def test_an_unknown_kind_gets_one_clear_line() -> None:
    with pytest.raises(BadRequestError, match=r'unknown kind of split "cold_item" \(did you mean'):
        split_kind("cold_item")
