"""Objectives on value and between groups, on tables worked out by hand in the comments."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Items, Users
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, UserObjective, parse
from pareto_rec.objectives.fairness import GroupObjective

NAN = float("nan")
THIRD = 0.6309297535714575  # 1 / log2(3): what place 2 is worth; place 1 is worth 1, place 3 .5
PRICES = np.array([10, 2, 5, NAN, 1], np.float32)  # items 0 to 4
BRANDS = ("own", "own", "far", "far", "")
RATES = {"bought": np.full(5, 0.9), "returned": np.array([0.5, 0.1, 0.0, 0.2, 0.3])}


def outcome(
    lists: list[list[int]],
    held_out: list[dict[int, float]],
    *,
    min_group: int = 1,
    **attributes: tuple[str, ...],
) -> Outcome:
    truth = np.zeros((len(lists), 5), np.float32)
    for user, values in enumerate(held_out):
        for item, value in values.items():
            truth[user, item] = value
    ids = tuple("abcde")
    items = Items(ids, ids, ids, np.eye(5, 3, dtype=np.float32), ("x", "y", "z"), PRICES)
    items = dataclasses.replace(items, attributes={"brand": BRANDS})
    users = Users(tuple(str(n) for n in range(len(lists))), attributes, min_group)
    return Outcome(
        lists=np.array(lists, np.int64),
        scores=np.zeros((len(lists), len(lists[0])), np.float32),
        held_out={
            "bought": HeldOut(sparse.csr_array((truth > 0).astype(np.float32))),
            "spent": HeldOut(sparse.csr_array(truth)),
            "returned": HeldOut(sparse.csr_array(np.zeros_like(truth))),
        },
        relevance="bought",
        catalogue=Catalogue(items, users, np.arange(5), rate=RATES.__getitem__),
    )


def per_user(name: str, of: Outcome) -> list[float]:
    objective = parse(name)
    assert isinstance(objective, UserObjective)
    return objective.per_user(of).tolist()


@pytest.mark.parametrize(
    ("found", "held_out", "revenue", "price_ndcg"),
    [
        ([0, 1, 2], {0: 7.0}, 10.0, 1.0),  # what was paid then does not count, the price does
        ([1, 0, 2], {0: 7.0}, 10.0, THIRD),
        # hits 1 and 2 at places 1 and 3: 2 + 5 / 2; ideal 10 + 5 x THIRD + 2 / 2
        ([1, 4, 2], {0: 1, 1: 1, 2: 1}, 7.0, 4.5 / (11 + 5 * THIRD)),
        ([3, 4, -1], {3: 1, 2: 1}, 0.0, 0.0),  # nobody knows the price of item 3
        ([3, 4, -1], {3: 1}, 0.0, NAN),
        ([1, 2, -1], {4: 1}, 0.0, 0.0),
        ([0, 1, 2], {}, NAN, NAN),
    ],
)
def test_prices(
    found: list[int], held_out: dict[int, float], revenue: float, price_ndcg: float
) -> None:
    of = outcome([found], [held_out])
    np.testing.assert_allclose(per_user("revenue@3", of), [revenue], atol=1e-12)
    np.testing.assert_allclose(per_user("price_ndcg@3", of), [price_ndcg], atol=1e-12)


@pytest.mark.parametrize(
    ("found", "held_out", "value", "value_ndcg"),
    [
        ([0, 1, 2], {2: 8.0}, 8.0, 0.5),
        # 3 at place 1 and 8 at place 2; ideal 8 + 3 x THIRD
        ([1, 2, 0], {1: 3.0, 2: 8.0}, 11.0, (3 + 8 * THIRD) / (8 + 3 * THIRD)),
        # four held out, three places: the ideal takes 4, 3 and 2
        ([0, 4, -1], {0: 1, 1: 2, 2: 3, 4: 4}, 5.0, (1 + 4 * THIRD) / (4 + 3 * THIRD + 1)),
        ([0, 1, 2], {4: 1.5}, 0.0, 0.0),
        ([0, 1, 2], {}, NAN, NAN),
    ],
)
def test_values_of_a_signal(
    found: list[int], held_out: dict[int, float], value: float, value_ndcg: float
) -> None:
    of = outcome([found], [held_out])
    np.testing.assert_allclose(per_user("value@3[spent]", of), [value], rtol=1e-6)
    np.testing.assert_allclose(per_user("value_ndcg@3[spent]", of), [value_ndcg], rtol=1e-6)
    # a signal that says yes or no: the number of hits, and NDCG
    count = float(sum(item in held_out for item in found)) if held_out else NAN
    np.testing.assert_allclose(per_user("value@3", of), [count])
    np.testing.assert_allclose(per_user("value_ndcg@3", of), per_user("ndcg@3", of), atol=1e-12)


def test_risk_is_the_mean_rate_of_what_is_shown() -> None:
    of = outcome([[0, 1, 2], [0, 4, -1], [-1, -1, -1]], [{}, {}, {}])
    np.testing.assert_allclose(per_user("risk@3[returned]", of), [0.2, 0.4, NAN])
    np.testing.assert_allclose(per_user("risk@3", of), [0.9, 0.9, NAN])  # of the default signal
    assert not parse("risk@3[returned]").maximise


def test_random_items_earn_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    lists = np.argsort(rng.random((200, 5)), axis=1)[:, :3].tolist()
    nobody = [{} if n % 2 else {4: 1.0} for n in range(200)]
    of, best = outcome(lists, nobody), outcome([[4, 0, 1]] * 200, nobody)
    for name in ("revenue@3", "price_ndcg@3", "value@3[spent]", "value_ndcg@3[spent]"):
        assert parse(name).value(of) < 0.8 * parse(name).value(best)


def test_groups_of_items_count_their_own_held_out_items_alone() -> None:
    # own is items 0 and 1, far is 2 and 3; item 4 belongs to nobody
    lists = [[0, 2, 4], [1, 3, 0]]
    of = outcome(lists, [{0: 1, 2: 1}, {3: 1, 4: 1}])
    # own: only user 0 has one, item 0 at place 1: 1. far: item 2 at place 2; item 3 at place 2
    assert parse("worst(ndcg@3 by item.brand)").value(of) == pytest.approx(THIRD)
    assert parse("gap(ndcg@3 by item.brand)").value(of) == pytest.approx(1 - THIRD)
    assert parse("ratio(ndcg@3 by item.brand)").value(of) == pytest.approx(THIRD)
    # revenue of own: 10; of far: user 0 earns 5, user 1 nothing: nobody knows the price of item 3
    assert parse("worst(revenue@3 by item.brand)").value(of) == pytest.approx(2.5)
    few = dataclasses.replace(
        of, catalogue=dataclasses.replace(of.catalogue, users=Users(("0", "1"), {}, 2))
    )
    assert parse("worst(ndcg@3 by item.brand)").value(few) == pytest.approx(THIRD)
    assert np.isnan(parse("gap(ndcg@3 by item.brand)").value(few))  # own has one user alone
    objective = parse("gap(ndcg@3 by item.brand)")
    assert isinstance(objective, GroupObjective)
    assert objective.sizes(few.catalogue, few.truth(None)) == {"far": 2, "own": 1}


def test_groups_with_too_few_measured_users_are_left_out() -> None:
    lists = [[0, 1, 2]] * 5
    held_out: list[dict[int, float]] = [{0: 1}, {0: 1}, {2: 1}, {4: 1}, {}]
    sex = ("F", "F", "M", "M", "X")
    wanted = {1: 1.0 - 0.25, 2: 1.0 - 0.25, 3: NAN}  # F: 1 and 1; M: .5 and 0; X: nothing held out
    for fewest, gap in wanted.items():
        of = outcome(lists, held_out, min_group=fewest, sex=sex)
        np.testing.assert_allclose(parse("gap(ndcg@3 by sex)").value(of), gap)
    of = outcome(lists, held_out, min_group=2, sex=("F", "F", "F", "M", "M"))
    assert parse("worst(ndcg@3 by sex)").value(of) == pytest.approx(2.5 / 3)  # M: one measured
    objective = parse("worst(ndcg@3 by sex)")
    assert isinstance(objective, GroupObjective)
    assert objective.sizes(of.catalogue, of.truth(None)) == {"F": 3, "M": 1}


@pytest.mark.parametrize("name", ["ild@3", "risk@3", "mse[bought]"])
def test_groups_of_items_need_held_out_items(name: str) -> None:
    with pytest.raises(BadRequestError, match="groups of items by their held-out items"):
        parse(f"worst({name} by item.brand)")
