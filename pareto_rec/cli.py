"""The commands. Heavy modules are imported inside the command that needs them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pareto_rec.errors import BadRequestError, RunFailedError

if TYPE_CHECKING:
    from pareto_rec.config import Config

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130  # exit codes; 130: as a shell has it for Ctrl-C

app = typer.Typer(
    name="pareto-rec",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DataName = Annotated[str, typer.Argument(help="A name that `pareto-rec data list` shows.")]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # noqa: ARG001  # taken out by `main`, wherever it stands; here for the help
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
) -> None:
    """Search, inspect and ship Pareto fronts of recommenders.

    Exit codes: 0 done, 1 it failed, 2 the request was wrong, 130 interrupted.

    Example: pareto-rec search experiments/movielens_accuracy_diversity_fairness --smoke
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"pareto_rec {installed('pareto_rec')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """List, fetch and inspect data sets.

    Example: pareto-rec data list
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.command("list")
def data_list(json_: Json = False) -> None:
    """List the known data sets.

    Example: pareto-rec data list
    """
    from pareto_rec.data import DATASETS

    content = {name: loader.about for name, loader in DATASETS.items()}
    _show(content, [f"{name}  {about}" for name, about in content.items()], as_json=json_)


@data_app.command("fetch")
def data_fetch(name: DataName, json_: Json = False) -> None:
    """Fetch a data set into the cache, verify its checksums, print where it is.

    Example: pareto-rec data fetch movielens-100k
    """
    from pareto_rec.data import fetch
    from pareto_rec.paths import cache_dir

    folder = fetch(name, cache_dir())
    _show({"name": name, "folder": str(folder)}, [str(folder)], as_json=json_)


@data_app.command("inspect")
def data_inspect(name: DataName, json_: Json = False) -> None:
    """Say what is in a data set: people, items, signals, times, categories, leak of its split.

    Example: pareto-rec data inspect movielens-100k
    """
    from pareto_rec.config import SplitConfig
    from pareto_rec.data import load
    from pareto_rec.data.inspect import as_text, describe
    from pareto_rec.data.split import split as cut
    from pareto_rec.paths import cache_dir

    dataset, shares = load(name, cache_dir()), SplitConfig()
    split = cut(
        dataset,
        shares.kind,
        validation=shares.validation,
        test=shares.test,
        seed=shares.seed,
    )
    found = describe(dataset, split)
    _show(found, [as_text(found)], as_json=json_)


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
        bool, typer.Option("--smoke", help="Apply the config's [smoke] table: under a minute.")
    ] = False,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Then search again with one part taken away or replaced, at as many fits each.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Search for a Pareto front and write a run directory.

    Example: pareto-rec search experiments/movielens_accuracy_diversity_fairness --set seed=1
    """
    from pareto_rec.config import load_config

    resolved = load_config(config, set_ or [], smoke=smoke)
    target = out or _next_run(resolved.name)
    _run(resolved, target, workers or _cores(), quiet=json_, controls=controls)
    _report(target, as_json=json_, page_or_reason=True)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")], json_: Json = False
) -> None:
    """Draw the plots and the page of a run anew; a run that goes on is shown as far as it is.

    Example: pareto-rec report results/movielens_accuracy_diversity_fairness/2026-01-31T12-00-00
    """
    _report(run, as_json=json_)


def _show(content: object, lines: Sequence[str], *, as_json: bool) -> None:
    typer.echo(json.dumps(content, indent=2) if as_json else "\n".join(lines))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _next_run(experiment: str) -> Path:
    """A directory named by the time; a second run within the second gets a number."""
    from datetime import UTC, datetime

    first = Path("results") / experiment / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    target, count = first, 1
    while target.exists():
        count += 1
        target = first.with_name(f"{first.name}-{count}")
    return target


def _run(config: Config, target: Path, workers: int, *, quiet: bool, controls: bool) -> None:
    from pareto_rec.ablation import run_controls
    from pareto_rec.paths import cache_dir
    from pareto_rec.progress import watching
    from pareto_rec.run import search_experiment

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's Ctrl-C
    try:
        with watching(config, quiet=quiet) as watch:
            search_experiment(config, target, cache=cache_dir(), workers=workers, watch=watch)
        if controls:
            shown = partial(watching, quiet=quiet)
            run_controls(config, target, cache=cache_dir(), workers=workers, watching=shown)
    except KeyboardInterrupt:
        kept = f"what was evaluated so far is in {target}" if target.exists() else "no run begun"
        _fail("interrupted", f"{kept}; the same command trains none of its fits again", INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(run: Path, *, as_json: bool, page_or_reason: bool = False) -> None:
    """Draw and print; after a search, a page that cannot be made is no failure."""
    from pareto_rec.plots import save_plots
    from pareto_rec.report import write_report
    from pareto_rec.runread import read_run

    view = read_run(run)
    paths = save_plots(view, run)
    try:
        paths = [*paths, write_report(view, run)]
    except BadRequestError as error:
        if not page_or_reason:
            raise
        typer.echo(f"no report.html: {error}", err=True)
    status, found = str(view.info.get("status")), view.info.get("hypervolume", {})
    lines = [
        *view.controls,
        f"hypervolume x 1000: {1000 * (found.get('front') or 0):.3f}",
        f"all baselines: {1000 * (found.get('all_baselines') or 0):.3f}",
        f"front: {len(view.front)} points in {run / 'front.csv'}",
        *map(str, paths),
    ]
    if status != "finished":
        lines.insert(0, f"this run is not complete (status: {status})")
    files = [str(path) for path in paths]
    content = {"run": str(run), "status": status, "hypervolume": found, "files": files}
    _show(content, lines, as_json=as_json)


def _fail(kind: str, message: object, code: int) -> NoReturn:
    """One line on standard error, then the end."""
    typer.echo(f"{kind}: {' '.join(str(message).split())}", err=True)
    raise SystemExit(code)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: one line for whatever goes wrong, a traceback only with --debug.

    Args:
        arguments: Those of the command line; None for ``sys.argv``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        code = app(args=given, prog_name="pareto-rec", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except Exception as error:
        if debug:
            raise
        _explain(error)
    if code == INTERRUPTED:  # typer makes this of a KeyboardInterrupt, without a word
        _fail("interrupted", "stopped before the end", INTERRUPTED)
    raise SystemExit(code if isinstance(code, int) else DONE)


def _explain(error: Exception) -> NoReturn:
    if isinstance(error, BadRequestError):
        _fail("error", error, WRONG)
    if isinstance(error, RunFailedError):
        _fail("failed", error, FAILED)
    if hasattr(error, "format_message"):  # the command line itself was wrong: an option, a value
        _fail("error", f"{error.format_message().rstrip('.')}; see pareto-rec --help", WRONG)
    reason = f"{type(error).__name__}: {error}"
    _fail("failed", f"{reason} (unforeseen: the same command with --debug shows where)", FAILED)
