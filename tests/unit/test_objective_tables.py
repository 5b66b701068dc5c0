"""Objectives on tables small enough to work out by hand; the working is in the comments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from pareto_rec.data.schema import Items, Users
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, UserObjective, parse
from pareto_rec.objectives.fairness import WorstGroup

NAN = float("nan")
THIRD = 0.6309297535714575  # 1 / log2(3): what place 2 is worth; place 1 is worth 1, place 3 .5
# Items 0 to 4; item 3 has no category
CATEGORIES = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], np.float32)


def outcome(
    lists: list[list[int]],
    relevant: list[list[int]] | None = None,
    popularity: tuple[int, ...] = (5, 4, 3, 2, 1),
    **attributes: tuple[str, ...],
) -> Outcome:
    truth = np.zeros((len(lists), 5), np.float32)
    for user, items in enumerate(relevant or []):
        truth[user, items] = 1
    ids = tuple("abcde")
    return Outcome(
        lists=np.array(lists, np.int64),
        scores=np.zeros((len(lists), len(lists[0])), np.float32),
        held_out={"watched": HeldOut(sparse.csr_array(truth))},
        relevance="watched",
        catalogue=Catalogue(
            Items(ids, ids, ids, CATEGORIES, ("x", "y", "z")),
            Users(tuple(str(n) for n in range(len(lists))), attributes),
            np.array(popularity, np.int64),
        ),
    )


def per_user(name: str, of: Outcome) -> np.ndarray:
    objective = parse(name)
    assert isinstance(objective, UserObjective)
    return objective.per_user(of)


@pytest.mark.parametrize(
    ("found", "relevant", "ndcg", "recall", "mrr"),
    [
        ([0, 1, 2], [0, 1, 2], 1.0, 1.0, 1.0),
        ([0, 1, 2], [2], 0.5, 1.0, 1 / 3),  # ideal: 1 at place 1; here .5 at place 3
        # DCG = THIRD, ideal of two = 1 + THIRD
        ([0, 1, 2], [1, 4], THIRD / (1 + THIRD), 0.5, 0.5),
        # five relevant, three places: the ideal stops at place 3
        ([0, 1, -1], [0, 1, 2, 3, 4], (1 + THIRD) / (1.5 + THIRD), 0.4, 1.0),
        ([3, 4, -1], [0], 0.0, 0.0, 0.0),
        ([3, 4, 0], [], NAN, NAN, NAN),
    ],
)
def test_ranking(
    found: list[int], relevant: list[int], ndcg: float, recall: float, mrr: float
) -> None:
    of = outcome([found], [relevant])
    for name, expected in (("ndcg@3", ndcg), ("recall@3", recall), ("mrr@3", mrr)):
        np.testing.assert_allclose(per_user(name, of), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("popularity", "head"),
    [
        ((10, 6, 2, 1, 1), [0]),  # 10 of 20 rows: exactly half
        ((9, 6, 3, 1, 1), [0, 1]),  # 9 of 20 are too few
        ((4, 4, 4, 4, 4), [0, 1, 2]),  # 12 of 20; the tie goes to the lower index
        ((1, 1, 2, 6, 10), [4]),
    ],
)
def test_head(popularity: tuple[int, ...], head: list[int]) -> None:
    catalogue = outcome([[0]], popularity=popularity).catalogue
    assert np.flatnonzero(catalogue.head).tolist() == head


@pytest.mark.parametrize(
    ("found", "relevant", "expected"),
    [
        # head = {0}; in the tail 2 and 3 are relevant, of which 2 is at place 2
        ([0, 2, 1], [0, 2, 3], THIRD / (1 + THIRD)),
        ([2, 3, 0], [0, 2, 3], 1.0),
        ([0, 1, 4], [0, 2], 0.0),  # the hit on the head counts for nothing
        ([0, 1, 4], [0], NAN),  # nothing relevant in the tail
        ([-1, -1, -1], [4], 0.0),
    ],
)
def test_tail_ndcg(found: list[int], relevant: list[int], expected: float) -> None:
    of = outcome([found], [relevant], popularity=(10, 6, 2, 1, 1))
    np.testing.assert_allclose(per_user("tail_ndcg@3", of), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("found", "relevant", "expected"),
    [
        # counts 7, 1, 0, 3, 0: log1p is log 2 times 3, 1, 0, 2, 0, so novelty is 0, 2/3, 1, 1/3, 1
        ([1, 0, 2], [1, 2], (2 / 3 + 0.5) / (1 + THIRD)),
        ([0, 1, 2], [0], 0.0),  # the most popular item is no news
        ([2, 4, 0], [2, 4], 1.0),  # nobody knows the hits: equal to NDCG
        ([3, 1, 0], [3, 0], (1 / 3) / (1 + THIRD)),
        ([0, 1, 2], [], NAN),
    ],
)
def test_epc(found: list[int], relevant: list[int], expected: float) -> None:
    of = outcome([found], [relevant], popularity=(7, 1, 0, 3, 0))
    np.testing.assert_allclose(per_user("epc@3", of), [expected], atol=1e-12)


def test_novelty_where_nobody_met_anything() -> None:
    assert outcome([[0]], popularity=(0,) * 5).catalogue.novelty.tolist() == [1.0] * 5


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # cosines: x and y 0; x and xy 1/sqrt 2; y and xy 1/sqrt 2; item 3 is in no pair
        ([0, 1, 2, 3], (1 + 2 * (1 - 1 / math.sqrt(2))) / 3),
        ([0, 1, -1, -1], 1.0),
        ([0, 4, -1, -1], 0.0),  # both x
        ([0, 4, 1, -1], 2 / 3),  # pairs: 0, 1, 1
        ([0, 3, -1, -1], NAN),  # one item with categories makes no pair
        ([-1, -1, -1, -1], NAN),
    ],
)
def test_ild(found: list[int], expected: float) -> None:
    np.testing.assert_allclose(per_user("ild@4", outcome([found])), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0, 2, -1], -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))),  # x 1.5, y .5
        ([0, 1, 3], math.log(2)),  # x 1, y 1; item 3 has none
        ([0, 4, -1], 0.0),
        ([3, -1, -1], NAN),
    ],
)
def test_category_entropy(found: list[int], expected: float) -> None:
    values = per_user("category_entropy@3", outcome([found]))
    np.testing.assert_allclose(values, [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("lists", "coverage", "gini"),
    [
        # exposure 0, 0, 0, THIRD, 2: differences over ordered pairs of items
        # 2 * (3 * THIRD + 3 * 2 + (2 - THIRD)) = 2 * (8 + 2 THIRD), over 2 * 5 * (2 + THIRD)
        ([[0, 1], [0, -1]], 0.4, (8 + 2 * THIRD) / (5 * (2 + THIRD))),
        ([[2, -1], [2, -1]], 0.2, 0.8),  # one of five gets it all: 1 - 1/5
        ([[0, -1], [1, -1], [2, -1], [3, -1], [4, -1]], 1.0, 0.0),
        ([[-1, -1]], 0.0, NAN),
    ],
)
def test_set_measures(lists: list[list[int]], coverage: float, gini: float) -> None:
    of = outcome(lists)
    np.testing.assert_allclose(parse("coverage@2").value(of), coverage, atol=1e-12)
    np.testing.assert_allclose(parse("exposure_gini@2").value(of), gini, atol=1e-12)


# ndcg@1 is 1, 0, 1, 1, NaN, 0 for these six
GROUP_LISTS = [[0], [1], [0], [0], [0], [1]]
GROUP_TRUTH = [[0], [0], [0], [0], [], [0]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("F", "F", "M", "M", "M", ""), 0.5),  # F .5, M 1; the last one's group is unknown
        (("F", "F", "M", "M", "M", "M"), 0.5),  # F .5, M 2/3; the user without truth is left out
        (("F", "M", "F", "F", "F", "F"), 0.0),
        (("F", "F", "F", "F", "X", "F"), 0.6),  # nothing is known of group X
        (("",) * 6, NAN),
    ],
)
def test_worst_group(values: tuple[str, ...], expected: float) -> None:
    of = outcome(GROUP_LISTS, GROUP_TRUTH, gender=values)
    objective = parse("worst(ndcg@1 by gender)")
    np.testing.assert_allclose(objective.value(of), expected, atol=1e-12)


def test_worst_group_of_a_cost_is_the_largest() -> None:
    class Misses(UserObjective):
        family, maximise, unit, reference = "misses", False, "item", 9.0

        def per_user(self, outcome: Outcome, /) -> np.ndarray:
            assert len(outcome.lists) == 6
            return np.array([1.0, 3.0, 5.0, 0.0, 0.0, 0.0])  # F 3, M 0

    worst = WorstGroup(Misses(1), "gender")
    assert worst.value(outcome(GROUP_LISTS, gender=("F", "F", "F", "M", "M", "M"))) == 3.0
    assert (worst.maximise, worst.unit, worst.reference) == (False, "item", 9.0)
    assert worst.name == "worst(misses@1 by gender)"


def test_train_seconds() -> None:
    of = outcome([[0]])
    assert math.isnan(parse("train_seconds").value(of))
    timed = Outcome(of.lists, of.scores, of.held_out, "watched", of.catalogue, {"train_seconds": 4})
    assert parse("train_seconds").value(timed) == 4.0
    assert parse("train_seconds").measured
