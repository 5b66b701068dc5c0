"""Limits: numbers of a range, weights, families of numbers, and their messages."""

from __future__ import annotations

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.limits import Number, Numbers, Weights


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Number(), "a number"),
        (Number(low=0), "a number at least 0"),
        (Number(low=0, open_low=True), "a number above 0"),
        (Number(low=1, high=200, whole=True), "a whole number at least 1 and at most 200"),
        (Number(low=0, high=1, open_high=True), "a number at least 0 and below 1"),
    ],
)
def test_a_limit_says_what_it_is(limit: Number, text: str) -> None:
    assert str(limit) == text


@pytest.mark.parametrize("value", [0, 1.0, True, "1", None, float("nan"), float("inf"), 201])
def test_what_is_no_whole_number_of_the_range(value: object) -> None:
    with pytest.raises(BadRequestError, match="out of range"):
        Number(low=1, high=200, whole=True).check(value)


def test_open_bounds_leave_out_the_bound_itself() -> None:
    Number(low=0, high=1, open_high=True).check(0)
    for limit, value in ((Number(high=1, open_high=True), 1), (Number(low=0, open_low=True), 0.0)):
        with pytest.raises(BadRequestError, match="out of range"):
            limit.check(value)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (0.5, "must be a table of weights, one for each loss"),
        ({}, "must be a table of weights"),
        ({"a": 0.0}, "must not all be 0"),
        ({"a": -1.0}, "a: -1.0 is out of range"),
        ({"a": 1.0, "c": 1.0}, 'unknown loss "c"; known: a, b'),
    ],
)
def test_weights_that_are_none(value: object, line: str) -> None:
    with pytest.raises(BadRequestError, match=line):
        Weights("loss", ("a", "b")).check(value)


def test_a_family_names_its_members_by_its_pattern() -> None:
    exponents = Numbers("task", pattern="NAME_exponent")
    assert exponents.key("click") == "click_exponent"
    assert exponents.name_of("click_exponent") == "click"
    assert exponents.name_of("_exponent") is None
    assert exponents.name_of("click") is None
    before = Numbers("gain", Number(low=-10, high=10), "boost.NAME")
    assert before.name_of(before.key("price.each")) == "price.each"
    assert before.name_of("mmr") is None


def test_every_number_of_a_family_is_within_its_limit() -> None:
    boosts = Numbers("gain", Number(low=-10, high=10))
    boosts.check({"revenue": -10, "recency": 0.5})
    with pytest.raises(BadRequestError, match=r"revenue: 11 is out of range: .* at most 10"):
        boosts.check({"recency": 0.5, "revenue": 11})
    with pytest.raises(BadRequestError, match="table of numbers, one for each gain"):
        boosts.check(1.0)
