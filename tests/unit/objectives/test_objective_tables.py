"""Objectives on tables small enough to work out by hand; the working is in the comments."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import sparse

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Items, Users
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, Predicted, UserObjective, parse
from pareto_rec.objectives.fairness import Gap, Ratio, WorstGroup

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
    ("found", "relevant", "precision", "f1", "hit"),
    [
        ([0, 1, 2], [0, 1, 2], 1.0, 1.0, 1.0),
        ([0, 1, 2], [2], 1 / 3, 0.5, 1.0),  # P 1/3, R 1: 2/3 over 4/3
        ([0, 1, 2], [1, 4], 1 / 3, 0.4, 1.0),  # P 1/3, R 1/2: 1/3 over 5/6
        ([0, 1, -1], [0, 1, 2, 3, 4], 2 / 3, 0.5, 1.0),  # P 2/3 of the places, R 2/5
        ([3, 4, -1], [0], 0.0, 0.0, 0.0),
        ([3, 4, 0], [], NAN, NAN, NAN),
    ],
)
def test_precision(
    found: list[int], relevant: list[int], precision: float, f1: float, hit: float
) -> None:
    of = outcome([found], [relevant])
    for name, expected in (("precision@3", precision), ("f1@3", f1), ("hit@3", hit)):
        np.testing.assert_allclose(per_user(name, of), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("popularity", "head"),
    [
        ((10, 6, 2, 1, 1), [0]),  # 10 of 20 rows: exactly half
        ((9, 6, 3, 1, 1), [0, 1]),  # 9 of 20 are too few
        ((4, 4, 4, 4, 4), [0, 1, 2, 3, 4]),  # nobody is more popular than another: no tail
        ((9, 3, 3, 3, 2), [0, 1, 2, 3]),  # 12 of 20 with any of three: all of them
        ((0, 0, 0, 0, 0), [0, 1, 2, 3, 4]),  # nothing to go by
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
        # cosines: x and y 0; x and xy 1/sqrt 2; y and xy 1/sqrt 2; the three pairs of item 3 are 0
        ([0, 1, 2, 3], (1 + 2 * (1 - 1 / math.sqrt(2))) / 6),
        ([0, 1, -1, -1], 1.0),
        ([0, 4, -1, -1], 0.0),  # both x
        ([0, 4, 1, -1], 2 / 3),  # pairs: 0, 1, 1
        ([0, 3, -1, -1], 0.0),  # what is not known of item 3 makes no distance
        ([-1, -1, -1, -1], NAN),
    ],
)
def test_ild(found: list[int], expected: float) -> None:
    np.testing.assert_allclose(per_user("ild@4", outcome([found])), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0, 2, -1], -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))),  # x 1.5, y .5
        ([0, 1, 3], math.log(2) * 2 / 3),  # x 1, y 1; item 3 has none
        ([0, 4, -1], 0.0),
        ([3, -1, -1], 0.0),
        ([-1, -1, -1], NAN),
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


def with_scores(relevant: list[list[int]], scores: list[list[float]]) -> Outcome:
    table = np.array(scores, np.float32)
    of = outcome([[0]] * len(relevant), relevant)
    return dataclasses.replace(of, all_scores=lambda part: table[part])


@pytest.mark.parametrize(
    ("relevant", "scores", "expected"),
    [
        ([0], [5, 4, 3, 2, 1], 1.0),
        ([4], [5, 4, 3, 2, 1], 0.0),
        ([1, 3], [5, 4, 3, 2, 1], 3 / 6),  # item 1 beats 2 and 4, item 3 beats 4
        ([0], [1, 1, 1, 1, 1], 0.5),
        ([0, 1], [2, 1, 1, 0, NAN], 3.5 / 4),  # item 4 was seen; item 1 ties with item 2
        ([0, 4], [1, 2, 0, 0, NAN], 2 / 3),  # item 4 was seen: it is neither one nor the other
        ([], [5, 4, 3, 2, 1], NAN),
        ([4], [5, 4, 3, 2, NAN], NAN),
        ([0, 1, 2, 3, 4], [5, 4, 3, 2, 1], NAN),  # nothing irrelevant to compare with
    ],
)
def test_auc(relevant: list[int], scores: list[float], expected: float) -> None:
    np.testing.assert_allclose(per_user("auc", with_scores([relevant], [scores])), [expected])


@pytest.mark.parametrize("chunk", [1, 12, 10**6])
def test_auc_by_comparing_all_pairs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pareto_rec.objectives.auc.CHUNK_ELEMENTS", chunk)
    rng = np.random.default_rng(4)
    scores = np.round(rng.random((30, 5)), 1)
    scores[rng.random(scores.shape) < 0.2] = NAN
    truth = rng.random(scores.shape) < 0.4
    expected = []
    for row, wanted in zip(scores, truth, strict=True):
        wins = [
            float(a > b) + 0.5 * float(a == b)
            for a, good in zip(row, wanted, strict=True)
            for b, other in zip(row, wanted, strict=True)
            if good and not other and not math.isnan(a) and not math.isnan(b)
        ]
        expected.append(np.mean(wins) if wins else NAN)
    of = with_scores([np.flatnonzero(row).tolist() for row in truth], scores.tolist())
    np.testing.assert_allclose(per_user("auc", of), expected)


def test_errors_of_predictions() -> None:
    # user 0 is wrong by 1 and 3, user 1 by 2, user 2 has no rows
    of = outcome([[0]] * 3)
    rows = Predicted(np.array([0, 1, 0]), np.array([4.0, 5.0, 2.0]), np.array([5.0, 3.0, 5.0]))
    of = dataclasses.replace(of, predictions={"watched": rows})
    np.testing.assert_allclose(per_user("mse", of), [5.0, 4.0, NAN])
    assert parse("mse").value(of) == 4.5  # everybody counts alike
    assert parse("rmse").value(of) == pytest.approx(math.sqrt(14 / 3))  # every row counts alike
    empty = Predicted(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    of = dataclasses.replace(of, predictions={"watched": empty})
    assert math.isnan(parse("rmse").value(of))
    assert math.isnan(parse("mse").value(of))


def with_catalogue(of: Outcome, **more: object) -> Outcome:
    return dataclasses.replace(of, catalogue=dataclasses.replace(of.catalogue, **more))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0, 1], 1.0),  # a right angle
        ([0, 2], 2.0),  # opposite
        ([0, 4], 1 - 1 / math.sqrt(2)),
        ([0, 1, 4], (1 + 2 * (1 - 1 / math.sqrt(2))) / 3),
        ([0, 3], 0.0),  # item 3 has no text
        ([0], NAN),
    ],
)
def test_ild_text(found: list[int], expected: float) -> None:
    text = np.array([[2, 0], [0, 3], [-1, 0], [0, 0], [5, 5]], np.float32)
    lists = [found + [-1] * (4 - len(found))]
    np.testing.assert_allclose(
        per_user("ild_text@4", with_catalogue(outcome(lists), text=text)), [expected], atol=1e-12
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # counts 6, 2, 0, 1, 2 plus one are 7, 3, 1, 2, 3 of 16
        ([2, -1], 4.0),
        ([2, 3], 3.5),
        ([0, 1], (8 - math.log2(7) - math.log2(3)) / 2),
        ([-1, -1], NAN),
    ],
)
def test_novelty(found: list[int], expected: float) -> None:
    of = outcome([found], popularity=(6, 2, 0, 1, 2))
    np.testing.assert_allclose(per_user("novelty@2", of), [expected], atol=1e-12)


HISTORY = {"all x": [1, 0, 0, 0, 1], "x, y": [1, 1, 0, 0, 0], "xy": [0, 0, 1, 0, 0]}


@pytest.mark.parametrize(
    ("history", "found", "expected"),
    [
        ("all x", [0, 4], 0.0),
        ("all x", [1, 3], 0.5),  # item 3 has no category, so that it is at distance 0
        ("all x", [0, 1], 0.5),
        ("x, y", [2, -1], 1 - 1 / math.sqrt(2)),
        ("x, y", [3, -1], 0.0),
        ("x, y", [-1, -1], NAN),
    ],
)
def test_profile_distance(history: str, found: list[int], expected: float) -> None:
    met = sparse.csr_array(np.array([HISTORY[history]]))
    of = with_catalogue(outcome([found]), history=met)
    np.testing.assert_allclose(per_user("profile_distance@2", of), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("history", "found", "expected"),
    [
        ("x, y", [0, 1], 0.0),
        ("xy", [0, 1], 0.0),  # half x, half y on both sides
        ("x, y", [2, -1], 0.0),
        ("all x", [1, -1], -math.log(0.01)),  # all p on x, q~(x) = .01
        # p = (1/2, 1/2), q = (1, 0): q~ = (.99 + .005, .005)
        ("x, y", [0, 4], 0.5 * math.log(0.5 / 0.995) + 0.5 * math.log(0.5 / 0.005)),
        # p = (1, 0), q = (1/2, 1/2): q~(x) = .99 / 2 + .01
        ("all x", [0, 1], -math.log(0.505)),
        ("all x", [3, -1], -math.log(0.01)),  # item 3 has no category and matches nothing
        ("all x", [0, 3], -math.log(0.505)),
        ("all x", [-1, -1], NAN),
    ],
)
def test_calibration(history: str, found: list[int], expected: float) -> None:
    met = sparse.csr_array(np.array([HISTORY[history]]))
    of = with_catalogue(outcome([found]), history=met)
    np.testing.assert_allclose(per_user("calibration@2", of), [expected], atol=1e-12)


def test_calibration_of_a_user_without_history() -> None:
    of = with_catalogue(outcome([[0, 1]]), history=sparse.csr_array((1, 5)))
    assert np.isnan(per_user("calibration@2", of)).all()
    assert np.isnan(per_user("profile_distance@2", of)).all()


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[0, 1], [0, 1]], 0.0),
        ([[0, 1], [2, 3]], 1.0),
        ([[0, 1], [1, 2], [1, 3]], 0.5),  # each pair shares item 1 of two
        ([[0, 1], [0, 2], [3, 4]], 1 - (1 / 2) / 3),
        ([[0, 1], [-1, -1]], NAN),  # nobody to compare with
    ],
)
def test_personalization(lists: list[list[int]], expected: float) -> None:
    np.testing.assert_allclose(parse("personalization@2").value(outcome(lists)), expected)


def test_personalization_by_comparing_all_pairs() -> None:
    rng = np.random.default_rng(2)
    lists = np.array([rng.permutation(5)[:3] for _ in range(12)])
    lists[3, 2] = -1
    overlap = [len(set(a) & set(b) - {-1}) / 3 for n, a in enumerate(lists) for b in lists[n + 1 :]]
    value = parse("personalization@3").value(outcome(lists.tolist()))
    assert value == pytest.approx(1 - np.mean(overlap))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0, 1], THIRD / (1 + THIRD)),  # popularity 5 4 3 2 1 of 15: the head is 0 and 1
        ([2, 0], 1 / (1 + THIRD)),
        ([3, 4], 1.0),
        ([4, -1], 1.0),
        ([-1, -1], NAN),
    ],
)
def test_tail_exposure(found: list[int], expected: float) -> None:
    of = outcome([found], popularity=(8, 4, 2, 1, 1))  # 8 of 16: the head is item 0
    np.testing.assert_allclose(per_user("tail_exposure@2", of), [expected], atol=1e-12)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        # rows: x 5 + 3/2 + 1, y 4 + 3/2, none 2, of 15: x 1/2, y 5.5 / 15
        ([[0, -1], [4, -1]], 1 - 1 / 2),
        ([[2, -1]], 1 - 1 / 2 - 5.5 / 15),
        ([[0, 1]], 1 - 1 / 2 - 5.5 / 15),  # x above 1/2, y 1 - 1 / (1 + THIRD) > 5.5 / 15
        ([[1, 3]], 1 - 5.5 / 15),
        ([[3, -1]], 1.0),
        ([[-1, -1]], NAN),
    ],
)
def test_category_exposure(lists: list[list[int]], expected: float) -> None:
    np.testing.assert_allclose(parse("category_exposure@2").value(outcome(lists)), expected)


@pytest.mark.parametrize(
    ("values", "gap", "ratio"),
    [
        (("F", "F", "M", "M", "M", ""), 0.5, 0.5),  # F .5, M 1
        (("F", "F", "M", "M", "M", "M"), 1 / 6, 0.75),  # F .5, M 2/3
        (("F", "M", "F", "F", "F", "F"), 0.75, 0.0),  # M 0, F 3/4
        (("F", "F", "F", "F", "X", "F"), NAN, NAN),  # one group alone
        (("", "F", "", "", "", "M"), 0.0, NAN),  # both 0
    ],
)
def test_gap_and_ratio(values: tuple[str, ...], gap: float, ratio: float) -> None:
    of = outcome(GROUP_LISTS, GROUP_TRUTH, gender=values)
    np.testing.assert_allclose(parse("gap(ndcg@1 by gender)").value(of), gap, atol=1e-12)
    np.testing.assert_allclose(parse("ratio(ndcg@1 by gender)").value(of), ratio, atol=1e-12)


def test_gap_and_ratio_take_after_their_base() -> None:
    bits = parse("gap(novelty@5 by gender)")
    assert (bits.unit, bits.maximise, bits.reference) == (
        "bit",
        False,
        parse("novelty@5").reference,
    )
    assert parse("gap(ndcg@5 by gender)").reference == pytest.approx(0.1)
    assert parse("ratio(novelty@5 by gender)").unit == "1"
    assert parse("gap(auc by gender)").needs == {"scores"}

    class Signed(UserObjective):
        family, maximise, reference, bounds = "signed", True, 0.0, (-1.0, 1.0)

        def per_user(self, outcome: Outcome, /) -> np.ndarray:
            return np.zeros(len(outcome.lists))

    assert Gap(Signed(1), "gender").bounds == (0.0, 2.0)
    with pytest.raises(BadRequestError, match=r'write "gap\(signed@1 by gender\)"'):
        Ratio(Signed(1), "gender")


def test_where_no_item_has_a_category_nothing_is_measured() -> None:
    of = outcome([[0, 1, 2, 4]])
    items = dataclasses.replace(of.catalogue.items, categories=np.zeros((5, 3), np.float32))
    met = sparse.csr_array(np.ones((1, 5)))
    of = with_catalogue(of, items=items, history=met)
    for name in ("ild@4", "category_entropy@4", "profile_distance@4", "calibration@4"):
        assert np.isnan(per_user(name, of)).all(), name
    assert math.isnan(parse("category_exposure@4").value(of))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("one", "", "three", " ", "five"), [True, False, True, False, True]),
        (("one", "b", "three", "four", "five"), [True, False, True, True, True]),  # its id
        (("a", "b", "c", "d", "e"), [True] * 5),  # ids are all that there is
    ],
)
def test_ids_that_stand_for_missing_texts_are_none(
    texts: tuple[str, ...], expected: list[bool]
) -> None:
    of = outcome([[0, 1]])
    items = dataclasses.replace(of.catalogue.items, texts=texts)
    of = with_catalogue(of, items=items, text=np.ones((5, 2), np.float32))
    assert of.catalogue.known("text").tolist() == expected
    assert of.catalogue.unit_text is not None
    assert of.catalogue.unit_text.any(axis=1).tolist() == expected
