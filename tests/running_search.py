"""Real searches in processes of their own, to be stopped, killed and starved by tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_experiment import (
    COMPUTED,
    ENDLESS,
    environment,
    fresh_cache,
    program,
    write_config,
)
from warm_commands import WarmCommand

KILLS = int(os.environ.get("PARETO_REC_KILLS", "3"))
PATIENCE = 300.0  # seconds for what takes a few on an idle machine


def wait_for(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def hear() -> None:
    """Let Ctrl-C be heard again, which whatever runs in the background of a shell does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def group(leader: int) -> list[int]:
    """Living processes of a process group, zombies left out."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


class Running:
    """A search in a process group of its own, as a shell would start it.

    With `env`, which an interpreter may read as it starts, in an interpreter of its own.
    """

    def __init__(self, run: Path, cache: Path, *arguments: str | Path, **env: str) -> None:
        self.run = run
        self.process = self._begin(cache, arguments, env)

    @staticmethod
    def _begin(
        cache: Path, arguments: tuple[str | Path, ...], env: dict[str, str]
    ) -> subprocess.Popen[str] | WarmCommand:
        if not env:
            words = ["search", *map(str, arguments)]
            return WarmCommand(words, environment(cache), own_session=True)
        return subprocess.Popen(
            program("search", *arguments),
            env=environment(cache, **env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=hear,  # noqa: PLW1509 # it only sets a signal, and no thread runs here
        )

    def wait_for_generations(self, count: int) -> None:
        def reached() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            path = self.run / "run.json"
            return path.is_file() and json.loads(path.read_text())["counts"]["generations"] >= count

        wait_for(reached)

    def records(self) -> int:
        """Whole lines of the store."""
        path = self.run / "records.jsonl"
        return path.read_bytes().count(b"\n") if path.is_file() else 0

    def wait_for_records(self, count: int) -> None:
        def reached() -> bool:
            return self.process.poll() is not None or self.records() >= count

        wait_for(reached)

    def end(self) -> tuple[int, list[str]]:
        """Exit code and lines of standard error, once no process of the group is left."""
        _, said = self.process.communicate(timeout=PATIENCE)
        wait_for(lambda: not group(self.process.pid), 15)
        return self.process.returncode, said.splitlines()


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts searches; kills whatever is left of them at the end."""
    started: list[Running] = []

    def begin(run: Path, cache: Path, *arguments: str | Path, **env: str) -> Running:
        started.append(Running(run, cache, *arguments, **env))
        return started[-1]

    yield begin
    for one in started:
        for pid in group(one.process.pid):
            os.kill(pid, signal.SIGKILL)
        one.process.communicate()


@pytest.fixture
def endless(tmp_path: Path, tiny_cache: Path, start: Start) -> Callable[[int], Running]:
    """Starts a search without end with so many workers."""
    config = write_config(tmp_path / "experiment")
    cache = warmed(tiny_cache, tmp_path)

    def begin(workers: int) -> Running:
        run = tmp_path / "run"
        more = (*ENDLESS, "--workers", str(workers))
        return start(run, cache, config, "--out", run, *more)

    return begin


def warmed(tiny_cache: Path, folder: Path) -> Path:
    """A cache of its own for fits; what precedes them is shared by all tests of this process."""
    return fresh_cache(folder / "cache", tiny_cache, ("data", "backbones", *COMPUTED))
