"""Start and end of the service, with one process or several."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pareto_rec.bundle import Bundle
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import temporary_folder
from pareto_rec.serve.service import Service, answer, leave


def serve(service: Service, ready: Callable[[str, Bundle], None]) -> None:
    """Serve until the process is asked to stop (SIGINT or SIGTERM).

    Args:
        service: What and where.
        ready: Called with the address and the bundle once every process answers requests.

    Raises:
        BadRequestError: If the bundle is not as it was written, the file of items makes no sense,
            or the address is not available.
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


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that has the address, before anything else is begun; the server listens."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise _no_address(host, port, error) from None
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
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
    """Yield the service with a file of added items where several processes need one."""
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
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(*_: object) -> None:
    """Do nothing."""
