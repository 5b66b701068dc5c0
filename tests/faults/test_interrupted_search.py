"""A search that is stopped, killed or loses its disk: what was recorded can be read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_search import Running, warmed
from tiny_experiment import ENDLESS, pareto_rec, records, write_config

from pareto_rec.core.errors import RunFailedError
from pareto_rec.runs.directory import RunDirectory
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.record import Record


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are read from /proc")
@pytest.mark.parametrize(("stop", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_stopped_search_ends_cleanly(
    endless: Callable[[int], Running], stop: signal.Signals, workers: int, tiny_cache: Path
) -> None:
    running = endless(workers)
    running.wait_for_generations(1)
    other = pareto_rec("search", running.run, "--resume", cache=tiny_cache)
    assert other.returncode == 2
    refusal = (
        f"error: {running.run} is being written by another process; wait for its end or stop it"
    )
    assert other.stderr == refusal + "\n"
    assert running.process.poll() is None
    if stop is signal.SIGINT:
        os.killpg(running.process.pid, stop)  # Ctrl-C reaches every process of the terminal
    else:
        running.process.send_signal(stop)
    code, said = running.end()
    assert code == 130
    ending = f"interrupted: what was evaluated so far is in {running.run}; "
    assert said[-1].startswith(ending), said
    assert said[-1].endswith(
        f"go on with: pareto-rec search {running.run} --resume --workers {workers}"
    )
    progress = [line for line in said[:-1] if not line.startswith("[")]
    assert progress[-1:] == ["searching"], progress  # no traceback, no warning, nothing else
    view = read_run(running.run)
    assert view.info["status"] == "interrupted"
    assert len(view.records) == len(records(running.run)) == view.info["counts"]["records"]
    assert {path.stem for path in (running.run / "fits").iterdir()} == set(view.front["fit"])
    assert not list(running.run.glob(".*"))  # no file half-written


@pytest.mark.skipif(sys.platform != "linux", reason="process groups are read from /proc")
def test_a_killed_search_can_be_read(endless: Callable[[int], Running], tiny_cache: Path) -> None:
    running = endless(2)
    running.wait_for_generations(2)
    running.process.kill()
    code, _ = running.end()  # the workers follow by themselves
    assert code == -signal.SIGKILL
    content = (running.run / "records.jsonl").read_bytes()
    assert content.count(b"\n") >= 2 * 4 * 4
    assert json.loads((running.run / "run.json").read_text())["status"] == "running"
    with (running.run / "records.jsonl").open("ab") as store:
        store.write(b'{"id":"what a kill leaves of a li')
    said = pareto_rec("report", running.run, cache=tiny_cache)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(
        "this run is not complete (status: stopped without a word, last sign of life at 20"
    )
    assert (running.run / "report.html").is_file()


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
    cache = warmed(tiny_cache, tmp_path)
    said = full_disk(config, cache, run)
    assert said[-1].startswith(f"failed: {run}/")
    assert "cannot be written: No space left on device; every record before is kept" in said[-1]
    assert len(records(run)) >= 24
    assert len(records(run)) % 24 == 0  # whole packs alone
    assert json.loads((run / "run.json").read_text())["counts"]["records"] <= len(records(run))
    assert not list(run.glob(".*"))
    before = (run / "records.jsonl").read_bytes()
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    budget = ("--set", f"search.generations={records(run)[-1]['generation'] + 1}")
    on = pareto_rec("search", run, "--resume", *budget, "--workers", "1", cache=cache)
    assert on.returncode == 0, on.stderr
    assert (run / "records.jsonl").read_bytes().startswith(before)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def test_a_full_cache_is_no_fault_of_the_candidates(
    small_disk: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """A fit takes more than the 100 KiB that are left for fits."""
    config = write_config(tmp_path / "experiment")
    cache = warmed(tiny_cache, tmp_path)
    (cache / "fits").symlink_to(small_disk)
    said = full_disk(config, cache, tmp_path / "run")
    assert said[-1].startswith("failed: a fit cannot be stored: ")
    assert "free some space" in said[-1]


FILL = """
import resource, sys
from pathlib import Path
from pareto_rec.cli.main import _explain
from pareto_rec.runs.record import Record
from pareto_rec.runs.directory import RunDirectory

run = RunDirectory.create(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    for count in range(1000):
        told = "own", {}, {}, "ok", {"a": count / 3}
        run.append([Record(f"{count}", "f", {"f": 1.0}, 0, 0, count, *told)])
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
    record = Record("a", "f", {"f": 1.0}, 0, 0, 0, "own", {}, {}, "ok", {"x": 1.0})
    run.append([record])
    stream = run._store._stream

    class Failing:
        def write(self, content: bytes) -> int:
            stream.write(content[:10])
            raise OSError(28, "No space left on device")

        truncate, seek, fileno = stream.truncate, stream.seek, stream.fileno

    run._store._stream = Failing()  # type: ignore[assignment]  # the methods that are called
    with pytest.raises(RunFailedError, match="No space left on device"):
        run.append([record])
    run._store._stream = stream
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
    kept = json.loads((run.path / "run.json").read_text())
    assert kept.pop("checksum")
    assert kept == {"status": "running"}
    assert sorted(path.name for path in run.path.iterdir()) == [
        *("front.csv", "records.jsonl", "run.json"),
    ]
