"""Load on the HTTP service, on loopback: latency at a fixed rate, saturation, memory.

python benchmarks/serve_load.py BUNDLE [--workers 1] [--rate 50] [--seconds 20] [--requests 20000]

The script starts the service itself, and stops it; every loop is bounded in count and time. Before
anything is timed, answers over HTTP are compared with those of the bundle.

What is counted at the fixed rate: requests fall due at equal distances, whatever became of those
before. A latency ends when the last byte of the answer is read. It begins when the request fell due
if no connection was free then, which is the service's fault, so that a stall is not hidden (Tene's
"coordinated omission"); and where one was free it begins when the request left, as what the
generator was late by is its own fault. `left_late_ms` says how late that was: hundredths of a
millisecond on an idle machine, as the generator spins before a request is due and while an answer
is outstanding, and sleeps in between. If its p99 is not far below a millisecond the machine was
busy, and latencies say little. `from_due_ms` are the latencies with that lateness counted in.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST = 300.0  # seconds of any stage
CONNECTIONS = 64  # open ones at the fixed rate
SPIN = 0.001  # seconds before a request is due from which on the generator does not sleep


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a POST."""
        self.writer.write(posted(path, body))
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head[9:12]), await self.reader.readexactly(length_of(head))


def posted(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def length_of(head: bytes) -> int:
    """Length of the body that follows the head of an answer."""
    match = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert match is not None, head
    return int(match[1])


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[asyncio.Queue[Connection]]:
    """A pool of open connections."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    opened = [Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(count)]
    for one in opened:
        free.put_nowait(one)
    try:
        yield free
    finally:
        for one in opened:
            one.writer.close()


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds at several quantiles."""
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
        head, found, body = self.read.partition(b"\r\n\r\n")
        return int(head[9:12]) if found and len(body) >= length_of(head) else None


@dataclass
class Tally:
    """What became of the requests of one stage, in seconds."""

    taken: list[float] = field(default_factory=list)
    from_due: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    no_connection: int = 0

    def read(self, one: Wire) -> bool:
        """Read from a connection; whether the answer is whole."""
        status = one.status()
        if status is None:
            return False
        now = time.perf_counter()
        self.taken.append(now - one.begin)
        self.from_due.append(now - one.due)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return True


def at_rate(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> dict[str, Any]:
    """Latency of single requests that leave at a fixed rate."""
    count = int(rate * min(seconds, LONGEST))
    wires = [Wire(port) for _ in range(CONNECTIONS)]
    gc.collect()
    gc.disable()  # a collection would make requests leave late
    try:
        tally, wall = paced(wires, bodies, rate, count)
    finally:
        gc.enable()
        for one in wires:
            one.socket.close()
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
                one = free.popleft()
                one.due, now = due, time.perf_counter()
                one.begin = due if waited else now
                one.send(bodies[sent % len(bodies)])
                out[one.socket.fileno()] = one
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
    """How long to sleep: not at all shortly before a request is due or while an answer is awaited.

    Whoever sleeps is woken tens of microseconds late, which would be counted as the service's.
    """
    left = due - time.perf_counter() - SPIN
    return 0.0 if outstanding or left < 0 else min(left, 1.0)


async def flat_out(
    port: int, bodies: Sequence[bytes], clients: int, count: int, seconds: float, each: int = 1
) -> dict[str, Any]:
    """Requests per second with clients that ask again as soon as they have their answer."""
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
    said = {"clients": clients, "requests": len(taken), "lists_each": each, "status": statuses}
    return {**said, "lists_per_second": speed, "ms": quantiles(taken)}


def memory_mib(root: int) -> float:
    """Proportional set size of a process and those it started, so that shared pages count once."""
    processes, total = [root], 0
    for one in processes:
        for task in Path(f"/proc/{one}/task").iterdir():
            processes += map(int, (task / "children").read_text().split())
        text = Path(f"/proc/{one}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0])
    return round(total / 1024, 1)


def cpu_seconds(root: int) -> float:
    """Processor time that a process and those it started have taken so far.

    Unlike a latency it hardly depends on what else the machine does.
    """
    processes, ticks = [root], 0
    for one in processes:
        for task in Path(f"/proc/{one}/task").iterdir():
            processes += map(int, (task / "children").read_text().split())
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def start(bundle: Path, workers: int) -> tuple[subprocess.Popen[str], int]:
    """The service as a process, and its port."""
    command = [sys.executable, "-m", "pareto_rec", "serve", str(bundle), "--port", "0"]
    service = subprocess.Popen(
        [*command, "--workers", str(workers)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert service.stdout is not None
    line = service.stdout.readline()
    match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    if match is None:
        raise SystemExit(f"the service did not start: {line}")
    return service, int(match[1])


async def same_answers(port: int, folder: Path, users: Sequence[str]) -> None:
    """The service gives the lists that the bundle gives."""
    import torch

    from pareto_rec.bundle import Bundle

    torch.set_num_threads(1)
    bundle = Bundle.load(folder, verify=False)
    async with connections(port, 1) as free:
        connection = await free.get()
        for user in users:
            status, body = await connection.ask("/recommend", json.dumps({"user": user}).encode())
            assert status == 200, body
            found = [item["id"] for item in json.loads(body)["items"]]
            assert found == [item.id for item in bundle.recommend(user).items], user


async def measure(port: int, service: int, asked: argparse.Namespace) -> dict[str, Any]:
    """All stages."""
    catalogue = json.loads((asked.bundle / "catalogue.json").read_text())
    users = list(catalogue["users"]["ids"])
    random.Random(0).shuffle(users)
    await same_answers(port, asked.bundle, users[:50])
    single = [json.dumps({"user": user}).encode() for user in users]
    batch = [
        json.dumps([{"user": user} for user in users[place : place + 32]]).encode()
        for place in range(0, len(users) - 32, 32)
    ]
    await flat_out(port, single, 4 * asked.workers, 500, 60)  # warm
    found: dict[str, Any] = {
        "at_rate": [at_rate(port, single, asked.rate, asked.seconds) for _ in range(3)],
        "saturation": [
            await flat_out(port, single, clients, 10**6, asked.seconds / 2)
            for clients in (1, 8, 32)
        ],
        "batches": await flat_out(port, batch, 4, 10**6, asked.seconds / 2, each=32),
    }
    found["cpu_ms_per_list"] = {}
    for name, clients, bodies, each in (("alone", 1, single, 1), ("together", 16, single, 1),
                                        ("batch", 1, batch, 32)):  # fmt: skip
        before = cpu_seconds(service)
        done = await flat_out(port, bodies, clients, 1000 // each, LONGEST, each)
        taken = cpu_seconds(service) - before
        found["cpu_ms_per_list"][name] = round(1e3 * taken / (each * done["requests"]), 2)
    memory = [memory_mib(service)]
    for _ in range(4):
        await flat_out(port, single, 16, asked.requests // 4, LONGEST)
        memory.append(memory_mib(service))
    return {**found, "memory_mib": memory, "memory_requests": asked.requests}


def main() -> None:
    """Start, measure, stop, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=20_000)
    asked = parser.parse_args()
    service, port = start(asked.bundle, asked.workers)
    try:
        while True:  # several processes: until one answers
            try:
                asyncio.run(same_answers(port, asked.bundle, []))
                break
            except OSError:
                time.sleep(0.2)
        found = asyncio.run(measure(port, service.pid, asked))
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(timeout=30)
    load = os.getloadavg()[0]
    print(json.dumps({"workers": asked.workers, "load": load, **found, "exit": code}, indent=1))


if __name__ == "__main__":
    main()
