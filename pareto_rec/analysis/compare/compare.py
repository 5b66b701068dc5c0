"""Content of a comparison, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.analysis.compare import indicators, significance
from pareto_rec.analysis.compare.runs import Compared, read_runs
from pareto_rec.runs.convergence import Curve, convergence
from pareto_rec.search.pareto import hypervolume

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the smallest budget, where hypervolumes are compared


def compare_runs(paths: Sequence[Path]) -> dict[str, Any]:
    """Compare runs that asked the same question of the same data.

    Args:
        paths: Run directories, at least two.

    Raises:
        BadRequestError: If they cannot be compared; the message says why.
    """
    runs = read_runs(paths)
    view = runs[0].view
    target = indicators.union_front([run.front for run in runs], maximise=view.maximise)
    curves = [convergence(run.view) for run in runs]
    groups = _groups(runs)
    volumes = {run.label: _volume(run) for run in runs}
    by_group = {name: [volumes[run.label] for run in members] for name, members in groups.items()}
    return {
        "objectives": [
            {"name": axis.name, "maximise": axis.maximise, "reference": axis.reference}
            for axis in view.axes
        ],
        "union": {
            "points": len(target),
            "hypervolume": hypervolume(target, reference=view.reference, maximise=view.maximise),
        },
        "runs": [
            _row(run, groups, target) | {"hypervolume": volumes[run.label], **_course(curve)}
            for run, curve in zip(runs, curves, strict=True)
        ],
        "at_equal": _at_equal(runs, curves),
        "coverage": _coverage(runs),
        "paired": significance.paired_runs(runs),
        "groups": [_group(name, members, by_group[name]) for name, members in groups.items()],
        "between_groups": significance.between_groups(by_group),
    }


def _volume(run: Compared) -> float:
    view = run.view
    return hypervolume(run.front, reference=view.reference, maximise=view.maximise)


def _groups(runs: Sequence[Compared]) -> dict[str, list[Compared]]:
    """Return runs of one config but for the seed, under the names A, B, ..."""
    by_config: dict[str, list[Compared]] = {}
    for run in runs:
        by_config.setdefault(run.experiment, []).append(run)
    return {_letters(number): members for number, members in enumerate(by_config.values())}


def _letters(index: int) -> str:
    return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def _row(
    run: Compared, groups: Mapping[str, Sequence[Compared]], target: np.ndarray[Any, Any]
) -> dict[str, Any]:
    counts = run.view.info.get("counts", {})
    return {
        "run": run.label,
        "group": next(name for name, members in groups.items() if run in members),
        "experiment": run.view.title,
        "seed": run.config.get("seed"),
        "status": run.view.info.get("status"),
        "fits": counts.get("fits"),
        "records": len(run.view.records),
        "failed": counts.get("failed"),
        "steps": counts.get("steps"),
        "front": len(run.view.front),
        "igd_plus": indicators.igd_plus(run.front, target, maximise=run.view.maximise),
    }


def _course(curve: Curve) -> dict[str, Any]:
    known = np.isfinite(curve.seconds)
    seconds = [float(s) if ok else None for s, ok in zip(curve.seconds, known, strict=True)]
    return {
        "course": {
            "fits": curve.fits.tolist(),
            "seconds": seconds,
            "hypervolume": curve.hypervolume.tolist(),
        }
    }


def _at_equal(runs: Sequence[Compared], curves: Sequence[Curve]) -> dict[str, Any]:
    """Return hypervolumes at the same numbers of fits and after the same seconds."""
    volumes: dict[str, Any] = {}
    for name in ("fits", "seconds"):
        axes = [np.asarray(getattr(curve, name), dtype=np.float64) for curve in curves]
        if not all(np.isfinite(axis).any() for axis in axes):
            continue
        budget = min(float(np.nanmax(axis)) for axis in axes)
        marks = [share * budget for share in SHARES]
        volumes[name] = {
            "at": marks,
            "hypervolume": {
                run.label: [_reached(axis, curve.hypervolume, mark) for mark in marks]
                for run, axis, curve in zip(runs, axes, curves, strict=True)
            },
        }
    return volumes


def _reached(spent: np.ndarray[Any, Any], volumes: np.ndarray[Any, Any], budget: float) -> float:
    within = np.flatnonzero(spent <= budget * (1 + 1e-9))
    return float(volumes[within[-1]]) if len(within) else 0.0


def _coverage(runs: Sequence[Compared]) -> dict[str, dict[str, float]]:
    """Run -> other run -> share of the other's front that this one's weakly dominates."""
    maximise = runs[0].view.maximise
    return {
        run.label: {
            other.label: indicators.coverage(run.front, other.front, maximise=maximise)
            for other in runs
            if other is not run
        }
        for run in runs
    }


def _group(name: str, members: Sequence[Compared], volumes: Sequence[float]) -> dict[str, Any]:
    view = members[0].view
    several = len(members) > 1
    return {
        "group": name,
        "runs": [run.label for run in members],
        "hypervolume": {
            "mean": float(np.mean(volumes)),
            "sd": float(np.std(volumes, ddof=1)) if several else None,
            "least": float(min(volumes)),
            "most": float(max(volumes)),
        },
        "attained": indicators.attained_volumes(
            [run.front for run in members], reference=view.reference, maximise=view.maximise
        )
        if several
        else None,
    }
