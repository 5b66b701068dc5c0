"""The run directory of a search: a new one, or the one to go on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pareto_rec.core.errors import BadRequestError
from pareto_rec.execution.callbacks import SearchCallback
from pareto_rec.execution.resume import earlier_info, is_begun
from pareto_rec.execution.run_writer import RunWriter
from pareto_rec.experiment.config import AnyConfig, load_any_config
from pareto_rec.runs.directory import CONFIG, RunDirectory
from pareto_rec.runs.lines import is_signed
from pareto_rec.runs.record_store import RECORDS


@contextmanager
def opened_run(
    config: AnyConfig, out: Path, code: str, *, resume: bool
) -> Iterator[tuple[RunDirectory, Mapping[str, Any]]]:
    """Yield the run directory, a new one or the one to go on with, and what its run.json said.

    Args:
        config: What to search with.
        out: The run directory.
        code: Key of the code that decides records.
        resume: Whether a search that has begun there may go on.

    Raises:
        BadRequestError: If it cannot be made, or cannot go on as it began.
    """
    if not (resume and is_begun(out)):
        with RunDirectory.create(out) as run, run.reserved():
            yield run, {}
        return
    before = earlier_info(out, config, code)
    with RunDirectory.open(out, signed=is_signed(before)) as run:
        if before:  # killed before it had written anything, it begins like a new one
            stored = 1 + max((record.generation for record in run.stored.records), default=-1)
            _check_generations(out, stored, config)
        yield run, before


def replayed_first(run: RunDirectory, callback: SearchCallback, journal: RunWriter) -> None:
    """Tell a callback of the stored records, and of a line that was cut short."""
    stored = run.stored
    if stored.torn:
        callback.on_note(
            f"{run.path / RECORDS}: the last line was cut short ({stored.torn} bytes); it is cut "
            "off, and its record evaluated again"
        )
    if stored.records:
        callback.on_records(stored.records, journal.counts)
        callback.on_note(f"going on after {len(stored.records):,} records of {run.path}")


def _check_generations(out: Path, stored: int, config: AnyConfig) -> None:
    """Refuse to go on with fewer generations than are stored, or after the serving search began."""
    asked, begun = config.search.generations, load_any_config(out / CONFIG).search.generations
    if config.search.serving is None and stored > asked:
        raise BadRequestError(
            f"{out} holds {stored} generations already; ask for as many at least, not "
            f"search.generations = {asked}"
        )
    every = config.search.serving is not None and config.search.serving.every > 0
    last = 1 if every else min(begun, asked)  # until then the number of generations did not matter
    if config.search.serving is not None and stored > last and begun != asked:
        raise BadRequestError(
            f"{out} has {begun} generations and went on with them: search.generations = {asked} "
            "would lead elsewhere; go on as it was begun, or begin a new run"
        )
