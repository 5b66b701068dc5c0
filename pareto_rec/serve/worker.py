"""Worker process of a service: loads the bundle and answers requests until it is asked to end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from types import FrameType
from typing import Any, Literal

from pareto_rec.core.errors import BadRequestError
from pareto_rec.serve.service import Contents, Service, answer, leave
from pareto_rec.serve.state import ServiceState

READY, ALIVE, PROBLEM = "ready", "alive", "problem"
STOP, LEAVE = signal.SIGUSR1, signal.SIGTERM
"""Signals that end a worker: with the whole service, or while others go on."""


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Attributes:
        service: What to serve.
        copies: The bundle, which the parent has read into memory: `Copies.to_json`.
        verify: Whether graphs of the bundle are tried out, and not only those of an earlier worker.
    """

    service: Service
    copies: str
    verify: bool


def work(job: Job, listener: socket.socket, pipe: Any) -> None:
    """Answer requests, for as long as the parent lives.

    Args:
        job: What to serve.
        listener: The socket that all processes share.
        pipe: To the parent; multiprocessing's type differs by platform.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # reaches the whole group: the parent acts on it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.set_blocking(pipe.fileno(), False)  # a parent that does not read must not block the worker

    def say(kind: str, text: str = "") -> None:
        with suppress(OSError):  # the pipe is full, or the parent has ended
            pipe.send((kind, text))

    try:
        ended = _serve(job, listener, say)
    except BadRequestError as error:
        say(PROBLEM, str(error))
        raise SystemExit(2) from None
    if not ended:
        leave()


def _serve(job: Job, listener: socket.socket, say: Any) -> bool:
    """Load and answer; returns whether all threads have ended."""
    from pareto_rec.bundle import Bundle
    from pareto_rec.bundle.memory import Copies

    service, state, copies = job.service, ServiceState(), Copies.from_json(job.copies)
    if service.plugins:
        from pareto_rec.experiment.plugins import load_plugins

        load_plugins(service.plugins)
    bundle = Bundle.load(
        copies.manifest.folder,
        form=service.form,
        verify=job.verify,
        room=service.prepare,
        copies=copies,
    )
    return answer(
        service,
        bundle,
        listener,
        state,
        begin=lambda: _listen_to_signals(state),
        ready=lambda: say(READY, Contents.of(bundle).to_json()),
        beat=lambda: say(ALIVE),
    )


def _listen_to_signals(state: ServiceState) -> None:
    """End in good order from now on; before, while nothing is answered, signals end it at once."""
    asked: dict[int, Literal["stop", "leave"]] = {STOP: "stop", LEAVE: "leave"}

    def end(number: int, _: FrameType | None) -> None:
        state.asked = asked[number]

    for number in asked:
        signal.signal(number, end)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), STOP)
