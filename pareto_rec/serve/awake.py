"""An event loop that stays awake between requests which follow each other closely."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

Events = list[tuple[selectors.SelectorKey, int]]


class AwakeSelector(selectors.DefaultSelector):
    """Asks again and again for a while after something was ready, and only then sleeps.

    A processor that sleeps is slow when it wakes: it is woken late, at a low frequency, and where
    it is a virtual one its host has to find it a place again. A list takes it twice as long as one
    that follows directly on another. To poll for a while before sleeping is what network drivers
    and the halt polling of hypervisors do about it.
    """

    def __init__(self, seconds: float) -> None:
        """Poll for so many seconds after the last event."""
        super().__init__()
        self._seconds, self._until = seconds, 0.0

    def select(self, timeout: float | None = None) -> Events:
        """As any selector; what is ready, or nothing when the time is up."""
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            found: Events = super().select(0)
            now = time.monotonic()
            if found:
                self._until = now + self._seconds
                return found
            if ends is not None and now >= ends:
                return found
            if now >= self._until:
                break
        found = super().select(None if ends is None else ends - now)
        if found:
            self._until = time.monotonic() + self._seconds
        return found


def event_loop(seconds: float) -> asyncio.AbstractEventLoop:
    """An event loop that stays awake for so many seconds after whatever came last."""
    return asyncio.SelectorEventLoop(AwakeSelector(seconds))


class Config(uvicorn.Config):
    """Uvicorn's settings, with such a loop."""

    def __init__(self, app: Callable[..., Any] | str, awake: float, **options: Any) -> None:
        """As uvicorn has them, and how long to stay awake; 0 for uvicorn's own loop."""
        super().__init__(app, **options)
        self.awake = awake

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the event loop of each process."""
        return partial(event_loop, self.awake) if self.awake else super().get_loop_factory()
