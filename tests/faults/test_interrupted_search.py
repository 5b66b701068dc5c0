"""A search that is stopped, killed, loses a worker or its disk: what was recorded can be read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_experiment import (
    ENDLESS,
    environment,
    fresh_cache,
    pareto_rec,
    program,
    records,
    write_config,
)

from pareto_rec.errors import RunFailedError
from pareto_rec.records import Record, RunDirectory
from pareto_rec.runread import read_run

PATIENCE = 120.0  # seconds for what takes a few on an idle machine
COMPUTED = ("data", "backbones", "features", "experts", "baselines")


def wait_for(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


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
    """A search without end in a process group of its own, as a shell would start it."""

    def __init__(self, run: Path, config: Path, cache: Path, workers: int) -> None:
        arguments = program("search", config, "--out", run, *ENDLESS, "--workers", str(workers))
        self.run = run
        self.process = subprocess.Popen(
            arguments,
            env=environment(cache),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_for_generations(self, count: int) -> None:
        def reached() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            path = self.run / "run.json"
            return path.is_file() and json.loads(path.read_text())["counts"]["generations"] >= count

        wait_for(reached)

    def end(self) -> tuple[int, list[str]]:
        """Exit code and lines of standard error, once no process of the group is left."""
        _, said = self.process.communicate(timeout=PATIENCE)
        wait_for(lambda: not group(self.process.pid), 15)
        return self.process.returncode, said.splitlines()


@pytest.fixture
def start(tmp_path: Path, tiny_cache: Path) -> Iterator[Callable[[int], Running]]:
    """Starts a search; kills whatever is left of it at the end."""
    config = write_config(tmp_path / "experiment")
    cache = warmed(tiny_cache, config, tmp_path)
    started: list[Running] = []

    def begin(workers: int) -> Running:
        started.append(Running(tmp_path / "run", config, cache, workers))
        return started[-1]

    yield begin
    for one in started:
        for pid in group(one.process.pid):
            os.kill(pid, signal.SIGKILL)
        one.process.communicate()


def warmed(tiny_cache: Path, config: Path, folder: Path) -> Path:
    """A cache of its own for fits; what precedes them is computed once for all tests."""
    if not (tiny_cache / "baselines").is_dir():
        said = pareto_rec("search", config, "--smoke", "--out", folder / "warm", cache=tiny_cache)
        assert said.returncode == 0, said.stderr
    return fresh_cache(folder / "cache", tiny_cache, COMPUTED)


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are read from /proc")
@pytest.mark.parametrize(("stop", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_stopped_search_ends_cleanly(
    start: Callable[[int], Running], stop: signal.Signals, workers: int
) -> None:
    running = start(workers)
    running.wait_for_generations(1)
    if stop is signal.SIGINT:
        os.killpg(running.process.pid, stop)  # Ctrl-C reaches every process of the terminal
    else:
        running.process.send_signal(stop)
    code, said = running.end()
    assert code == 130
    assert said[-1].startswith(f"interrupted: what was evaluated so far is in {running.run}; ")
    assert "the same command trains none of its fits again" in said[-1]
    progress = [line for line in said[:-1] if not line.startswith("[")]
    assert progress[-1:] == ["searching"], progress  # no traceback, no warning, nothing else
    view = read_run(running.run)
    assert view.info["status"] == "interrupted"
    assert len(view.records) == len(records(running.run)) == view.info["counts"]["records"]
    assert {path.stem for path in (running.run / "fits").iterdir()} == set(view.front["fit"])
    assert not list(running.run.glob(".*"))  # no file half-written


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are read from /proc")
def test_a_killed_search_can_be_read(start: Callable[[int], Running], tiny_cache: Path) -> None:
    running = start(2)
    running.wait_for_generations(2)
    running.process.kill()
    code, _ = running.end()  # the workers follow by themselves
    assert code == -signal.SIGKILL
    lines = (running.run / "records.jsonl").read_bytes().split(b"\n")
    whole = [json.loads(line) for line in lines[:-1]]
    assert len(whole) >= 2 * 4 * 4
    info = json.loads((running.run / "run.json").read_text())
    assert info["status"] == "running"
    if lines[-1]:  # the kill may have cut the last line
        (running.run / "records.jsonl").write_bytes(b"\n".join(lines[:-1]) + b"\n")
    said = pareto_rec("report", running.run, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("this run is not complete (status: running)\n")
    assert (running.run / "report.html").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are read from /proc")
def test_a_worker_that_dies_ends_the_run_with_one_line(start: Callable[[int], Running]) -> None:
    running = start(2)
    running.wait_for_generations(1)
    info = json.loads((running.run / "run.json").read_text())
    children = [pid for pid in group(running.process.pid) if pid != running.process.pid]
    sizes = {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children}
    os.kill(max(sizes, key=lambda pid: sizes[pid]), signal.SIGKILL)
    code, said = running.end()
    assert code == 1
    assert said[-1].startswith("failed: one of 2 workers died")
    assert not any("Traceback" in line for line in said)
    view = read_run(running.run)
    assert view.info["status"] == "failed"
    assert len(view.records) >= info["counts"]["records"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def full_disk(config: Path, cache: Path, out: Path) -> list[str]:
    """Search on until the disk is full; lines of standard error."""
    more = ("--set", "baselines=[]", "--set", "search.sweep=24", "--workers", "1")
    said = pareto_rec("search", config, "--out", out, *ENDLESS, *more, cache=cache)
    assert said.returncode == 1
    assert "Traceback" not in said.stderr
    return said.stderr.splitlines()


def test_a_full_disk_keeps_what_was_recorded(
    small_disk: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "experiment")
    run = small_disk / "run"
    said = full_disk(config, warmed(tiny_cache, config, tmp_path), run)
    assert said[-1].startswith(f"failed: {run}/")
    assert "cannot be written: No space left on device; every record before is kept" in said[-1]
    assert len(records(run)) >= 24
    assert len(records(run)) % 24 == 0  # whole packs alone
    assert json.loads((run / "run.json").read_text())["counts"]["records"] <= len(records(run))
    assert not list(run.glob(".*"))


def test_a_full_cache_is_no_fault_of_the_candidates(
    small_disk: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """A fit takes more than the 100 KiB that are left for fits."""
    config = write_config(tmp_path / "experiment")
    cache = warmed(tiny_cache, config, tmp_path)
    (cache / "fits").symlink_to(small_disk)
    said = full_disk(config, cache, tmp_path / "run")
    assert said[-1].startswith("failed: a fit cannot be stored: ")
    assert "free some space" in said[-1]


FILL = """
import resource, sys
from pathlib import Path
from pareto_rec.cli import _explain
from pareto_rec.records import Record, RunDirectory

