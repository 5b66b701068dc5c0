"""Measurement of benchmarks: sides in turn, peaks of memory, exponents, and the machine."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.provenance import cores

PACKAGES = (
    *("pareto_rec", "numba", "numpy", "scipy", "torch", "transformers", "pymoo", "optuna"),
    "lenskit",
)

Row = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Result:
    """Result of one benchmark.

    Attributes:
        name: Its registered name.
        checked: What was found equal before anything was measured, in a sentence.
        rows: A table; all rows have the same columns.
        notes: What must be known to read it, a sentence each.
        files: Pictures that were drawn, by file name.
    """

    name: str
    checked: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def in_turn(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return seconds of every side, all sides in turn, so that a busy machine slows all of them.

    Args:
        sides: Name -> what is measured.
        rounds: Measurements of each.
        warm: Calls of each that do not count.
        clock: What the time is read from.
    """
    for side in sides.values():
        for _ in range(warm):
            side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = clock()
            side()
            seconds[name].append(clock() - began)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each side."""
    return {name: float(np.median(values)) for name, values in seconds.items()}


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of log values over log sizes by least squares: 1 is growth in proportion."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def peak_mb() -> float:
    """Return the peak memory of this process so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def rise_mb(call: Callable[[], object]) -> float | None:
    """Return by how much memory rises at most during a call, in MB; None where no kernel says."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be taken again unseen
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
        before = _status_mb("VmHWM")
        call()
        return _status_mb("VmHWM") - before
    except (OSError, AttributeError):
        return None


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) * 1024 / 1e6


def in_process(module: str, *arguments: str) -> dict[str, Any]:
    """Return what a module prints as JSON in its last line, run as a process of its own.

    Raises:
        RunFailedError: If it fails; its last line of error is repeated.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise RunFailedError(f"{module} {' '.join(arguments)}: {last}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def machine() -> str:
    """Return cores, processor and memory, in a line."""
    model = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        named = [line for line in facts.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{cores()} cores of {model}, {memory:.0f} GB"


def versions() -> str:
    """List the versions of Python and of the packages that matter, in a line."""
    texts = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            texts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(texts)
