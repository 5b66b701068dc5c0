"""Dominance, hypervolume and selection against hand tables and brute force."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pareto_rec.core.seeds import generator
from pareto_rec.search import pareto as front

UP = [True, True]
DOWN = [False, False]
MIXED = [True, False]


@st.composite
def tables(draw, most=12):
    """Small whole numbers, so that ties and duplicates are common."""
    n, m = draw(st.integers(0, most)), draw(st.integers(1, 4))
    rows = st.lists(st.integers(-3, 3), min_size=m, max_size=m)
    values = np.array(draw(st.lists(rows, min_size=n, max_size=n)), dtype=float).reshape(n, m)
    return values, draw(st.lists(st.booleans(), min_size=m, max_size=m))


def dominates(a, b, maximise):
    better = [x > y if up else x < y for x, y, up in zip(a, b, maximise, strict=True)]
    worse = [x < y if up else x > y for x, y, up in zip(a, b, maximise, strict=True)]
    return any(better) and not any(worse)


def brute_front(values, maximise):
    return np.array(
        [
            not any(dominates(b, a, maximise) for b in values)
            and not any((values[j] == a).all() for j in range(i))
            for i, a in enumerate(values)
        ],
        dtype=bool,
    )


def brute_volume(values, reference, maximise):
    """Inclusion and exclusion over the boxes between points and reference."""
    signs = np.where(maximise, 1.0, -1.0)
    edges = np.maximum((values - reference) * signs, 0.0)
    total = 0.0
    for size in range(1, len(edges) + 1):
        for some in itertools.combinations(edges, size):
            total -= (-1) ** size * np.min(some, axis=0).prod()
    return total


# ---------------------------------------------------------------- hand tables


@pytest.mark.parametrize(
    ("values", "maximise", "expected"),
    [
        ([[1, 1], [0, 1], [1, 0], [1, 0]], DOWN, [0, 1, 1, 0]),
        ([[1, 1], [0, 1], [1, 0], [1, 0]], UP, [1, 0, 0, 0]),
        ([[1, 1], [0, 1], [1, 0], [1, 0]], MIXED, [0, 0, 1, 0]),
        ([[3, 1, 2], [1, 3, 2], [2, 2, 2], [1, 1, 1]], [True] * 3, [1, 1, 1, 0]),
        ([[2.0], [5.0], [5.0]], [True], [0, 1, 0]),
        (np.zeros((0, 2)), UP, []),
    ],
)
def test_non_dominated_by_hand(values, maximise, expected):
    assert front.non_dominated(values, maximise=maximise).tolist() == [bool(e) for e in expected]


@pytest.mark.parametrize(
    ("values", "reference", "maximise", "expected"),
    [
        ([[1, 3], [2, 2], [3, 1]], (0, 0), UP, 6.0),  # a staircase of six unit squares
        ([[1, 3], [2, 2], [3, 1]], (4, 4), DOWN, 6.0),
        ([[1, 1], [2, 2], [3, 3]], (0, 4), MIXED, 6.0),  # strips of 3, 2 and 1
        ([[2, 1, 1], [1, 2, 1], [1, 1, 2]], (0, 0, 0), [True] * 3, 4.0),  # a cube and three arms
        ([[3, -1], [0, 5]], (0, 0), UP, 0.0),  # nothing better than the reference in both
        ([[2.0], [5.0]], (1.0,), [True], 4.0),
        (np.zeros((0, 3)), (0, 0, 0), [True] * 3, 0.0),
        # Fonseca, Paquete and Lopez-Ibanez: example of moocore's documentation
        ([[5, 5], [4, 6], [2, 7], [7, 4]], (10, 10), DOWN, 38.0),
    ],
)
def test_hypervolume_by_hand(values, reference, maximise, expected):
    assert front.hypervolume(values, reference=reference, maximise=maximise) == expected


def test_contributions_by_hand():
    # 1 x 2 at the left, 1 x 1 in the middle; duplicates and dominated ones lose nothing
    values = [[1, 4], [2, 2], [4, 1], [1, 1], [4, 1]]
    lost = front.contributions(values, reference=(0, 0), maximise=UP)
    assert lost.tolist() == [2.0, 1.0, 0.0, 0.0, 0.0]
    # one objective: the best point holds all of 5 - 1, the dominated one does not count
    assert front.contributions([[2.0], [5.0]], reference=[1.0], maximise=[True]).tolist() == [0, 4]
    assert front.contributions(np.zeros((0, 2)), reference=(0, 0), maximise=UP).shape == (0,)


def test_ranks_by_hand():
    values = [[3, 3], [2, 4], [2, 2], [1, 1], [2, 2], [0, 3]]
    assert front.ranks(values, maximise=UP).tolist() == [0, 0, 1, 2, 1, 1]
    assert front.ranks(np.zeros((0, 2)), maximise=UP).shape == (0,)


def test_select_by_hand():
    # boxes 4, 9, 4; beside (3, 3) each corner adds 1, the first of them wins the tie
    values = [[1, 4], [3, 3], [4, 1], [2, 2], [-1, 9]]
    assert front.select(values, 1, reference=(0, 0), maximise=UP).tolist() == [1]
    assert front.select(values, 2, reference=(0, 0), maximise=UP).tolist() == [1, 0]
    assert front.select(values, 9, reference=(0, 0), maximise=UP).tolist() == [1, 0, 2]
    assert front.select(values, 0, reference=(0, 0), maximise=UP).tolist() == []
    assert front.select(values, 3, reference=(9, 9), maximise=UP).tolist() == []


# ---------------------------------------------------------------- brute force


@given(tables())
def test_non_dominated_is_brute_force(case):
    values, maximise = case
    marks = front.non_dominated(values, maximise=maximise)
    np.testing.assert_array_equal(marks, brute_front(values, maximise))


@given(tables())
def test_ranks_peel_front_after_front(case):
    values, maximise = case
    ranks = front.ranks(values, maximise=maximise)
    left, rank = np.arange(len(values)), 0
    while len(left):
        here = [i for i in left if not any(dominates(values[j], values[i], maximise) for j in left)]
        assert (ranks[here] == rank).all()
        left, rank = np.setdiff1d(left, here), rank + 1


@given(tables(most=8))
def test_hypervolume_and_contributions_are_brute_force(case):
    values, maximise = case
    reference = [0.0] * len(maximise)
    volume = front.hypervolume(values, reference=reference, maximise=maximise)
    assert volume == pytest.approx(brute_volume(values, reference, maximise), abs=1e-9)
    lost = front.contributions(values, reference=reference, maximise=maximise)
    keep = brute_front(values, maximise)
    for i in np.flatnonzero(keep):
        if (values == values[i]).all(axis=1).sum() == 1:
            others = values[keep & (np.arange(len(values)) != i)]
            rest = brute_volume(others, reference, maximise)
            assert lost[i] == pytest.approx(volume - rest, abs=1e-9)
    assert (lost[~keep] == 0.0).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("maximise", [[True, True, True], [True, False, True]])
def test_select_is_greedy_and_near_the_best(seed, maximise):
    values = generator(seed, "select").random((12, 3))
    reference = np.where(maximise, 0.0, 1.0).tolist()
    chosen = front.select(values, 4, reference=reference, maximise=maximise)

    def volume(some):
        return front.hypervolume(values[list(some)], reference=reference, maximise=maximise)

    kept: list[int] = []
    for index in chosen:
        rest = [i for i in range(12) if i not in kept]
        assert volume([*kept, index]) == pytest.approx(max(volume([*kept, i]) for i in rest))
        kept.append(int(index))
    best = max(volume(some) for some in itertools.combinations(range(12), 4))
    assert volume(kept) >= (1 - 1 / np.e) * best


# ---------------------------------------------------------------- contract

CALLS = {
    "non_dominated": lambda v, up: front.non_dominated(v, maximise=up),
    "ranks": lambda v, up: front.ranks(v, maximise=up),
    "hypervolume": lambda v, up: front.hypervolume(v, reference=[0.0] * len(up), maximise=up),
    "contributions": lambda v, up: front.contributions(v, reference=[0.0] * len(up), maximise=up),
    "select": lambda v, up: front.select(v, 5, reference=[0.0] * len(up), maximise=up),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestEveryFunction:
    def test_inputs_are_not_mutated(self, call):
        values = generator(3, "inputs").random((20, 3))
        before, directions = values.copy(), [True, False, True]
        values.flags.writeable = False
        call(values, directions)
        np.testing.assert_array_equal(values, before)
        assert directions == [True, False, True]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(self, call, bad):
        with pytest.raises(ValueError, match="finite: row 1"):
            call([[1.0, 2.0], [bad, 1.0]], UP)

    @pytest.mark.parametrize(
        ("values", "directions"), [([[1.0, 2.0]], [True]), ([1.0, 2.0], UP), ([[]], [])]
    )
    def test_shapes_that_disagree_are_refused(self, call, values, directions):
        with pytest.raises(ValueError, match="one direction per objective"):
            call(values, directions)

    def test_flipping_a_direction_and_its_sign_changes_nothing(self, call):
        values = generator(4, "signs").normal(size=(30, 3))
        flipped = values * [1.0, -1.0, 1.0]
        same = call(values, [True, True, False]), call(flipped, [True, False, False])
        np.testing.assert_allclose(*same, rtol=1e-12)


def test_bad_reference_and_count_are_refused():
    with pytest.raises(ValueError, match="reference must be 2 finite numbers"):
        front.hypervolume([[1.0, 2.0]], reference=[0.0], maximise=UP)
    with pytest.raises(ValueError, match="reference must be 2 finite numbers"):
        front.select([[1.0, 2.0]], 1, reference=[0.0, np.nan], maximise=UP)
    with pytest.raises(ValueError, match="must not be negative"):
        front.select([[1.0, 2.0]], -1, reference=[0.0, 0.0], maximise=UP)


def test_five_thousand_points_take_milliseconds():
    values = generator(5, "speed").random((5000, 3))
    values /= np.linalg.norm(values, axis=1, keepdims=True)  # all of them non-dominated
    began = time.perf_counter()
    assert front.non_dominated(values, maximise=[True] * 3).sum() == 5000
    # an eighth of the unit ball: pi / 6
    volume = front.hypervolume(values, reference=[0.0] * 3, maximise=[True] * 3)
    assert time.perf_counter() - began < 0.3
    assert volume == pytest.approx(np.pi / 6, rel=0.05)
