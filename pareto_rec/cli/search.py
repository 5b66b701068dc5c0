"""Command ``search``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.cli.report import report_on
from pareto_rec.cli.shared import Json
from pareto_rec.cli.stopping import stoppable
from pareto_rec.core.provenance import cores

if TYPE_CHECKING:
    from pareto_rec.experiment.config import AnyConfig


def search(
    config: Annotated[
        Path,
        typer.Argument(
            help="A config.toml, or the folder that holds it; with --resume also a run directory."
        ),
    ],
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
        int | None, typer.Option(min=1, help="Number of worker processes; default: all cores.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="dask://HOST:PORT", help="Train on a Dask cluster instead."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume a run: that of --out (started if missing), else the last one of "
            "the experiment in results/. It ends as if it had never been interrupted.",
        ),
    ] = False,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="A quick try: the config's [smoke] table, a sample of the data."
        ),
    ] = False,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Afterwards, search again with one part removed or replaced, as many fits each.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Search for a Pareto front and write a run directory.

    Example: pareto-rec search experiments/movielens_accuracy_diversity_fairness --set seed=1
    """
    from pareto_rec.experiment.config import load_any_config

    resolved = load_any_config(config, set_ or [], smoke=smoke)
    how = _How(workers, backend, controls=controls, resume=resume, quiet=json_)
    with _target(config, resolved.name, out, resume=resume) as target:
        _run(resolved, target, how)
        report_on(target, as_json=json_, page_or_reason=True)


@contextmanager
def _target(config: Path, experiment: str, out: Path | None, *, resume: bool) -> Iterator[Path]:
    """Return the run directory; a new one is created at once, to reserve its name."""
    if out is not None or resume:
        yield out or _earlier_run(config, experiment)
        return
    target = _next_run(experiment)
    try:
        yield target
    finally:
        for folder in (target, target.parent, target.parent.parent):  # where nothing was begun
            with suppress(OSError):
                folder.rmdir()


@dataclass(frozen=True)
class _How:
    """Options that change nothing about the result."""

    workers: int | None
    backend: str | None
    controls: bool
    resume: bool
    quiet: bool

    def going_on(self, target: Path) -> str:
        """Return the command that goes on."""
        parts = ["pareto-rec", "search", str(target), "--resume"]
        parts += ["--workers", str(self.workers)] if self.workers else []
        parts += ["--backend", self.backend] if self.backend else []
        return shlex.join([*parts, "--controls"] if self.controls else parts)


def _earlier_run(config: Path, experiment: str) -> Path:
    """Return the run to resume: the named one, or the last of the experiment."""
    from pareto_rec.core.errors import BadRequestError
    from pareto_rec.execution.resume import is_begun, newest_run

    if is_begun(config):
        return config
    results = Path("results") / experiment
    newest = newest_run(results)
    if newest is None:
        raise BadRequestError(
            f"no run to go on with in {results}; name its directory, or leave --resume away"
        )
    return newest


def _next_run(experiment: str) -> Path:
    """Return a new directory named by the time; a second run within the second gets a number."""
    from datetime import UTC, datetime

    from pareto_rec.core.errors import BadRequestError

    first = Path("results") / experiment / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    target, count = first, 1
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir()
        except FileExistsError:
            count += 1
            target = first.with_name(f"{first.name}-{count}")
        except FileNotFoundError:  # another search, which came to nothing, removed its parent
            continue
        except OSError as error:
            raise BadRequestError(
                f"{target} cannot be made: {error.strerror}; give another place with --out"
            ) from None
        else:
            return target


def _run(config: AnyConfig, target: Path, how: _How) -> None:
    from pareto_rec.cli.progress import watching
    from pareto_rec.core.errors import BadRequestError
    from pareto_rec.core.leftovers import sweep_below
    from pareto_rec.core.paths import cache_dir
    from pareto_rec.execution.ablations.ablation import run_controls
    from pareto_rec.execution.resume import is_begun
    from pareto_rec.execution.search import search_experiment
    from pareto_rec.execution.systems import search_systems
    from pareto_rec.experiment.config import Config

    sweep_below(cache_dir())
    cache, count = cache_dir(), how.workers or cores()
    search_one = partial(
        search_experiment, cache=cache, workers=count, resume=how.resume, backend=how.backend
    )
    search_several = partial(
        search_systems, cache=cache, workers=count, resume=how.resume, backend=how.backend
    )
    if how.controls and not isinstance(config, Config):
        raise BadRequestError("--controls takes parts away from a search on one system alone")
    shown = partial(watching, quiet=how.quiet)

    def last_words() -> str:
        if not is_begun(target):
            return "no run begun"
        return f"what was evaluated so far is in {target}; go on with: {how.going_on(target)}"

    with stoppable(last_words):
        with shown(config) as callback:
            if not isinstance(config, Config):
                search_several(config, target, callbacks=[callback])
                return
            search_one(config, target, callbacks=[callback])
        if how.controls:
            run_controls(config, target, search=search_one, watching=shown)
