"""Limits of one request, one address, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass

MOST_K = 100
MOST_HISTORY = 500
MOST_BATCH = 64
MOST_ITEMS = 32  # in one request; each is encoded by the backbone
MOST_ID = 256  # characters
MOST_TEXT = 4000  # characters; the backbone reads the first few hundred
MOST_NAMES = 100  # categories of an item, objectives of a preference

LARGE = 4 * 1024  # bytes of a body from which on reading many of them would fill the event loop

# Of all lists of a batch together, as what they cost adds up:
MOST_READ = 64  # items given by their text; each is encoded by the backbone
MOST_MET = 8000  # items of histories
MOST_LISTED = 3200  # items of the lists
MOST_EXPLAINED = 16  # lists with explanations


@dataclass(frozen=True)
class Limits:
    """Limits of the process as a whole; those of one request are the constants above.

    Attributes:
        body_bytes: Longest body; beyond it, 413.
        header_bytes: Longest headers; beyond them, 431.
        header_seconds: From the first byte of a request, or from the connection, to the end of the
            headers; beyond it, 408.
        seconds: From the headers to the answer; beyond it, 408 for the body or 504.
        write_seconds: How long a client may take to read an answer; then the connection is cut.
        pending: Lone lists that may wait for the event loop; beyond them, 503.
        large: Bodies above `LARGE` that may wait to be looked at; beyond them, 503.
        jobs: Batches, explanations, texts and changes of items that may wait for the thread or be
            worked on; beyond them, 503.
        added: Items that may be added to the catalogue or changed in it; beyond them, 409.
        connections: Open connections; beyond them the one that has waited longest for its client
            gives way to a new one.
        address_connections: As `connections`, of one address.
        drain_seconds: How long a shutdown goes on to answer, announcing that it ends.
        stop_seconds: How long it then waits for requests that have begun.
    """

    body_bytes: int = 320 * 1024
    header_bytes: int = 32 * 1024
    header_seconds: float = 5.0
    seconds: float = 5.0
    write_seconds: float = 30.0
    pending: int = 256
    large: int = 32
    jobs: int = 64
    added: int = 1000
    connections: int = 1024
    address_connections: int = 512
    drain_seconds: float = 1.0
    stop_seconds: float = 5.0
