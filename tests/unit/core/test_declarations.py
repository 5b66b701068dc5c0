"""Declared fields of dataclasses, and what is derived from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from pareto_rec.core.declarations import (
    common_values,
    declarations,
    limits_of,
    variable,
    without_idle,
)
from pareto_rec.core.limits import Number, Numbers, RegisteredName, Weights

KINDS = ("plain", "deep")
SIZE = Number(low=1, high=8, whole=True)


def _deep(values: Values) -> bool:
    return values.kind == "deep"


@dataclass(frozen=True)
class Values:
    kind: str = variable("plain", RegisteredName("kind", KINDS), "Which kind.", shared=True)
    layers: int = variable(2, SIZE, "How many layers.", shared=True, needs=_deep)
    rate: float = variable(0.5, Number(low=0), "How fast.")
    losses: Mapping[str, float] = variable(
        {"a": 1.0}, Weights("loss", ("a",)), "Weights.", shared=tuple
    )
    powers: Mapping[str, float] = variable(
        {}, Numbers("task", Number(low=-2, high=2), "NAME_power"), "Powers."
    )


@dataclass(frozen=True)
class Undeclared(Values):
    size: int = 3


def test_a_declared_field_has_its_default_and_shares_no_table() -> None:
    first, second = Values(), Values()
    assert (first.kind, first.layers, first.rate) == ("plain", 2, 0.5)
    assert first.losses == second.losses == declarations(Values)["losses"].default == {"a": 1.0}
    assert first.losses is not second.losses


def test_names_of_a_config_join_weights_and_make_variables_of_a_family() -> None:
    limits = limits_of(Values, {"losses": ["task:click"], "powers": ["click"]})
    limits["losses"].check({"a": 0.5, "task:click": 0.5})
    assert limits["click_power"] == Number(low=-2, high=2)
    assert set(limits) == {*declarations(Values), "click_power"}
    assert set(limits_of(Values)) == set(declarations(Values))


def test_a_pack_has_in_common_what_is_shared_or_what_a_function_says_of_it() -> None:
    key = common_values(Values())
    assert key == ("plain", 2, ("a",))
    assert common_values(replace(Values(), rate=0.1, losses={"a": 0.3})) == key
    assert common_values(replace(Values(), losses={"a": 0.5, "b": 0.5})) != key
    assert common_values(replace(Values(), layers=3)) != key


def test_what_has_no_effect_is_reset() -> None:
    assert without_idle(Values(layers=5, rate=0.1)) == Values(rate=0.1)
    assert without_idle(Values("deep", layers=5)) == Values("deep", layers=5)


def test_a_field_without_a_declaration_is_named() -> None:
    with pytest.raises(TypeError, match=r"Undeclared\.size is not declared by variable"):
        declarations(Undeclared)
