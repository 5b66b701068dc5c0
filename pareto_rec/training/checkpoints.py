"""Checkpoints of partially trained fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pareto_rec.training.data import Checkpoint
from pareto_rec.training.fit_store import fit_of, parts_of, read_tensors, write_tensors

FOLDER = "unfinished"  # below the fits
_STATE = "standing/"  # before the names of what training goes on from


class CheckpointStore:
    """Unfinished fits under (fit, how it came there); gone once their generation is."""

    def __init__(self, fits: Path) -> None:
        """Open the checkpoints beside the finished fits of a folder."""
        self.folder = fits / FOLDER

    def path(self, key: str) -> Path:
        """Return the path of a checkpoint."""
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> Checkpoint | None:
        """Return the stored standing; None where there is none or the file is damaged."""
        stored = read_tensors(self.path(key))
        if stored is None:
            return None
        content, tensors = stored
        state = {
            name.removeprefix(_STATE): value
            for name, value in tensors.items()
            if name.startswith(_STATE)
        }
        rest = {name: x for name, x in tensors.items() if not name.startswith(_STATE)}
        return Checkpoint(fit_of(content, rest), content["step"], content["running"], state)

    def put(self, key: str, standing: Checkpoint) -> None:
        """Store a standing in one step."""
        content, tensors = parts_of(standing.fit)
        content |= {"step": standing.step, "running": standing.running}
        state = {_STATE + name: value for name, value in standing.state.items()}
        write_tensors(self.path(key), content, tensors | state)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget some, those that are there."""
        for key in keys:
            self.path(key).unlink(missing_ok=True)


def standing_key(fit_id: str, way: Sequence[tuple[int, Sequence[str]]]) -> str:
    """Return the name of a checkpoint, by how it was reached.

    Args:
        fit_id: The fit.
        way: Steps made after each rung and the fits trained together until then, since a fit may
            depend on its company in the last digit.
    """
    content = json.dumps([[step, list(company)] for step, company in way])
    return f"{fit_id}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
