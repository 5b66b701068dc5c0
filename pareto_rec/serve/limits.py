"""How much one request, and all of them together, may ask for."""

from __future__ import annotations

from dataclasses import dataclass

MOST_K = 100
MOST_HISTORY = 500
MOST_BATCH = 64
MOST_ITEMS = 32  # in one request; each is encoded by the backbone
MOST_ID = 256  # characters
MOST_TEXT = 4000  # characters; the backbone reads the first few hundred
MOST_NAMES = 100  # categories of an item, objectives of a preference


@dataclass(frozen=True)
class Limits:
    """What the process as a whole takes; the limits of one request are the constants above.

    Attributes:
        body_bytes: Longest body; beyond it, 413.
        seconds: From the first byte of a body to the answer; beyond it, 408 or 504.
        pending: Requests that may wait for the model; beyond them, 503.
        added: Items that may be added to the catalogue; beyond them, 409.
        connections: Open connections; beyond them, 503.
        stop_seconds: How long a shutdown waits for requests that have begun.
    """

    body_bytes: int = 512 * 1024
    seconds: float = 5.0
    pending: int = 256
    added: int = 1000
    connections: int = 1024
    stop_seconds: float = 5.0
