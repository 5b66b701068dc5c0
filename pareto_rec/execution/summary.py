"""Summary of records: rows of front.csv and baselines.csv, and hypervolumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.runs.record import Record, without_fits
from pareto_rec.search import Goal
from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.space import SearchSpace
from pareto_rec.search.variables import named_values

SELECTED = 20  # points of a front to show and to confirm

Row = Mapping[str, Any]


def _values(rows: Sequence[Row], goals: Sequence[Goal]) -> NDArray[np.float64]:
    return np.array([[row[goal.name] for goal in goals] for row in rows], dtype=np.float64).reshape(
        len(rows), len(goals)
    )


def _feasible(values: NDArray[np.float64], goals: Sequence[Goal]) -> NDArray[np.bool_]:
    return np.asarray(violation(values, goals) <= 0)


def hypervolume_of(rows: Sequence[Row], goals: Sequence[Goal]) -> float:
    """Compute the hypervolume of the feasible rows in natural units; 0 where there are none."""
    values = _values(rows, goals)
    values = values[_feasible(values, goals)] if len(values) else values
    if not len(values):
        return 0.0
    reference = [goal.reference for goal in goals]
    return front.hypervolume(values, reference=reference, maximise=[g.maximise for g in goals])


def front_rows(
    records: Sequence[Record], goals: Sequence[Goal], names: Sequence[str], space: SearchSpace
) -> list[dict[str, Any]]:
    """Return rows of front.csv: non-dominated feasible records, ordered by the first objective."""
    usable = [record for record in records if record.status == "ok"]
    values = _values([record.objectives for record in usable], goals)
    if not len(values):
        return []
    keep = np.flatnonzero(_feasible(values, goals))
    maximise = [goal.maximise for goal in goals]
    if not len(keep):
        return []
    keep = keep[front.non_dominated(values[keep], maximise=maximise)]
    sign = 1.0 if maximise[0] else -1.0
    keep = keep[np.argsort(-sign * values[keep, 0], kind="stable")]
    reference = [goal.reference for goal in goals]
    selected = set(front.select(values[keep], SELECTED, reference=reference, maximise=maximise))
    return [
        {
            "id": usable[row].id,
            "selected": int(rank in selected),
            "fit": usable[row].fit,
            "members": members_text(usable[row].members),
            "seed": usable[row].seed,
            **{
                name: usable[row].objectives[name]
                for name in names
                if name in usable[row].objectives
            },
            **_columns("train", named_values(space.train, usable[row].train)),
            **_columns(
                "serve",
                without_fits(named_values(space.serve, usable[row].serve), usable[row].fit),
            ),
        }
        for rank, row in enumerate(keep)
    ]


def members_text(members: Mapping[str, float]) -> str:
    """Return members and their weights in one cell: ``"0.7 4fa3..., 0.3 ease"``."""
    return ", ".join(f"{weight!r} {name}" for name, weight in members.items())


def _columns(part: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns ``part.variable`` and, for a simplex, ``part.variable.name``."""
    columns: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            columns |= {f"{part}.{name}.{key}": weight for key, weight in value.items()}
        else:
            columns[f"{part}.{name}"] = value
    return columns


def baseline_rows(rows: Sequence[Row], goals: Sequence[Goal]) -> list[dict[str, Any]]:
    """Return rows of baselines.csv, each marked whether its own expert's sweep dominates it."""
    marked: list[dict[str, Any]] = []
    for expert in dict.fromkeys(row["expert"] for row in rows):
        own = [row for row in rows if row["expert"] == expert]
        best = front.non_dominated(_values(own, goals), maximise=[g.maximise for g in goals])
        for row, on_front in zip(own, best, strict=True):
            head = {"expert": expert, "id": row["id"], "on_front": int(on_front)}
            marked.append(head | {k: v for k, v in row.items() if k not in head})
    return marked
