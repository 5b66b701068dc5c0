"""Gains: what a hit is worth, and the boosts that weigh its logarithm."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Items, Users
from pareto_rec.objectives import Catalogue
from pareto_rec.objectives.gains import GAINS, boost_of, boosted, gain_of, with_boosts

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
