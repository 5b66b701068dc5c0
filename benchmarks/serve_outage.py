"""Quick requests beside batches of texts: their latency alone, and while batches take all they may.

python -m benchmarks.serve_outage BUNDLE [--rate 40] [--seconds 15] [--batches 257]

The script starts the service itself, and stops it. Stages, each with the same quick requests (lists
of known users) at a fixed rate:

- alone: nothing else is asked;
- refused: clients that go on to send batches beyond the limits: lists with histories of 300 texts
  each, 60 of them, whose 468 KB are too many bytes, and 40 of them, which are too many texts;
- texts: as many clients as `--batches` that go on to send one within the limits: 64 long texts.

Each says what became of the batches, and the load of the machine: on a busy one compare the stages
of one run. What is counted: see `http_load`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks.http_load import at_rate, length_of, posted
from benchmarks.serve_load import start
from pareto_rec.bundle import Bundle
from pareto_rec.serve.limits import MOST_READ

QUICK_CLIENTS, REFUSED_CLIENTS = 8, 4
WORDS = 60  # of a text: about as many tokens as are read


def batch(lists: int, texts: int, words: int) -> bytes:
    """Return the body of a request for lists whose histories are given by texts."""
    rng = random.Random(0)
    names = ["war", "love", "film", "a", "b", "c"]

    def text() -> str:
        return " ".join(rng.choices(names, k=words))

    history = [{"id": f"n{number}", "text": text()} for number in range(texts)]
    return json.dumps([{"history": history}] * lists, separators=(",", ":")).encode()


async def insist(port: int, body: bytes, stop: Event, statuses: Counter[int]) -> None:
    """Send a body again and again, a connection for each time."""
    while not stop.is_set():
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(posted("/recommend", body))
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                await reader.readexactly(length_of(head))
                statuses[int(head[9:12])] += 1
            finally:
                writer.close()
        await asyncio.sleep(0.25)


def crowd(port: int, bodies: Sequence[bytes], clients: int, stop: Event, result: Any) -> None:
    """Insist with many clients until told to stop; send what they were told."""
    statuses: Counter[int] = Counter()

    async def all_of() -> None:
        each = itertools.islice(itertools.cycle(bodies), clients)
        await asyncio.gather(*(insist(port, body, stop, statuses) for body in each))

    asyncio.run(all_of())
    result.put(dict(statuses))


def beside(
    port: int, quick: Sequence[bytes], options: Any, bodies: Sequence[bytes], clients: int
) -> dict[str, Any]:
    """Return the latency of quick requests while others insist, and what those were told."""
    spawn = multiprocessing.get_context("spawn")
    stop, result = spawn.Event(), spawn.Queue()
    others = spawn.Process(target=crowd, args=(port, bodies, clients, stop, result))
    others.start()
    try:
        time.sleep(3.0)  # until all are there
        found = at_rate(port, quick, options.rate, options.seconds, QUICK_CLIENTS)
    finally:
        stop.set()
    statuses = result.get(timeout=120)
    others.join()
    return {
        **found,
        "bytes": [len(body) for body in bodies],
        "batches": statuses,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Start, measure, stop, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--batches", type=int, default=257)
    options = parser.parse_args()
    users = Bundle.load(options.bundle, verify=False).parts.users.ids[:500]
    quick = [json.dumps({"user": user}).encode() for user in users]
    service, port = start(options.bundle, 1)
    try:
        at_rate(port, quick, options.rate, 2.0, QUICK_CLIENTS)  # warm
        found: dict[str, Any] = {
            "alone": at_rate(port, quick, options.rate, options.seconds, QUICK_CLIENTS)
            | {"load": os.getloadavg()[0]}
        }
        large = [batch(60, 300, 1), batch(40, 300, 1)]
        found["refused"] = beside(port, quick, options, large, REFUSED_CLIENTS)
        texts = [batch(1, MOST_READ, WORDS)]
        found["texts"] = beside(port, quick, options, texts, options.batches)
        found["alone again"] = at_rate(
            port, quick, options.rate, options.seconds, QUICK_CLIENTS
        ) | {"load": os.getloadavg()[0]}
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(timeout=30)
    print(json.dumps({**found, "exit": code}, indent=1))


if __name__ == "__main__":
    main()
