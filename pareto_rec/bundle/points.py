"""Operating points of a bundle, described from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.analysis.picks import read_picks
from pareto_rec.bundle.data import Neighbour, PointAbout
from pareto_rec.bundle.source import Run
from pareto_rec.core.notices import notice
from pareto_rec.runs.confirmation import CSV, read_confirmed_values, void_of
from pareto_rec.runs.view import RunView


def points_of(run: Run, rows: Sequence[Mapping[str, Any]]) -> list[PointAbout]:
    """Return what a bundle says of each point."""
    records, reasons, confirmed = run.records(), _reasons(run.path), _confirmed(run.path)
    entries = []
    for row in rows:
        key = str(row["id"]), str(row["fit"]), int(row["seed"])
        record, measured = records[key], confirmed.get(key[0], {})
        entries.append(
            PointAbout(
                id=key[0],
                fit=key[1],
                members=record["members"],
                seed=key[2],
                train=record["train"],
                serve=record["serve"],
                serving=asdict(run.experiment.evaluator().serving(_typed(record["serve"]))),
                objectives=record["objectives"],
                test={name: span[0] for name, span in measured.items()},
                intervals={name: span[1:] for name, span in measured.items()},
                picked=reasons.get(key[0], ""),
                selected=bool(row["selected"]),
            )
        )
    return entries


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values out of JSON, weights as the tuples that they were."""
    return {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}


def _reasons(path: Path) -> dict[str, str]:
    """Return why each point was picked, by the latest pick."""
    reasons = {}
    for entry in read_picks(path):
        if isinstance(entry.get("point"), str):
            reasons[entry["point"]] = str(entry.get("reason") or "picked")
    return reasons


def _confirmed(path: Path) -> dict[str, dict[str, list[float]]]:
    """Return mean, low and high on test data by point and objective, after ``confirm``.

    A void confirmation has none to show.
    """
    if void := void_of(path):
        notice(f"{path}: test values are left out of the bundle. {void}")
        return {}
    return {
        id_: {name: [values.means[name], *ends] for name, ends in values.intervals.items()}
        for id_, values in read_confirmed_values(path / CSV).items()
    }


def neighbours_of(view: RunView, id_: str) -> list[Neighbour]:
    """Find, for each searched objective, the nearest point of the front that is better.

    Nearest by the Euclidean distance of objective values over their ranges on the front.
    """
    frame = view.front
    values = view.values(frame)
    here = int(np.flatnonzero(frame["id"].to_numpy() == id_)[0])
    widths = values.max(axis=0) - values.min(axis=0)
    scaled = values / np.where(widths > 0, widths, 1.0)
    distance = np.linalg.norm(scaled - scaled[here], axis=1)
    neighbours = []
    for column, (name, up) in enumerate(zip(view.names, view.maximise, strict=True)):
        gain = (values[:, column] - values[here, column]) * (1 if up else -1)
        better = np.flatnonzero(gain > 0)
        if len(better):
            index = int(better[np.argmin(distance[better])])
            objectives = dict(zip(view.names, map(float, values[index]), strict=True))
            neighbours.append(
                Neighbour(id=str(frame["id"].iloc[index]), better_in=name, objectives=objectives)
            )
    return neighbours
