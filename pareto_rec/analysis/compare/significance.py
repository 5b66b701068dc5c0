"""Significance tests between runs, and between groups of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import LEVEL, Floats, Resample
from pareto_rec.analysis.compare.runs import Compared, values_per_user
from pareto_rec.runs.view import RunView

DRAWS = 1000


def paired_runs(runs: Sequence[Compared], *, seed: int = 0) -> dict[str, Any]:
    """Return ratios of hypervolumes, every pair of runs under the same resampled users.

    The fronts' selected points as they are: this says whether two fronts differ for people like
    these, not whether one way to search is better than another, which takes several seeds of each.

    Args:
        runs: Comparable ones.
        seed: Of the resample.

    Returns:
        ``over``, ``pairs`` and ``reason``; without pairs the reason says why.
    """
    values = values_per_user(runs)
    if isinstance(values, str):
        return {"over": None, "reason": values, "pairs": []}
    arrays, users = values
    resample = Resample(len(users), 1, DRAWS, seed)
    view = runs[0].view
    volumes = [_volumes(values, resample, view) for values in arrays]
    pairs = []
    for i, j in combinations(range(len(runs)), 2):
        (mine, my_draws), (other, other_draws) = volumes[i], volumes[j]
        drawn = bootstrap.ratio(my_draws, other_draws)
        ratio = bootstrap.interval(mine / other, drawn) if other > 0 else None
        pairs.append(
            {
                "run": runs[i].label,
                "other": runs[j].label,
                "ratio": None if ratio is None else _finite(vars(ratio)),
                "p": _two_sided(my_draws - other_draws),
            }
        )
    return {"over": "users", "reason": None, "draws": DRAWS, "pairs": with_holm(pairs)}


def _volumes(values: Floats, resample: Resample, view: RunView) -> tuple[float, Floats]:
    """Return hypervolumes of a run's points ``[points, users, objectives]``, measured and drawn."""
    columns = np.moveaxis(values, 2, 0)[:, :, None, :]  # [objectives, points, seed, users]
    drawn = np.stack([bootstrap.draw_means(column, resample) for column in columns], axis=2)
    means = np.stack([bootstrap.seed_means(column)[:, 0] for column in columns], axis=1)
    both = np.concatenate([means[None], drawn])
    volumes = bootstrap.hypervolumes(
        both, _feasible(both, view), reference=view.reference, maximise=view.maximise
    )
    return float(volumes[0]), volumes[1:]


def _feasible(values: Floats, view: RunView) -> bootstrap.Bools:
    low = [-math.inf if axis.at_least is None else axis.at_least for axis in view.axes]
    high = [math.inf if axis.at_most is None else axis.at_most for axis in view.axes]
    return np.asarray(((values >= low) & (values <= high)).all(axis=2))


def _two_sided(difference: Floats) -> float:
    """Return the share of draws on the smaller side of zero, doubled, the measured one included."""
    least = min((difference <= 0).sum(), (difference >= 0).sum())
    return float(min(1.0, 2.0 * (least + 1) / (len(difference) + 1)))


def between_groups(groups: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Return differences of mean hypervolumes between groups of runs of different seeds.

    Args:
        groups: Name -> hypervolume of each run; groups of one run say nothing about chance.

    Returns:
        Welch's interval and p-value for every pair of groups with two runs or more.

    Source: Welch, Biometrika 1947.
    """
    from scipy import stats

    known = {name: values for name, values in groups.items() if len(values) > 1}
    rows = []
    for first, second in combinations(known, 2):
        mine, theirs = known[first], known[second]
        same = np.ptp(mine) == 0 and np.ptp(theirs) == 0
        difference = float(np.mean(mine) - np.mean(theirs))
        row: dict[str, Any] = {"group": first, "other": second, "difference": difference}
        if same:  # no spread at all: nothing to test
            rows.append(row | {"low": None, "high": None, "p": 1.0 if difference == 0 else 0.0})
            continue
        test = stats.ttest_ind(mine, theirs, equal_var=False)
        bounds = test.confidence_interval(LEVEL)
        rows.append(
            row | {"low": float(bounds.low), "high": float(bounds.high), "p": float(test.pvalue)}
        )
    return with_holm(rows)


def with_holm(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with ``p_holm``: their p-values corrected for how many there are."""
    adjusted = bootstrap.holm([float(row["p"]) for row in rows])
    return [dict(row) | {"p_holm": p} for row, p in zip(rows, adjusted, strict=True)]


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