run = RunDirectory.create(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    for count in range(1000):
        run.append([Record(f"{count}", "f", 0, 0, count, "own", {}, {}, "ok", {"a": count / 3})])
except Exception as error:
    _explain(error)
"""


def test_a_file_that_cannot_grow_ends_with_a_whole_record(tmp_path: Path) -> None:
    """Needs no right to mount: the kernel limits the size of the file."""
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    line = f"failed: {run / 'records.jsonl'} cannot be written: File too large; every record"
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert [one["id"] for one in records(run)] == [str(n) for n in range(len(records(run)))]
    assert len(records(run)) > 40


def test_writing_goes_on_after_the_disk_was_full(tmp_path: Path) -> None:
    """Half a line that a failed write left behind never stands between two whole ones."""
    run = RunDirectory.create(tmp_path / "run")
    record = Record("a", "f", 0, 0, 0, "own", {}, {}, "ok", {"x": 1.0})
    run.append([record])
    store = run._store

    class Failing:
        def write(self, content: bytes) -> int:
            store.write(content[:10])
            raise OSError(28, "No space left on device")

        truncate, seek = store.truncate, store.seek

    run._store = Failing()  # type: ignore[assignment]  # the methods that are called
    with pytest.raises(RunFailedError, match="No space left on device"):
        run.append([record])
    run._store = store
    run.append([record])
    run.close()
    assert len(records(run.path)) == 2


def test_every_other_file_is_whole_or_as_before(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        run.write_json("run.json", {"status": "running"})
        with pytest.raises(ValueError, match="JSON compliant"):
            run.write_json("run.json", {"status": float("nan")})
        (run.path / "front.csv").mkdir()  # a rename onto a folder fails as a full disk does
        with pytest.raises(RunFailedError, match=r"front\.csv cannot be written"):
            run.write_table("front.csv", [{"a": 1}])
    assert json.loads((run.path / "run.json").read_text()) == {"status": "running"}
    assert sorted(path.name for path in run.path.iterdir()) == [
        *("front.csv", "records.jsonl", "run.json"),
    ]


def test_checking_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    RunDirectory.check(tmp_path / "a" / "b" / "run")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    RunDirectory.check(tmp_path / "a")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
