"""Decision variables: real, integer, choice, simplex, each with its part of the unit cube.

A variable maps coordinates in ``[0, 1]`` to natural values and back. Uniform coordinates are
uniform on ranges (on their logarithm with `log`), on options and on simplexes. Every variable
may carry `when`, ``{other variable: values}``: it is active only while each of those has one of
the values given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown

Value = float | int | str | tuple[float, ...] | Mapping[str, float]
When = Mapping[str, tuple[Value, ...]]
Floats = NDArray[np.float64]

IDLE = 0.5  # coordinate of what has no value: an inactive variable, the rest of a used-up stick
_DIGITS = 7  # significant digits of decoded values, so that ids survive printing and other machines
_UNITS = 10**_DIGITS  # weights of a simplex are whole multiples of 1 / _UNITS


@dataclass(frozen=True)
class Real:
    """A number in ``[low, high]``, uniform in the cube or, with `log`, in its logarithm."""

    low: float
    high: float
    log: bool = False
    when: When = field(default_factory=dict)

    size = 1

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def from_cube(self, u: Floats) -> float:
        """Return the value at coordinates ``[1]``, rounded to 7 significant digits."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        raw = low + float(u[0]) * (high - low)
        rounded = float(f"{math.exp(raw) if self.log else raw:.{_DIGITS}g}")
        if not self.log:  # near zero in a wide range, the coordinate itself has fewer digits
            rounded = round(rounded, 12 - math.floor(math.log10(max(abs(low), abs(high)))))
        return min(max(rounded, float(self.low)), float(self.high)) + 0.0  # + 0.0: no minus zero

    def to_cube(self, value: Value) -> list[float]:
        """Return coordinates of a value; inverse of :meth:`from_cube`."""
        number = _number(value)
        if not self.low <= number <= self.high:
            raise BadRequestError(f"{value!r} is outside [{self.low}, {self.high}]")
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        raw = math.log(number) if self.log else number
        return [min(max((raw - low) / (high - low), 0.0), 1.0)]


@dataclass(frozen=True)
class Integer:
    """A whole number in ``[low, high]``: bins of equal width, or of equal ratio with `log`."""

    low: int
    high: int
    log: bool = False
    when: When = field(default_factory=dict)

    size = 1

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise BadRequestError(f"bounds of an integer must be whole numbers, not {bound!r}")
        _check_range(self.low, self.high, self.log)

    def from_cube(self, u: Floats) -> int:
        """Return the value of the bin that holds the coordinate ``[1]``."""
        low, high = self._edges
        raw = low + float(u[0]) * (high - low)
        number = math.floor(math.exp(raw) + 0.5 if self.log else raw)
        return min(max(number, self.low), self.high)

    def to_cube(self, value: Value) -> list[float]:
        """Return the centre of the value's bin."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadRequestError(f"{value!r} is not a whole number")
        if not self.low <= value <= self.high:
            raise BadRequestError(f"{value!r} is outside [{self.low}, {self.high}]")
        low, high = self._edges
        raw = (math.log(value - 0.5) + math.log(value + 0.5)) / 2 if self.log else value + 0.5
        return [(raw - low) / (high - low)]

    def moved(self, before: float, after: float, rng: np.random.Generator) -> float:
        """Return a coordinate of another value: `after`, or a neighbouring bin if it is equal."""
        value = self.from_cube(np.array([before]))
        if self.from_cube(np.array([after])) != value:
            return after
        up = value == self.low or (value < self.high and bool(rng.random() < 0.5))
        return self.to_cube(value + (1 if up else -1))[0]

    @property
    def _edges(self) -> tuple[float, float]:
        if self.log:
            return math.log(self.low - 0.5), math.log(self.high + 0.5)
        return float(self.low), float(self.high + 1)


@dataclass(frozen=True)
class Choice:
    """One of several unordered options: bins of equal width in the order given."""

    options: tuple[Value, ...]
    when: When = field(default_factory=dict)

    size = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(plain(option) for option in self.options))
        if not self.options:
            raise BadRequestError("a choice needs at least one option")
        if len(set(self.options)) < len(self.options):
            raise BadRequestError(f"options must differ from each other: {list(self.options)}")

    def from_cube(self, u: Floats) -> Value:
        """Return the option of the bin that holds the coordinate ``[1]``."""
        return self.options[self._bin(float(u[0]))]

    def to_cube(self, value: Value) -> list[float]:
        """Return the centre of the option's bin."""
        if value not in self.options:
            raise unknown("option", str(value), [str(option) for option in self.options])
        return [(self.options.index(value) + 0.5) / len(self.options)]

    def moved(self, before: float, after: float, rng: np.random.Generator) -> float:
        """Return a coordinate of another option, each as likely: options are not neighbours."""
        if len(self.options) == 1:
            return after
        step = int(rng.integers(1, len(self.options)))
        return ((self._bin(before) + step) % len(self.options) + 0.5) / len(self.options)

    def _bin(self, u: float) -> int:
        return min(int(u * len(self.options)), len(self.options) - 1)


