"""A search that is killed at random moments and goes on each time ends as if nothing had happened.

Three kills; as many as PARETO_REC_KILLS says where that is set.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from running_search import KILLS, Running, Start, group, wait_for, warmed
from tiny_experiment import outside_timing, pareto_rec, write_config

from pareto_rec.core.checksums import signed
from pareto_rec.core.errors import BadRequestError
from pareto_rec.execution.resume import newest_run
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.training.checkpoints import FOLDER

GENERATIONS, FITS, SWEEP = 4, 4, 4
RECORDS = GENERATIONS * FITS * SWEEP
OPTIONS = (
    *("--set", f"search.generations={GENERATIONS}", "--set", f"search.population={FITS}"),
    *("--set", "train.pack_size=2", "--set", "fixed.steps=20"),
)
HALVED = (
    *("--set", "search.generations=3", "--set", f"search.population={FITS}"),
    *("--set", "train.pack_size=2", "--set", "fixed.steps=60", "--set", "fixed.check_every=20"),
    *("--set", "search.fidelity={rungs=[20,40]}"),
)


@dataclass(frozen=True)
class Whole:
    """A search that nobody interrupted."""

    config: Path
    run: Path
    caches: Path  # a cache that knows no fit is made from what lies here


@pytest.fixture(scope="module")
def whole(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    config = write_config(folder / "experiment")
    cache = warmed(tiny_cache, folder)
    said = pareto_rec("search", config, "--out", folder / "run", *OPTIONS, cache=cache)
    assert said.returncode == 0, said.stderr
    return Whole(config, folder / "run", tiny_cache)


def same(run: Path, other: Path) -> None:
    """Records outside timing, the tables byte by byte, hypervolumes of every generation."""
    assert outside_timing(run) == outside_timing(other)
    for name in ("front.csv", "baselines.csv", "lists.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    info, whole = (json.loads((path / "run.json").read_text()) for path in (run, other))
    assert info["history"] == whole["history"]
    assert info["hypervolume"] == whole["hypervolume"]
    assert info["status"] == whole["status"] == "finished"
    assert {**info["counts"], "retried": 0} == whole["counts"]


def test_the_search_is_long_enough_to_be_killed_anywhere(whole: Whole) -> None:
    history = json.loads((whole.run / "run.json").read_text())["history"]
    assert len(outside_timing(whole.run)) == RECORDS
    assert [one["generation"] for one in history] == list(range(GENERATIONS))
    assert history[-1]["hypervolume"] > history[0]["hypervolume"] > 0


@pytest.mark.parametrize(("workers", "kills"), [(1, KILLS - KILLS // 2), (2, KILLS // 2)])
def test_killed_at_random_moments(
    workers: int, kills: int, whole: Whole, start: Start, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"random.Random({seed})")  # shown where the test fails
    moments = random.Random(seed)
    cache, run = warmed(whole.caches, tmp_path), tmp_path / "run"
    begin = (whole.config, "--out", run, *OPTIONS, "--resume", "--workers", str(workers))
    resume = (run, "--resume", "--workers", str(workers))
    for left in range(kills, 0, -1):
        here = begin if left % 2 else resume  # both ways to say it
        running = start(run, cache, *(here if (run / "records.jsonl").exists() else begin))
        before = running.records()
        running.wait_for_records(
            before + 1 + moments.randrange(max(1, (RECORDS - before) // (left + 1)))
        )
        time.sleep(moments.random() * 0.2)
        running.process.kill()
        code, _ = running.end()
        assert code in (-signal.SIGKILL, 0)
    with (run / "records.jsonl").open("ab") as store:
        store.write(b'{"id":"a line cut sh')
    said = pareto_rec("search", run, "--resume", cache=cache)  # any number of workers will do
    assert said.returncode == 0, said.stderr
    assert "records.jsonl: the last line was cut short" in said.stderr
    same(run, whole.run)
    resumed = json.loads((run / "run.json").read_text())["resumed"]
    assert 1 <= resumed["times"] <= kills
    assert resumed["torn_bytes"] >= 20


def between_rungs(running: Running, cache: Path, records: int) -> bool:
    """Whether a search is in the middle of a generation that has at least so many records."""
    some = any((cache / "fits" / FOLDER).glob("*.safetensors"))
    return running.process.poll() is not None or (some and running.records() >= records)


@pytest.fixture(scope="module")
def halved(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with rungs that nobody interrupted."""
    folder = tmp_path_factory.mktemp("halved")
    cache, run = warmed(whole.caches, folder), folder / "run"
    said = pareto_rec("search", whole.config, "--out", run, *HALVED, cache=cache)
    assert said.returncode == 0, said.stderr
    counts = json.loads((run / "run.json").read_text())["counts"]
    assert (counts["pruned"], counts["steps"]) == (3 * 3 * SWEEP, 3 * 20 * (4 + 2 + 1))
    return run


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_between_rungs(
    workers: int, whole: Whole, halved: Path, start: Start, tmp_path: Path
) -> None:
    """Wherever it is killed, the same fits stop and the others end as they would have."""
    cache = warmed(whole.caches, tmp_path)
    run, moments = tmp_path / "run", random.Random(workers)
    begin = (whole.config, "--out", run, *HALVED, "--resume", "--workers", str(workers))
    for _ in range(KILLS // 2 + 2 - workers):
        running = start(run, cache, *begin)
        before = running.records()
        wait_for(partial(between_rungs, running, cache, before))
        time.sleep(moments.random() * 0.3)
        running.process.kill()
        running.end()
    said = pareto_rec("search", run, "--resume", cache=cache)
    assert said.returncode == 0, said.stderr
    same(run, halved)
    assert not list((cache / "fits" / FOLDER).glob("*.safetensors"))


@dataclass(frozen=True)
class Cluster:
    """A Dask scheduler with two workers of one thread, processes of their own."""

    address: str
    leader: int

    def workers(self) -> list[int]:
        """Processes that evaluate, not those that look after them."""
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in group(self.leader)}
        return [pid for pid, line in lines.items() if b"spawn_main" in line]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    place = tmp_path / "scheduler.json"
    common = ("--no-dashboard", "--scheduler-file", str(place))
    commands = (
        ("scheduler", "--host", "127.0.0.1", "--port", "0", *common),
        ("worker", "--nworkers", "2", "--nthreads", "1", *common),
    )
    started = []
    with (tmp_path / "dask.log").open("w") as log:
        for command in commands:
            line = [sys.executable, "-m", "dask", *command]
            started.append(
                subprocess.Popen(
                    line, cwd=Path.cwd(), stdout=log, stderr=log, start_new_session=True
                )
            )
            wait_for(place.exists)
    address = json.loads(place.read_text())["address"].replace("tcp://", "dask://")
    yield Cluster(address, started[-1].pid)
    for process in reversed(started):
        for pid in group(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def test_killed_on_a_cluster(cluster: Cluster, whole: Whole, start: Start, tmp_path: Path) -> None:
    """First one of its workers, then the search itself; it ends as on one machine."""
    cache, run = warmed(whole.caches, tmp_path), tmp_path / "run"
    backend = ("--backend", cluster.address)
    running = start(run, cache, whole.config, "--out", run, *OPTIONS, *backend)
    running.wait_for_records(RECORDS // 4)
    os.kill(random.choice(cluster.workers()), signal.SIGKILL)
    running.wait_for_records(RECORDS // 2)
    assert running.process.poll() is None
    running.process.kill()
    running.end()
    assert RECORDS // 2 <= running.records() < RECORDS
    said = pareto_rec("search", run, "--resume", *backend, cache=cache)
    assert said.returncode == 0, said.stderr
    same(run, whole.run)


def test_a_finished_run_goes_on_with_a_larger_budget(whole: Whole, tmp_path: Path) -> None:
    """And so does one whose fits are no longer cached."""
    run, folder = tmp_path / "run", tmp_path / "first"
    folder.mkdir()
    cache = warmed(whole.caches, folder)
    less = OPTIONS[2:]
    short = ("--set", f"search.generations={GENERATIONS - 2}")
    said = pareto_rec("search", whole.config, "--out", run, *less, *short, cache=cache)
    assert said.returncode == 0, said.stderr
    records = (run / "records.jsonl").read_bytes()
    emptied = warmed(whole.caches, tmp_path)
    more = ("--resume", "--set", f"search.generations={GENERATIONS}")
    said = pareto_rec("search", run, *more, cache=emptied)
    assert said.returncode == 0, said.stderr
    assert f"going on after {len(records.splitlines())} records" in said.stderr
    assert (run / "records.jsonl").read_bytes().startswith(records)
    same(run, whole.run)


@pytest.fixture
def copied(whole: Whole, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.run, tmp_path / "copied"))


def test_what_would_lead_elsewhere_is_refused_in_one_line(copied: Path, tiny_cache: Path) -> None:
    before = (copied / "records.jsonl").read_bytes()
    other = ("--set", "seed=5", "--set", "fixed.width=16")
    said = pareto_rec("search", copied, "--resume", *other, cache=tiny_cache)
    assert said.returncode == 2
    line = (
        f"error: {copied} cannot go on as it began: seed: 0 -> 5; fixed.width: 8 -> 16; undo that"
    )
    assert said.stderr.startswith(line)
    assert said.stderr.count("\n") == 1
    assert (copied / "records.jsonl").read_bytes() == before


def refusal(run: Path, cache: Path, *overrides: str) -> str:
    """What going on with a run is refused with; its records stay as they are."""
    before = (run / "records.jsonl").read_bytes()
    config = load_config(run, overrides)
    with pytest.raises(BadRequestError) as caught:
        search_experiment(config, run, cache=cache, workers=1, resume=True)
    assert (run / "records.jsonl").read_bytes() == before
    return str(caught.value)


def changed(path: Path, *keys: str, value: str) -> None:
    """Change one value of a JSON file, and its checksum with it."""
    content = json.loads(path.read_text())
    here = content
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    path.write_text(json.dumps(signed(content)))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (("versions", "torch"), "torch: 'other' -> "),
        (("hashes", "code"), "code of pareto_rec has changed"),
        (("hashes", "stage"), "data has changed"),
        (("hardware", "device"), "device: 'other' -> "),
    ],
)
def test_other_packages_code_and_data_are_refused(
    keys: tuple[str, ...], says: str, copied: Path, tiny_cache: Path
) -> None:
    changed(copied / "run.json", *keys, value="other")
    assert says in refusal(copied, tiny_cache)


