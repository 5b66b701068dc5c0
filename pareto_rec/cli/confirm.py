"""Command ``confirm``: confirmation of a front on test data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pareto_rec.cli.shared import Json, RunPath, show
from pareto_rec.cli.stopping import stoppable
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.provenance import cores


def confirm(
    run: RunPath,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of fresh seeds to train each point with.")
    ] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes; default: all cores.")
    ] = None,
    with_: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="A run of the same config with another seed; repeatable. The search's own "
            "variance is in the intervals then. Runs that are confirmed are not opened again.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Train the front's selected points again, then open test data once and say what is left.

    Opponents (baselines alone, with one plain fit, and with the best of as many accuracy-only
    fits) get the same serving search and as many settings as the search has records.
    Says first who has opened this test data before, by the ledger that PARETO_REC_LEDGER names, and
    whether that voids the answer: references, objectives and split must be those of then.
    Writes confirm.json, confirm.csv and confirm.png. Nothing may be tuned on what it says.

    Example: pareto-rec confirm results/movielens_accuracy_diversity_fairness/2026-01-31T12-00-00
    """
    from pareto_rec.analysis.confirm import confirm_run, confirm_runs
    from pareto_rec.cli.progress import Notes, watching
    from pareto_rec.core.leftovers import sweep_below
    from pareto_rec.core.paths import cache_dir
    from pareto_rec.experiment.config import load_config
    from pareto_rec.report import write_report
    from pareto_rec.report.plots.confirmed import save_confirmed
    from pareto_rec.report.plots.figures import save_plots
    from pareto_rec.runs.confirmation import read_content
    from pareto_rec.runs.openings import ledgers
    from pareto_rec.runs.reader import read_run

    runs = [run, *(with_ or ())]
    for path in runs:
        read_run(path)  # says what is wrong with it before anything is shown
    sweep_below(cache_dir())
    sweep_below(run, 1)
    words = f"the same command goes on: no fit is trained twice (pareto-rec confirm {run})"
    with stoppable(lambda: words), watching(load_config(run), quiet=json_) as callback:
        how: dict[str, Any] = {"seeds": seeds, "cache": cache_dir()}
        how |= {"workers": workers or cores(), "callbacks": [Notes() if json_ else callback]}
        result = confirm_runs(runs, **how) if with_ else confirm_run(run, **how)
    content = read_content(result) or {}
    view = read_run(run)
    paths = [result, result.with_suffix(".csv"), *save_confirmed(view, content, run)]
    paths += save_plots(view, run)  # they say now that test data was opened
    try:
        paths.append(write_report(view, run))
    except BadRequestError as error:
        typer.echo(f"no report.html: {error}", err=True)
    lines = [*content["answer"]["says"], *map(str, paths)]
    lines.append(f"the opening is written down in {ledgers()[0]}")
    show(content, lines, as_json=json_)
