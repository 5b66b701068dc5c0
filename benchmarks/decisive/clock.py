"""Processor time of this process and its children, as a budget."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


@dataclass
class Budget:
    """Processor seconds that may be spent, and those that are.

    Attributes:
        seconds: In all.
        before: Spent before it began, as on networks that were trained for another mode.
        clock: What the time is read from.
    """

    seconds: float
    before: float = 0.0
    clock: Callable[[], float] = processor_seconds

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def spent(self) -> float:
        """Seconds until now, those of before included."""
        return self.before + self.clock() - self._began

    @property
    def left(self) -> float:
        """Seconds from now on."""
        return self.seconds - self.spent

    def affords(self, cost: float, most: int) -> int:
        """Return how many more units can be paid for, at most so many.

        Args:
            cost: Seconds of one; 0 where it is not known yet.
            most: At most.
        """
        if self.left <= 0:
            return 0
        return most if cost <= 0 else min(most, int(self.left / cost))
