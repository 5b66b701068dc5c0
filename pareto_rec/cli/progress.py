"""Progress of commands: a live line on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pareto_rec.core.wording import thousand_fold
from pareto_rec.execution.callbacks import Counts, SearchCallback
from pareto_rec.experiment.config import AnyConfig
from pareto_rec.runs.record import Record
from pareto_rec.search import Progress


class _Line(SearchCallback):
    """The live line of a terminal, drawn again a few times a second."""

    def __init__(self, config: AnyConfig, console: Console) -> None:
        self.console = console
        self.generations = config.search.generations
        self.asked = config.search.fits
        self.began = self.search_began = time.monotonic()
        self.stage, self.detail = "starting", ""
        self.counts = Counts()
        self.known = 0  # fits that were there before the search
        self.last: Progress | None = None
        self.done = 0  # generations that have ended

    def __rich__(self) -> Text:
        spent = time.monotonic() - self.began
        if self.stage != "searching":
            return Text(f"[{spent:4.0f} s] {self.stage} {self.detail}".rstrip())
        return self.searching(min(self.done + 1, self.generations))

    def searching(self, generation: int) -> Text:
        """Return the line of a generation, counted from 1, or of settings searched after it."""
        spent = time.monotonic() - self.began
        counts = self.counts
        settings = "" if self.stage == "searching" else ", settings"
        parts = [
            f"[{spent:4.0f} s] generation {generation}/{self.generations}{settings}",
            f"{counts.fits} fits, {counts.steps:,} steps, {counts.records:,} records, "
            f"{counts.failed} failed"
            + (f", {counts.pruned:,} pruned" if counts.pruned else "")
            + (f", {counts.retried} tried again" if counts.retried else ""),
        ]
        if self.last is not None:
            volume = thousand_fold(self.last.hypervolume)
            parts.append(f"front {self.last.front}, hypervolume x 1000 {volume}")
        new = self.counts.fits - self.known
        if new:
            each = (time.monotonic() - self.search_began) / new
            left = max(0, self.asked - self.counts.fits) * each
            parts.append(f"{each:.2f} s a fit, {left:.0f} s left")
        return Text(" | ".join(parts))

    def on_stage(self, stage: str) -> None:
        self.stage, self.detail = stage, ""
        if stage == "searching":
            self.search_began = time.monotonic()

    def on_encoded(self, done: int, total: int, per_second: float) -> None:
        self.detail = f"{done:,}/{total:,}, {per_second:.0f} texts a second"

    def on_records(self, records: Sequence[Record], counts: Counts) -> None:  # noqa: ARG002
        if self.stage != "searching":
            self.known = counts.fits
        self.counts = counts

    def on_generation(self, progress: Progress, *, replayed: bool) -> None:  # noqa: ARG002
        self.last = progress
        self.done += self.stage == "searching"

    def on_note(self, note: str) -> None:
        self.show(Text(note))

    def show(self, text: Text) -> None:
        """Print a line that stays."""
        self.console.print(text, soft_wrap=True, highlight=False)


class _LogLines(_Line):
    """A line per stage and per generation, for logs."""

    def on_stage(self, stage: str) -> None:
        if self.detail:  # how far the stage before came
            self.show(Text(f"{self.stage}: {self.detail}"))
        super().on_stage(stage)
        self.show(Text(stage))

    def on_generation(self, progress: Progress, *, replayed: bool) -> None:
        super().on_generation(progress, replayed=replayed)
        if not replayed:
            self.show(self.searching(self.done))


class Notes(SearchCallback):
    """Notes alone, on standard error: what must be said even where no progress is shown."""

    def on_note(self, note: str) -> None:  # noqa: D102  # as the base class
        Console(stderr=True).print(Text(note), soft_wrap=True, highlight=False)


@contextmanager
def watching(config: AnyConfig, *, quiet: bool) -> Iterator[SearchCallback]:
    """Show a live line on a terminal, a line per generation elsewhere, nothing when quiet.

    Args:
        config: The experiment.
        quiet: Show nothing.
    """
    console = Console(stderr=True, quiet=quiet)
    if console.is_terminal and not quiet:
        line = _Line(config, console)
        with Live(line, console=console, refresh_per_second=8):
            yield line
    else:
        yield _LogLines(config, console)


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[..., None]]:
    """Yield a live line ``what: done/total`` with figures behind it; every tenth elsewhere.

    Args:
        what: What is done.
        quiet: Show nothing.

    Yields:
        To be called with how much is done, how much there is, and figures.
    """
    console = Console(stderr=True, quiet=quiet)
    began = time.monotonic()
    with Live("", console=console, refresh_per_second=4, transient=True) as live:

        def on_progress(done: int, total: int, *figures: float) -> None:
            spent = time.monotonic() - began
            values = ", ".join(f"{figure:.3f}" for figure in figures if math.isfinite(figure))
            left = spent / done * (total - done)
            text = f"[{spent:4.0f} s] {what} {done}/{total} | {values} | {left:.0f} s left"
            if console.is_terminal:
                live.update(Text(text))
            elif done % max(1, total // 10) == 0:
                console.print(text, soft_wrap=True, highlight=False)

        yield on_progress
