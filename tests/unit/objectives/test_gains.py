"""Gains: what a hit is worth, and the boosts that weigh its logarithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Items, Users, mean_signal
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, UserObjective, parse
from pareto_rec.objectives.gains import GAINS, boost_of, boosted, gain_of, with_boosts
from pareto_rec.testing.outcomes import world as random_outcome
from pareto_rec.training.item_features import gains_of

POPULARITY = np.array([60, 30, 10, 5, 0, 0])


def catalogue(
    prices: NDArray[np.float64] | None = None, popularity: NDArray[np.int64] = POPULARITY
) -> Catalogue:
    names = tuple("abcdef")
    categories = np.zeros((6, 2), dtype=np.float32)
    categories[:2, 0] = categories[1:5, 1] = 1
    brands = {"brand": ("x", "x", "y", "", "y", "y")}
    items = Items(names, names, names, categories, ("drama", "war"), prices, brands)
    return Catalogue(items, Users((), {}), popularity)


def test_gains_say_what_a_hit_is_worth() -> None:
    world = catalogue(np.array([1.0, 2.0, np.nan, 4.0, 8.0, 16.0]))
    assert gain_of(world, "tail").tolist() == [0, 1, 1, 1, 1, 1]
    assert gain_of(world, "cold").tolist() == [0, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(gain_of(world, "novelty"), world.novelty)
    assert gain_of(world, "category=war").tolist() == [0, 1, 1, 1, 1, 0]
    assert gain_of(world, "brand=y").tolist() == [0, 0, 1, 0, 1, 1]


@pytest.mark.parametrize("name", [*GAINS, "category=war", "brand=y"])
def test_a_boost_is_the_standardised_logarithm_of_a_gain(name: str) -> None:
    world = catalogue(np.array([1.0, 2.0, 3.0, 4.0, 8.0, 16.0]))
    boost = boost_of(world, name)
    assert boost.mean() == pytest.approx(0, abs=1e-6)
    assert boost.std() == pytest.approx(1, abs=1e-5)
    gain = gain_of(world, name)
    least = 0.01 * gain.mean()
    logs = np.log(np.maximum(gain, least))
    np.testing.assert_allclose(boost, (logs - logs.mean()) / logs.std(), atol=1e-5)


def test_an_item_whose_gain_is_not_known_is_boosted_no_more_than_any_other() -> None:
    boost = boost_of(catalogue(np.array([1.0, 2.0, np.nan, 4.0, 8.0, 16.0])), "price")
    assert boost[2] == boost.min()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tial", 'boost.tial: unknown gain "tial"'),
        ("price", "boost.price: the items have no prices"),
        ("category=dram", 'boost.category=dram: unknown category "dram"'),
        ("colour=red", 'boost.colour=red: unknown item attribute "colour"'),
        ("brand=z", "boost.brand=z: unknown value of the item attribute"),
    ],
)
def test_a_gain_that_the_data_does_not_have_is_refused(name: str, message: str) -> None:
    with pytest.raises(BadRequestError, match="boost") as refused:
        boost_of(catalogue(), name)
    assert str(refused.value).startswith(message)


def test_a_gain_that_is_the_same_for_all_items_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r"boost\.cold: this gain is the same for all items"):
        boost_of(catalogue(popularity=np.full(6, 3)), "cold")


def test_boosts_are_told_from_other_serving_variables() -> None:
    values = {"mmr": 0.5, "boost.tail": 1, "boosts": {"tail": 0.1, "price": 0.2}}
    assert with_boosts(values) == {"mmr": 0.5, "boosts": {"tail": 1.0, "price": 0.2}}
    assert with_boosts({"mmr": 0.5}) == {"mmr": 0.5}
    assert boosted(values) == ("tail",)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_money_read_the_gain_that_boosts_read(seed: int) -> None:
    # written out: prices that are not known count 0
    world = random_outcome(seed)
    prices, lists = np.nan_to_num(np.float64(world.catalogue.items.prices)), world.lists[:, :5]
    hits, truth = world.hits("liked")[:, :5], world.truth("liked")
    empty = np.where(truth.counts > 0, 0.0, np.nan)
    places = 1 / np.log2(np.arange(5) + 2)
    ideal = np.array(
        [
            np.sort(prices[row.indices])[::-1][:5] @ places[: min(row.nnz, 5)] or np.nan
            for row in (truth.matrix[[user]] for user in range(len(lists)))
        ]
    )
    likely = world.chances["liked"][:, :5] * np.where(lists >= 0, prices[lists], 0)
    for name, expected in (
        ("revenue@5[liked]", (hits * prices[lists]).sum(axis=1) + empty),
        ("price_ndcg@5[liked]", (hits * prices[lists]) @ places / ideal),
        ("expected_revenue@5[liked]", likely.sum(axis=1)),
    ):
        objective = parse(name)
        assert isinstance(objective, UserObjective)
        np.testing.assert_allclose(objective.per_user(world), expected, rtol=1e-12)


RATED = Interactions(
    user=np.array([0, 1, 2, 0, 1, 0]),
    item=np.array([0, 0, 0, 1, 1, 3]),
    time=np.zeros(6, dtype=np.int64),
    signals={"rating": np.array([5, 5, 2, 1, np.nan, 3], dtype=np.float32)},
)


def rated(prices: NDArray[np.float64] | None = None) -> Catalogue:
    return replace(catalogue(prices), mean_signal=lambda name: mean_signal(RATED, name, 6))


def test_the_gain_of_a_signal_is_its_mean_shrunk_to_that_of_all_rows() -> None:
    # five known rows with the mean 3.2; ten rows at it join those of each item
    expected = [(12 + 32) / 13, (1 + 32) / 11, 3.2, (3 + 32) / 11, 3.2, 3.2]
    np.testing.assert_allclose(gain_of(rated(), "signal=rating"), expected)
    assert boost_of(rated(), "signal=rating").argmax() == 0


def test_a_signal_that_the_data_does_not_have_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r'^boost\.signal=rate: unknown signal "rate"'):
        boost_of(rated(), "signal=rate")
    with pytest.raises(BadRequestError, match=r"the values of the signal .* are not known here"):
        boost_of(catalogue(), "signal=rating")


def test_a_metric_weighs_hits_by_the_mean_of_a_signal() -> None:
    held = np.zeros((2, 6), dtype=np.float32)
    held[0, [0, 1]] = held[1, 2] = 1
    truth = HeldOut(sparse.csr_array(held))
    lists = np.array([[1, 0, 4], [0, 1, 3]])
    outcome = Outcome(
        lists=lists,
        scores=np.zeros((2, 3), dtype=np.float32),
        held_out={"met": truth, "rating": truth},
        relevance="met",
        catalogue=rated(),
    )
    objective = parse("signal_ndcg@3[rating]")
    assert isinstance(objective, UserObjective)
    good, bad, second = 44 / 13, 3.0, 1 / np.log2(3)
    best = good + bad * second
    expected = [(bad + good * second) / best, 0]
    np.testing.assert_allclose(objective.per_user(outcome), expected)


def test_training_reads_gains_on_the_scale_of_its_rows() -> None:
    prices = np.array([1.0, 2.0, np.nan, 4.0, 8.0, -16.0])
    found = gains_of(rated(prices), ["price", "tail"])
    known = np.array([1.0, 2.0, 0.0, 4.0, 8.0, 0.0])
    np.testing.assert_allclose(found["price"], known / (known @ POPULARITY / 105), rtol=1e-6)
    assert found["tail"] @ POPULARITY / 105 == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("price", 'a loss weighs by the gain "price": the items have no prices'),
        ("cold", 'a loss weighs by the gain "cold", and no training row has any of it'),
        ("signal=rate", 'a loss weighs by the gain "signal=rate": unknown signal "rate"'),
    ],
)
def test_training_refuses_a_gain_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        gains_of(rated(), [name])
    assert str(refused.value).startswith(message)
