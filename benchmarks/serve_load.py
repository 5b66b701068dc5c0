"""Load on the HTTP service, on loopback: latency at a fixed rate, saturation, memory.

python benchmarks/serve_load.py BUNDLE [--workers 1] [--rate 50] [--seconds 20] [--requests 20000]

The script starts the service itself, and stops it; every loop is bounded in count and time. At the
fixed rate requests leave at their times whatever became of those before, and a latency counts from
the time at which the request should have left, so that a stall is not hidden (Tene's "coordinated
omission"). Before anything is timed, answers over HTTP are compared with those of the bundle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

LONGEST = 300.0  # seconds of any stage


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a POST."""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        match = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
        assert match is not None, answer
        return int(answer[9:12]), await self.reader.readexactly(int(match[1]))


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


async def at_rate(
    port: int, bodies: Sequence[bytes], rate: float, seconds: float
) -> dict[str, Any]:
    """Latency of single requests that leave at a fixed rate."""
    count = int(rate * min(seconds, LONGEST))
    taken: list[float] = []
    statuses: dict[int, int] = {}
    async with connections(port, 64) as free:

        async def one(number: int, due: float) -> None:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            connection = await free.get()
            status, _ = await connection.ask("/recommend", bodies[number % len(bodies)])
            taken.append(time.perf_counter() - due)
            statuses[status] = statuses.get(status, 0) + 1
            free.put_nowait(connection)

        begin = time.perf_counter() + 0.2
        await asyncio.gather(*(one(n, begin + n / rate) for n in range(count)))
        wall = time.perf_counter() - begin
    return {"rate": rate, "requests": count, "status": statuses, "ms": quantiles(taken),
            "reached_rate": round(count / wall, 1)}  # fmt: skip


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
        "at_rate": [await at_rate(port, single, asked.rate, asked.seconds) for _ in range(3)],
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
