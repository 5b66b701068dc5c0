"""The commands. Heavy modules are imported inside the command that needs them."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pareto_rec.errors import BadRequestError, RunFailedError

app = typer.Typer(
    name="pareto-rec",
    help="Search, inspect and ship Pareto fronts of recommenders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="List, fetch and inspect data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _show(content: object, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(content, indent=2) if as_json else text)


@data_app.command("list")
def data_list(json_: Json = False) -> None:
    """List the known data sets.

    Example: pareto-rec data list
    """
    from pareto_rec.data import DATASETS

    content = {name: loader.about for name, loader in DATASETS.items()}
    text = "\n".join(f"{name}  {about}" for name, about in content.items())
    _show(content, text, as_json=json_)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A name that `data list` shows.")],
    json_: Json = False,
) -> None:
    """Fetch a data set into the cache, verify its checksums, print where it is.

    Example: pareto-rec data fetch movielens-100k
    """
    from pareto_rec.data import fetch
    from pareto_rec.paths import cache_dir

    folder = fetch(name, cache_dir())
    _show({"name": name, "folder": str(folder)}, str(folder), as_json=json_)


@data_app.command("inspect")
def data_inspect(
    name: Annotated[str, typer.Argument(help="A name that `data list` shows.")],
    json_: Json = False,
) -> None:
    """Say what is in a data set: people, items, signals, times, categories, leaks of its split.

    Example: pareto-rec data inspect movielens-100k
    """
    from pareto_rec.data import load
    from pareto_rec.data.inspect import as_text, describe
    from pareto_rec.paths import cache_dir

    found = describe(load(name, cache_dir()))
    _show(found, as_text(found), as_json=json_)


@app.command()
def search(
    config: Annotated[Path, typer.Argument(help="A config.toml, or the folder that holds it.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory; default results/<experiment>/<time>.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key of the config; repeatable."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of one thread each; default: all cores.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Apply the config's [smoke] table.")
    ] = False,
    json_: Json = False,
) -> None:
    """Search for a Pareto front and write a run directory.

    Example: pareto-rec search experiments/movielens_accuracy_diversity_fairness --smoke
    """
    from pareto_rec.config import load_config
    from pareto_rec.paths import cache_dir
    from pareto_rec.progress import watching
    from pareto_rec.run import search_experiment

    resolved = load_config(config, set_ or [], smoke=smoke)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    target = out or Path("results") / resolved.name / stamp
    count = workers or len(os.sched_getaffinity(0))
    with watching(resolved, quiet=json_) as watch:
        try:
            search_experiment(resolved, target, cache=cache_dir(), workers=count, watch=watch)
        except KeyboardInterrupt:
            typer.echo(f"interrupted; everything evaluated so far is in {target}", err=True)
            typer.echo("the fits are cached: the same command trains none of them again", err=True)
            raise typer.Exit(130) from None
    _report(target, as_json=json_)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")], json_: Json = False
) -> None:
    """Draw the plots and the page of a run anew.

    Example: pareto-rec report results/movielens_accuracy_diversity_fairness/2026-01-31T12-00-00
    """
    _report(run, as_json=json_)


def _report(run: Path, *, as_json: bool) -> None:
    from pareto_rec.plots import save_plots
    from pareto_rec.report import write_report
    from pareto_rec.runread import read_run

    view = read_run(run)
    paths = [*save_plots(view, run), write_report(view, run)]
    found = view.info.get("hypervolume", {})
    lines = [f"hypervolume x 1000: {1000 * found.get('front', 0):.3f}"]
    lines += [f"all baselines: {1000 * found.get('all_baselines', 0):.3f}"]
    lines += [f"front: {len(view.front)} points in {run / 'front.csv'}", *map(str, paths)]
    content = {"run": str(run), "hypervolume": found, "files": [str(path) for path in paths]}
    _show(content, "\n".join(lines), as_json=as_json)


def main() -> None:
    """Entry point: one line for what a user can mend, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="pareto-rec")
    except BadRequestError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except RunFailedError as error:
        if debug:
            raise
        typer.echo(f"failed: {error}", err=True)
        sys.exit(1)
