"""Variables, candidates and the unit cube."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.seeds import generator
from pareto_rec.search.space import (
    Candidate,
    Choice,
    Integer,
    Real,
    SearchSpace,
    Simplex,
)

UNIT = st.floats(0.0, 1.0)


def cube(size: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(UNIT, min_size=size, max_size=size).map(np.array)


SPACE = SearchSpace(
    train={
        "losses": Simplex(("accuracy", "diversity", "tail"), floor={"accuracy": 0.3}),
        "model": Choice(("pooling", "attention")),
        "layers": Integer(1, 4, when={"model": ("attention",)}),
        "combine": Choice(("sum", "chebyshev"), when={"model": ("attention",)}),
        "mu": Real(1e-3, 1.0, log=True, when={"combine": ("chebyshev",)}),
        "width": Integer(16, 512, log=True),
        "rate": Real(1e-4, 1e-1, log=True),
    },
    serve={
        "fusion": Simplex(("network", "ease")),
        "mmr": Real(0.0, 1.0),
        "sharpness": Real(-2.0, 3.0, when={"layers": (2, 3)}),
    },
)

# ---------------------------------------------------------------- single variables


@pytest.mark.parametrize(
    ("variable", "coordinate", "value"),
    [
        (Real(2.0, 6.0), 0.25, 3.0),
        (Real(1e-4, 1e-2, log=True), 0.5, 1e-3),
        (Real(-1.0, 1.0), 0.5, 0.0),
        (Real(0.0, 1.0), 1 / 3, 0.3333333),  # 7 significant digits
        (Real(0.0, 1e6), 1 / 3, 333333.3),
        (Integer(3, 6), 0.0, 3),  # four bins of .25
        (Integer(3, 6), 0.2499, 3),
        (Integer(3, 6), 0.25, 4),
        (Integer(3, 6), 1.0, 6),
        (Integer(1, 100, log=True), 0.0, 1),
        (Integer(1, 100, log=True), 1.0, 100),
        (Integer(1, 100, log=True), 0.5, 7),  # sqrt(.5 * 100.5) = 7.09
        (Choice(("a", "b", "c")), 0.34, "b"),
        (Choice(("a", "b", "c")), 1.0, "c"),
        (Choice((1.5,)), 0.9, 1.5),
    ],
)
def test_decode_by_hand(variable, coordinate, value):
    decoded = variable.from_cube(np.array([coordinate]))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("variable", "value", "centre"),
    [(Integer(3, 6), 4, 0.375), (Choice(("a", "b", "c")), "c", 5 / 6), (Choice((0, 1)), 1, 0.75)],
)
def test_discrete_values_encode_to_the_centre_of_their_bin(variable, value, centre):
    assert variable.to_cube(value) == [pytest.approx(centre, abs=1e-15)]


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), UNIT)
def test_real_round_trip(low, high, u):
    assume(low < high)
    variable = Real(low, high)
    value = variable.from_cube(np.array([u]))
    assert low <= value <= high
    assert variable.from_cube(np.array(variable.to_cube(value))) == value


@given(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30), UNIT)
def test_log_real_round_trip(low, high, u):
    assume(low < high)
    variable = Real(low, high, log=True)
    value = variable.from_cube(np.array([u]))
    assert low <= value <= high
    assert variable.from_cube(np.array(variable.to_cube(value))) == value


@given(st.integers(-1000, 10**6), st.integers(0, 10**6), st.booleans(), st.data())
def test_integer_round_trip(low, span, log, data):
    low = abs(low) + 1 if log else low
    variable = Integer(low, low + span + 1, log=log)
    value = data.draw(st.integers(low, low + span + 1))
    assert variable.from_cube(np.array(variable.to_cube(value))) == value


def test_integer_bins_are_equally_likely():
    values = [Integer(5, 9).from_cube(np.array([u])) for u in (np.arange(1000) + 0.5) / 1000]
    assert [values.count(v) for v in range(5, 10)] == [200] * 5


def test_log_integer_is_log_uniform():
    # the share of [1, 9] in log(.5) .. log(100.5): log(9.5 / .5) / log(100.5 / .5) = .5552
    points = (np.arange(10_000) + 0.5) / 10_000
    small = np.mean([Integer(1, 100, log=True).from_cube(np.array([u])) <= 9 for u in points])
    assert small == pytest.approx(math.log(19) / math.log(201), abs=1e-3)


# ---------------------------------------------------------------- simplex


@pytest.mark.parametrize(
    ("coordinates", "weights"),
    [
        ([0.0, 0.3], (1.0, 0.0, 0.0)),  # nothing left after the first
        ([1.0, 0.0], (0.0, 1.0, 0.0)),
        ([1.0, 1.0], (0.0, 0.0, 1.0)),
        ([4 / 9, 0.5], (0.3333334, 0.3333333, 0.3333333)),  # sqrt(4/9) = 2/3 left, half of it
        ([0.25, 0.2], (0.5, 0.4, 0.1)),
    ],
)
def test_stick_breaking_by_hand(coordinates, weights):
    decoded = Simplex(("a", "b", "c")).from_cube(np.array(coordinates))
    assert decoded == pytest.approx(weights, abs=1.1e-7)


def test_floor_shrinks_the_simplex():
    simplex = Simplex(("a", "b", "c"), floor={"a": 0.4, "c": 0.1})
    assert simplex.from_cube(np.array([0.25, 0.2])) == (0.65, 0.2, 0.15)  # floor + .5 * share
    assert simplex.from_cube(np.array([1.0, 1.0])) == (0.4, 0.0, 0.6)


def test_simplex_of_one_name_has_no_coordinates():
    simplex = Simplex(("only",))
    assert simplex.size == 0
    assert simplex.from_cube(np.zeros(0)) == (1.0,)
    assert simplex.to_cube((1.0,)) == []


@given(st.integers(2, 9), st.data())
def test_simplex_round_trip_sum_and_floors(n, data):
    names = tuple("abcdefghi"[:n])
    floors = data.draw(st.lists(st.floats(0.0, 0.9 / n), min_size=n, max_size=n))
    simplex = Simplex(names, floor=dict(zip(names, floors, strict=True)))
    value = simplex.from_cube(data.draw(cube(n - 1)))
    assert math.fsum(value) == pytest.approx(1.0, abs=1e-15)
    assert all(w >= f - 1e-7 for w, f in zip(value, floors, strict=True))
    assert simplex.from_cube(np.array(simplex.to_cube(value))) == value


@given(st.lists(st.integers(0, 10**7), min_size=2, max_size=7))
def test_any_weights_of_seven_decimals_encode_exactly(parts):
    assume(sum(parts) > 0)
    units = [part * 10**7 // sum(parts) for part in parts]
    units[0] += 10**7 - sum(units)
    weights = tuple(unit / 10**7 for unit in units)
    simplex = Simplex(tuple("abcdefg"[: len(parts)]))
    assert simplex.from_cube(np.array(simplex.to_cube(weights))) == weights


def test_uniform_cube_is_uniform_on_the_simplex():
    # Dirichlet(1, 1, 1, 1): mean 1/4, variance 3/80, P(w > a) = (1 - a)^3 for every weight
    simplex = Simplex(("a", "b", "c", "d"))
    points = generator(7, "simplex").random((20_000, 3))
    weights = np.array([simplex.from_cube(point) for point in points])
    assert weights.mean(axis=0) == pytest.approx([0.25] * 4, abs=0.006)
    assert weights.var(axis=0) == pytest.approx([3 / 80] * 4, abs=0.0015)
    for a in (0.1, 0.3, 0.6):
        assert (weights > a).mean(axis=0) == pytest.approx([(1 - a) ** 3] * 4, abs=0.015)


def test_corners_give_one_name_everything_above_the_floors():
    simplex = Simplex(("a", "b", "c"), floor={"a": 0.2})
    assert simplex.from_cube(np.array(simplex.corner("a"))) == (1.0, 0.0, 0.0)
    assert simplex.from_cube(np.array(simplex.corner("b"))) == (0.2, 0.8, 0.0)
    assert simplex.from_cube(np.array(simplex.corner("c"))) == (0.2, 0.0, 0.8)


# ---------------------------------------------------------------- spaces


@given(cube(SPACE.dimension))
def test_round_trip_of_a_mixed_conditional_space(x):
    candidate = SPACE.decode(x)
    again = SPACE.encode(candidate)
    assert again.shape == (SPACE.dimension,)
    assert ((again >= 0.0) & (again <= 1.0)).all()
    assert SPACE.decode(again) == candidate
    assert SPACE.decode(again).id == candidate.id


@given(cube(SPACE.dimension))
def test_conditions_decide_what_is_there(x):
    candidate = SPACE.decode(x)
    train = candidate.train
    deep = train["model"] == "attention"
    assert ("layers" in train) == deep
    assert ("combine" in train) == deep
    assert ("mu" in train) == (train.get("combine") == "chebyshev")
    assert ("sharpness" in candidate.serve) == (train.get("layers") in (2, 3))


def test_inactive_coordinates_do_not_change_the_id():
    x = np.full(SPACE.dimension, 0.2)  # model = pooling: layers, combine, mu, sharpness inactive
    y = x.copy()
    y[[3, 4, 5]] = 0.9
    y[-1] = 0.7
    assert SPACE.decode(x).train["model"] == "pooling"
    assert SPACE.decode(x).id == SPACE.decode(y).id


def test_dimensions_and_axes():
    assert (SPACE.train_dimension, SPACE.serve_dimension, SPACE.dimension) == (8, 3, 11)
    assert [axis for axis, _ in SPACE.discrete] == [2, 3, 4, 6]
    assert len(SPACE.train_corners) == 3


def test_serving_variables_alone():
    x = np.full(SPACE.dimension, 0.6)
    whole = SPACE.decode(x)
    assert SPACE.decode_serve(x[-3:], whole.train) == whole.serve
    assert "sharpness" not in SPACE.decode_serve(x[-3:], {**whole.train, "layers": 1})


def test_declared_order_does_not_matter_for_conditions():
    space = SearchSpace({"b": Real(0.0, 1.0, when={"a": ("x",)}), "a": Choice(("x", "y"))}, {})
    assert space.decode([0.5, 0.1]).train == {"b": 0.5, "a": "x"}
    assert space.decode([0.5, 0.9]).train == {"a": "y"}


def test_candidate_is_checked_and_rounded():
    space = SearchSpace({"rate": Real(0.0, 1.0)}, {"k": Choice((10, 20))})
    assert space.candidate({"rate": 0.123456789}, {"k": 20}).train == {"rate": 0.1234568}
    for train, serve, words in [
        ({"rate": 2.0}, {"k": 10}, "variable rate: 2.0 is outside"),
        ({"rate": "high"}, {"k": 10}, "not a number"),
        ({}, {"k": 10}, "rate is active and has no value"),
        ({"rate": 0.5, "rat": 1.0}, {"k": 10}, 'unknown variable "rat".*did you mean "rate"'),
        ({"rate": 0.5}, {"k": 30}, 'variable k: unknown option "30"'),
    ]:
        with pytest.raises(BadRequestError, match=words):
            space.candidate(train, serve)
    with pytest.raises(BadRequestError, match="layers is not active"):
        SPACE.encode(Candidate({**SPACE.decode(np.full(11, 0.2)).train, "layers": 1}, {}))


def test_ids_are_sha256_of_canonical_json():
    # printf '{"serve":{"mmr":0.5},"train":{"loss":[0.7,0.3],"rate":0.01}}' | sha256sum
    candidate = Candidate({"rate": 0.01, "loss": (0.7, 0.3)}, {"mmr": 0.5})
    assert candidate.id == "0cbd66eb064c"
    # printf '{"train":{"loss":[0.7,0.3],"rate":0.01}}' | sha256sum
    assert candidate.train_id == "53745b851b37"


def test_ids_survive_json_numpy_pickle_and_key_order():
    candidate = SPACE.decode(np.full(SPACE.dimension, 0.6))
    read = json.loads(json.dumps({"train": candidate.train, "serve": candidate.serve}))
    assert Candidate(**read) == candidate
    assert Candidate(**read).id == candidate.id
    turned = Candidate(dict(reversed(candidate.train.items())), candidate.serve)
    assert turned.id == candidate.id
    assert hash(turned) == hash(candidate)
    copied = pickle.loads(pickle.dumps(candidate))
    assert copied == candidate
    assert copied.id == candidate.id
    assert Candidate({"n": np.int64(3)}, {}).id == Candidate({"n": 3}, {}).id


def test_train_id_ignores_serving_variables():
    a, b = Candidate({"x": 1.0}, {"y": 1.0}), Candidate({"x": 1.0}, {"y": 2.0})
    assert a.train_id == b.train_id
    assert a.id != b.id


def test_inputs_are_not_mutated():
    x = np.full(SPACE.dimension, 0.6)
    before = x.copy()
    train = {"x": [0.5, 0.5]}
    Candidate(train, {})
    SPACE.decode(x)
    np.testing.assert_array_equal(x, before)
    assert train == {"x": [0.5, 0.5]}


@pytest.mark.parametrize("x", [np.full(11, 1.5), np.full(11, np.nan), np.zeros(10)])
def test_points_outside_the_cube_are_refused(x):
    with pytest.raises(ValueError, match="11 coordinates"):
        SPACE.decode(x)


# ---------------------------------------------------------------- bad definitions


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Real(1.0, 1.0), "low must be a number below high"),
        (lambda: Real(math.nan, 1.0), "low must be a number below high"),
        (lambda: Real(0.0, math.inf), "low must be a number below high"),
        (lambda: Real(0.0, 1.0, log=True), "needs low > 0"),
        (lambda: Integer(0, 5, log=True), "needs low > 0"),
        (lambda: Integer(5, 3), "low must be a number below high"),
        (lambda: Integer(1.5, 3), "must be whole numbers, not 1.5"),
        (lambda: Choice(()), "at least one option"),
        (lambda: Choice(("a", "b", "a")), "must differ"),
        (lambda: Simplex(()), "needs names"),
        (lambda: Simplex(("a", "a")), "names that differ"),
        (lambda: Simplex(("a", "b"), floor={"c": 0.1}), 'unknown weight "c"'),
        (lambda: Simplex(("a", "b"), floor={"a": -0.1}), "floor of a must lie in"),
        (lambda: Simplex(("a", "b"), floor={"a": 0.6, "b": 0.4}), "sum to less than 1: 1"),
    ],
)
def test_bad_variables_are_refused(build, words):
    with pytest.raises(BadRequestError, match=words):
        build()


@pytest.mark.parametrize(
    ("train", "serve", "words"),
    [
        ({"a": Real(0, 1)}, {"a": Real(0, 1)}, "a is both"),
        ({"a": Real(0, 1, when={"b": (1,)})}, {}, 'unknown variable "b"'),
        ({"a": Real(0, 1, when={"b": (1,)})}, {"b": Choice((1, 2))}, 'unknown variable "b"'),
        ({"a": Real(0, 1), "b": Real(0, 1, when={"a": (0.5,)})}, {}, "neither a choice nor"),
        ({"a": Choice((1, 2)), "b": Real(0, 1, when={"a": (3,)})}, {}, 'unknown option "3"'),
        ({"a": Choice((1, 2)), "b": Real(0, 1, when={"a": ()})}, {}, "at least one value"),
        ({"a": Choice((1, 2), when={"a": (1,)})}, {}, "circle: a -> a"),
        (
            {"a": Choice((1, 2), when={"b": (1,)}), "b": Choice((1, 2), when={"a": (1,)})},
            {},
            "goes in a circle",
        ),
    ],
)
def test_bad_spaces_are_refused(train, serve, words):
    with pytest.raises(BadRequestError, match=words):
        SearchSpace(train, serve)