@dataclass(frozen=True)
class Simplex:
    """Weights of several names, none below its floor, that sum to one.

    ``n`` names take ``n - 1`` coordinates by stick breaking: with ``k`` names still to come,
    coordinate ``t`` leaves the share ``t ** (1 / k)`` of the stick to them. The share that is
    broken off is then Beta(1, k) distributed, so a uniform cube gives the uniform distribution
    on the simplex, Dirichlet(1, ..., 1) (Devroye, 1986, chapter XI.4). Floors shrink the simplex.
    Weights are multiples of 1e-7, so that they sum to one without a remainder.
    """

    names: tuple[str, ...]
    floor: Mapping[str, float] = field(default_factory=dict)
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if not self.names or len(set(self.names)) < len(self.names):
            raise BadRequestError(f"a simplex needs names that differ: {list(self.names)}")
        for name, floor in self.floor.items():
            if name not in self.names:
                raise unknown("weight", name, self.names)
            if not 0.0 <= floor < 1.0:
                raise BadRequestError(f"the floor of {name} must lie in [0, 1): {floor}")
        if len(self.names) > 1 and int(self._floor_units.sum()) >= _UNITS:
            raise BadRequestError(
                f"floors must sum to less than 1: {sum(self.floor.values()):g}; lower one of them"
            )

    @property
    def size(self) -> int:
        """Coordinates in the cube."""
        return len(self.names) - 1

    @cached_property
    def _floor_units(self) -> NDArray[np.int64]:
        return np.array([round(self.floor.get(name, 0.0) * _UNITS) for name in self.names])

    def from_cube(self, u: Floats) -> tuple[float, ...]:
        """Return weights ``[names]`` at coordinates ``[names - 1]``."""
        shares = []
        stick = 1.0
        for k, t in zip(range(self.size, 0, -1), u, strict=True):
            rest = float(t) ** (1.0 / k)
            shares.append(stick * (1.0 - rest))
            stick *= rest
        shares.append(stick)
        floors = self._floor_units.tolist()
        free = _UNITS - sum(floors)
        exact = [share * free for share in shares]
        units = [math.floor(part) for part in exact]
        by_remainder = sorted(range(len(units)), key=lambda i: units[i] - exact[i])
        for i in by_remainder[: free - sum(units)]:  # largest remainders: the sum stays exact
            units[i] += 1
        if len(units) == 1:
            return (1.0,)
        return tuple((f + part) / _UNITS for f, part in zip(floors, units, strict=True))

    def to_cube(self, value: Value) -> list[float]:
        """Return coordinates of weights; inverse of :meth:`from_cube`."""
        if not isinstance(value, tuple) or len(value) != len(self.names):
            raise BadRequestError(f"{value!r} is not {len(self.names)} weights {self.names}")
        weights = np.array(value, dtype=np.float64) * _UNITS - self._floor_units
        if abs(sum(value) - 1.0) > 1e-6 or (weights < -1.0).any():
            raise BadRequestError(
                f"weights {value} must sum to 1 and respect the floors {self.floor}"
            )
        sticks = np.maximum(weights, 0.0)[::-1].cumsum()[::-1]  # what is left before each name
        return [
            float((sticks[i + 1] / sticks[i]) ** (self.size - i)) if sticks[i] > 0.0 else IDLE
            for i in range(self.size)
        ]

    def corner(self, name: str) -> list[float]:
        """Return coordinates ``[names - 1]`` of the point where `name` has all that is free."""
        index = self.names.index(name)
        return [1.0 if i < index else 0.0 if i == index else IDLE for i in range(self.size)]


Variable = Real | Integer | Choice | Simplex


def plain(value: Value) -> Value:
    """Convert a value to Python's own types, sequences to tuples: as JSON and NumPy return it."""
    if isinstance(value, Mapping):
        return {name: float(weight) for name, weight in value.items()}
    if isinstance(value, list | tuple):
        return tuple(float(part) for part in value)
    return value.item() if isinstance(value, np.generic) else value


def _check_range(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise BadRequestError(f"low must be a number below high: low = {low}, high = {high}")
    if log and low <= 0:
        raise BadRequestError(f"a logarithmic range needs low > 0: low = {low}")


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise BadRequestError(f"{value!r} is not a number")
    return float(value)


def named_values(variables: Mapping[str, Variable], values: Mapping[str, Value]) -> dict[str, Any]:
    """Return values by variable, those of a simplex as ``{name: weight}``."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        variable = variables.get(name)
        if isinstance(variable, Simplex) and isinstance(value, tuple):
            named[name] = dict(zip(variable.names, value, strict=True))
        else:
            named[name] = value
    return named
