"""Command ``serve``: a bundle over HTTP."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.registry import loaded_plugins

if TYPE_CHECKING:
    from pareto_rec.serve.service import Contents


def serve(
    bundle: Annotated[
        Path, typer.Argument(help="A bundle, written by `pareto-rec export`.", metavar="BUNDLE")
    ],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free port.")] = 8000,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Processes that answer; they share the bundle and its text encoder in memory.",
        ),
    ] = 1,
    form: Annotated[
        str, typer.Option(help="Form of the bundle: fp32; onnx or int8 if exported.")
    ] = "fp32",
    items: Annotated[
        Path | None,
        typer.Option(help="File that keeps items added over HTTP; default: until it stops."),
    ] = None,
    allow_items: Annotated[
        bool, typer.Option("--allow-items", help="Allow POST /items: add and change items.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name to accept, besides loopback names and --host; repeatable; * accepts "
            "every name, also from web pages that misuse one.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with a token that every request has to send (Bearer)."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="Longest time for one request.")
    ] = 5.0,
    address_connections: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            help="Most connections per client address; beyond them, the one that has been idle "
            "longest is closed. Behind a proxy: as many as it opens.",
        ),
    ] = 512,
    prepare: Annotated[
        int,
        typer.Option(
            min=0,
            max=1 << 20,
            help="Megabytes per process for cached scores of known users, computed at the start "
            "for up to 5 seconds, else at the first request.",
        ),
    ] = 64,
) -> None:
    """Serve a bundle over HTTP until Ctrl-C: POST /recommend, POST /items, GET /front, /health.

    SIGTERM ends it within 10 seconds, SIGHUP reads the bundle again; neither fails a request.

    Example: pareto-rec serve bundle --port 8000 --workers 2
    """
    for package in ("fastapi", "uvicorn"):  # first, so that nothing is loaded in vain
        if find_spec(package) is None:
            raise BadRequestError(
                f'serving needs the package {package}: pip install "pareto_rec[serve]"'
            )
    from pareto_rec.serve.access import access
    from pareto_rec.serve.limits import Limits
    from pareto_rec.serve.run import serve as serve_until_stopped
    from pareto_rec.serve.service import Service

    rules = access(host, allowed_host or (), token_file)
    limits = Limits(seconds=seconds, address_connections=address_connections)
    room = prepare * 10**6
    service = Service(bundle, host, port, workers, form, items, allow_items, limits, rules, room)
    serve_until_stopped(replace(service, plugins=loaded_plugins()), _say)


def _say(address: str, contents: Contents) -> None:
    typer.echo(
        f"serving {contents.name} ({contents.points} operating points, {contents.items} items, "
        f"{contents.users} users) at {address}; description at {address}/docs; Ctrl-C stops"
    )
