"""The one exception that a user sees as a single line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class BadRequestError(ValueError):
    """What was asked for is wrong; the message says what, where and what to do.

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


def unknown(kind: str, name: str, known: Iterable[str]) -> BadRequestError:
    """Error for a name that no registry knows: lists the known ones, names the nearest.

    Args:
        kind: What the name should have been, for example ``"objective"``.
        name: What was asked for.
        known: Every registered name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    return BadRequestError(f'unknown {kind} "{name}"{hint}; known: {", ".join(names)}')


def construct(kind: str, build: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from named values; what they leave out keeps its default.

    Args:
        kind: What a name stands for, for example ``"serving variable"``.
        build: The dataclass.
        values: Field name -> value.

    Raises:
        BadRequestError: If a name is no field.
    """
    assert is_dataclass(build)
    known = [one.name for one in fields(build)]
    for name in values:
        if name not in known:
            raise unknown(kind, name, known)
    return build(**values)
