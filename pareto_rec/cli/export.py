"""Command ``export``: points of a run as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.cli.shared import Json, RunPath, show
from pareto_rec.core.errors import BadRequestError

if TYPE_CHECKING:
    from pareto_rec.bundle import Bundle


def export(
    run: RunPath,
    to: Annotated[Path, typer.Option(help="Where to write the bundle; a new or empty folder.")],
    point: Annotated[
        str | None,
        typer.Option(help="Operating point, or the beginning of its id; default: the last pick."),
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Export every point of the front; requests choose one.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also export ONNX graphs.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also export ONNX graphs with int8 weights.")
    ] = False,
    refit: Annotated[
        str | None,
        typer.Option(help="all: retrain on all data; the metrics remain those from before."),
    ] = None,
    json_: Json = False,
) -> None:
    """Write a self-contained bundle of an operating point, or of a whole front, and check it.

    Lists of every user are compared with the run's, and every form is measured on every objective.

    Example: pareto-rec export results/movielens_accuracy_diversity_fairness/RUN --front --to bundle
    """
    from pareto_rec.bundle.export import ExportOptions, export_run
    from pareto_rec.core.leftovers import sweep_below
    from pareto_rec.core.paths import cache_dir

    sweep_below(cache_dir())

    if refit not in (None, "all"):
        raise BadRequestError(f'--refit {refit}: there is only "all"')
    wanted = ExportOptions(point, front, onnx, int8, refit == "all")

    def print_progress(text: str) -> None:
        if not json_:
            typer.echo(text, err=True)

    bundle = export_run(run, to, wanted, cache=cache_dir(), on_progress=print_progress)
    show(*_summary(bundle, to), as_json=json_)


def _summary(bundle: Bundle, to: Path) -> tuple[dict[str, object], list[str]]:
    about = bundle.about
    content: dict[str, object] = {
        "bundle": str(to),
        "version": bundle.version,
        "points": bundle.points,
        "default": about.default,
        "forms": about.forms,
        "agreement": about.agreement,
        "learned_from": about.learned_from,
    }
    lines = [
        f"{form}: {agreement['same_lists']:.2%} of the lists are the run's, "
        f"{agreement['p50_ms']:.2f} ms a request (p95 {agreement['p95_ms']:.2f})"
        for form, agreement in about.agreement.items()
    ]
    count = len(about.points)
    lines.append(f"{count} point{'s' * (count > 1)}, default {about.default}, in {to}")
    lines.append(f"what it is and where each form lies: {to / 'README.md'}")
    return content, lines
