"""Provenance of a run: versions, hardware, commit, memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("pareto_rec", "torch", "transformers", "pymoo", "moocore", "numpy", "scipy", "scikit-learn"),
    *("numba", "pandas", "joblib", "safetensors", "torchjd"),
)


def provenance(device: str) -> dict[str, Any]:
    """Return versions of the packages that matter, hardware, and the commit where there is one."""
    return {"versions": versions(), "hardware": _hardware(device), "git_commit": _commit()}


def versions() -> dict[str, str]:
    """Return the version of Python and of every package that matters, by name."""
    numbers = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "not installed"
    return numbers


def cores() -> int:
    """Return processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _hardware(device: str) -> dict[str, Any]:
    return {
        "device": device,
        "cpus": cores(),
        "cpu": _cpu_name(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """Return the commit of the source tree of this package, marked when files differ."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # An installed copy may lie in another working tree: check that git tracks it.
        _output([*git, "ls-files", "--error-unmatch", Path(__file__).name])
        return (
            _output([*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]) or None
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


class PeakMemory:
    """Peak memory of this process and of the processes that it started, as the kernel counts it.

    The largest resident set of each process, read from ``/proc`` (Linux): it counts pages that
    processes share once for each of them, so that the sum is an upper bound. Elsewhere only this
    process is known. ``getrusage`` would not do for children: theirs begins at the parent's.
    """

    def __init__(self) -> None:
        self._children: dict[int, float] = {}

    def look(self) -> None:
        """Look at the processes that run now; ended ones keep their last value."""
        for listing in Path("/proc/self/task").glob("*/children"):
            for pid in _read(listing).split():
                peak = _high_water(Path(f"/proc/{pid}/status"))
                if peak is not None:
                    self._children[int(pid)] = peak

    def summary(self) -> dict[str, Any]:
        """Return peaks in MiB: this process, each other one, and their sum."""
        main = _high_water(Path("/proc/self/status")) or _own_peak()
        others = sorted((round(peak, 1) for peak in self._children.values()), reverse=True)
        return {"main": round(main, 1), "children": others, "sum": round(main + sum(others), 1)}


def _high_water(status: Path) -> float | None:
    """Return the largest resident set of a process in MiB."""
    lines = [line for line in _read(status).splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else None


def _own_peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended, or there is no such file on this system
        return ""
