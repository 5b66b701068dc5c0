"""Training examples and histories against loops over a small table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_learning import interactions, next_item_stage

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Stage
from pareto_rec.training.batches import Batch, Sequences, draw, last_items

# User 2 has nothing, user 3 a single row, and user 5 took item 17 twice
WALKS = [[1, 2, 3, 4, 5], [6, 7], [], [8], [9, 10, 11, 12, 13, 14, 15, 16], [17, 0, 17]]
LIKED = {item: item % 3 == 0 for item in range(18)}
EXAMPLES = settings(max_examples=25, deadline=None)


def sequences_of(walks: list[list[int]]) -> Sequences:
    return Sequences.of(interactions(walks, lambda item: int(LIKED[item])))


def draws(seed: int, walks: list[list[int]] = WALKS, **sizes: int) -> Batch:
    wanted = {"steps": 3, "batch": 40, "history": 4, "positions": 1, "horizon": 1, **sizes}
    return draw(sequences_of(walks), np.random.default_rng(seed), **wanted)


def examples(batch: Batch) -> list[tuple[list[int], list[int], list[list[int]]]]:
    """Every example: history with its padding, places, targets."""
    return [
        (
            batch.histories[index].tolist(),
            batch.at[index].tolist(),
            batch.targets[index].tolist(),
        )
        for index in np.ndindex(batch.histories.shape[:2])
    ]


def possible(history: int, horizon: int) -> dict[tuple[int, ...], list[int]]:
    """By brute force: padded history -> the items that may follow, for every row of WALKS.

    With a repeated item two rows could share a history; WALKS is made so that none do.
    """
    found = {}
    for walk in WALKS:
        for row in range(1, len(walk)):
            before = walk[max(0, row - history) : row]
            padded = (*[-1] * (history - len(before)), *before)
            assert padded not in found
            after = walk[row : row + horizon]
            found[padded] = after + [-1] * (horizon - len(after))
    return found


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), history=st.integers(2, 9), horizon=st.integers(1, 5))
def test_targets_follow_their_history_and_nothing_crosses_users(
    seed: int, history: int, horizon: int
) -> None:
    allowed = possible(history, horizon)
    batch = draws(seed, history=history, horizon=horizon)
    assert batch.histories.shape == (3, 40, history)
    assert batch.targets.shape == batch.rows.shape == (3, 40, 1, horizon)
    for before, at, targets in examples(batch):
        assert targets == [allowed[tuple(before)]]
        assert at == [history - 1]
    present = batch.targets >= 0
    items = np.array([item for walk in WALKS for item in walk])
    np.testing.assert_array_equal(items[batch.rows][present], batch.targets[present])


def test_every_row_with_a_predecessor_is_drawn() -> None:
    found = {tuple(before) for before, *_ in examples(draws(1, steps=20))}
    assert found == set(possible(4, 1))


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), history=st.integers(2, 9), positions=st.integers(2, 5))
def test_every_place_predicts_what_follows_it(seed: int, history: int, positions: int) -> None:
    """The first place is the last item; all others lie on items of the history."""
    follows = possible(20, 3)  # whole prefixes tell the rows of a user apart
    batch = draws(seed, history=history, positions=positions, horizon=3)
    for before, at, targets in examples(batch):
        assert len(at) == len(targets) == positions
        assert at[0] == history - 1
        for place, target in zip(at, targets, strict=True):
            assert before[place] >= 0
            seen = [item for item in before[: place + 1] if item >= 0]
            matching = [
                after
                for prefix, after in follows.items()
                if [item for item in prefix if item >= 0][-len(seen) :] == seen
            ]
            assert target in matching
        # one walk explains the whole example: its places predict what its history shows
        for place, target in zip(at[1:], targets[1:], strict=True):
            if place < history - 1:
                assert target[0] == before[place + 1]


def test_other_places_are_drawn_uniformly_from_the_window() -> None:
    """Walk of six, window of four: with a full window each place has probability 1/4."""
    batch = draws(2, [[1, 2, 3, 4, 5, 6]], steps=1, batch=4000, history=4, positions=2)
    full = batch.histories[0, :, 0] >= 0
    places, counts = np.unique(batch.at[0, full, 1], return_counts=True)
    assert places.tolist() == [0, 1, 2, 3]
    # about 1,600 draws: a standard deviation of the share is .011
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.05)


def test_users_count_for_about_the_root_of_their_rows() -> None:
    """Two users of 2 and 26 rows: weights 1 / sqrt(2) and 25 / sqrt(26)."""
    walks = [[1, 2], [3 + n % 15 for n in range(26)]]
    batch = draws(3, walks, steps=1, batch=8000)
    share = float((batch.targets[0, :, 0, 0] == 2).mean())
    first, second = 1 / math.sqrt(2), 25 / math.sqrt(26)
    # the standard deviation of the share is sqrt(.126 * .874 / 8000) = .0037
    assert share == pytest.approx(first / (first + second), abs=0.018)
    rows = batch.targets[0, :, 0, 0]
    counts = np.unique(rows[rows != 2], return_counts=True)[1]
    assert counts.min() > 0.6 * counts.max() / 2  # some items stand in two rows


def test_draws_depend_on_the_generator_alone() -> None:
    first, second, other = draws(7, positions=3), draws(7, positions=3), draws(8, positions=3)
    for name in ("histories", "at", "targets", "rows"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.histories, other.histories)


def test_sequences_know_where_users_begin_and_end() -> None:
    sequences = sequences_of(WALKS)
    row = 0
    for walk in WALKS:
        for item in walk:
            begin, end = int(sequences.start[row]), int(sequences.end[row])
            assert sequences.items[begin:end].tolist() == walk
            assert sequences.items[row] == item
            row += 1
    assert row == len(sequences.items)


@pytest.mark.parametrize("walks", [[], [[1], [2], [], [3]]])
def test_no_history_to_learn_from_is_refused_in_one_line(walks: list[list[int]]) -> None:
    with pytest.raises(BadRequestError, match="no user has two training rows") as error:
        draws(0, walks)
    assert "\n" not in str(error.value)


def stage_of(walks: list[list[int]]) -> Stage:
    stage = next_item_stage(users=len(walks), n_items=20)
    rows = interactions(walks, lambda item: int(LIKED[item]))
    return Stage("test", rows, rows, stage.held_out, stage.items, stage.users, "small")


@pytest.mark.parametrize("length", [1, 2, 3, 8, 30])
def test_last_items(length: int) -> None:
    found = last_items(stage_of(WALKS), length)
    assert found.shape == (len(WALKS), length)
    for user, walk in enumerate(WALKS):
        kept = walk[-length:]
        assert found[user].tolist() == [-1] * (length - len(kept)) + kept


def test_last_items_of_nobody() -> None:
    np.testing.assert_array_equal(last_items(stage_of([[], []]), 3), np.full((2, 3), -1))


def test_inputs_are_not_mutated() -> None:
    rows = interactions(WALKS, lambda item: int(LIKED[item]))
    for array in (rows.user, rows.item, rows.time, *rows.signals.values()):
        array.flags.writeable = False
    sequences = Sequences.of(rows)
    kept = {name: getattr(sequences, name).copy() for name in ("items", "start", "end")}
    draw(
        sequences,
        np.random.default_rng(0),
        steps=2,
        batch=8,
        history=3,
        positions=2,
        horizon=2,
    )
    for name, value in kept.items():
        np.testing.assert_array_equal(getattr(sequences, name), value)
