"""Helpers of the commands: the option --json, and printing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RunPath = Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN")]


def show(content: object, lines: Sequence[str], *, as_json: bool) -> None:
    """Print lines for people, or content as JSON for programs."""
    typer.echo(json.dumps(content, indent=2) if as_json else "\n".join(lines))
