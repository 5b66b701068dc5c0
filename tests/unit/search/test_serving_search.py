"""Serving search: settings of a pool as points of the cube, and the search over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pareto_rec.search import Goal
from pareto_rec.search import pareto as front
from pareto_rec.search.serving import FUSION, ServingSearcher, ServingSpace, Slot
from pareto_rec.search.space import Candidate, Choice, Integer, Real, Simplex

SLOTS = (
    Slot.of("ease", fits=0),
    Slot.of("knn", fits=0),
    *(Slot.of(f"fit{n}", fits=1) for n in range(4)),
    Slot.averaged(("fit4", "fit5")),
)
VARIABLES = {
    FUSION: Simplex(("network", "ease", "knn")),
    "mmr": Real(0.0, 0.9),
    "depth": Integer(10, 40),
    "boost.tail": Real(0.0, 2.0),
    "of_training": Real(0.0, 1.0, when={"model": ("a",)}),
}
SPACE = ServingSpace(SLOTS, VARIABLES, members=3)
GOALS = (Goal("a", True, 0.0), Goal("b", True, 0.0))
POINTS = st.lists(st.floats(0, 1), min_size=SPACE.dimension, max_size=SPACE.dimension)
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


def fits_of(candidate: Candidate) -> set[str]:
    fusion = candidate.serve[FUSION]
    assert isinstance(fusion, dict)
    return {name for name in fusion if name.startswith("fit")}


@EXAMPLES
@given(POINTS)
def test_weights_sum_to_one_and_no_list_fuses_more_networks_than_allowed(
    point: list[float],
) -> None:
    candidate = SPACE.decode(np.array(point))
    fusion = candidate.serve[FUSION]
    assert isinstance(fusion, dict)
    assert sum(fusion.values()) == pytest.approx(1, abs=1e-5)
    assert min(fusion.values()) >= 0
    assert len(fits_of(candidate)) <= 3
    assert candidate.train == {}


def test_variables_that_depend_on_training_are_left_out() -> None:
    assert set(SPACE.decode(np.full(SPACE.dimension, 0.5)).serve) == {
        FUSION,
        "mmr",
        "depth",
        "boost.tail",
    }


def test_weights_in_the_lowest_quarter_are_nothing() -> None:
    point = np.full(SPACE.dimension, 0.2)
    point[0] = 0.6
    assert SPACE.decode(point).serve[FUSION] == {"ease": 1.0}


def test_averaged_fits_share_their_weight_and_count_as_many() -> None:
    point = np.zeros(SPACE.dimension)
    point[6], point[2], point[3] = 1.0, 0.9, 0.8
    fusion = SPACE.decode(point).serve[FUSION]
    assert isinstance(fusion, dict)
    assert set(fusion) == {"fit0", "fit4", "fit5"}
    assert fusion["fit4"] == fusion["fit5"]


@EXAMPLES
@given(POINTS)
def test_a_setting_of_single_members_is_found_again(point: list[float]) -> None:
    given_ = np.array(point)
    given_[6] = 0.0  # what is averaged cannot be told from its parts
    candidate = SPACE.decode(given_)
    again = SPACE.encode(candidate.serve)
    if any(name in ("fit4", "fit5") for name in fits_of(candidate)):
        assert again is None
        return
    assert again is not None
    found = SPACE.decode(again).serve
    assert found[FUSION] == pytest.approx(candidate.serve[FUSION], abs=1e-5)
    assert found["depth"] == candidate.serve["depth"]
    assert found["mmr"] == pytest.approx(candidate.serve["mmr"], abs=1e-6)


def test_a_setting_of_an_unknown_member_is_no_start() -> None:
    assert SPACE.encode({FUSION: {"other": 1.0}}) is None
    assert SPACE.encode({FUSION: (0.5, 0.5)}) is None


def test_values_beyond_the_bounds_start_in_the_middle() -> None:
    point = SPACE.encode({FUSION: {"ease": 1.0}, "mmr": 2.0})
    assert point is not None
    assert SPACE.decode(point).serve["mmr"] == pytest.approx(0.45)


def worth(candidate: Candidate) -> NDArray[np.float64]:
    """Two objectives in conflict, best with much of ``knn`` and little depth."""
    fusion = candidate.serve[FUSION]
    assert isinstance(fusion, dict)
    mmr, depth = candidate.serve["mmr"], candidate.serve["depth"]
    assert isinstance(mmr, float)
    assert isinstance(depth, int)
    good = fusion.get("knn", 0.0) * (1 - depth / 80)
    return np.array([good * (1 - mmr), good * mmr])


def searched(budget: int, seed: int, algorithm: str = "nsga2", **more: object) -> list[Candidate]:
    searcher = ServingSearcher(
        SPACE,
        GOALS,
        algorithm=algorithm,
        population=20,
        seed=seed,
        **more,  # type: ignore[arg-type]
    )
    asked: list[Candidate] = []
    while len(asked) < budget and (batch := searcher.ask(budget - len(asked))):
        searcher.tell({candidate.id: worth(candidate) for candidate in batch})
        asked += batch
    return asked


def volume(candidates: list[Candidate]) -> float:
    values = np.stack([worth(candidate) for candidate in candidates])
    return front.hypervolume(values, reference=[0, 0], maximise=[True, True])


def test_the_same_seed_asks_for_the_same_settings_and_none_twice() -> None:
    first, second = searched(150, 1), searched(150, 1)
    assert [one.id for one in first] == [one.id for one in second]
    assert len({one.id for one in first}) == 150
    assert [one.id for one in first] != [one.id for one in searched(150, 2)]


def test_it_finds_more_than_random_search() -> None:
    found = [volume(searched(300, seed)) for seed in range(3)]
    by_chance = [volume(searched(300, seed, "random")) for seed in range(3)]
    assert min(found) > max(by_chance)


def test_every_member_alone_is_tried_at_first() -> None:
    first = searched(20, 1)
    alone = {tuple(one.serve[FUSION]) for one in first[: len(SLOTS)]}  # type: ignore[arg-type]
    assert ("ease",) in alone
    assert ("fit4", "fit5") in alone


def test_known_settings_come_first() -> None:
    known = {FUSION: {"knn": 0.75, "ease": 0.25}, "mmr": 0.25, "depth": 10, "boost.tail": 0.5}
    first = searched(1, 1, initial=[known])[0]
    assert first.serve[FUSION] == pytest.approx(known[FUSION])
    assert first.serve["depth"] == 10


def test_failed_settings_are_left_out() -> None:
    searcher = ServingSearcher(SPACE, GOALS, algorithm="nsga2", population=10, seed=1)
    for _ in range(3):
        batch = searcher.ask(10)
        searcher.tell({one.id: worth(one) for one in batch[::2]})
    searcher.ask(10)
    searcher.tell({})
    assert searcher.ask(10)


def test_results_of_other_settings_are_refused() -> None:
    searcher = ServingSearcher(SPACE, GOALS, algorithm="nsga2", population=10, seed=1)
    searcher.ask(10)
    with pytest.raises(RuntimeError, match="tell the results"):
        searcher.ask(10)
    with pytest.raises(ValueError, match="must be those of the settings"):
        searcher.tell({"other": np.zeros(2)})


def test_a_space_that_is_used_up_ends_the_search() -> None:
    small = ServingSpace((Slot.of("ease", fits=0),), {"form": Choice(("x", "y"))}, members=1)
    searcher = ServingSearcher(small, GOALS, algorithm="random", population=10, seed=1)
    batch = searcher.ask(10)
    assert len(batch) == 2
    searcher.tell({one.id: np.zeros(2) for one in batch})
    assert searcher.ask(10) == []


def known_settings() -> list[tuple[dict[str, Any], NDArray[np.float64]]]:
    """Three lists of old members, the best first; fit3 and the average are new."""
    fusions = ({"knn": 0.8, "fit0": 0.2}, {"ease": 0.5, "fit1": 0.5}, {"knn": 1.0})
    serves: list[dict[str, Any]] = [{FUSION: one, "mmr": 0.1, "depth": 12} for one in fusions]
    return [(serve, np.array([1.0, 0.5 - i / 10])) for i, serve in enumerate(serves)]


def test_a_search_that_goes_on_mixes_new_members_into_the_best_lists() -> None:
    searcher = ServingSearcher(
        SPACE, GOALS, algorithm="nsga2", population=20, seed=1, known=known_settings()
    )
    batch = searcher.ask(20)
    begun = batch[:10]  # half a population
    new = [fits_of(one) & {"fit2", "fit3", "fit4", "fit5"} for one in begun]
    assert all(new)
    assert {name for names in new for name in names} == {"fit2", "fit3", "fit4", "fit5"}
    assert any("knn" in one.serve[FUSION] for one in begun)  # type: ignore[operator]
    assert {one.serve["depth"] for one in begun} == {12}


def test_a_search_that_goes_on_asks_for_nothing_that_was_measured() -> None:
    before = searched(100, 1)
    ids = {one.id for one in before}
    known = [(one.serve, worth(one)) for one in before[:40]]
    later = searched(60, 1, known=known, exclusions=ids)
    assert len(later) == 60
    assert not ids & {one.id for one in later}


def test_a_search_that_goes_on_is_better_than_one_that_begins() -> None:
    for seed in range(3):
        before = sorted(searched(300, seed), key=lambda one: -float(worth(one).sum()))[:20]
        known = [(one.serve, worth(one)) for one in before]
        assert volume(searched(20, 9, known=known)) > volume(searched(20, 9))


def test_a_member_more_takes_the_place_of_the_lightest_networks() -> None:
    point = np.zeros(SPACE.dimension)
    point[[0, 2, 3, 4]] = 0.9, 0.5, 0.7, 0.9  # ease and three networks, as many as allowed
    candidate = SPACE.decode(SPACE.with_member(point, 5, 0.4))
    assert fits_of(candidate) == {"fit1", "fit2", "fit3"}
    assert fits_of(SPACE.decode(SPACE.with_member(point, 6, 0.3))) == {"fit2", "fit4", "fit5"}
    baseline = SPACE.decode(SPACE.with_member(point, 1, 0.4))
    assert fits_of(baseline) == {"fit0", "fit1", "fit2"}
    assert "knn" in baseline.serve[FUSION]  # type: ignore[operator]
    assert point[5] == 0.0
