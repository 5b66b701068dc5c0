"""Interruption by Ctrl-C: the first stops cleanly, another at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from pareto_rec.core.errors import InterruptedRunError

_CODE = 130  # as a shell has it for Ctrl-C
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the latter is a scheduler's Ctrl-C


@contextmanager
def stoppable(last_words: Callable[[], str]) -> Iterator[None]:
    """Let work be stopped.

    The first signal raises ``KeyboardInterrupt`` in the block, which then writes down what it has.
    Whoever does not want to wait for that sends another: it ends this process and all that it has
    started without a moment's delay. It stays so until the process ends, since that takes a while.

    Args:
        last_words: What is kept and how to go on.

    Raises:
        InterruptedRunError: With the last words, once the block has ended after the first signal.
    """
    heard = 0

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            raise KeyboardInterrupt
        _end_at_once(f"interrupted: stopped at once; {last_words()}")

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(last_words()) from None
    finally:
        if not heard:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end_at_once(line: str) -> None:
    for process in multiprocessing.active_children():
        if process.pid is not None:  # those of loky have no method of their own
            with suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())
    os._exit(_CODE)
