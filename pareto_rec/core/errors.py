"""Errors that a user sees as a single line."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeVar

FORMER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "places": "positions",
        "shaped": "regularizer_rows",
        "products": "matmul_dtype",
        "combine": "aggregation",
    }
)
"""Former name of a training variable -> its name."""

T = TypeVar("T")
_MOST_NAME = 60  # characters of a name that messages show
_MOST_BITS = 200  # of a whole number that they show; Python itself refuses to write long ones


class BadRequestError(ValueError):
    """Error in a request; the message says what, where and what to do.

    The command line prints the message alone and exits with code 2.
    """


class RunFailedError(RuntimeError):
    """The request was right and the work failed; the message says why.

    The command line prints the message alone and exits with code 1.
    """


class InterruptedRunError(Exception):
    """Somebody stopped the work; the message says what is kept and how to go on.

    The command line prints the message alone and exits with code 130.
    """


class _Short(reprlib.Repr):
    """Values of any size and kind, shortened."""

    def repr_int(self, x: int, level: int) -> str:
        """Return a whole number, or how long it is."""
        if x.bit_length() > _MOST_BITS:
            return f"a whole number of about {x.bit_length() * 0.30103:,.0f} digits"
        return super().repr_int(x, level)


def shown(value: object) -> str:
    """Return a value of any kind as it may stand in a message: short and in one line."""
    try:
        return _Short().repr(value)
    except (RecursionError, ValueError):
        return f"a value of the kind {type(value).__name__}"


def plain_number(value: float) -> str:
    """Return a number as people write it: 10,000,000 and 0.000001, without an exponent."""
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    return f"{value:.9f}".rstrip("0")


def unknown(kind: str, name: str, known: Iterable[str]) -> BadRequestError:
    """Return the error for a name that no registry knows: lists the known ones, names the nearest.

    Args:
        kind: What the name should have been, for example ``"objective"``.
        name: What was asked for.
        known: Every registered name.
    """
    names = sorted(known)
    if kind in ("variable", "training variable") and name in FORMER_NAMES:
        return renamed(name)
    name = name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 3]}..."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    return BadRequestError(f'unknown {kind} "{name}"{hint}; known: {", ".join(names)}')


def renamed(name: str) -> BadRequestError:
    """Error for a name of :data:`FORMER_NAMES`: says the one that took its place."""
    return BadRequestError(f'the training variable "{name}" is now called "{FORMER_NAMES[name]}"')


def construct(kind: str, build: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass from named values; what they leave out keeps its default.

    Args:
        kind: What a name stands for, for example ``"serving variable"``.
        build: The dataclass.
        values: Field name -> value.

    Raises:
        BadRequestError: If a name is not a field.
    """
    assert is_dataclass(build)
    known = [field.name for field in fields(build)]
    for name in values:
        if name not in known:
            raise unknown(kind, name, known)
    return build(**values)
