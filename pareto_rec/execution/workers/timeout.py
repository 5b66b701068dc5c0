"""Time limit on a call in a process that must live on."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class OvertimeError(Exception):
    """The call took too long."""


def run_with_timeout(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call, made in a thread of its own.

    A call that takes longer is told to stop: between two steps of Python, so that one that hangs
    below Python stays behind in its thread.

    Raises:
        OvertimeError: If it took longer.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(OvertimeError)
        )
        raise OvertimeError(f"took more than {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]
