"""Convergence: hypervolume against records, fits and seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pareto_rec.runs.record import fit_ids
from pareto_rec.runs.view import RunView
from pareto_rec.search.pareto import hypervolume

CHECKPOINTS = 60


@dataclass(frozen=True)
class Curve:
    """Hypervolume as the search went on; all arrays ``[checkpoints]``.

    Attributes:
        records: Records evaluated so far.
        fits: Fits evaluated so far.
        seconds: Seconds since the run began; NaN where none were recorded.
        hypervolume: Of the feasible records so far, natural units.
        boundary: Whether a generation ends here.
    """

    records: NDArray[np.int64]
    fits: NDArray[np.int64]
    seconds: NDArray[np.float64]
    hypervolume: NDArray[np.float64]
    boundary: NDArray[np.bool_]


def convergence(view: RunView, checkpoints: int = CHECKPOINTS) -> Curve:
    """Compute the hypervolume at the end of every generation and at evenly spread records between.

    Args:
        view: The run.
        checkpoints: Number of evenly spread records.
    """
    records = view.records
    generation = records["generation"].to_numpy()
    ends = np.append(np.flatnonzero(np.diff(generation)), len(records) - 1)
    spread = np.linspace(0, len(records) - 1, checkpoints).round().astype(np.int64)
    at = np.union1d(ends, spread)
    usable = (records["status"] == "ok").to_numpy() & view.feasible(records)
    values = view.values(records)
    volumes = [
        hypervolume(values[:n][usable[:n]], reference=view.reference, maximise=view.maximise)
        for n in at + 1
    ]
    return Curve(
        records=at + 1,
        fits=_fits_so_far(records["fit"])[at],
        seconds=np.fmax.accumulate(records["elapsed_s"].to_numpy(dtype=np.float64))[at],
        hypervolume=np.array(volumes),
        boundary=np.isin(at, ends),
    )


def _fits_so_far(named: Iterable[str]) -> NDArray[np.int64]:
    """Count the distinct fits that records have named up to each of them ``[records]``."""
    known: set[str] = set()
    counts = []
    for fit in named:
        known.update(fit_ids(fit))
        counts.append(len(known))
    return np.array(counts, dtype=np.int64)