def test_a_run_without_its_description_is_refused(copied: Path, tiny_cache: Path) -> None:
    (copied / "run.json").write_text("{")
    assert "run.json cannot be read" in refusal(copied, tiny_cache)
    (copied / "run.json").unlink()
    assert "nothing says what the run was begun with" in refusal(copied, tiny_cache)


def test_a_damaged_store_is_refused_and_left_alone(copied: Path, tiny_cache: Path) -> None:
    path = copied / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2][:50] + "\n", *lines[3:]]))
    assert f"{path}, line 3: not a record (" in refusal(copied, tiny_cache)
    first, second = json.loads(lines[0]), json.loads(lines[1])
    first["id"], second["id"] = second["id"], first["id"]
    swapped = [json.dumps(signed(one)) + "\n" for one in (first, second)]
    path.write_text("".join([*swapped, *lines[2:]]))
    assert f"{path}, line 1: the search does not ask for this record" in refusal(copied, tiny_cache)


def test_fewer_generations_than_there_are_is_refused(copied: Path, tiny_cache: Path) -> None:
    says = refusal(copied, tiny_cache, "search.generations=2")
    assert f"holds {GENERATIONS} generations already" in says


def test_a_read_only_run_is_refused(copied: Path, tiny_cache: Path) -> None:
    mount = ["mount", "--bind", str(copied), str(copied)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("a folder cannot be mounted read-only here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(copied)], check=True)
        assert f"{copied} cannot be written: Read-only file system" in refusal(copied, tiny_cache)
    finally:
        subprocess.run(["umount", str(copied)], check=True)


def test_where_there_is_nothing_to_go_on_with(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config without a run is refused; it might be the wrong folder that one stands in."""
    monkeypatch.chdir(tmp_path)
    said = pareto_rec("search", whole.config, "--resume", cache=whole.caches)
    assert said.returncode == 2
    assert "no run to go on with in results/tiny" in said.stderr


def test_the_newest_run_is_the_one_written_to_last(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for name, moment in (("b", 2), ("a", 3), ("c", 1)):
        path = tmp_path / name / "records.jsonl"
        path.parent.mkdir()
        path.touch()
        os.utime(path, (moment, moment))
    assert newest_run(tmp_path) == tmp_path / "a"
