"""New items and people of whom little is known: measures by hand, groups, and what they refuse."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import sparse
from toy_learning import next_item_stage

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.history_length import cold_start, with_history_length
from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.evaluation.scorers import UserScorers
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, parse

pytestmark = pytest.mark.usefixtures("single_thread")

NAN = float("nan")
GAIN = 1 / np.log2([2, 3, 4])  # what the first three places are worth


def outcome_of(
    scores: list[list[float]],
    truth: list[list[int]],
    popularity: list[int],
    attributes: dict[str, tuple[str, ...]] | None = None,
) -> Outcome:
    """Lists of three, their scores and what is held out; users and items as many as given."""
    table = np.array(scores, dtype=np.float32)
    users, n_items = table.shape
    names = tuple(map(str, range(n_items)))
    items = Items(names, names, names, np.ones((n_items, 1), dtype=np.float32), ("c",))
    people = Users(tuple(map(str, range(users))), attributes or {})
    lists = np.argsort(-np.nan_to_num(table, nan=-9), axis=1)[:, :3]
    held_out = {"watched": HeldOut(sparse.csr_array(np.array(truth, dtype=np.float32)))}
    catalogue = Catalogue(items, people, np.array(popularity))
    return Outcome(lists, np.zeros(lists.shape, np.float32), held_out, "watched", catalogue,
                   all_scores=lambda rows: table[rows])  # fmt: skip


def test_only_items_without_rows_are_ranked_and_count() -> None:
    made = outcome_of(
        [[9, 3, 8, 2, 1], [9, 1, 8, 2, 3], [0, 1, 2, 3, 4]],
        [[1, 0, 0, 1, 0], [0, 1, 1, 0, 1], [1, 0, 1, 0, 0]],
        [5, 0, 7, 0, 0],
    )
    values = parse("cold_ndcg@2").per_user(made)  # type: ignore[attr-defined] # one value per user
    assert values[0] == pytest.approx(GAIN[1])  # 1, 3, 4: the second is relevant
    assert values[1] == pytest.approx(GAIN[0] / (GAIN[0] + GAIN[1]))  # 4, 3, 1: 4 and 1 are
    assert np.isnan(values[2])


def test_equal_scores_are_worth_the_mean_over_all_orders() -> None:
    scores = [1.0, 1.0, 2.0, 1.0, NAN]
    made = outcome_of([scores], [[1, 0, 0, 0, 1]], [0] * 5)
    found = parse("cold_ndcg@3").per_user(made)[0]  # type: ignore[attr-defined] # one value per user
    places = [order.index(0) for order in permutations([0, 1, 3])]  # behind item 2
    expected = np.mean([GAIN[1 + place] if place < 2 else 0.0 for place in places])
    assert found == pytest.approx(expected)


def test_who_knows_nothing_gets_what_a_random_order_gets() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 12)) < 0.2).astype(int).tolist()
    known = parse("cold_ndcg@3").value(outcome_of([[0.5] * 12] * 300, truth, [0] * 12))
    drawn = [
        parse("cold_ndcg@3").value(outcome_of(rng.random((300, 12)).tolist(), truth, [0] * 12))
        for _ in range(20)
    ]
    assert known == pytest.approx(np.mean(drawn), abs=0.01)


def test_without_cold_items_or_scores_nothing_is_measured() -> None:
    made = outcome_of([[3, 2, 1]], [[1, 0, 0]], [1, 1, 1])
    assert np.isnan(parse("cold_ndcg@3").value(made))


def rows_of(counts: list[int]) -> Interactions:
    user = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    item = np.zeros(len(user), dtype=np.int64)
    return Interactions(user, item, item, {"watched": np.ones(len(user), np.float32)})


def test_users_are_grouped_by_how_much_is_known_of_them() -> None:
    users = Users(tuple("abcdefg"), {"gender": tuple("FMFMFMF")})
    made = with_history_length(users, rows_of([9, 0, 2, 40, 3, 2, 11]))
    expected = ("medium", "none", "short", "long", "medium", "short", "long")
    assert made.attributes["history_length"] == expected
    assert made.attributes["gender"] == users.attributes["gender"]
    assert "history_length" not in users.attributes


def test_a_column_of_that_name_in_the_data_wins() -> None:
    users = Users(("a", "b"), {"history_length": ("1", "2")})
    assert with_history_length(users, rows_of([3, 4])) is users


def test_nobody_has_a_history() -> None:
    made = with_history_length(Users(("a", "b"), {}), rows_of([0, 0]))
    assert made.attributes["history_length"] == ("none", "none")


GROUPS = {"history_length": ("short", "long", "short", "long", "long")}


def grouped() -> Outcome:
    scores = [[3, 2, 1, 0]] * 5
    truth = [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    return outcome_of(scores, truth, [1] * 4, GROUPS)


def test_the_mean_of_one_group_and_of_all_groups_alike() -> None:
    made = grouped()
    short = parse("mean(ndcg@3 by history_length=short)")
    assert short.name == "mean(ndcg@3 by history_length=short)"
    assert short.value(made) == pytest.approx((GAIN[0] + GAIN[1]) / 2)
    long = parse("mean(ndcg@3 by history_length=long)").value(made)
    assert long == pytest.approx((GAIN[0] + GAIN[2]) / 3)
    both = parse("mean(ndcg@3 by history_length)").value(made)
    assert both == pytest.approx((short.value(made) + long) / 2)
    assert np.isnan(parse("mean(ndcg@3 by history_length=none)").value(made))


def test_a_group_that_is_not_there_is_refused() -> None:
    objective = parse("mean(ndcg@3 by history_length=tiny)")
    with pytest.raises(BadRequestError, match=r'unknown history_length in objective .* "tiny"'):
        objective.check(signals=("watched",), attributes=GROUPS)
    parse("mean(ndcg@3 by history_length=long)").check(signals=("watched",), attributes=GROUPS)


def test_experts_without_a_word_fall_back_on_popularity() -> None:
    met = sparse.csr_array(np.array([[0, 0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 0]]))
    table = np.array([[0, 0, 0, 0], [0, 3, 1, 2.5], [0, 0, 0, 5]], dtype=np.float32)
    popularity = np.array([0.1, 0.9, 0.2, 0.5], dtype=np.float32)
    facts = (np.eye(4, dtype=np.float32), popularity, np.zeros(4, dtype=np.float32))
    users = UserScorers(met, {"ease": table}, facts, np.arange(4), torch.device("cpu"))
    scorers = users.take(slice(None))
    assert scorers.experts["ease"][0].argsort(descending=True).tolist() == [1, 3, 2, 0]
    assert scorers.experts["ease"][1].argsort(descending=True).tolist() == [1, 3, 0, 2]
    assert int(scorers.experts["ease"][2].argmax()) == 3  # it has something to say


def test_what_becomes_of_the_unknown_is_said() -> None:
    made = next_item_stage()
    assert cold_start(made) == {"users": 0, "items": 0, "notes": []}
    rows = made.train.take((made.train.item != 3) & (made.train.user > 1))
    found = cold_start(dataclasses.replace(made, train=rows, history=rows))
    assert (found["users"], found["items"]) == (2, 1)
    assert [str(note).split(":")[0] for note in found["notes"]] == [  # type: ignore[union-attr] # a list
        "2 users have no history",
        "1 items have no training row",
    ]
