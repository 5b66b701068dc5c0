"""Callbacks of a search: called with what happens, while it happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pareto_rec.experiment.config import AnyConfig
from pareto_rec.runs.record import Record
from pareto_rec.search import Progress


@dataclass(frozen=True)
class Counts:
    """Totals of a search since its start, what was resumed included.

    Attributes:
        fits: Fine-tunes.
        records: Evaluated candidates.
        failed: Records that failed.
        pruned: Records of fits that were stopped early.
        retried: Packs that were tried again because their worker died.
        steps: Training steps.
    """

    fits: int = 0
    records: int = 0
    failed: int = 0
    pruned: int = 0
    retried: int = 0
    steps: int = 0


class SearchCallback:
    """Base class of what follows a search: a progress line, a tracking service.

    Override what is of interest; the rest does nothing. Methods are called in the process that
    runs the search, never in a worker, and must return soon: the search waits for them. A callback
    that raises is reported in one line and not called again; nothing of the search is lost by it.
    """

    def on_start(self, config: AnyConfig, run: Path) -> None:
        """Follow a run from here: its config, and its directory, which exists by now."""

    def on_stage(self, stage: str) -> None:
        """Handle the next stage, named in a few words."""

    def on_encoded(self, done: int, total: int, per_second: float) -> None:
        """Handle progress of the backbone: texts encoded, out of how many, and how fast."""

    def on_records(self, records: Sequence[Record], counts: Counts) -> None:
        """See records once they are on disk, with the totals so far.

        After a resume the stored records come first, in one call.
        """

    def on_generation(self, progress: Progress, *, replayed: bool) -> None:
        """Handle the end of a generation; `replayed` where it came out of the store alone."""

    def on_note(self, note: str) -> None:
        """Handle a note of one line."""

    def on_end(self, run: Path) -> None:
        """Handle the end of the search, when every file of the run is written."""


class CallbackList(SearchCallback):
    """Several callbacks as one; one that fails is dropped, and the others are told."""

    def __init__(self, callbacks: Sequence[SearchCallback]) -> None:
        self._callbacks = list(callbacks)

    def on_start(self, config: AnyConfig, run: Path) -> None:  # noqa: D102  # as the base class
        self._each(lambda callback: callback.on_start(config, run))

    def on_stage(self, stage: str) -> None:  # noqa: D102
        self._each(lambda callback: callback.on_stage(stage))

    def on_encoded(self, done: int, total: int, per_second: float) -> None:  # noqa: D102
        self._each(lambda callback: callback.on_encoded(done, total, per_second))

    def on_records(self, records: Sequence[Record], counts: Counts) -> None:  # noqa: D102
        self._each(lambda callback: callback.on_records(records, counts))

    def on_generation(self, progress: Progress, *, replayed: bool) -> None:  # noqa: D102
        self._each(lambda callback: callback.on_generation(progress, replayed=replayed))

    def on_note(self, note: str) -> None:  # noqa: D102
        self._each(lambda callback: callback.on_note(note))

    def on_end(self, run: Path) -> None:  # noqa: D102
        self._each(lambda callback: callback.on_end(run))

    def _each(self, call: Callable[[SearchCallback], None]) -> None:
        failed: list[tuple[SearchCallback, Exception]] = []
        for callback in list(self._callbacks):
            try:
                call(callback)
            except Exception as error:  # a callback may raise anything
                self._callbacks.remove(callback)
                failed.append((callback, error))
        for callback, reason in failed:
            self.on_note(
                f"the callback {type(callback).__qualname__} failed and is not called again: "
                f"{type(reason).__name__}: {reason}"
            )
