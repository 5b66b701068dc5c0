"""Jobs in processes of one thread each, some at a time, each after those that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pareto_rec.execution.workers.pool import ONE_THREAD

_PAUSE = 0.2  # seconds between two looks


@dataclass(frozen=True)
class Job:
    """A command of this program.

    Attributes:
        name: Of its log.
        arguments: Of ``python -m benchmarks.decisive``.
        needs: Names of jobs that end before it begins; where one fails, it is left out.
    """

    name: str
    arguments: tuple[str, ...]
    needs: frozenset[str] = field(default_factory=frozenset)


def run_jobs(jobs: Sequence[Job], workers: int, logs: Path) -> list[str]:
    """Run jobs in their order, as far as what they need allows.

    Args:
        jobs: All of them.
        workers: Processes at a time.
        logs: Folder of what they say.

    Returns:
        Names of those that failed, or were left out.
    """
    logs.mkdir(parents=True, exist_ok=True)
    left = list(jobs)
    running: dict[Job, subprocess.Popen[bytes]] = {}
    done: set[str] = set()
    failed: list[str] = []
    try:
        while left or running:
            for job in _ready(left, done, failed):
                if len(running) < workers:
                    left.remove(job)
                    running[job] = _begin(job, logs)
                    print(f"{job.name} begins", flush=True)
            if not running:  # what is left needs something that failed
                failed += [job.name for job in left]
                break
            time.sleep(_PAUSE)
            for job in [job for job, process in running.items() if process.poll() is not None]:
                code = running.pop(job).returncode
                (failed.append if code else done.add)(job.name)
                print(f"{job.name} {f'failed with {code}' if code else 'ended'}", flush=True)
    finally:
        for process in running.values():
            process.terminate()
    return failed


def _ready(left: Sequence[Job], done: Collection[str], failed: Collection[str]) -> list[Job]:
    """Return jobs that have what they need; none that needs what failed."""
    return [job for job in left if job.needs <= set(done) and not job.needs & set(failed)]


def _begin(job: Job, logs: Path) -> subprocess.Popen[bytes]:
    with (logs / f"{job.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.decisive", *job.arguments],
            env={**os.environ, **ONE_THREAD},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
