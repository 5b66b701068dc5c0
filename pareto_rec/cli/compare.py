"""Command ``compare``: comparison of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pareto_rec.cli.shared import Json, show


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories.", metavar="RUN RUN ...")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the tables and the figure; default: none.")
    ] = None,
    json_: Json = False,
) -> None:
    """Compare the fronts of runs on the same data, split and objectives.

    Runs of one config that differ by their seed alone make a group; groups are compared over
    their seeds, runs over users.

    Example: pareto-rec compare results/tuned/seed0 results/tuned/seed1 --out results/compared
    """
    from pareto_rec.analysis.compare import compare_runs, lines, save_comparison

    content = compare_runs(runs)
    written = [] if out is None else save_comparison(runs, content, out)
    files = [str(path) for path in written]
    show({**content, "files": files}, [*lines(content), *files], as_json=json_)
