"""Scores of experts on disk, computed once and memory-mapped for every reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import Stage
from pareto_rec.experts.base import Expert
from pareto_rec.paths import written_whole

Mapped = np.memmap[Any, np.dtype[np.float32]]  # numpy leaves the shape of a memmap open


def score_file(expert: Expert, stage: Stage, cache: Path) -> Path:
    """Where the scores of the expert on the stage lie: named by method, parameters and data."""
    content = {
        "method": expert.method,
        "revision": expert.revision,
        "parameters": expert.parameters(),
        "stage": stage.content_hash,
    }
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return cache / "experts" / f"{expert.method}-{digest}.npy"


def cached_scores(
    experts: Mapping[str, Expert], names: Iterable[str], stage: Stage, cache: Path
) -> dict[str, Mapped]:
    """Scores of the named experts, read-only and memory-mapped, ``[users, items]`` float32.

    A file that is missing or damaged is computed anew and replaced in one step.

    Raises:
        BadRequestError: If the cache cannot be written, or an expert refuses the data.
    """
    found: dict[str, Mapped] = {}
    for name in names:
        path = score_file(experts[name], stage, cache)
        mapped = _open(path, stage.shape)
        if mapped is None:
            _write(path, experts[name].scores(stage))
            mapped = _open(path, stage.shape)
        if mapped is None:
            raise OSError(f"{path} cannot be read back after writing")
        found[name] = mapped
    return found


def _open(path: Path, shape: tuple[int, int]) -> Mapped | None:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):  # absent, or cut short
        return None
    fits = isinstance(mapped, np.memmap) and mapped.shape == shape and mapped.dtype == np.float32
    return mapped if fits else None


def _write(path: Path, scores: NDArray[np.float32]) -> None:
    with written_whole(path) as spare, spare.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(scores, dtype=np.float32), allow_pickle=False)
