"""What the parts of a serving process know of each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ServiceState:
    """Whether it is about to end, and whether all its threads have ended.

    Attributes:
        stopping: Set by the server when it was asked to stop.
        ended: Set by the application once its thread has ended.
    """

    stopping: bool = False
    ended: bool = False
