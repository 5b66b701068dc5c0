"""Pool of workers on this machine: this process, or several that may die one by one."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Protocol

from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from pareto_rec.core.errors import RunFailedError

ONE_THREAD = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS"),
        *("NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    ),
    "1",
)
MOST_STARTS = 5  # times in a row that a process may die before it has begun to work

Call = Callable[[Any, Any], Any]  # a job and its argument; what they are is the caller's affair


@dataclass(frozen=True)
class Task:
    """A job and what it is given.

    Attributes:
        job: What to do.
        argument: What to do it with.
        tries: How often it was begun before.
    """

    job: Any
    argument: Any
    tries: int = 0


@dataclass(frozen=True)
class WorkerDied:
    """In place of a result: the process died, or was ended because it took too long."""

    reason: str
    overtime: bool = False


class Pool(Protocol):
    """Runs tasks."""

    def run(self, queue: deque[Task], limit: float | None) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result or `WorkerDied`, as they finish; exceptions end it all.

        Args:
            queue: Emptied; tasks that are added meanwhile are run, too.
            limit: Seconds that a task may take.
        """

    def close(self) -> None:
        """End every process that was started."""


class InProcess:
    """Runs tasks in this process, which knows no time limit."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def run(self, queue: deque[Task], limit: float | None) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result."""
        assert limit is None, "a call in this process cannot be ended"
        while queue:
            task = queue.popleft()
            yield task, self._call(task.job, task.argument)

    def close(self) -> None:
        """Do nothing: no process was started."""


class Processes:
    """Runs tasks in processes of one thread each.

    Every process has an executor of its own: loky gives up an executor as a whole when one of its
    processes dies, and cannot end a single call. So a process that dies or takes too long is
    replaced, and the others never hear of it.
    """

    def __init__(
        self, call: Call, prepare: Callable[[], object], environments: Sequence[Mapping[str, str]]
    ) -> None:
        """Set up the workers; processes start with their first task.

        Args:
            call: Runs a job on its argument; picklable.
            prepare: Run first in each process and outside the time limit; picklable.
            environments: Variables of each process over those of this one.
        """
        # loky replaces a process that has grown, between two jobs; nothing is lost by it
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        self._slots = [_Slot(call, prepare, environment) for environment in environments]

    def run(self, queue: deque[Task], limit: float | None) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result or `WorkerDied`, as they finish."""
        while queue or any(slot.task for slot in self._slots):
            for slot in self._slots:
                if queue and slot.task is None:
                    slot.give(queue.popleft(), limit)
            busy = [slot for slot in self._slots if slot.task]
            # wait until a task ends or the earliest limit is over, whatever comes first
            ends = [slot.ends - time.monotonic() for slot in busy if slot.ends is not None]
            patience = max(0.0, min(ends)) if ends else None
            wait([slot.future for slot in busy], patience, FIRST_COMPLETED)
            for slot in busy:
                finished = slot.collect()
                if finished is not None:
                    if queue:  # before the caller spends time on the result
                        slot.give(queue.popleft(), limit)
                    yield finished

    def close(self) -> None:
        """End every process and wait for it."""
        for slot in self._slots:
            slot.stop()


class _Slot:
    """Place of one process: what it works on, and until when it may."""

    def __init__(
        self, call: Call, prepare: Callable[[], object], environment: Mapping[str, str]
    ) -> None:
        self._call, self._prepare, self._environment = call, prepare, dict(environment)
        self._executor: ProcessPoolExecutor | None = None
        self._limit: float | None = None
        self._starts = 0
        self._ready = False
        self.task: Task | None = None
        self.ends: float | None = None
        self.future: Future[Any] = Future()

    def give(self, task: Task, limit: float | None) -> None:
        """Work on a task, in a new process where there is none."""
        self.task, self._limit = task, limit
        if self._ready:
            self._submit()
        else:
            self._start()

    def collect(self) -> tuple[Task, Any] | None:
        """Return the task with its result or `WorkerDied` once it has ended; None before."""
        if not self.future.done():
            if self.ends is None or time.monotonic() < self.ends:
                return None
            return self._lose(WorkerDied(f"took more than {self._limit:g} s", overtime=True))
        try:
            result = self.future.result()
        except BrokenProcessPool as error:
            # a process that died before the task began says nothing about the task: start another
            if self._ready:
                return self._lose(WorkerDied(f"its worker died ({_exit_codes(error)})"))
            self._start()
            return None
        if not self._ready:
            # the future was that of `prepare`; the task's time limit begins only now
            self._ready, self._starts = True, 0
            self._submit()
            return None
        return self._free(result)

    def stop(self) -> None:
        """End the process."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
        self._executor, self._ready = None, False

    def _start(self) -> None:
        self.stop()
        if self._starts == MOST_STARTS:
            raise RunFailedError(
                f"a worker died {MOST_STARTS} times as it started, perhaps for want of memory; "
                "go on with --resume and fewer --workers"
            )
        self._starts += 1
        with _signals_blocked():  # the executor, too: its semaphores start a tracker
            self._executor = ProcessPoolExecutor(
                1, env=self._environment, initializer=_end_with, initargs=(os.getpid(),)
            )
            self.future = self._executor.submit(self._prepare)

    def _submit(self) -> None:
        assert self._executor is not None
        assert self.task is not None
        try:
            with _signals_blocked():  # loky may replace a process that has grown too large
                self.future = self._executor.submit(self._call, self.task.job, self.task.argument)
        except BrokenProcessPool:  # it died while it was idle
            self._ready = False
            self._start()
            return
        self.ends = None if self._limit is None else time.monotonic() + self._limit

    def _lose(self, lost: WorkerDied) -> tuple[Task, WorkerDied]:
        self.stop()
        task, _ = self._free(None)
        return task, lost

    def _free(self, result: object) -> tuple[Task, Any]:
        task, self.task, self.ends = self.task, None, None
        assert task is not None
        return task, result


def pinned(count: int, devices: Sequence[str]) -> list[dict[str, str]]:
    """Return environments of worker processes: one thread, and one GPU each where there are any.

    Args:
        count: Number of processes.
        devices: Names of the GPUs that may be used; dealt out in turn.
    """
    if not devices:
        return [ONE_THREAD] * count
    return [
        {**ONE_THREAD, "CUDA_VISIBLE_DEVICES": devices[index % len(devices)]}
        for index in range(count)
    ]


def _exit_codes(error: BaseException) -> str:
    """Shorten loky's text on how a process ended, to for example ``SIGKILL(-9)``."""
    _, separator, codes = str(error).partition("exit codes of the workers are {")
    return codes.partition("}")[0] if separator else "no exit code"


def _start_trackers() -> None:
    """Start the resource trackers with warnings silenced.

    They write to the same terminal as this process and end after it: what an interrupt left for
    them to remove would be the last that is read, in place of how to go on.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        resource_tracker.ensure_running()
        loky_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start children with SIGINT and SIGTERM blocked; the parent handles them.

    Blocked signals are inherited, so no child ever runs with them unblocked. The parent receives
    pending ones when the block ends.
    """
    _start_trackers()  # starting them later would unblock too early
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End when the parent does, however it ends."""

    # a killed parent cannot tell its children; orphans get another parent, which can be polled
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
