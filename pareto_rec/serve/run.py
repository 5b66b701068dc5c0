"""Starting and stopping the service, with one process or several."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pareto_rec.bundle import Bundle
from pareto_rec.errors import BadRequestError
from pareto_rec.leftovers import temporary_folder
from pareto_rec.serve.limits import Limits

SETTINGS = "PARETO_REC_SERVE"  # how the processes of a service are told what to serve


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
        limits: How much is taken.
        awake: Seconds after a request during which a process does not sleep; see `AwakeSelector`.
        prepare: Bytes of each process for what lists of known users are made from.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    form: str = "fp32"
    items: Path | None = None
    limits: Limits = field(default_factory=Limits)
    awake: float = 0.0
    prepare: int = 0


def serve(service: Service, ready: Callable[[str, Bundle], None]) -> None:
    """Serve until the process is told to stop (SIGINT or SIGTERM).

    The bundle is verified once; the processes then map its arrays, so that they share them.

    Args:
        service: What and where.
        ready: Called with the address and the bundle when requests are answered, or are about to.

    Raises:
        BadRequestError: If the bundle is not as it was written, or the address cannot be had.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from pareto_rec.serve.awake import Config

    room = service.prepare if service.workers == 1 else 0
    bundle = Bundle.load(service.bundle, form=service.form, room=room)
    with _listening(service.host, service.port) as listener, _shared_items(service) as shared:
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if service.workers == 1:
            from pareto_rec.serve.app import create_app

            app = create_app(bundle, service.limits, items=shared.items)
            config = Config(app, service.awake, **_options(service))
            _keep()
            ready(address, bundle)
            with _stopped_without_a_word():
                uvicorn.Server(config).run(sockets=[listener])
            return
        os.environ[SETTINGS] = _settings(shared)
        config = Config(
            "pareto_rec.serve.run:application", service.awake, factory=True,
            workers=service.workers, **_options(service),
        )  # fmt: skip
        ready(address, bundle)
        with _stopped_without_a_word():
            Multiprocess(config, [listener]).run()


def application() -> Callable[..., Any]:
    """The service of one of several processes, as the environment describes it."""
    from pareto_rec.serve.app import create_app

    said = json.loads(os.environ[SETTINGS])
    bundle = Bundle.load(
        Path(said["bundle"]), form=said["form"], verify=False, room=said["prepare"]
    )
    app = create_app(bundle, Limits(**said["limits"]), items=Path(said["items"]))
    _keep()
    return app


def _keep() -> None:
    """What is loaded stays: the collector need not walk through it while requests wait."""
    gc.collect()
    gc.freeze()


def _settings(service: Service) -> str:
    kept = {"form": service.form, "prepare": service.prepare, "limits": asdict(service.limits)}
    paths = {"bundle": str(service.bundle.resolve()), "items": str(service.items)}
    return json.dumps({**kept, **paths})


def _options(service: Service) -> dict[str, Any]:
    return {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "limit_concurrency": service.limits.connections,
        "timeout_graceful_shutdown": round(service.limits.stop_seconds),
        "lifespan": "on",
    }


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens, before anything else is begun."""
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
            listener.listen(2048)
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
    if service.items is not None or service.workers == 1:
        items = service.items.resolve() if service.items else None
        yield replace(service, items=items)
        return
    with temporary_folder() as folder:
        yield replace(service, items=folder / "items.jsonl")


@contextmanager
def _stopped_without_a_word() -> Iterator[None]:
    """SIGTERM and SIGINT are how a service ends: the server hears them, and nobody after it."""
    before = {one: signal.signal(one, _nothing) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _nothing(*_: object) -> None:
    """Uvicorn raises the signal again once it has stopped; there is nothing left to do."""
