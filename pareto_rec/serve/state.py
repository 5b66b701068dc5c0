"""State that the parts of a serving process share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ServiceState:
    """State of a serving process: stopping, and ended.

    Attributes:
        stopping: Set by the server when it was asked to stop.
        ended: Set by the application once its thread has ended.
    """

    stopping: bool = False
    ended: bool = False
