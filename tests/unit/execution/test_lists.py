"""Whose lists are shown. Expected choices are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.execution.lists import chosen_users


def rows(pairs: list[tuple[int, int]], liked: list[int] | None = None) -> Interactions:
    """Interactions of (user, item) pairs, in their order."""
    user, item = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    signal = np.ones(len(pairs)) if liked is None else np.array(liked)
    signals = {"watched": np.ones(len(pairs), np.float32), "liked": signal.astype(np.float32)}
    return Interactions(user, item, np.arange(len(pairs)), signals)


def stage(lengths: list[int], asked: list[tuple[int, int]], liked: list[int]) -> Stage:
    """A stage whose users have histories of these lengths."""
    history = rows([(user, item) for user, n in enumerate(lengths) for item in range(n)])
    names = tuple(f"i{item}" for item in range(12))
    items = Items(names, names, names, np.zeros((12, 0), np.float32), ())
    users = Users(tuple(f"u{9 - user}" for user in range(len(lengths))), {})
    return Stage("validation", history, history, rows(asked, liked), items, users, "made up")


@pytest.fixture
def made() -> Stage:
    #                  user: 0  1  2  3  4  5  6; user 2 has no history, user 5 nothing to predict
    asked = [(0, 11), (1, 11), (2, 11), (3, 11), (4, 11), (6, 11)]
    return stage([5, 1, 0, 5, 9, 7, 2], asked, [1, 1, 1, 1, 0, 1])


def test_histories_spread_from_short_to_long(made: Stage) -> None:
    # With a history and something to predict, by length: 1, 6, 3 and 0 (both 5; "u6" < "u9"), 4.
    assert chosen_users(made, "watched", 5).tolist() == [1, 6, 3, 0, 4]
    assert chosen_users(made, "watched", 9).tolist() == [1, 6, 3, 0, 4]
    assert chosen_users(made, "watched", 1).tolist() == [3]  # the middle one
    assert chosen_users(made, "watched", 2).tolist() == [6, 0]  # middles of both halves


def test_only_people_with_something_relevant_are_chosen(made: Stage) -> None:
    assert chosen_users(made, "liked", 5).tolist() == [1, 6, 3, 0]  # user 4 did not like it


def test_nobody_may_be_left(made: Stage) -> None:
    empty = Stage(
        *("validation", made.train, made.history, made.held_out.take(np.zeros(6, bool))),
        *(made.items, made.users, ""),
    )
    assert chosen_users(empty, "watched").tolist() == []
