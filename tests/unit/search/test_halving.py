"""Which fits stop at a rung: the rule on tables whose hypervolumes are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.search import Goal
from pareto_rec.search.halving import miss, survivors, worth

GOALS = (Goal("a", True, 0.0), Goal("b", False, 10.0))


def table(*rows: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


# area beyond (0, 10): 2 x 4, 1 x 1, nothing, 3 x 1 and 1 x 5 with 1 x 1 counted once
FITS = [
    table((2, 6)),
    table((1, 9)),
    table((-1, 11)),
    table((3, 9), (1, 5)),
]
WORTHS = [8.0, 1.0, 0.0, 7.0]


def test_a_fit_is_worth_the_hypervolume_that_it_reaches() -> None:
    assert [worth(one, GOALS) for one in FITS] == WORTHS
    assert worth(table(), GOALS) == 0.0


def test_what_breaks_a_bound_or_is_not_finite_is_worth_nothing() -> None:
    bounded = (Goal("a", True, 0.0, at_least=2.5), GOALS[1])
    assert worth(FITS[3], bounded) == 3.0
    assert worth(table((np.nan, 6.0), (1.0, 9.0)), GOALS) == 1.0
    assert worth(table((np.inf, 6.0)), GOALS) == 0.0


@pytest.mark.parametrize(
    ("keep", "margin", "goes_on"),
    [
        (0.5, 0.0, [True, False, False, True]),
        (0.25, 0.0, [True, False, False, False]),
        (0.26, 0.0, [True, False, False, True]),  # rounded up
        (0.01, 0.0, [True, False, False, False]),
        (1.0, 0.0, [True, True, True, True]),
        (0.25, 0.12, [True, False, False, False]),  # 7 < 0.88 * 8
        (0.25, 0.125, [True, False, False, True]),  # 7 = 0.875 * 8
        (0.5, 0.9, [True, True, False, True]),
    ],
)
def test_the_best_go_on_and_who_is_within_the_margin(
    keep: float, margin: float, goes_on: list[bool]
) -> None:
    assert survivors(FITS, GOALS, keep=keep, margin=margin).tolist() == goes_on


def test_a_dominated_set_never_outlives_the_one_that_dominates_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        better = rng.uniform((-1, 4), (5, 12), size=(4, 2))
        worse = better + np.array([-1.0, 1.0]) * rng.uniform(0, 1, size=(4, 2))
        first, second = survivors([worse, better], GOALS, keep=0.5, margin=0.0)
        assert second or worth(better, GOALS) == worth(worse, GOALS) == 0.0
        assert first != second


def test_fits_that_are_worth_nothing_are_ranked_by_what_they_miss() -> None:
    goals = (Goal("a", True, 2.0, at_least=4.0), Goal("b", False, 10.0))
    near, far = table((1.5, 10.0)), table((1.0, 10.0), (1.5, 15.0))
    assert miss(near, goals) == pytest.approx(0.5 / 2 + 2.5 / 4)
    assert miss(far, goals) == pytest.approx(1.0 / 2 + 3.0 / 4)
    assert miss(table((np.nan, 1.0)), goals) == np.inf
    assert survivors([far, near], goals, keep=0.5, margin=0.5).tolist() == [False, True]


def test_ties_go_to_the_first() -> None:
    assert (
        survivors([FITS[1]] * 4, GOALS, keep=0.5, margin=0.0).tolist() == [True] * 2 + [False] * 2
    )


def test_nothing_to_compare_is_nothing_to_stop() -> None:
    assert survivors([], GOALS, keep=0.5, margin=0.0).tolist() == []


def test_inputs_stay_as_they_were() -> None:
    before = [one.copy() for one in FITS]
    survivors(FITS, GOALS, keep=0.5, margin=0.1)
    for one, other in zip(FITS, before, strict=True):
        np.testing.assert_array_equal(one, other)
