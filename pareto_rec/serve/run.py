"""Start and end of the service."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import sweep, temporary_folder
from pareto_rec.serve.service import Contents, Service
from pareto_rec.serve.workers import Workers


def serve(service: Service, ready: Callable[[str, Contents], None]) -> None:
    """Serve until the process is asked to stop (SIGINT or SIGTERM).

    What killed services left in the folder for temporary files is removed first.

    Args:
        service: What and where.
        ready: Called with the address and what is served once every process answers requests.

    Raises:
        BadRequestError: If the bundle is not as it was written, the file of items makes no sense,
            or the address is not available.
    """
    sweep([Path(tempfile.gettempdir())])
    with _bound(service.host, service.port) as listener, _shared_items(service) as shared:
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        Workers(shared, listener).run(lambda contents: ready(address, contents))


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that has the address, before anything else is begun; the server listens."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:  # the last: a name that no host has
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
    name = ascii(host)[1:-1][:100]
    return BadRequestError(
        f"cannot listen at {name}, port {port}: {reason}; give another --host or --port"
    )


@contextmanager
def _shared_items(service: Service) -> Iterator[Service]:
    """Yield the service with a file of added items, which outlives each of its processes."""
    if service.items is not None:
        yield replace(service, items=service.items.absolute())
    elif not service.allow_items:
        yield service
    else:
        with temporary_folder() as folder:
            yield replace(service, items=folder / "items.jsonl")
