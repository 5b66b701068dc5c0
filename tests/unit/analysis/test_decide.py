"""Rules against pymoo's, hand tables and brute force."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymoo.decomposition.asf import ASF
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions

from pareto_rec.analysis.decide import (
    PICKERS,
    Bound,
    Points,
    choose,
    exchanges,
    mix,
)
from pareto_rec.analysis.decide.tradeoff import tradeoffs
from pareto_rec.core.errors import BadRequestError

with warnings.catch_warnings():  # they import scipy by a name that goes away
    warnings.simplefilter("ignore", DeprecationWarning)
    from pymoo.mcdm.high_tradeoff import HighTradeoffPoints
    from pymoo.mcdm.pseudo_weights import PseudoWeights

Floats = NDArray[np.float64]


def points_of(values: object, *, up: bool = False, measured: int = 0) -> Points:
    """Points of plain values, all of one direction; every objective is a mean."""
    table = np.asarray(values, dtype=float)
    names = tuple("abcdef"[: table.shape[1]])
    ids = tuple(f"p{row:03d}" for row in range(len(table)))
    count = table.shape[1] - measured
    return Points(ids, names, table, (up,) * len(names), count, linear=frozenset(names))


def known_fronts() -> dict[str, Floats]:
    """Fronts of pymoo's own examples of decision making, and one with a knee (Branke et al.)."""
    x = np.linspace(0.05, 1, 80)  # DO2DK with K = 1, s = 0: 5 + (x - .5)^2 times a bump
    r = 5 + 10 * (x - 0.5) ** 2 + 2 * np.cos(2 * np.pi * x)
    knee = np.column_stack([r * np.sin(np.pi * x / 2), r * np.cos(np.pi * x / 2)])
    keep = [i for i, p in enumerate(knee) if not ((knee <= p).all(1) & (knee < p).any(1)).any()]
    return {
        "zdt1": get_problem("zdt1").pareto_front(n_pareto_points=100),
        "zdt3": get_problem("zdt3").pareto_front(n_points=100, flatten=True),
        "dtlz2": get_problem("dtlz2").pareto_front(
            get_reference_directions("das-dennis", 3, n_partitions=9)
        ),
        "knee": knee[keep],
    }


FRONTS = known_fronts()


