"""Command ``report``: plots and page of a run, and the summary after a search."""

from __future__ import annotations

from pathlib import Path

import typer

from pareto_rec.cli.shared import Json, RunPath, show
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.wording import thousand_fold


def report(run: RunPath, json_: Json = False) -> None:
    """Draw the plots and the page of a run again; a run that goes on is shown as far as it is.

    Example: pareto-rec report results/movielens_accuracy_diversity_fairness/2026-01-31T12-00-00
    """
    from pareto_rec.core.leftovers import sweep_below

    sweep_below(run, 1)
    report_on(run, as_json=json_)


def report_on(run: Path, *, as_json: bool, page_or_reason: bool = False) -> None:
    """Draw and print; after a search, a page that cannot be made is not a failure."""
    from pareto_rec.report import write_report
    from pareto_rec.report.answer import given, notes, worthless
    from pareto_rec.report.groups import groups, sentences
    from pareto_rec.report.plots.figures import save_plots
    from pareto_rec.report.systems import lines as system_lines
    from pareto_rec.report.tuned import lines as tuned_lines
    from pareto_rec.runs.reader import read_run

    view = read_run(run)
    paths = save_plots(view, run)
    try:
        paths = [*paths, write_report(view, run)]
    except BadRequestError as error:
        if not page_or_reason:
            raise
        typer.echo(f"no report.html: {error}", err=True)
    apart = groups(view)
    status, volumes = str(view.info.get("status")), view.info.get("hypervolume", {})
    known = view.share_of_box
    share = "" if known is None else f", {known:.1%} of the box from reference to best values"
    lines = [
        *view.controls,
        f"hypervolume x 1000: {thousand_fold(volumes.get('front') or 0)}{share}",
        f"all baselines: {thousand_fold(volumes.get('all_baselines') or 0)}",
        *tuned_lines(view),
        *system_lines(view),
        *([f"{given(view)}."] if given(view) else []),
        *([f"the front is worth nothing: {worthless(view)}"] if volumes.get("front") == 0 else []),
        *notes(view),
        f"front: {len(view.front)} points in {run / 'front.csv'}",
        *([] if apart is None else sentences(apart)),
        *map(str, paths),
    ]
    if status != "finished":
        lines.insert(0, f"this run is not complete (status: {status})")
    files = [str(path) for path in paths]
    content = {"run": str(run), "status": status, "hypervolume": volumes, "files": files}
    if apart is not None:
        content |= {"point": apart.point, "groups": apart.to_json()}
    show(content, lines, as_json=as_json)
