"""Interruption points of long work on a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("interruption", default=None)


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Let `check` be called between the steps of work in the block; what it raises ends it.

    A step is the encoding of one text, or the scoring or explaining of one list or group of lists.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def interruption_point() -> None:
    """Call the check of the `interruptible` block that this runs in, if there is one."""
    check = _check.get()
    if check is not None:
        check()
