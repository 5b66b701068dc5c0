"""Worker processes of a service: started, watched, replaced on SIGHUP, ended with their parent.

Uvicorn's own supervisor gives up a reload whose workers take more than 5 seconds to load, hears no
signal meanwhile, restarts failing workers without a pause, and leaves them behind if it is killed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from pareto_rec.core.errors import BadRequestError

if TYPE_CHECKING:
    from pareto_rec.serve.service import Service

SILENT = 30.0  # seconds without a sign from the event loop of a worker, after which it is killed
PATIENCE = 600.0  # seconds that a worker may take to load
KILL = 4.0  # seconds beyond the limits of a shutdown after which a worker is killed
PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a worker that died is replaced
READY, ALIVE, PROBLEM = "ready", "alive", "problem"
log = logging.getLogger("pareto_rec.serve")
_spawn = multiprocessing.get_context("spawn")


class Worker:
    """A process that answers requests, as its parent sees it."""

    def __init__(self, service: Service, listener: socket.socket, *, verify: bool) -> None:
        self.pipe, theirs = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=work, args=(service, listener, theirs, verify))
        self.process.start()
        theirs.close()
        self.begun = self.heard = time.monotonic()
        self.ready = False
        self.problem: str | None = None
        self.kill_at: float | None = None  # None: it has not been asked to end

    def listen(self) -> None:
        """Read what it says."""
        with suppress(EOFError, OSError):  # it has ended, which its exit code says
            while self.pipe.poll():
                kind, text = self.pipe.recv()
                self.heard = time.monotonic()
                self.ready |= kind == READY
                self.problem = text if kind == PROBLEM else self.problem

    def end(self, seconds: float) -> None:
        """Tell it to end within so many seconds."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + seconds
            self.process.terminate()

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
        """Create the supervisor; :meth:`run` starts the processes.

        Args:
            service: What to serve; its bundle has been verified.
            listener: A socket with the address.
        """
        self.service, self.listener = service, listener
        limits = service.limits
        self._to_end = 2 * limits.drain_seconds + limits.stop_seconds + KILL
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        self._old: deque[Worker] = deque()  # that a reload has yet to replace
        self._coming: Worker | None = None  # that replaces the first of them
        self._restart_at, self._pause = 0.0, PAUSE
        self._stop = self._reload = False

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until a signal; SIGHUP replaces the processes, one after the other.

        Args:
            ready: Called once all processes answer requests.

        Raises:
            BadRequestError: If a process cannot start.
        """
        handlers = {signal.SIGINT: self._on_stop, signal.SIGTERM: self._on_stop,
                    signal.SIGHUP: self._on_reload}  # fmt: skip
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._workers = [self._start(verify=False) for _ in range(self.service.workers)]
        try:
            self._until_ready()
            if not self._stop:
                ready()
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

    def _start(self, *, verify: bool) -> Worker:
        return Worker(self.service, self.listener, verify=verify)

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
        everyone = [*self._workers, *self._leaving, *([self._coming] if self._coming else [])]
        connection.wait([worker.process.sentinel for worker in everyone], timeout=0.2)
        for worker in everyone:
            worker.listen()
        for worker in [worker for worker in self._leaving if worker.dead or worker.stuck]:
            _kill(worker)
            self._leaving.remove(worker)

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
            if worker in self._old:
                self._old.remove(worker)
            self._workers[index] = self._start(verify=True)

    def _go_on_reloading(self) -> None:
        if self._reload and self._coming is None and not self._old:
            self._reload = False
            self._old.extend(self._workers)
        if self._coming is None and self._old:
            self._coming = self._start(verify=True)
        new = self._coming
        if new is not None and new.ready:
            self._coming = None
            if self._old:
                old = self._old.popleft()
                self._workers[self._workers.index(old)] = new
                old.end(self._to_end)
                self._leaving.append(old)
            else:  # all old ones have died meanwhile, and were replaced
                new.end(self._to_end)
                self._leaving.append(new)
        elif new is not None and (new.dead or new.stuck):
            log.error("reload given up: %s; the old processes go on", new.problem or _end_of(new))
            _kill(new)
            self._coming = None
            self._old.clear()

    def _end_all(self) -> None:
        everyone = [*self._workers, *self._leaving, *([self._coming] if self._coming else [])]
        for worker in everyone:
            worker.end(self._to_end)
        for worker in everyone:
            worker.process.join(max(0.0, (worker.kill_at or 0.0) - time.monotonic()))
            _kill(worker)


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


def work(service: Service, listener: socket.socket, pipe: Any, verify: bool) -> None:
    """Answer requests in a process of its own, for as long as its parent lives.

    Args:
        service: What to serve.
        listener: The socket that all processes share.
        pipe: To the parent; multiprocessing's type differs by platform.
        verify: Whether the bundle is verified.
    """
    from pareto_rec.bundle import Bundle
    from pareto_rec.serve.service import answer, leave

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # reaches the whole group: the parent acts on it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.set_blocking(pipe.fileno(), False)  # a parent that does not read must not block the worker

    def say(kind: str, text: str = "") -> None:
        with suppress(OSError):  # the pipe is full, or the parent has ended
            pipe.send((kind, text))

    try:
        if service.plugins:
            from pareto_rec.experiment.plugins import load_plugins

            load_plugins(service.plugins)
        bundle = Bundle.load(service.bundle, form=service.form, verify=verify, room=service.prepare)
        ended = answer(service, bundle, listener, lambda: say(READY), lambda: say(ALIVE))
    except BadRequestError as error:
        say(PROBLEM, str(error))
        raise SystemExit(2) from None
    if not ended:
        leave()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
