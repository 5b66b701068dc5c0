"""What a search asks of an evaluator, whatever its candidates are fits of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from pareto_rec.runs.record import Record
from pareto_rec.search import Trial


class StoredFits(Protocol):
    """A store of fits of any kind."""

    def get(self, fit_id: str) -> object | None:
        """Return the stored fit; None where there is none."""

    def copy(self, fit_id: str, folder: Path) -> None:
        """Copy a stored fit into a run's folder."""


class CandidateEvaluator(Protocol):
    """An evaluator of candidates: from trials to records."""

    @property
    def seed(self) -> int:
        """Of the fits."""

    @property
    def device(self) -> torch.device:
        """Where tensors live."""

    @property
    def store(self) -> StoredFits:
        """Where fits are kept."""

    def pack_key(self, trial: Trial) -> tuple[object, ...]:
        """Return what trials must have in common to share a pack."""

    def fit_id(self, trial: Trial) -> str:
        """Return the id of a trial's fit."""

    def evaluate(self, pack: Sequence[Trial]) -> list[Record]:
        """Return records of every candidate of a pack, in the order of the pack."""

    def records(self, trial: Trial, fit_id: str, fit: None, reason: str | None) -> list[Record]:
        """Return records of a trial that has no fit, failed for a reason."""


def failed(
    evaluator: CandidateEvaluator, trial: Trial, reason: str, steps: int = 0
) -> list[Record]:
    """Return failed records of every candidate of a trial, after so many training steps."""
    records = evaluator.records(trial, evaluator.fit_id(trial), None, reason)
    return [replace(record, timing={**record.timing, "train_steps": steps}) for record in records]