def unit(front: Floats) -> Floats:
    return np.asarray((front - front.min(axis=0)) / np.ptp(front, axis=0))


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("first", [0.2, 0.5, 0.8])
def test_weights_agree_with_pymoo(name: str, first: float) -> None:
    front = FRONTS[name]
    weights = np.array([first, *[(1 - first) / (front.shape[1] - 1)] * (front.shape[1] - 1)])
    named = dict(zip("abc", weights, strict=False))
    points = points_of(front)
    # their weights divide: the examples call with 1 / weights
    theirs = ASF().do(unit(front), 1 / weights)
    ours = choose(points, PICKERS["asf"](named))
    np.testing.assert_allclose(PICKERS["asf"](named).badness(points), theirs, atol=1e-9)
    assert theirs[ours.row] == pytest.approx(theirs.min(), abs=1e-9)
    row, pseudo = PseudoWeights(weights).do(unit(front), return_pseudo_weights=True)
    rule = PICKERS["pseudo"](named)
    np.testing.assert_allclose(rule.own(points), pseudo, atol=1e-12)  # type: ignore[attr-defined]
    badness = rule.badness(points)
    assert badness[choose(points, rule).row] == pytest.approx(badness[row], abs=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide:RuntimeWarning")
@pytest.mark.parametrize("name", FRONTS)
def test_the_knee_is_among_the_high_tradeoff_points_of_pymoo(name: str) -> None:
    front = unit(FRONTS[name])
    theirs = HighTradeoffPoints().do(front)
    ours = choose(points_of(front), PICKERS["knee"]())
    if theirs is None:  # no point stands out for them
        assert name != "knee"
    else:
        assert ours.row in np.atleast_1d(theirs)


def test_a_tradeoff_by_hand() -> None:
    """Three points: from the middle, either step gives up .8 to gain .2."""
    losses = np.array([[0.0, 1.0], [0.2, 0.2], [1.0, 0.0]])
    np.testing.assert_allclose(tradeoffs(losses), [0.25, 4.0, 0.25])
    assert choose(points_of(losses), PICKERS["knee"]()).id == "p001"


@pytest.mark.parametrize(("near", "words"), [(0.2, "at least 4 times"), (1e-9, "more than 1,000")])
def test_a_knee_says_no_ratio_of_ten_digits(near: float, words: str) -> None:
    points = points_of(np.array([[0.0, 1.0], [near, near], [1.0, 0.0]]))
    said = PICKERS["knee"]().says(points, 1)
    assert f"loses {words}" in said
    assert said.endswith("what it gains, both as shares of the objectives' ranges")


TABLE = [[0.10, 5.0], [0.15, 4.0], [0.20, 1.0]]  # accuracy and diversity, both maximised


@pytest.mark.parametrize(
    ("rule", "chosen", "badness"),
    [
        # losses: a 1, .5, 0; b 0, .25, 1
        (PICKERS["best"]("a"), 2, [-0.10, -0.15, -0.20]),
        (PICKERS["utopia"](), 1, [1.0, 0.3125**0.5, 1.0]),
        (PICKERS["asf"]({"a": 0.9, "b": 0.1}), 2, [0.9, 0.45, 0.1]),
        (PICKERS["asf"]({"a": 9, "b": 1}), 2, [0.9, 0.45, 0.1]),
        (PICKERS["asf"]({"a": 1}), 2, [1.0, 0.5, 0.0]),
        # pseudo-weights: (0, 1), (.4, .6), (1, 0)
        (PICKERS["pseudo"]({"a": 0.5, "b": 0.5}), 1, [1.0, 0.2, 1.0]),
        (PICKERS["point"]("p002"), 2, [np.inf, np.inf, 0.0]),
    ],
)
def test_rules_by_hand(rule: object, chosen: int, badness: list[float]) -> None:
    points = points_of(TABLE, up=True)
    assert isinstance(rule, PICKERS[rule.name])  # type: ignore[attr-defined]
    np.testing.assert_allclose(rule.badness(points), badness)
    assert choose(points, rule).row == chosen


def test_distance_per_user_by_hand() -> None:
    """Two users, two points; the mean prefers the first point, the users the second."""
    a = np.array([[0.9, 0.1], [0.5, 0.4]])  # range .8: losses (0, .375), (.5, 0)
    b = np.array([[1.0, np.nan], [0.0, 3.0]])  # the second user is left out; losses (0), (1)
    points = Points(
        ("x", "y"), ("a", "b"), np.array([[0.5, 1.0], [0.45, 0.0]]), (True, True), 2, {"a": a}
    )
    rule = PICKERS["per_user"]()
    np.testing.assert_allclose(rule.badness(points), [0.1875, 0.25])
    assert "b, without values per user, had no say" in choose(points, rule).reason
    both = Points(points.ids, points.names, points.values, (True, True), 2, {"a": a, "b": b})
    np.testing.assert_allclose(rule.badness(both), [0.1875, 1.25**0.5 / 2])
    down = Points(points.ids, points.names, points.values, (False, True), 2, {"a": a})
    np.testing.assert_allclose(rule.badness(down), [0.25, 0.1875])
    with pytest.raises(BadRequestError, match="no searched objective has values per user"):
        choose(points_of(TABLE), rule)


def test_ties_are_said_and_go_to_the_point_that_loses_least() -> None:
    points = points_of([[1.0, 0.0, 0.2], [1.0, 0.0, 0.3], [0.0, 1.0, 0.0]], up=True, measured=0)
    found = choose(points, PICKERS["best"]("a"))
    assert (found.id, found.tied) == ("p001", ("p000",))
    assert "2 points tie" in found.reason


BOUNDS = [  # what is asked of TABLE and a third, measured objective, and what is said
    (["a>=0.3"], "no point has a >= 0.3; the highest is 0.2, point p002"),
    (["b<=0.5"], "no point has b <= 0.5; the lowest is 1, point p002"),
    (
        ["a>=.18", "b>=2"],
        "no point has a >= 0.18 and b >= 2 together; with a >= 0.18 the highest is 1, point p002",
    ),
    (["c>=2"], "no point has c >= 2; the highest is 1, point p001"),
    (
        ["a>=.18", "c>=0"],
        "no point has a >= 0.18 and c >= 0 together; with a >= 0.18 it has no value at any of them",
    ),
    (["aa>=1"], 'unknown objective "aa" (did you mean "a"?); known: a, b, c'),
]


@pytest.mark.parametrize(("texts", "said"), BOUNDS)
def test_an_infeasible_request_says_what_comes_nearest(texts: list[str], said: str) -> None:
    table = np.column_stack([TABLE, [np.nan, 1.0, np.nan]])
    points = points_of(table, up=True, measured=1)
    with pytest.raises(BadRequestError) as caught:
        choose(points, PICKERS["best"]("a"), [Bound.read(text) for text in texts])
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("ndcg@10>=0.15", Bound("ndcg@10", True, 0.15)),
        (" worst(ndcg@10 by gender) <= 1e-1 ", Bound("worst(ndcg@10 by gender)", False, 0.1)),
        ("ndcg@10[liked]>=.1", Bound("ndcg@10[liked]", True, 0.1)),
    ],
)
def test_bounds_are_read(text: str, bound: Bound) -> None:
    assert Bound.read(text) == bound


