"""Limits: what a value may be, and what is said where it is something else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pareto_rec.core.errors import BadRequestError, plain_number, shown, unknown

MOST = 1e9  # of a weight or an exponent: beyond, sums and powers leave the range of numbers


@dataclass(frozen=True)
class Number:
    """A number of a range, whole or not; `open_low` and `open_high` leave out the bound itself."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    open_low: bool = False
    open_high: bool = False

    def check(self, value: Any) -> None:
        """Refuse what is no number of the range.

        Raises:
            BadRequestError: With the value and the bounds.
        """
        if not self.holds(value):
            raise BadRequestError(f"{shown(value)} is out of range: it must be {self}")

    def holds(self, value: Any) -> bool:
        """Tell whether a value is a number of the range."""
        kinds = int if self.whole else (int, float)
        number = isinstance(value, kinds) and not isinstance(value, bool)
        number = number and not (isinstance(value, float) and not math.isfinite(value))
        return number and self._inside(value)

    def _inside(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'above' if self.open_low else 'at least'} {plain_number(self.low)}")
        if self.high < math.inf:
            parts.append(f"{'below' if self.open_high else 'at most'} {plain_number(self.high)}")
        return " ".join(
            ["a whole number" if self.whole else "a number", " and ".join(parts)]
        ).strip()


@dataclass(frozen=True)
class RegisteredName:
    """A name out of a registry."""

    kind: str
    known: Iterable[str]

    def check(self, value: Any) -> None:
        """Refuse what no registry knows.

        Raises:
            BadRequestError: With the known names and the nearest of them.
        """
        if not isinstance(value, str) or value not in self.known:
            name = value if isinstance(value, str) else shown(value)
            raise unknown(self.kind, name, self.known)


@dataclass(frozen=True)
class Weights:
    """Weights of names out of a registry and `also`, none below zero and not all zero."""

    kind: str
    known: Iterable[str]
    also: tuple[str, ...] = ()

    def check(self, value: Any) -> None:
        """Refuse unknown names and impossible weights.

        Raises:
            BadRequestError: With what is wrong.
        """
        if not isinstance(value, Mapping) or not value:
            raise BadRequestError(
                f"{shown(value)} must be a table of weights, one for each {self.kind}"
            )
        for name, weight in value.items():
            RegisteredName(self.kind, (*self.also, *self.known)).check(name)
            try:
                Number(low=0, high=MOST).check(weight)
            except BadRequestError as error:
                raise BadRequestError(f"{name}: {error}") from None
        if not sum(value.values()) > 0:
            raise BadRequestError("weights must not all be 0; give one a weight")


@dataclass(frozen=True)
class Numbers:
    """A number for some names: a family of variables, for example an exponent for each task.

    Attributes:
        kind: What a name is the name of.
        each: What every number may be.
        pattern: Key of one number as a variable of its own, `NAME` in place of the name.
    """

    kind: str
    each: Number = Number(low=-MOST, high=MOST)
    pattern: str = "NAME"

    def key(self, name: str) -> str:
        """Return the variable that is the number of a name."""
        return self.pattern.replace("NAME", name)

    def name_of(self, key: str) -> str | None:
        """Return the name whose number a variable is; None for a variable of another kind."""
        before, _, after = self.pattern.partition("NAME")
        inside = len(key) > len(before) + len(after)
        if not inside or not (key.startswith(before) and key.endswith(after)):
            return None
        return key[len(before) : len(key) - len(after)]

    def check(self, value: Any) -> None:
        """Refuse what is no table of numbers.

        Raises:
            BadRequestError: With what is wrong.
        """
        if not isinstance(value, Mapping):
            raise BadRequestError(
                f"{shown(value)} must be a table of numbers, one for each {self.kind}"
            )
        for name, number in value.items():
            try:
                self.each.check(number)
            except BadRequestError as error:
                raise BadRequestError(f"{name}: {error}") from None


@dataclass(frozen=True)
class Word:
    """A name that only the data can know."""

    kind: str

    def check(self, value: Any) -> None:
        """Refuse what is no name.

        Raises:
            BadRequestError: With the value.
        """
        if not isinstance(value, str):
            raise BadRequestError(f"{shown(value)} must be the name of a {self.kind}")


Limit = Number | RegisteredName | Weights | Numbers | Word
