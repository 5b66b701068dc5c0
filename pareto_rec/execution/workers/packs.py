"""Packs, the units of work: their composition and their evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError

from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import CACHE_VARIABLE
from pareto_rec.evaluation.candidates import CandidateEvaluator
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.rung_packs import Partial, RungHistory, finish_climb, measure_rung
from pareto_rec.runs.record import Record
from pareto_rec.search import Trial

Pack = Sequence[Trial]
Found = TypeVar("Found")

_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # as torch says it


@dataclass(frozen=True)
class Trouble:
    """In place of a pack's records: why it has none."""

    reason: str


def packs_of(
    trials: Sequence[Trial], evaluator: CandidateEvaluator, size: int
) -> list[list[Trial]]:
    """Group trials of equal shape into packs of at most `size`, from the generation alone."""
    groups: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        groups.setdefault(evaluator.pack_key(trial), []).append(trial)
    return [
        group[begin : begin + size]
        for group in groups.values()
        for begin in range(0, len(group), size)
    ]


def evaluate_pack(evaluator: CandidateEvaluator, pack: Pack, _: Path) -> list[Record] | Trouble:
    """Return records of a pack, or why an exception left it without.

    Raises:
        RunFailedError: If a fit cannot be stored, which is not the fault of a candidate.
    """

    def evaluated() -> list[Record]:
        if isinstance(pack, RungHistory):
            assert isinstance(evaluator, Evaluator)  # no other is stopped early
            return finish_climb(evaluator, pack)
        return evaluator.evaluate(pack)

    return attempt(evaluated)


def measure_pack(evaluator: Evaluator, climb: RungHistory, _: Path) -> list[Partial] | Trouble:
    """Return what the next rung shows of a pack, or why an exception left it without.

    Raises:
        RunFailedError: If a fit cannot be stored, which is not the fault of a candidate.
    """
    return attempt(lambda: measure_rung(evaluator, climb))


def attempt(work: Callable[[], list[Found]]) -> list[Found] | Trouble:
    """Return what some work on a pack gives, or why an exception left it without.

    Raises:
        RunFailedError: If a fit cannot be stored, which is not the fault of a candidate.
    """
    try:
        return work()
    except (OSError, SafetensorError) as error:
        raise RunFailedError(
            f"a fit cannot be stored: {error}; free some space, or set {CACHE_VARIABLE} to a "
            "folder that can be written, and search again"
        ) from error
    except Exception as error:  # whatever failed, the search goes on
        if _is_about_memory(error):
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return Trouble("out of memory")
        return Trouble((f"{type(error).__name__}: {error}".splitlines() or [""])[0])


def _is_about_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in _MEMORY)


def halves(pack: Pack) -> list[Pack]:
    """Return two packs of half the size."""
    middle = (len(pack) + 1) // 2
    return [pack[:middle], pack[middle:]]
