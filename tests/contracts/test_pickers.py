"""What every registered rule promises; a new one is found by itself and needs a line in RULES."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pareto_rec.analysis.decide import (
    PICKERS,
    Bound,
    Picker,
    Points,
    choose,
)
from pareto_rec.core.errors import BadRequestError

EXAMPLES = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("a", "b", "c")
RULES: dict[str, Callable[[Points], Picker]] = {  # one request for every rule
    "best": lambda _: PICKERS["best"]("b"),
    "asf": lambda _: PICKERS["asf"]({"a": 2.0, "b": 1.0, "c": 0.5}),
    "pseudo": lambda _: PICKERS["pseudo"]({"a": 0.5, "c": 0.5}),
    "utopia": lambda _: PICKERS["utopia"](),
    "knee": lambda _: PICKERS["knee"](),
    "per_user": lambda _: PICKERS["per_user"](),
    "point": lambda points: PICKERS["point"](points.ids[-1]),
}


def front_of(seed: int, count: int = 30, users: int = 5) -> Points:
    """Points on a sphere, so that none dominates another; the second objective is minimised."""
    rng = np.random.default_rng(seed)
    people = np.abs(rng.normal(size=(count, users, 3))) + 0.05
    people /= np.sqrt((people.mean(axis=1, keepdims=True) ** 2).sum(axis=2, keepdims=True))
    people *= np.array([1.0, -1.0, 1.0])
    per_user = {name: people[:, :, place] for place, name in enumerate(NAMES)}
    ids = tuple(f"p{seed}-{row}-" for row in range(count))
    return Points(ids, NAMES, people.mean(axis=1), (True, False, True), 3, per_user)


def rule_of(name: str, points: Points) -> Picker:
    assert set(RULES) == set(PICKERS), "a new rule needs a line in RULES"
    return RULES[name](points)


def changed(points: Points, scale: NDArray[np.float64], up: tuple[bool, ...]) -> Points:
    """The same front in other units."""
    per_user = {n: points.per_user[n] * scale[place] for place, n in enumerate(NAMES)}
    return dataclasses.replace(points, values=points.values * scale, maximise=up, per_user=per_user)


@pytest.mark.parametrize("name", PICKERS)
def test_names_and_documents(name: str) -> None:
    assert PICKERS[name].name == name
    assert len((inspect.getdoc(PICKERS[name]) or "").split()) > 8
    assert dataclasses.is_dataclass(PICKERS[name])


@pytest.mark.parametrize("name", PICKERS)
@EXAMPLES
@given(seed=SEEDS)
def test_neither_the_order_nor_the_units_of_a_front_have_a_say(name: str, seed: int) -> None:
    points = front_of(seed)
    chosen = choose(points, rule_of(name, points))
    order = np.random.default_rng(seed).permutation(len(points.ids))
    mixed = dataclasses.replace(
        points,
        ids=tuple(points.ids[row] for row in order),
        values=points.values[order],
        per_user={n: values[order] for n, values in points.per_user.items()},
    )
    rule = rule_of(name, points)
    assert choose(mixed, rule).id == chosen.id
    assert choose(changed(points, np.array([1.0, -1.0, 1.0]), (True,) * 3), rule).id == chosen.id
    assert choose(changed(points, np.array([8.0, 0.25, 64.0]), (True, False, True)), rule).id == (
        chosen.id
    )


@pytest.mark.parametrize("name", PICKERS)
@EXAMPLES
@given(seed=SEEDS)
def test_bounds_are_kept_and_only_the_allowed_are_compared(name: str, seed: int) -> None:
    points = front_of(seed)
    limit = float(np.median(points.values[:, 0]))
    bound = Bound("a", True, limit)
    rule = rule_of(name, points)
    try:
        chosen = choose(points, rule, [bound])
    except BadRequestError:
        assert name in ("point", "knee")  # the point that breaks it; no knee is left
        return
    badness = rule.badness(points)
    assert chosen.objectives["a"] >= limit
    assert badness[chosen.row] <= badness[points.values[:, 0] >= limit].min() + 1e-9
    assert chosen.allowed == int((points.values[:, 0] >= limit).sum())
    assert str(bound) in chosen.reason


@pytest.mark.parametrize("name", PICKERS)
def test_nothing_is_altered(name: str) -> None:
    points = front_of(3)
    for array in (points.values, *points.per_user.values()):
        array.flags.writeable = False
    before = points.values.copy()
    choose(points, rule_of(name, points))
    np.testing.assert_array_equal(points.values, before)


@pytest.mark.parametrize("name", [name for name in PICKERS if name not in ("point", "pseudo")])
@EXAMPLES
@given(seed=SEEDS)
def test_of_two_points_that_the_rule_cannot_tell_apart_the_better_is_picked(
    name: str, seed: int
) -> None:
    """Pseudo-weights are about a place on the front, and do not compare what is not on it."""
    points = front_of(seed, count=12)
    worse = choose(points, rule_of(name, points)).row
    values = points.values.copy()
    values[-1] = values[worse] + np.array([0.0, 0.0, -1e-3])  # equal but for the last objective
    per_user = {n: v.copy() for n, v in points.per_user.items()}
    for place, n in enumerate(NAMES):
        per_user[n][-1] = per_user[n][worse] - (1e-3 if place == 2 else 0.0)
    if worse == len(points.ids) - 1:
        return
    both = dataclasses.replace(points, values=values, per_user=per_user)
    if name == "knee" and not np.isfinite(rule_of(name, both).badness(both)[worse]):
        return
    assert choose(both, rule_of(name, both)).id != both.ids[-1]


@pytest.mark.parametrize("name", [name for name in PICKERS if name != "knee"])
def test_a_single_point_is_picked(name: str) -> None:
    points = front_of(1, count=1)
    assert choose(points, rule_of(name, points)).id == points.ids[0]


def test_a_single_point_is_no_knee() -> None:
    with pytest.raises(BadRequestError, match="no knee"):
        choose(front_of(1, count=1), PICKERS["knee"]())
