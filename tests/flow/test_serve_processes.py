"""Several processes: replaced under load, ended under load, and never left behind."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from learnt_bundle import learnt_bundle
from running_service import HOST, Service, served

from pareto_rec.bundle.files import seal

CLIENTS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learnt_bundle(tmp_path_factory.mktemp("serve"))


class Load:
    """Kept-alive clients that ask again and again, and what became of their requests."""

    def __init__(self, port: int) -> None:
        self.port, self.served, self.problems = port, 0, list[str]()
        self.refused = 0  # connections that nobody took any more: the service has ended
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for one in self._threads:
            one.start()

    def _ask(self) -> None:
        body, kind = json.dumps({"user": "u1"}), {"content-type": "application/json"}
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                self.refused += 1
                return
            try:
                self._go_on(connection, body, kind)
            except OSError as error:
                self.problems.append(repr(error))
            finally:
                connection.close()

    def _go_on(
        self, connection: http.client.HTTPConnection, body: str, kind: dict[str, str]
    ) -> None:
        while not self._stop.is_set():
            connection.request("POST", "/recommend", body, kind)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                self.problems.append(str(answer.status))
            self.served += 1
            if answer.will_close:
                return
            time.sleep(0.1)

    def until(self, served: int) -> None:
        """Wait for so many more answers."""
        goal, ends = self.served + served, time.monotonic() + 60
        while self.served < goal and time.monotonic() < ends:
            time.sleep(0.02)
        assert self.served >= goal

    def stop(self) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()


def children(process: int) -> set[int]:
    """Processes that it started and that answer requests."""
    found = set()
    for one in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        with suppress(OSError):  # it has ended meanwhile
            if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes():
                found.add(int(one))
    return found


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def within(seconds: float, true: object) -> bool:
    until = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < until:  # type: ignore[operator]
        time.sleep(0.05)
    return bool(done)


@pytest.fixture(scope="module")
def two(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A service of two processes, and the link to the bundle that it was given."""
    link = tmp_path_factory.mktemp("two") / "current"
    link.symlink_to(folder)
    with served(link, "--workers", "2") as running:
        yield running, link


def shared(process: int) -> dict[str, str]:
    """Name -> number of each piece of sealed memory that a process has mapped."""
    found = re.findall(r"(\d+) +/memfd:pareto-rec (\S+)", Path(f"/proc/{process}/maps").read_text())
    return {name: number for number, name in found}


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="nothing tells what is mapped")
def test_processes_map_one_copy_of_bundle_and_encoder(two: tuple[Service, Path]) -> None:
    parent = two[0].process.pid
    first, second = (shared(worker) for worker in children(parent))
    assert first == second
    assert {"experts.safetensors", "items.safetensors", "backbone/model.safetensors"} <= set(first)
    assert "libtorch" not in Path(f"/proc/{parent}/maps").read_text()


def test_a_reload_that_fails_leaves_the_old_processes(
    two: tuple[Service, Path], folder: Path
) -> None:
    """The next version of the bundle is damaged."""
    running, link = two
    before = children(running.process.pid)
    link.unlink()
    link.symlink_to(folder / "nothing")
    running.process.send_signal(signal.SIGHUP)
    assert running.process.stderr is not None
    line = running.process.stderr.readline()
    link.unlink()
    link.symlink_to(folder)
    assert "reload given up" in line
    assert str(link) in line
    assert children(running.process.pid) == before
    assert running.client.recommend(user="u1").status == 200


def test_a_process_that_is_killed_under_load_is_replaced(two: tuple[Service, Path]) -> None:
    running, _ = two
    load, parent = Load(running.client.port), running.process.pid
    try:
        load.until(50)
        before = children(parent)
        os.kill(min(before), signal.SIGKILL)  # resets what it was answering
        assert within(300, lambda: len(children(parent) - before) == 1)
        load.until(20)
    finally:
        load.stop()
    assert len(children(parent) & before) == 1
    resets = [one for one in load.problems if "Reset" in one or "Disconnected" in one]
    assert len(resets) <= CLIENTS


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_no_request_fails_by_another_version_or_by_the_end(
    folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The bundle is a link to a version of it, which the next one takes over.

    At the end the service is first not ready, then closes, and is gone within 10 seconds.
    """
    link, other = tmp_path / "current", tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "README.md").write_text("the next version\n")
    version = seal(other)
    link.symlink_to(folder)
    with served(link, *options) as running:
        load, before = Load(running.client.port), children(running.process.pid)
        load.until(50)
        assert running.client.health()["version"] != version
        link.unlink()
        link.symlink_to(other)
        running.process.send_signal(signal.SIGHUP)
        assert within(300, lambda: not before & children(running.process.pid))
        load.until(20)
        assert running.client.health()["version"] == version
        assert len(children(running.process.pid)) == len(before)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert within(2, lambda: unready(running))
        _, said = running.process.communicate(timeout=60)
        taken = time.monotonic() - began
        load.stop()
    assert (running.process.returncode, said) == (0, "")
    assert taken < 10
    assert load.problems == []
    assert load.refused == CLIENTS


def unready(running: Service) -> bool:
    try:
        answer = running.client.ask("GET", "/health")
    except OSError:
        return False
    return (answer.status, answer.content["status"]) == (503, "stopping")


def test_killed_services_leave_no_process_and_nothing_for_the_next(
    folder: Path, tmp_path: Path
) -> None:
    """All at once, whose file of items stays until the next start; then the parent alone."""
    with served(folder, "--workers", "2", "--allow-items", temporary=tmp_path) as running:
        assert len(list(tmp_path.glob(".pareto-rec.*/items.jsonl"))) == 1
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
    assert list(tmp_path.iterdir())
    with served(folder, "--workers", "2", temporary=tmp_path) as running:
        assert list(tmp_path.iterdir()) == []
        workers = children(running.process.pid)
        assert len(workers) == 2
        running.process.kill()
        assert within(20, lambda: all(map(gone, workers)))
