"""The live line of a search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pareto_rec.config import Config
from pareto_rec.run import Watch
from pareto_rec.search import Progress


class _Line:
    """What the line says; drawn anew at most ten times a second."""

    def __init__(self, config: Config) -> None:
        self.generations = config.search.generations
        self.population = config.search.offspring or config.search.population
        self.began = self.search_began = time.monotonic()
        self.stage, self.detail = "starting", ""
        self.fits = self.records = self.failed = 0
        self.last: Progress | None = None

    def __rich__(self) -> Text:
        spent = time.monotonic() - self.began
        if self.stage != "searching":
            return Text(f"[{spent:4.0f} s] {self.stage} {self.detail}".rstrip())
        return self.searching(min(self.done + 1, self.generations))

    @property
    def done(self) -> int:
        """Generations that have ended."""
        return 0 if self.last is None else self.last.generation + 1

    def searching(self, generation: int) -> Text:
        """The line of a generation, counted from 1."""
        spent = time.monotonic() - self.began
        parts = [
            f"[{spent:4.0f} s] generation {generation}/{self.generations}",
            f"{self.fits} fits, {self.records:,} records, {self.failed} failed",
        ]
        if self.last is not None:
            volume = 1000 * self.last.hypervolume
            parts.append(f"front {self.last.front}, hypervolume x 1000 {volume:.3f}")
        if self.fits:
            each = (time.monotonic() - self.search_began) / self.fits
            left = max(0, self.generations * self.population - self.fits) * each
            parts.append(f"{each:.2f} s a fit, {left:.0f} s left")
        return Text(" | ".join(parts))

    def set_stage(self, stage: str) -> None:
        self.stage, self.detail = stage, ""
        if stage == "searching":
            self.search_began = time.monotonic()

    def set_encoded(self, done: int, total: int, per_second: float) -> None:
        self.detail = f"{done:,}/{total:,}, {per_second:.0f} texts a second"

    def set_counts(self, fits: int, records: int, failed: int) -> None:
        self.fits, self.records, self.failed = fits, records, failed

    def set_generation(self, progress: Progress) -> None:
        self.last = progress


@contextmanager
def watching(config: Config, *, quiet: bool) -> Iterator[Watch]:
    """Show a live line on a terminal, a line per generation elsewhere, nothing when quiet.

    Args:
        config: The experiment.
        quiet: Show nothing.
    """
    console = Console(stderr=True, quiet=quiet)
    line = _Line(config)
    if console.is_terminal and not quiet:
        with Live(line, console=console, refresh_per_second=8):
            yield Watch(line.set_encoded, line.set_stage, line.set_counts, line.set_generation)
    else:
        yield _lines(line, console)


def _lines(line: _Line, console: Console) -> Watch:
    """A line per stage and per generation, for logs."""

    def show(text: Text) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    def stage(name: str) -> None:
        if line.detail:  # how far the stage before came
            show(Text(f"{line.stage}: {line.detail}"))
        line.set_stage(name)
        show(Text(name))

    def generation(progress: Progress) -> None:
        line.set_generation(progress)
        show(line.searching(line.done))

    return Watch(line.set_encoded, stage, line.set_counts, generation)
