"""Load generator for the HTTP service: requests at a fixed rate, or as fast as possible.

What is counted at the fixed rate: requests fall due at equal distances, regardless of those
before. A latency ends when the last byte of the answer is read. It begins when the request fell due
if no connection was free then, which is the service's fault, so that a stall is not hidden (Tene's
"coordinated omission"); and where one was free it begins when the request left, as what the
generator was late by is its own fault. `left_late_ms` says how late that was: hundredths of a
millisecond on an idle machine, as the generator spins before a request is due and while an answer
is outstanding, and sleeps in between. If its p99 is not far below a millisecond the machine was
busy, and latencies say little. `from_due_ms` are the latencies with that lateness counted in.
"""

from __future__ import annotations

import asyncio
import gc
import math
import re
import select
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

LONGEST = 300.0  # seconds of any stage
CONNECTIONS = 64  # open ones at the fixed rate
SPIN = 0.001  # seconds before a request is due from which on the generator does not sleep


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and body of the answer to a POST."""
        self.writer.write(posted(path, body))
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head[9:12]), await self.reader.readexactly(length_of(head))


def posted(path: str, body: bytes) -> bytes:
    """Return a request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def length_of(head: bytes) -> int:
    """Return the length of the body that follows the head of an answer."""
    match = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert match is not None, head
    return int(match[1])


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[asyncio.Queue[Connection]]:
    """Yield a pool of open connections."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    opened = [Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(count)]
    for connection in opened:
        free.put_nowait(connection)
    try:
        yield free
    finally:
        for connection in opened:
            connection.writer.close()


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return milliseconds at several quantiles."""
    order = sorted(seconds)
    marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        n: round(1e3 * order[min(int(q * len(order)), len(order) - 1)], 2) for n, q in marks.items()
    }


class Wire:
    """A kept-alive connection without an event loop, whose overhead and timers would be measured.

    Attributes:
        begin: When the request that is being answered began to count; `due`: when it fell due.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""
        self.begin = self.due = 0.0

    def send(self, body: bytes) -> None:
        """Ask for a list."""
        self.read = b""
        self.socket.sendall(posted("/recommend", body))

    def status(self) -> int | None:
        """Read what is there; the status once the answer is whole."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise SystemExit("the service closed a connection")
        self.read += part
        head, separator, body = self.read.partition(b"\r\n\r\n")
        return int(head[9:12]) if separator and len(body) >= length_of(head) else None


@dataclass
class Tally:
    """Outcomes of the requests of one stage, in seconds."""

    taken: list[float] = field(default_factory=list)
    from_due: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    no_connection: int = 0

    def read(self, wire: Wire) -> bool:
        """Read from a connection; whether the answer is whole."""
        status = wire.status()
        if status is None:
            return False
        now = time.perf_counter()
        self.taken.append(now - wire.begin)
        self.from_due.append(now - wire.due)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return True


def at_rate(
    port: int, bodies: Sequence[bytes], rate: float, seconds: float, clients: int = CONNECTIONS
) -> dict[str, Any]:
    """Return the latency of single requests that leave at a fixed rate, by clients in turns."""
    count = int(rate * min(seconds, LONGEST))
    wires = [Wire(port) for _ in range(clients)]
    gc.collect()
    gc.disable()  # a collection would make requests leave late
    try:
        tally, wall = paced(wires, bodies, rate, count)
    finally:
        gc.enable()
        for wire in wires:
            wire.socket.close()
    return {
        "rate": rate, "requests": count, "status": tally.statuses, "ms": quantiles(tally.taken),
        "from_due_ms": quantiles(tally.from_due), "left_late_ms": quantiles(tally.late or [0.0]),
        "no_free_connection": tally.no_connection, "reached_rate": round(count / wall, 1),
    }  # fmt: skip


def paced(
    wires: Sequence[Wire], bodies: Sequence[bytes], rate: float, count: int
) -> tuple[Tally, float]:
    """Send `count` requests when they are due, read answers meanwhile; seconds that it all took."""
    tally, free, out = Tally(), deque(wires), dict[int, Wire]()
    first, sent, waited = time.perf_counter() + 0.2, 0, False
    while sent < count or out:
        due = first + sent / rate if sent < count else math.inf
        if due <= time.perf_counter():
            if free:
                wire = free.popleft()
                wire.due, now = due, time.perf_counter()
                wire.begin = due if waited else now
                wire.send(bodies[sent % len(bodies)])
                out[wire.socket.fileno()] = wire
                if not waited:
                    tally.late.append(now - due)
                sent, waited = sent + 1, False
                continue
            tally.no_connection += not waited
            waited, due = True, math.inf
        for number in select.select(list(out), (), (), pause(due, bool(out)))[0]:
            if tally.read(out[number]):
                free.append(out.pop(number))
    return tally, time.perf_counter() - first


def pause(due: float, outstanding: bool) -> float:
    """Return seconds to sleep: none shortly before a request is due or an answer is awaited.

    Whoever sleeps is woken tens of microseconds late, which would be counted as the service's.
    """
    left = due - time.perf_counter() - SPIN
    return 0.0 if outstanding or left < 0 else min(left, 1.0)


async def flat_out(
    port: int, bodies: Sequence[bytes], clients: int, count: int, seconds: float, each: int = 1
) -> dict[str, Any]:
    """Return requests per second with clients that ask again as soon as they have their answer."""
    taken: list[float] = []
    begin, left = time.perf_counter(), count
    until = begin + min(seconds, LONGEST)
    statuses: dict[int, int] = {}

    async def client(number: int, free: asyncio.Queue[Connection]) -> None:
        nonlocal left
        connection = await free.get()
        while left > 0 and time.perf_counter() < until:
            left -= 1
            began = time.perf_counter()
            status, _ = await connection.ask("/recommend", bodies[(left + number) % len(bodies)])
            taken.append(time.perf_counter() - began)
            statuses[status] = statuses.get(status, 0) + 1

    async with connections(port, clients) as free:
        await asyncio.gather(*(client(n, free) for n in range(clients)))
    wall = time.perf_counter() - begin
    speed = round(each * len(taken) / wall, 1)
    result = {"clients": clients, "requests": len(taken), "lists_each": each, "status": statuses}
    return {**result, "lists_per_second": speed, "ms": quantiles(taken)}
