"""Jobs on a Dask cluster.

Through the futures of Dask's own client. joblib's Dask backend waits for ever once the scheduler
has given up a task (its workers died too often): it never learns of futures that fail (joblib 1.6).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.execution.workers.pool import Call, Task, WorkerDied

if TYPE_CHECKING:
    from distributed import Client, Future

SCHEME = "dask://"
PATIENCE = 60.0  # seconds without any worker before the run gives up
ANSWER = 10.0  # seconds that a scheduler may take to answer
_LOOK = 5.0  # seconds between two looks at the connected workers


class Cluster:
    """Runs tasks on the workers of a Dask scheduler, and follows their coming and going.

    A task whose worker dies is given to another one by the scheduler, by its own rule (three
    times unless it is configured otherwise).
    """

    def __init__(self, address: str, call: Call) -> None:
        """Connect to the scheduler.

        Args:
            address: ``dask://HOST:PORT`` of a scheduler.
            call: Runs a job on its argument and a time limit (or None); picklable.

        Raises:
            BadRequestError: If Dask is not installed, the address is malformed, or no scheduler
                answers.
        """
        self._call = call
        self._address = address
        self._client = _connect(address)
        self._seen = time.monotonic()

    @property
    def size(self) -> int:
        """Threads of all workers."""
        return sum(self._client.nthreads().values())

    def run(self, queue: deque[Task], limit: float | None) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result or `WorkerDied`, as they finish.

        Raises:
            RunFailedError: If the scheduler is gone, or has had no worker for a minute.
        """
        from distributed import TimeoutError as NothingYet
        from distributed import wait

        running: dict[Future, Task] = {}
        try:
            while queue or running:
                size = self._workers()
                while queue and len(running) < max(1, size):
                    task = queue.popleft()
                    job = (task.job, task.argument, limit)
                    running[self._client.submit(self._call, *job, pure=False)] = task
                try:
                    with self._client.as_current():
                        wait(list(running), timeout=_LOOK, return_when="FIRST_COMPLETED")
                except NothingYet:
                    continue
                for future in [one for one in running if one.done()]:
                    yield running.pop(future), self._result(future)
        finally:
            with suppress(OSError):  # the scheduler may be gone
                self._client.cancel(list(running))

    def _workers(self) -> int:
        """Return threads of all workers; gives up when there are none for long."""
        if self._client.status != "running":
            raise self._gone()
        try:
            size = self.size
        except OSError:
            raise self._gone() from None
        if size:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > PATIENCE:
            raise RunFailedError(
                f"{self._address} has had no worker for {PATIENCE:.0f} s; start some, and go on "
                "with --resume"
            )
        return size

    def _result(self, future: Future) -> Any:
        from distributed import KilledWorker

        if future.status in ("cancelled", "lost"):
            raise self._gone()
        try:
            return future.result()
        except KilledWorker:
            return WorkerDied("its worker died, and so did those that took over")

    def _gone(self) -> RunFailedError:
        return RunFailedError(
            f"the scheduler at {self._address} is gone; start it again, and go on with --resume"
        )

    def close(self) -> None:
        """Disconnect; the cluster keeps running."""
        self._client.close(timeout=5)


def check_address(address: str) -> str:
    """Return the address of a scheduler as Dask writes it.

    Raises:
        BadRequestError: If it is none, or Dask is not installed.
    """
    if find_spec("distributed") is None:
        raise BadRequestError(f'--backend {address} needs Dask: pip install "pareto_rec[dask]"')
    host, _, port = address.removeprefix(SCHEME).rpartition(":")
    if not address.startswith(SCHEME) or not host or not port.isdigit():
        raise BadRequestError(f"--backend {address}: write {SCHEME}HOST:PORT of a Dask scheduler")
    return f"tcp://{host}:{port}"


def _connect(address: str) -> Client:
    from distributed import Client

    try:
        return Client(check_address(address), timeout=ANSWER, set_as_default=False)
    except (OSError, UnicodeError) as error:  # the second: a name that no host has
        reason = str(error).splitlines()[0]
        raise BadRequestError(
            f"--backend {address}: no scheduler answers ({reason}); start one with `dask scheduler`"
        ) from None
