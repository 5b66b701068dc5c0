"""Service: its settings, and answering requests in one of its processes."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pareto_rec.serve.access import Access
from pareto_rec.serve.limits import Limits
from pareto_rec.serve.state import ServiceState

if TYPE_CHECKING:  # the process that only watches the others loads none
    from pareto_rec.bundle import Bundle

FILES = 512  # open files beside the connections


@dataclass(frozen=True)
class Service:
    """Settings of a service: bundle, address, processes that answer, limits.

    Attributes:
        bundle: Folder of the bundle.
        host: Address to listen at.
        port: Port; 0 for any that is free.
        workers: Processes that answer.
        form: Form of the bundle.
        items: File of added items; None: they are forgotten at the end.
        allow_items: Whether items may be added over HTTP.
        limits: How much is taken.
        access: Who may ask.
        prepare: Bytes of each process for what lists of known users are made from.
        plugins: Plugins that every process imports first.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    form: str = "fp32"
    items: Path | None = None
    allow_items: bool = False
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    prepare: int = 0
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """Contents of a bundle in figures.

    Attributes:
        name: Name of its experiment.
        points: Number of operating points.
        items: Number of items.
        users: Number of users.
    """

    name: str
    points: int
    items: int
    users: int

    @classmethod
    def of(cls, bundle: Bundle) -> Contents:
        """Count what a bundle holds."""
        parts = bundle.parts
        return cls(bundle.name, len(bundle.points), len(parts.items), len(parts.users))

    def to_json(self) -> str:
        """Return values for :meth:`from_json` in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Contents:
        """Return what :meth:`to_json` wrote."""
        return cls(**json.loads(text))


def answer(
    service: Service,
    bundle: Bundle,
    listener: socket.socket,
    state: ServiceState,
    *,
    begin: Callable[[], None],
    ready: Callable[[], None],
    beat: Callable[[], None],
) -> bool:
    """Answer requests in this process until `state.asked` is set.

    Args:
        service: What to serve.
        bundle: Its bundle.
        listener: Where.
        state: Of this process.
        begin: Called when everything is prepared, just before the server runs.
        ready: Called once requests are answered.
        beat: Called each second.

    Returns:
        Whether all its threads have ended.
    """
    from pareto_rec.serve.app import create_app
    from pareto_rec.serve.server import Server

    limits = _with_open_files(service.limits)
    app = create_app(
        bundle,
        limits,
        items=service.items,
        allow_items=service.allow_items,
        rules=service.access,
        state=state,
    )
    freeze_loaded()
    begin()
    Server(app, limits, state, ready=ready, beat=beat).run(sockets=[listener])
    return state.ended


def freeze_loaded() -> None:
    """Exclude all that is loaded from garbage collection: it stays until the process ends."""
    gc.collect()
    gc.freeze()


def leave() -> None:
    """End the process although a thread works on: what it waits for cannot be interrupted."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _with_open_files(limits: Limits) -> Limits:
    """Return limits that fit the number of open files, which is raised where possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limits = replace(limits, connections=max(16, min(limits.connections, soft - FILES)))
    return limits