@pytest.mark.parametrize("text", ["", "a", "a=1", "a>1", ">=1", "a>=", "a>=x", "a>=nan", "a>=1 2"])
def test_bounds_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BadRequestError, match="cannot be read: write for example"):
        Bound.read(text)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, "at least one weight must be above 0"),
        ({"a": 0.0}, "at least one weight must be above 0"),
        ({"a": -1.0}, "the weight of a must not be negative: -1"),
        ({"z": 1.0}, 'unknown objective "z"'),
        ({"b": 1.0}, 'objective "b" was measured and not searched, so it takes no weight'),
    ],
)
@pytest.mark.parametrize("rule", ["asf", "pseudo"])
def test_weights_that_make_no_sense(rule: str, weights: dict[str, float], said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        choose(points_of(TABLE, up=True, measured=1), PICKERS[rule](weights))
    assert said in str(caught.value)


def test_a_point_that_breaks_a_bound_or_is_none() -> None:
    points = points_of(TABLE, up=True)
    for name, said in [
        ("p000", "point p000 has a = 0.1, not a >= 0.12"),
        ("p00", '3 points begin with "p00": p000, p001, p002; give more of the id'),
        ("q", 'no point "q" is on the front; its 3 ids stand in front.csv'),
        ("", 'no point "" is on the front'),
    ]:
        with pytest.raises(BadRequestError) as caught:
            choose(points, PICKERS["point"](name), [Bound("a", True, 0.12)])
        assert said in str(caught.value)


def test_what_an_objective_costs_by_hand() -> None:
    points = points_of(TABLE, up=True)
    steps = {one.gains: one for one in exchanges(points, 1)}
    assert steps["a"].row == 2
    assert steps["a"].change == pytest.approx({"a": 0.05, "b": -3.0})
    assert steps["b"].row == 0
    assert [one.gains for one in exchanges(points, 2)] == ["b"]
    # .5 of a's range for .25 of b's to p001 against 1 for 1 to p000: the cheaper step is named
    assert exchanges(points, 2)[0].row == 1


def test_empty_or_odd_fronts_are_refused() -> None:
    with pytest.raises(BadRequestError, match="the front has no point"):
        Points((), ("a",), np.zeros((0, 1)), (True,), 1)
    with pytest.raises(ValueError, match="one direction per objective"):
        Points(("x",), ("a",), np.zeros((2, 1)), (True,), 1)
    with pytest.raises(ValueError, match="finite"):
        Points(("x",), ("a",), np.full((1, 1), np.nan), (True,), 1)
    with pytest.raises(ValueError, match="between 1 and 1"):
        Points(("x",), ("a",), np.ones((1, 1)), (True,), 2)


def brute_force(values: Floats, goal: int, bounds: list[Bound], names: str) -> float:
    """The best vertex of the linear programme: every support of at most bounds + 1 points."""
    best = -np.inf
    slack = np.array([[1 if b.at_least else -1] for b in bounds], dtype=float)
    left = np.array([values[:, names.index(b.name)] for b in bounds]).reshape(len(bounds), -1)
    left, right = left * slack, np.array([b.limit for b in bounds]) * slack[:, 0]
    for size in range(1, len(bounds) + 2):
        for support in itertools.combinations(range(len(values)), size):
            for tight in itertools.combinations(range(len(bounds)), size - 1):
                matrix = np.vstack([np.ones(size), left[np.ix_(tight, support)]])
                try:
                    share = np.linalg.solve(matrix, [1.0, *right[list(tight)]])
                except np.linalg.LinAlgError:
                    continue
                if (share >= -1e-9).all() and (left[:, support] @ share >= right - 1e-9).all():
                    best = max(best, float(share @ values[support, goal]))
    return best


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 7), two=st.booleans())
def test_the_mixture_agrees_with_brute_force(seed: int, count: int, two: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((count, 3))
    bounds = [Bound("b", True, float(rng.uniform(0.1, 0.9)))]
    if two:
        bounds.append(Bound("c", False, float(rng.uniform(0.1, 0.9))))
    points = points_of(values, up=True)
    best = brute_force(values, 0, bounds, "abc")
    if not np.isfinite(best):
        with pytest.raises(BadRequestError, match=r"^no mixture has "):
            mix(points, "a", bounds)
        return
    found = mix(points, "a", bounds)
    shares = np.array([found.shares.get(one, 0.0) for one in points.ids])
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    assert len(found.shares) <= len(bounds) + 1
    for bound in bounds:
        mean = float(shares @ values[:, "abc".index(bound.name)])
        assert found.objectives[bound.name] == pytest.approx(mean)
        assert (mean - bound.limit) * (1 if bound.at_least else -1) >= -1e-7
    assert found.objectives["a"] == pytest.approx(best, abs=1e-7)
    if found.single is not None:
        assert found.gain == pytest.approx(
            best - choose(points, PICKERS["best"]("a"), bounds).objectives["a"], abs=1e-7
        )
        assert found.gain >= -1e-9


def test_a_mixture_by_hand() -> None:
    """Half of each end beats the point between; an easier bound is worth its slope."""
    points = points_of([[0.0, 1.0], [0.4, 0.5], [1.0, 0.0]], up=True)
    found = mix(points, "a", [Bound("b", True, 0.5)])
    assert found.shares == pytest.approx({"p000": 0.5, "p002": 0.5})
    assert found.objectives == pytest.approx({"a": 0.5, "b": 0.5})
    assert (found.single, found.gain) == ("p001", pytest.approx(0.1))
    assert found.prices == pytest.approx({"b >= 0.5": 1.0})  # each unit of b buys one of a
    minimised = mix(points_of([[0.0, 1.0], [0.6, 0.5], [1.0, 0.0]]), "a", [Bound("b", False, 0.5)])
    assert minimised.objectives["a"] == pytest.approx(0.5)
    assert minimised.gain == pytest.approx(0.1)
    alone = mix(points, "a", [])
    assert alone.shares == {"p002": 1.0}
    assert "point p002 alone does as well" in alone.reason


def test_a_mixture_that_no_single_point_could_be() -> None:
    points = points_of([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]], up=True)
    found = mix(points, "c", [Bound("a", True, 0.4), Bound("b", True, 0.4)])
    assert found.single is None
    assert "no single point keeps the bounds" in found.reason
    with pytest.raises(BadRequestError, match=r"no mixture has a >= 0.6 and b >= 0.6 together"):
        mix(points, "c", [Bound("a", True, 0.6), Bound("b", True, 0.6)])


def test_only_means_over_users_may_be_mixed() -> None:
    points = Points(("x",), ("a", "b"), np.ones((1, 2)), (True, True), 2, linear=frozenset({"a"}))
    with pytest.raises(BadRequestError, match=r"b is not a mean over users.*with --mixture name a"):
        mix(points, "a", [Bound("b", True, 0.5)])
    with pytest.raises(BadRequestError, match="b is not a mean over users"):
        mix(points, "b", [])
