"""Processes that die, hang or raise, each without the others: real processes, plain jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pareto_rec.core.errors import RunFailedError
from pareto_rec.execution.workers.pool import (
    MOST_STARTS,
    InProcess,
    Processes,
    Task,
    WorkerDied,
    pinned,
)
from pareto_rec.execution.workers.timeout import OvertimeError, run_with_timeout

KEPT: list[bytes] = []  # in a process of the pool


def call(job: str, argument: Any) -> Any:
    if job == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "sleep":
        time.sleep(argument)
    if job == "grow":
        KEPT.append(b"x" * argument)
    if job == "raise":
        raise RuntimeError(argument)
    if job == "environment":
        return {name: os.environ.get(name) for name in argument}
    if job == "signals":
        return signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
    return os.getpid(), argument


def prepare() -> None:
    pass


@pytest.fixture
def pool() -> Iterator[Processes]:
    made = Processes(call, prepare, pinned(2, []))
    yield made
    made.close()


def test_a_process_that_dies_or_hangs_is_replaced_and_takes_no_other_with_it(
    pool: Processes,
) -> None:
    tasks = [Task("", n) for n in range(4)]
    bad = [Task("kill", None), Task("sleep", 60.0)]
    queue = deque([tasks[0], bad[0], tasks[1], bad[1], *tasks[2:]])
    began = time.monotonic()
    found = list(pool.run(queue, 1.0))
    assert time.monotonic() - began < 30
    assert [task for task, _ in found if task in bad] == bad
    lost = {task.job: result for task, result in found if task in bad}
    assert lost["kill"] == WorkerDied("its worker died (SIGKILL(-9))")
    assert lost["sleep"] == WorkerDied("took more than 1 s", overtime=True)
    results = {task.argument: result for task, result in found if task in tasks}
    assert {n: result[1] for n, result in results.items()} == {n: n for n in range(4)}
    assert os.getpid() not in {result[0] for result in results.values()}


def test_tasks_that_are_added_meanwhile_are_run(pool: Processes) -> None:
    queue = deque([Task("", 0)])
    seen = []
    for task, _ in pool.run(queue, None):
        seen.append(task.argument)
        if task.argument < 3:
            queue.append(Task("", task.argument + 1))
    assert seen == [0, 1, 2, 3]


def test_a_process_that_dies_while_idle_costs_no_task(pool: Processes) -> None:
    [(_, (pid, _))] = pool.run(deque([Task("", 0)]), None)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    [(_, (other, value))] = pool.run(deque([Task("", 1)]), None)
    assert value == 1
    assert other != pid


def test_an_exception_of_a_job_is_the_callers(pool: Processes) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        list(pool.run(deque([Task("raise", "broken")]), None))


def test_workers_never_hear_of_ctrl_c(pool: Processes) -> None:
    [(_, blocked)] = pool.run(deque([Task("signals", None)]), None)
    assert blocked == {signal.SIGINT, signal.SIGTERM}


def die() -> None:
    os._exit(3)


def die_twice(notes: Path) -> None:
    if len(list(notes.iterdir())) < 2:
        (notes / str(os.getpid())).touch()
        os._exit(3)


def test_a_process_that_dies_as_it_starts_is_started_again(tmp_path: Path) -> None:
    pool = Processes(call, partial(die_twice, tmp_path), pinned(1, []))
    try:
        [(_, (_, value))] = pool.run(deque([Task("", 7)]), 5.0)
    finally:
        pool.close()
    assert value == 7


def test_processes_that_never_start_end_it() -> None:
    pool = Processes(call, die, pinned(1, []))
    try:
        with pytest.raises(RunFailedError, match=f"died {MOST_STARTS} times as it started"):
            list(pool.run(deque([Task("", 7)]), None))
    finally:
        pool.close()


def test_processes_are_pinned_to_gpus_in_turn() -> None:
    """With names of devices that are not there: what each process sees is its environment."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    pool = Processes(call, prepare, pinned(3, ["4", "7"]))
    try:  # three tasks at once, before any is ready: one for each process
        found = list(pool.run(deque([Task("environment", names)] * 3), None))
    finally:
        pool.close()
    assert sorted(result["CUDA_VISIBLE_DEVICES"] for _, result in found) == ["4", "4", "7"]
    assert {result["OMP_NUM_THREADS"] for _, result in found} == {"1"}
    assert "CUDA_VISIBLE_DEVICES" not in pinned(1, [])[0]


def test_in_one_process_tasks_are_run_in_turn() -> None:
    pool = InProcess(call)
    found = list(pool.run(deque([Task("", 1), Task("", 2)]), None))
    assert [result for _, result in found] == [(os.getpid(), 1), (os.getpid(), 2)]


def test_a_call_within_its_time() -> None:
    assert run_with_timeout(5.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(5.0, lambda: 1 // 0)


def test_a_call_that_takes_too_long_is_told_to_stop() -> None:
    ended: list[float] = []

    def slow() -> None:
        with suppress(OvertimeError):
            while True:
                time.sleep(0.01)
        ended.append(time.monotonic())

    began = time.monotonic()
    with pytest.raises(OvertimeError, match=r"took more than 0\.2 s"):
        run_with_timeout(0.2, slow)
    assert time.monotonic() - began < 2.0
    while not ended and time.monotonic() - began < 5.0:
        time.sleep(0.01)
    assert ended


def test_a_process_that_has_grown_is_replaced_without_a_word(pool: Processes) -> None:
    """loky looks once a second, and takes 300 MB more than at its first look for a leak."""
    work = [Task("", 1), Task("sleep", 1.1), Task("", 2)]
    grown = [Task("grow", 400_000_000), Task("sleep", 1.1), Task("", 3), Task("sleep", 1.0)]
    found = list(pool.run(deque([*work, *work, *grown, *grown, Task("", 4)]), None))
    assert len(found) == 15
    assert not any(isinstance(result, WorkerDied) for _, result in found)
    pids = {result[0] for _, result in found}
    assert len(pids) > 2  # a warning would be an error in a test


LEAVE = """
import os
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from multiprocessing import resource_tracker
from pareto_rec.execution.workers.pool import _signals_blocked

with _signals_blocked():
    pass
loky_tracker.register("/gone", "semlock")  # as if it had been interrupted while it removed one
resource_tracker.register("/gone", "semaphore")
print(os.environ.get("PYTHONWARNINGS"))
"""


@pytest.mark.parametrize("asked", [None, "ignore::FutureWarning"])
def test_what_is_left_to_clean_up_is_not_told(asked: str | None) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    env |= {"PYTHONWARNINGS": asked} if asked else {}
    said = subprocess.run(
        [sys.executable, "-c", LEAVE], env=env, capture_output=True, text=True, check=True
    )
    assert said.stderr == ""
    assert said.stdout == f"{asked}\n"
