"""State that the parts of a serving process share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class ServiceState:
    """State of a serving process: asked to end, stopping, and ended.

    Attributes:
        asked: Set to ask the server for its end: "stop" where the service ends, "leave" where other
            processes go on to take the connections of the same socket.
        stopping: Set by the server once the service is about to end.
        ended: Set by the application once its thread has ended.
    """

    asked: Literal["stop", "leave"] | None = None
    stopping: bool = False
    ended: bool = False
