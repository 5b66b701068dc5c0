"""Supervisor of a service: its workers are started, watched, replaced on SIGHUP, and ended.

It reads the bundle into memory once, which its workers map, and holds the listening socket, so that
no connection is lost with a worker. It answers nothing itself and loads no more than that takes.

Uvicorn's own supervisor gives up a reload whose workers take more than 5 seconds to load, hears no
signal meanwhile, restarts failing workers without a pause, and leaves them behind if it is killed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import connection

from pareto_rec.bundle.files import read_manifest
from pareto_rec.bundle.memory import Copies, copies_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.serve.service import Contents, Service
from pareto_rec.serve.worker import LEAVE, PROBLEM, READY, STOP, Job, work

SILENT = 30.0  # seconds without a sign from the event loop of a worker, after which it is killed
PATIENCE = 600.0  # seconds that a worker may take to load
KILL = 4.0  # seconds beyond the limits of a shutdown after which a worker is killed
PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a worker that died is replaced
log = logging.getLogger("pareto_rec.serve")
_spawn = multiprocessing.get_context("spawn")


class Worker:
    """A process that answers requests, as its parent sees it."""

    def __init__(
        self, service: Service, listener: socket.socket, copies: Copies, *, verify: bool
    ) -> None:
        self.copies = copies  # has to live as long as the process
        self.pipe, theirs = _spawn.Pipe(duplex=False)
        job = Job(service, copies.to_json(), verify)
        self.process = _spawn.Process(target=work, args=(job, listener, theirs))
        self.process.start()
        theirs.close()
        self.begun = self.heard = time.monotonic()
        self.contents: Contents | None = None  # of what it serves; None: it does not answer yet
        self.problem: str | None = None
        self.kill_at: float | None = None  # None: it has not been asked to end

    def listen(self) -> None:
        """Read what it says."""
        with suppress(EOFError, OSError):  # it has ended, which its exit code says
            while self.pipe.poll():
                kind, text = self.pipe.recv()
                self.heard = time.monotonic()
                self.contents = Contents.from_json(text) if kind == READY else self.contents
                self.problem = text if kind == PROBLEM else self.problem

    def end(self, how: signal.Signals, seconds: float) -> None:
        """Tell it to end within so many seconds, by one of its two signals."""
        self.kill_at = time.monotonic() + seconds
        if not self.dead and self.process.pid is not None:
            os.kill(self.process.pid, how)

    @property
    def ready(self) -> bool:
        """Whether it answers requests."""
        return self.contents is not None

    @property
    def stuck(self) -> bool:
        """Whether it has to be killed."""
        now = time.monotonic()
        if self.kill_at is not None:
            return now > self.kill_at
        return now - self.heard > (SILENT if self.ready else PATIENCE)

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return not self.process.is_alive()


class Workers:
    """The processes of a service."""

    def __init__(self, service: Service, listener: socket.socket) -> None:
        """Read the bundle; :meth:`run` starts the processes.

        Args:
            service: What to serve.
            listener: A socket with the address; it is closed at the end.

        Raises:
            BadRequestError: If a file of the bundle is not as it was written.
        """
        self.service, self.listener = service, listener
        self._copies = _read(service)
        limits = service.limits
        self._to_end = 2 * limits.drain_seconds + limits.stop_seconds + KILL
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        self._old: deque[Worker] = deque()  # that a reload has yet to replace
        self._coming: Worker | None = None  # that replaces the first of them
        self._next: Copies | None = None  # that a reload replaces the bundle by
        self._restart_at, self._pause = 0.0, PAUSE
        self._stop = self._reload = False

    def run(self, ready: Callable[[Contents], None]) -> None:
        """Serve until SIGINT or SIGTERM; SIGHUP reads the bundle again and replaces the processes.

        Args:
            ready: Called once all processes answer requests.

        Raises:
            BadRequestError: If a process cannot start.
        """
        handlers = {signal.SIGINT: self._on_stop, signal.SIGTERM: self._on_stop,
                    signal.SIGHUP: self._on_reload}  # fmt: skip
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            for number in range(self.service.workers):
                self._workers.append(self._start(self._copies, verify=number == 0))
            self._until_ready()
            if not self._stop and (contents := self._workers[0].contents) is not None:
                ready(contents)
            while not self._stop:
                self._turn()
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, *_: object) -> None:
        self._stop = True

    def _on_reload(self, *_: object) -> None:
        self._reload = True

    def _start(self, copies: Copies, *, verify: bool = False) -> Worker:
        return Worker(self.service, self.listener, copies, verify=verify)

    def _until_ready(self) -> None:
        while not self._stop and not all(worker.ready for worker in self._workers):
            self._hear()
            for worker in self._workers:
                if worker.dead or worker.stuck:
                    raise BadRequestError(worker.problem or _end_of(worker))

    def _turn(self) -> None:
        self._hear()
        for worker in [worker for worker in self._workers if worker.stuck and not worker.dead]:
            log.error("process %d of the service is stuck: it is killed", worker.process.pid)
            worker.process.kill()
            worker.process.join()
        self._replace_dead()
        self._go_on_reloading()

    def _hear(self) -> None:
        """Wait for a moment for a sign of any process."""
        everyone = self._everyone()
        connection.wait([worker.process.sentinel for worker in everyone], timeout=0.2)
        for worker in everyone:
            worker.listen()
        for worker in [worker for worker in self._leaving if worker.dead or worker.stuck]:
            _kill(worker)
            self._leaving.remove(worker)
            self._close_unless_used(worker.copies)

    def _everyone(self) -> list[Worker]:
        return [*self._workers, *self._leaving, *([self._coming] if self._coming else [])]

    def _close_unless_used(self, copies: Copies) -> None:
        """Let go of the memory of a bundle that was replaced, after its last worker."""
        used = [self._copies, self._next, *(worker.copies for worker in self._everyone())]
        if not any(copies is one for one in used):
            copies.close()

    def _replace_dead(self) -> None:
        """Start workers in the place of those that died, less and less often if they go on to."""
        now = time.monotonic()
        for index, worker in enumerate(self._workers):
            if not worker.dead or now < self._restart_at:
                continue
            self._pause = PAUSE if now - worker.begun > LONGEST_PAUSE else min(
                2 * self._pause, LONGEST_PAUSE
            )  # fmt: skip
            self._restart_at = now + self._pause
            log.error("%s; another one is started", worker.problem or _end_of(worker))
            _kill(worker)
            self._workers[index] = new = self._start(self._copies)
            if worker in self._old:
                self._old[self._old.index(worker)] = new

    def _go_on_reloading(self) -> None:
        if self._reload and not self._old:
            self._reload = False
            self._begin_reloading()
        new = self._coming
        if new is not None and (new.dead or new.stuck):
            self._give_up_reloading(new.problem or _end_of(new))
            _kill(new)
            self._close_unless_used(new.copies)
        elif new is not None and new.ready:
            self._replace_by(new)

    def _begin_reloading(self) -> None:
        try:
            self._next = _read(self.service)
        except BadRequestError as error:
            self._give_up_reloading(str(error))
            return
        self._old.extend(self._workers)
        self._coming = self._start(self._next, verify=True)

    def _give_up_reloading(self, reason: str) -> None:
        log.error("reload given up: %s; the old processes go on", reason)
        self._coming = self._next = None
        self._old.clear()

    def _replace_by(self, new: Worker) -> None:
        """Let a new worker, which answers requests, take the place of an old one."""
        before, self._copies = self._copies, new.copies
        self._coming = self._next = None
        old = self._old.popleft()
        self._workers[self._workers.index(old)] = new
        old.end(LEAVE, self._to_end)
        self._leaving.append(old)
        if self._old:
            self._coming = self._start(new.copies)
        self._close_unless_used(before)

    def _end_all(self) -> None:
        everyone = self._everyone()
        for worker in everyone:
            worker.end(STOP, self._to_end)
        self.listener.close()  # the last worker to close it has taken all its connections
        for worker in everyone:
            worker.process.join(max(0.0, (worker.kill_at or 0.0) - time.monotonic()))
            _kill(worker)
        self._copies.close()


def _read(service: Service) -> Copies:
    """Read a bundle into memory; what is read later is that of this version, if it is a link."""
    manifest = read_manifest(service.bundle)
    manifest = replace(manifest, folder=manifest.folder.resolve())
    return copies_of(manifest, backbone=service.form == "fp32")


def _kill(worker: Worker) -> None:
    if not worker.dead:
        worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _end_of(worker: Worker) -> str:
    if not worker.dead:
        return f"process {worker.process.pid} of the service did not start in {PATIENCE:g} seconds"
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"process {worker.process.pid} of the service ended with {how}"
