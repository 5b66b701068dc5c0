"""Starting and stopping the service, with one process or several."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pareto_rec.bundle import Bundle
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import temporary_folder
from pareto_rec.serve.access import Access
from pareto_rec.serve.limits import Limits

FILES = 512  # open files beside the connections


@dataclass(frozen=True)
class Service:
    """What to serve and where.

    Attributes:
        bundle: Folder of the bundle.
        host: Address to listen at.
        port: Port; 0 for any that is free.
        workers: Processes.
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


def serve(service: Service, ready: Callable[[str, Bundle], None]) -> None:
    """Serve until the process is told to stop (SIGINT or SIGTERM).

    Args:
        service: What and where.
        ready: Called with the address and the bundle once every process answers requests.

    Raises:
        BadRequestError: If the bundle is not as it was written, the file of items makes no sense,
            or the address cannot be had.
    """
    room = service.prepare if service.workers == 1 else 0
    bundle = Bundle.load(service.bundle, form=service.form, room=room)
    with _bound(service.host, service.port) as listener, _shared_items(service) as shared:
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if service.workers > 1:
            from pareto_rec.serve.workers import Workers

            Workers(shared, listener).run(lambda: ready(address, bundle))
        else:
            with _signals_end():
                ended = answer(shared, bundle, listener, lambda: ready(address, bundle))
            if not ended:
                leave()


def answer(
    service: Service,
    bundle: Bundle,
    listener: socket.socket,
    ready: Callable[[], None],
    beat: Callable[[], None] = lambda: None,
) -> bool:
    """Answer requests in this process until it is told to stop.

    Args:
        service: What to serve.
        bundle: Its bundle.
        listener: Where.
        ready: Called once requests are answered.
        beat: Called each second.

    Returns:
        Whether all its threads have ended.
    """
    from pareto_rec.serve.app import create_app
    from pareto_rec.serve.server import Server
    from pareto_rec.serve.state import ServiceState

    state, limits = ServiceState(), _with_open_files(service.limits)
    app = create_app(
        bundle,
        limits,
        items=service.items,
        allow_items=service.allow_items,
        rules=service.access,
        state=state,
    )
    gc.collect()
    gc.freeze()  # what is loaded stays: the collector need not walk through it
    Server(app, limits, state, ready=ready, beat=beat).run(sockets=[listener])
    return state.ended


def leave() -> None:
    """End the process although a thread works on: what it waits for cannot be interrupted."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _with_open_files(limits: Limits) -> Limits:
    """Limits that the number of files a process may open allows, which is raised if it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limits = replace(limits, connections=max(16, min(limits.connections, soft - FILES)))
    return limits


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that has the address, before anything else is begun; the server listens."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise _no_address(host, port, error) from None
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except (OSError, OverflowError) as error:
            raise _no_address(host, port, error) from None
        listener.set_inheritable(True)
        yield listener


def _no_address(host: str, port: int, error: Exception) -> BadRequestError:
    reason = getattr(error, "strerror", None) or str(error)
    return BadRequestError(
        f"cannot listen at {host}, port {port}: {reason}; give another --host or --port"
    )


@contextmanager
def _shared_items(service: Service) -> Iterator[Service]:
    """The service with a file of added items where several processes need one."""
    if service.items is not None:
        yield replace(service, items=service.items.absolute())
    elif service.workers == 1 or not service.allow_items:
        yield service
    else:
        with temporary_folder() as folder:
            yield replace(service, items=folder / "items.jsonl")


@contextmanager
def _signals_end() -> Iterator[None]:
    """Ignore the signal that uvicorn raises again after it has stopped; a hang-up stops it, too."""

    def hang_up(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    handlers = {signal.SIGINT: _nothing, signal.SIGTERM: _nothing, signal.SIGHUP: hang_up}
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _nothing(*_: object) -> None:
    """Do nothing."""
