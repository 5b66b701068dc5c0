"""Benchmarks as a program: ``python -m benchmarks``, outside the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.suite.runner import BENCHMARKS, run
from pareto_rec.cli.main import run_program
from pareto_rec.cli.shared import Json, show
from pareto_rec.core.errors import unknown

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks to run; default: all.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Run the full sizes, which take long.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder of results.md.")] = Path("benchmarks"),
    json_: Json = False,
) -> None:
    """Measure what a fit, a step, a list and a start cost, against what people would use instead.

    Each benchmark first checks that both sides give the same answer, then measures both in one run.

    Example: python -m benchmarks start ranking --out benchmarks
    """
    size = 1 if full else 0
    if list_:
        content = {name: benchmark.about for name, benchmark in BENCHMARKS.items()}
        lines = [
            f"{name}  {benchmark.about} (about {benchmark.minutes[size]:g} min, an estimate)"
            for name, benchmark in BENCHMARKS.items()
        ]
        show(content, lines, as_json=json_)
        return
    for name in names or ():
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
    measured = {}
    for name in names or BENCHMARKS:
        result, section = run(name, quick=not full, folder=out)
        measured[name] = {"checked": result.checked, "rows": [dict(row) for row in result.rows]}
        if not json_:
            typer.echo(section)
    if json_:
        show(measured, [], as_json=True)


if __name__ == "__main__":
    run_program(app, "python -m benchmarks")
