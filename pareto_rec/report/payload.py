"""Payload of the page's script: front, other records and baselines as JSON values."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pareto_rec.report.plots import style as plot_style
from pareto_rec.runs.confirmation import STAGES, Confirmed, ConfirmedPoint
from pareto_rec.runs.convergence import convergence
from pareto_rec.runs.view import Axis, RunView

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 7  # significant ones, as candidates are rounded
BACKGROUND = 5  # significant digits of what is only drawn behind the front
SHOWN_VARIABLES = 6  # on the parallel coordinates at first


def payload(view: RunView) -> dict[str, Any]:
    """Return everything that the page draws, with floats rounded and missing values as ``None``."""
    names = [axis.name for axis in (*view.axes, *view.reported)]
    variables = [str(name) for name in view.front if str(name).startswith(("train.", "serve."))]
    others = view.records[view.records["status"] == "ok"]
    others = others[~others["id"].isin(view.front["id"])]
    volumes = view.hypervolumes.experts
    return {
        "title": view.title,
        "run": str(view.path),
        "objectives": [
            _axis(axis) | {"searched": True, "range": list(plot_style.limits(view, axis))}
            for axis in view.axes
        ]
        + [_axis(axis) | {"searched": False} for axis in view.reported],
        "variables": variables,
        "main": main_variables(view, variables),
        # A seed is longer than the integers that a script can hold, so it goes as text.
        "front": _table(
            view.front.assign(seed=view.front["seed"].astype(str)),
            ["id", "selected", "fit", "seed", *names, *variables],
        ),
        "records": _table(others, ["id", *names], BACKGROUND),
        "baselines": _table(view.baselines, ["expert", "id", "on_front", *names], BACKGROUND),
        "experts": [
            {"name": name, "hypervolume": volumes.get(name)}
            for name in sorted(view.experts, key=lambda name: -volumes.get(name, 0.0))
        ],
        "confirmed": _confirmed(view.confirmed),
        "convergence": _convergence(view),
        "lists": view.lists,
    }


def script_json(value: Any) -> str:  # Any: JSON
    """Return JSON that is safe inside a script element, also with markup in its strings."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def main_variables(view: RunView, variables: list[str]) -> list[str]:
    """Return the decision variables that the searched objectives go with most on the front.

    Strength is the largest absolute rank correlation with an objective; for words, the square
    root of the share of rank variance between them. Variables that do not vary are left out.
    """
    strength = {name: _strength(view, name) for name in variables}
    varied = [name for name in variables if strength[name] > 0]
    best = sorted(varied, key=lambda name: -strength[name])[:SHOWN_VARIABLES]
    return [name for name in variables if name in best]


def _strength(view: RunView, name: str) -> float:
    column = view.front[name]
    if column.nunique() < 2:
        return 0.0
    ranks = view.front[view.names].rank()
    if column.dtype.kind in "fiu":
        return float(ranks.corrwith(column.rank()).abs().fillna(0.0).max())
    between = ranks.groupby(column.astype(str)).transform("mean").var()
    return float(np.sqrt((between / ranks.var()).fillna(0.0).max()))


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "label": axis.label_with_unit,
        "maximise": axis.maximise,
        "reference": axis.reference,
        "at_least": axis.at_least,
        "at_most": axis.at_most,
    }


def _confirmed(confirmed: Confirmed | None) -> dict[str, Any] | None:
    """Return means and intervals of the search's points by id, and of the opponents'."""
    if confirmed is None or not confirmed.finished or not confirmed.own:
        return None
    others = [point for point in confirmed.points if point.front != confirmed.own[0].front]
    return {
        "stages": [stage for stage in STAGES if any(stage in p.values for p in confirmed.own)],
        "level": confirmed.level,
        "points": {point.id: _confirmed_point(point) for point in confirmed.own},
        "opponents": [
            {"front": point.front, "id": point.id} | _confirmed_point(point) for point in others
        ],
    }


def _confirmed_point(point: ConfirmedPoint) -> dict[str, Any]:
    values = {
        stage: {name: [_cell(value) for value in cells] for name, cells in by_name.items()}
        for stage, by_name in point.values.items()
    }
    chances = {"own": point.non_dominated, "all": point.non_dominated_all}
    return values | {"non_dominated": chances, "dominated": point.dominated_by_any}


def _convergence(view: RunView) -> dict[str, Any]:
    curve, volumes = convergence(view), view.hypervolumes
    lines = [] if volumes.best_expert is None else [volumes.best_expert]
    beaten = [{"name": name, "hypervolume": volumes.experts[name]} for name in lines]
    if volumes.all_baselines:
        together = "all baselines together"
        beaten.append({"name": together, "hypervolume": volumes.all_baselines})
    return {
        "records": curve.records.tolist(),
        "fits": curve.fits.tolist(),
        "seconds": [_cell(value) for value in curve.seconds],
        "hypervolume": [_cell(value) for value in curve.hypervolume],
        "baselines": beaten,
    }


def _table(frame: pd.DataFrame, columns: list[str], digits: int = DIGITS) -> dict[str, Any]:
    present = [name for name in columns if name in frame]
    rows = [
        [_cell(value, digits) for value in row] for row in frame[present].itertuples(index=False)
    ]
    return {"columns": present, "rows": rows}


def _cell(value: Any, digits: int = DIGITS) -> Any:  # Any: what a frame holds, to what JSON holds
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else float(f"{number:.{digits}g}")
