"""The decisive experiment as a program: ``python -m benchmarks.decisive``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.decisive import tables
from benchmarks.decisive.cases import CASES, Case, case_of, experiment_of, losses_of
from benchmarks.decisive.comparisons import box_volume, compare, corrected, standings
from benchmarks.decisive.job import lines_of, results_path, run_job
from benchmarks.decisive.opening import is_measured, is_searched, measure_test, read_figures
from benchmarks.decisive.schedule import Job, run_jobs
from pareto_rec.cli.main import run_program
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import cache_dir, swapped
from pareto_rec.core.threads import one_thread

SMOKE_SECONDS = 2.0
CONTENT, TABLES = "decisive.json", "tables.md"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Part(StrEnum):
    """What one process does."""

    ALL = "all"
    PREPARE = "prepare"
    SEARCH = "search"
    TEST = "test"
    REPORT = "report"


@app.command()
def decisive(
    out: Annotated[Path, typer.Option("--out", help="Folder of results; gone on with.")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="A data set, or the folder of an experiment; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many search seeds.")] = 5,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="One seed, with --part search.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0.1, help="Processor seconds of every arm and mode."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes at a time.")] = 2,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One seed and two seconds; test data stays closed.")
    ] = False,
    part: Annotated[Part, typer.Option("--part", help="Do a part alone.")] = Part.ALL,
) -> None:
    """Measure what multi-objective training buys beside a search of serving settings.

    Example: python -m benchmarks.decisive --out results/evidence/decisive --workers 2
    """
    names = data or list(CASES)
    cases = {name: case_of(name) for name in names}
    numbers = [seed] if seed is not None else list(range(1 if smoke else seeds))
    seconds = SMOKE_SECONDS if smoke and budget is None else budget
    if part is Part.ALL:
        _run_all(cases, numbers, seconds, out, workers, smoke=smoke)
        return
    for case in cases.values():
        folder = folder_of(out, case)
        match part:
            case Part.PREPARE:
                with one_thread():
                    experiment_of(case, 0, cache_dir()).evaluator()
            case Part.SEARCH:
                for number in numbers:
                    run_job(case, number, folder, cache_dir(), seconds or case.seconds)
            case Part.TEST:
                measure_test(case, numbers, folder, cache_dir())
            case Part.REPORT:
                pass
    if part is Part.REPORT:
        report(cases, numbers, out)


def folder_of(out: Path, case: Case) -> Path:
    """Return the folder of a data set's results."""
    return out / case.path.resolve().name


def _run_all(
    cases: dict[str, Case],
    numbers: Sequence[int],
    seconds: float | None,
    out: Path,
    workers: int,
    *,
    smoke: bool,
) -> None:
    jobs = jobs_of(cases, numbers, seconds, out, opens=not smoke)
    failed = run_jobs(jobs, workers, out / "logs")
    if failed:
        raise RunFailedError(
            f"these failed or were left out: {', '.join(failed)}; {out / 'logs'} says why; the "
            "same command goes on with what is left"
        )
    if smoke:
        typer.echo(f"searched; test data stayed closed; figures of validation: {out / 'logs'}")
        return
    report(cases, numbers, out)


def jobs_of(
    cases: dict[str, Case],
    numbers: Sequence[int],
    seconds: float | None,
    out: Path,
    *,
    opens: bool,
) -> list[Job]:
    """Return what is left: per data set its preparation, its seeds, then its test data.

    Args:
        cases: Data sets by name.
        numbers: Seeds.
        seconds: Budget; None for that of each data set.
        out: Folder of results.
        opens: Whether test data is opened in the end.
    """
    jobs = []
    for name, case in cases.items():
        label, folder = case.path.resolve().name, folder_of(out, case)
        left = [number for number in numbers if not is_searched(folder, number)]
        common = ("--out", str(out), "--data", name)
        more = () if seconds is None else ("--budget", str(seconds))
        prepare = Job(f"prepare-{label}", (*common, "--part", "prepare"))
        searches = [
            Job(
                f"search-{label}-{number}",
                (*common, "--part", "search", "--seed", str(number), *more),
                frozenset({prepare.name}),
            )
            for number in left
        ]
        jobs += [prepare, *searches] if left else []
        if opens and not is_measured(folder, numbers):
            count = ("--seeds", str(len(numbers)))
            needs = frozenset(job.name for job in searches)
            jobs.append(Job(f"test-{label}", (*common, "--part", "test", *count), needs))
    return jobs


def report(cases: dict[str, Case], numbers: Sequence[int], out: Path) -> None:
    """Compare the arms of every data set that was measured, write the tables, print a line.

    Args:
        cases: Data sets by name.
        numbers: Seeds.
        out: Folder of results.

    Raises:
        RunFailedError: If nothing was measured on test data yet.
    """
    results, comparisons = [], []
    for case in cases.values():
        folder = folder_of(out, case)
        if not is_measured(folder, numbers):
            typer.echo(f"{case.path.name}: not measured on test data yet, left out")
            continue
        experiment = experiment_of(case, 0, cache_dir(), tune=False)
        goals, simplex = experiment.goals, losses_of(experiment)
        figures = [read_figures(folder, number) for number in numbers]
        volume = box_volume(figures, goals)
        lines = [line for number in numbers for line in lines_of(results_path(folder, number))]
        results.append(
            tables.CaseResult(
                case.path.resolve().name,
                {goal.name: goal.reference for goal in goals},
                {name: simplex.floor.get(name, 0.0) for name in simplex.names},
                lines[0]["budget"],
                numbers,
                standings(figures, volume),
                lines,
            )
        )
        comparisons += compare(case.path.resolve().name, figures, volume)
    if not results:
        raise RunFailedError(f"{out}: nothing was measured on test data yet")
    comparisons = corrected(comparisons)
    content = json.dumps(tables.content_of(results, comparisons), indent=1, allow_nan=False)
    for name, text in ((CONTENT, content), (TABLES, tables.markdown(results, comparisons))):
        with swapped(out / name) as temporary:
            temporary.write_text(text.rstrip("\n") + "\n")
    typer.echo(tables.in_a_line(comparisons))


if __name__ == "__main__":
    run_program(app, "python -m benchmarks.decisive")
