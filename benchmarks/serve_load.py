"""Load on the HTTP service, on loopback: latency at a fixed rate, saturation, memory.

python -m benchmarks.serve_load BUNDLE [--workers 1] [--rate 50] [--seconds 20] [--requests 20000]

The script starts the service itself, and stops it; every loop is bounded in count and time. Before
anything is timed, answers over HTTP are compared with those of the bundle. `known` are users of the
bundle, prepared as far as the service prepares them; `given` are the same histories sent along as
those of strangers. What is counted at the fixed rate: see `http_load`.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.http_load import LONGEST, at_rate, connections, flat_out
from pareto_rec.bundle import Bundle
from pareto_rec.bundle.scoring import known_people


def memory_mib(root: int) -> float:
    """Return the proportional set size of a process and its children: shared pages count once."""
    processes, total = [root], 0
    for process in processes:
        for task in Path(f"/proc/{process}/task").iterdir():
            processes += map(int, (task / "children").read_text().split())
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0])
    return round(total / 1024, 1)


def cpu_seconds(root: int) -> float:
    """Return processor time that a process and those it started have taken so far.

    Unlike a latency it hardly depends on what else the machine does.
    """
    processes, ticks = [root], 0
    for process in processes:
        for task in Path(f"/proc/{process}/task").iterdir():
            processes += map(int, (task / "children").read_text().split())
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def start(bundle: Path, workers: int) -> tuple[subprocess.Popen[str], int]:
    """Return the service as a process, and its port."""
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


async def answering(port: int, count: int) -> None:
    """Return when the service takes connections: of several processes, the first does."""
    async with connections(port, count):
        return


async def same_answers(port: int, bundle: Bundle, requests: Sequence[dict[str, Any]]) -> None:
    """Check that the service gives the lists that the bundle gives."""
    async with connections(port, 1) as free:
        connection = await free.get()
        for request in requests:
            status, body = await connection.ask("/recommend", json.dumps(request).encode())
            assert status == 200, body
            ids = [item["id"] for item in json.loads(body)["items"]]
            assert ids == [item.id for item in bundle.recommend(**request).items], request


def requests_of(bundle: Bundle) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return requests of known users, and their histories as those of strangers, shuffled."""
    ids = np.array(bundle.parts.items.ids)
    pairs = [
        ({"user": user}, {"history": ids[history.items].tolist()})
        for user, history in zip(bundle.parts.users.ids, known_people(bundle.parts), strict=True)
    ]
    random.Random(0).shuffle(pairs)
    return [known for known, _ in pairs], [given for _, given in pairs]


async def measure(port: int, service: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return all stages."""
    torch.set_num_threads(1)
    bundle = Bundle.load(options.bundle, verify=False)
    known, given = requests_of(bundle)
    await same_answers(port, bundle, [*known[:50], *given[:50]])
    single, strangers = (
        [json.dumps(request).encode() for request in part] for part in (known, given)
    )
    batch = [
        json.dumps(known[start : start + 32]).encode() for start in range(0, len(known) - 32, 32)
    ]
    await flat_out(port, single, 4 * options.workers, 500, 60)  # warm
    await flat_out(port, strangers, 4 * options.workers, 500, 60)
    result: dict[str, Any] = {
        "at_rate": {
            name: [at_rate(port, bodies, options.rate, options.seconds) for _ in range(3)]
            for name, bodies in (("known", single), ("given", strangers))
        },
        "saturation": {
            name: [
                await flat_out(port, bodies, clients, 10**6, options.seconds / 2)
                for clients in (1, 8, 32)
            ]
            for name, bodies in (("known", single), ("given", strangers))
        },
        "batches": await flat_out(port, batch, 4, 10**6, options.seconds / 2, each=32),
    }
    result["cpu_ms_per_list"] = {}
    for name, clients, bodies, each in (
        ("known alone", 1, single, 1), ("given alone", 1, strangers, 1),
        ("together", 16, single, 1), ("batch", 1, batch, 32),
    ):  # fmt: skip
        before = cpu_seconds(service)
        done = await flat_out(port, bodies, clients, 1000 // each, LONGEST, each)
        taken = cpu_seconds(service) - before
        result["cpu_ms_per_list"][name] = round(1e3 * taken / (each * done["requests"]), 2)
    memory = [memory_mib(service)]
    for _ in range(4):
        await flat_out(port, single, 16, options.requests // 4, LONGEST)
        memory.append(memory_mib(service))
    return {**result, "memory_mib": memory, "memory_requests": options.requests}


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
    options = parser.parse_args()
    service, port = start(options.bundle, options.workers)
    try:
        while True:  # several processes: until one answers
            try:
                asyncio.run(answering(port, 1))
                break
            except OSError:
                time.sleep(0.2)
        result = asyncio.run(measure(port, service.pid, options))
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(timeout=30)
    load = os.getloadavg()[0]
    print(json.dumps({"workers": options.workers, "load": load, **result, "exit": code}, indent=1))


if __name__ == "__main__":
    main()
