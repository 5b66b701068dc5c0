"""Significance tests between runs, and between groups of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from pareto_rec.analysis import bootstrap, front_draws
from pareto_rec.analysis.bootstrap import DRAWS, LEVEL, Floats
from pareto_rec.analysis.compare.over_users import OverUsers, over_users
from pareto_rec.analysis.compare.runs import Compared
from pareto_rec.analysis.front_draws import FrontFigures
from pareto_rec.core.seeds import child_seed

SEED = child_seed(0, "resample", "validation")  # the same users as in confirm


def paired_runs(runs: Sequence[Compared], *, seed: int = SEED) -> dict[str, Any]:
    """Return ratios of hypervolumes, every pair of runs under the same resampled users.

    The fronts' selected points as they are: this says whether two fronts differ for people like
    these, not whether one way to search is better than another, which takes several seeds of each.
    Users are resampled as `confirm` does it. Objectives of which a run does not say how they depend
    on users are left out of the hypervolumes.

    Args:
        runs: Comparable ones.
        seed: Of the resample.

    Returns:
        ``over``, ``pairs`` and ``reason``; without pairs the reason says why. ``objectives`` are
        those of the hypervolumes, ``left_out`` says why any other is not among them.
    """
    resampled = over_users(runs)
    if isinstance(resampled, str):
        return {"over": None, "reason": resampled, "objectives": [], "left_out": {}, "pairs": []}
    fronts = _fronts(resampled, seed)
    pairs = []
    for i, j in combinations(range(len(runs)), 2):
        ratio = front_draws.paired(fronts[i], fronts[j])
        p = front_draws.p_of_ratio(fronts[i], fronts[j])
        pairs.append(
            {
                "run": runs[i].label,
                "other": runs[j].label,
                "ratio": None if ratio is None else _finite(vars(ratio)),
                "p": _two_sided(fronts[i].draws - fronts[j].draws) if p is None else p,
            }
        )
    return {
        "over": "users",
        "reason": None,
        "objectives": [goal.name for goal in resampled.goals],
        "left_out": dict(resampled.left_out),
        "draws": DRAWS,
        "pairs": with_holm(pairs),
    }


def _fronts(resampled: OverUsers, seed: int) -> list[FrontFigures]:
    """Return the hypervolume of every run's selected points, measured and drawn."""
    stage = front_draws.figures(
        resampled.answers,
        resampled.points,
        1,
        names=[goal.name for goal in resampled.goals],
        objectives=resampled.objectives,
        goals=resampled.goals,
        draws=DRAWS,
        seed=seed,
    )
    return [front_draws.front_figures(stage, own, resampled.goals) for own in resampled.places]


def _two_sided(difference: Floats) -> float:
    """Return the share of draws on the smaller side of zero, doubled, the measured one included.

    For fronts of which a ratio cannot be resampled, since one is worth nothing or they are alike.
    """
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
