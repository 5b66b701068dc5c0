"""Registry of benchmarks, and the file that their results are appended to."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from benchmarks.suite.measure import Result, Row, machine, versions
from pareto_rec.core.errors import BadRequestError, unknown

RESULTS = "results.md"


@dataclass(frozen=True)
class Benchmark:
    """One registered benchmark.

    Attributes:
        about: One line for a list.
        module: Where its ``run(quick=...)`` is.
        minutes: Estimates for two idle cores, quick and full.
    """

    about: str
    module: str
    minutes: tuple[float, float]


BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "fits": Benchmark(
            "cost per fit and per point, against a plain trainer and the backbone in the loop",
            "benchmarks.suite.fits",
            (1.5, 13),
        ),
        "steps": Benchmark(
            "a training step, lists and metrics against their matrix products alone",
            "benchmarks.suite.steps",
            (0.5, 2),
        ),
        "encoders": Benchmark(
            "a fit of each user encoder: seconds, and how well it ranks",
            "benchmarks.suite.encoders",
            (0.3, 0.8),
        ),
        "searches": Benchmark(
            "hypervolume against seconds: this search, Optuna's NSGA-II and TPE, random",
            "benchmarks.suite.searches",
            (1.5, 40),
        ),
        "growth": Benchmark(
            "seconds and peak memory by interactions and items",
            "benchmarks.suite.growth",
            (0.7, 5),
        ),
        "ranking": Benchmark(
            "lists with MMR and metrics, against a NumPy loop and LensKit",
            "benchmarks.suite.ranking",
            (0.2, 0.5),
        ),
        "start": Benchmark(
            "start-up of the command and import of the package", "benchmarks.suite.start", (0.3, 1)
        ),
    }
)


def run(name: str, *, quick: bool, folder: Path) -> tuple[Result, str]:
    """Run a benchmark, and append what it found to the results of a folder.

    Args:
        name: A key of `BENCHMARKS`.
        quick: The variant of a minute or two.
        folder: Where ``results.md`` and pictures go; made if need be.

    Returns:
        The result, and its section of the file.

    Raises:
        BadRequestError: If there is no such benchmark, or the folder cannot be written.
        AssertionError: If the sides that are compared do not give the same answer.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    results = folder / RESULTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results.open("a").close()  # refused now, not after the work
    except OSError as error:
        raise BadRequestError(f"cannot write {folder}: {error.strerror}; give --out") from error
    began = time.perf_counter()
    result: Result = importlib.import_module(BENCHMARKS[name].module).run(quick=quick)
    section = as_text(result, quick=quick, seconds=time.perf_counter() - began)
    for file, content in result.files.items():
        (folder / file).write_bytes(content)
    with results.open("a") as stream:
        stream.write(f"{section}\n")
    return result, section


def as_text(result: Result, *, quick: bool, seconds: float) -> str:
    """Format a section of Markdown: checks, table, notes, machine."""
    size = "quick" if quick else "full"
    when = datetime.now(UTC).date().isoformat()
    pictures = [f"![{file}]({file})" for file in result.files]
    parts = [
        f"## {result.name} ({size}, {when})",
        f"Checked first: {result.checked}.",
        table(result.rows),
        "\n".join(f"- {note}" for note in result.notes),
        *pictures,
        f"Took {seconds:.0f} s on {machine()}. {versions()}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table of Markdown."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
