"""The command that searches."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.commands.report import report_on
from pareto_rec.commands.shared import Json, cores
from pareto_rec.errors import InterruptedRunError

if TYPE_CHECKING:
    from pareto_rec.config import Config


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
    _run(resolved, target, workers or cores(), quiet=json_, controls=controls)
    report_on(target, as_json=json_, page_or_reason=True)


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
        raise InterruptedRunError(
            f"{kept}; the same command trains none of its fits again"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)
