"""The live line of a search."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pareto_rec.execution.search import Watch
from pareto_rec.experiment.config import Config
from pareto_rec.search import Progress


class _Line:
    """What the line says; drawn anew at most ten times a second."""

    def __init__(self, config: Config) -> None:
        self.generations = config.search.generations
        self.asked = config.search.fits
        self.began = self.search_began = time.monotonic()
        self.stage, self.detail = "starting", ""
        self.fits = self.records = self.failed = self.pruned = self.retried = self.steps = 0
        self.known = 0  # fits that were there before the search
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
            f"{self.fits} fits, {self.steps:,} steps, {self.records:,} records, "
            f"{self.failed} failed"
            + (f", {self.pruned:,} pruned" if self.pruned else "")
            + (f", {self.retried} tried again" if self.retried else ""),
        ]
        if self.last is not None:
            volume = 1000 * self.last.hypervolume
            parts.append(f"front {self.last.front}, hypervolume x 1000 {volume:.3f}")
        new = self.fits - self.known
        if new:
            each = (time.monotonic() - self.search_began) / new
            left = max(0, self.asked - self.fits) * each
            parts.append(f"{each:.2f} s a fit, {left:.0f} s left")
        return Text(" | ".join(parts))

    def set_stage(self, stage: str) -> None:
        self.stage, self.detail = stage, ""
        if stage == "searching":
            self.search_began = time.monotonic()

    def set_encoded(self, done: int, total: int, per_second: float) -> None:
        self.detail = f"{done:,}/{total:,}, {per_second:.0f} texts a second"

    def set_counts(
        self, fits: int, records: int, failed: int, pruned: int, retried: int, steps: int
    ) -> None:
        if self.stage != "searching":
            self.known = fits
        self.fits, self.records, self.failed, self.pruned = fits, records, failed, pruned
        self.retried, self.steps = retried, steps

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
            yield Watch(
                line.set_encoded,
                line.set_stage,
                line.set_counts,
                line.set_generation,
                line.set_generation,
                lambda note: console.print(Text(note), soft_wrap=True, highlight=False),
            )
    else:
        yield _lines(line, console)


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[..., None]]:
    """A live line ``what: done/total`` with figures behind it; every tenth elsewhere.

    Args:
        what: What is done.
        quiet: Show nothing.

    Yields:
        To be called with how much is done, how much there is, and figures.
    """
    console = Console(stderr=True, quiet=quiet)
    began = time.monotonic()
    with Live("", console=console, refresh_per_second=4, transient=True) as live:

        def told(done: int, total: int, *figures: float) -> None:
            spent = time.monotonic() - began
            values = ", ".join(f"{figure:.3f}" for figure in figures if math.isfinite(figure))
            left = spent / done * (total - done)
            text = f"[{spent:4.0f} s] {what} {done}/{total} | {values} | {left:.0f} s left"
            if console.is_terminal:
                live.update(Text(text))
            elif done % max(1, total // 10) == 0:
                console.print(text, soft_wrap=True, highlight=False)

        yield told


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

    return Watch(
        line.set_encoded,
        stage,
        line.set_counts,
        generation,
        line.set_generation,
        lambda note: show(Text(note)),
    )
