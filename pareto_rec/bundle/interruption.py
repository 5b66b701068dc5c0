"""Points at which long work on a bundle may be given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("interruption", default=None)


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Within the block, work calls `check` between its steps; what it raises ends the work.

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
