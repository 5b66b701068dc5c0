"""Tables of a confirmation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pareto_rec.analysis.bootstrap import Interval, holm
from pareto_rec.analysis.confirm.box import Box
from pareto_rec.analysis.confirm.fixed_values import FixedValues
from pareto_rec.analysis.confirm.reported_front import SEARCH, Point
from pareto_rec.analysis.confirm.statistics import (
    DominanceProbabilities,
    FrontFigures,
    StageFigures,
    Summary,
    p_of_ratio,
    paired,
)

ALL = "all opponents together"
STAGES = ("validation", "test")


@dataclass(frozen=True)
class Front:
    """One front that is compared.

    Attributes:
        name: ``"search"``, an opponent, or `ALL`.
        kind: ``"search"``, ``"union"``, or that of an opponent.
        says: What it is.
        records: How many records its points were chosen from.
        places: Its points, as places in the list of all points.
        claimed: Hypervolume by the values that they were chosen on.
        stages: Stage -> its figures.
    """

    name: str
    kind: str
    says: str
    records: int
    places: tuple[int, ...]
    claimed: float
    stages: Mapping[str, FrontFigures]


def number(value: float) -> float | None:
    """Return a number for JSON; None for what is not known or not finite."""
    return float(value) if math.isfinite(value) else None


def _interval(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {
        "value": number(interval.value),
        "low": number(interval.low),
        "high": number(interval.high),
    }


def _kept(ratio: Interval | None, claimed: float | None) -> Interval | None:
    """Return the share of the claimed gain that is left; None where none was claimed."""
    if ratio is None or claimed is None or not claimed > 1.0:
        return None
    value, low, high = ((x - 1.0) / (claimed - 1.0) for x in (ratio.value, ratio.low, ratio.high))
    return Interval(value, low, high)


def front_rows(
    fronts: Sequence[Front], points: Sequence[Point], box: Box | None = None
) -> list[dict[str, Any]]:
    """Return one entry per front, the search first; ratios are the search's over the others'.

    Args:
        fronts: All of them.
        points: Of all fronts.
        box: Normalises hypervolumes; None, or one without volume, leaves them as they are.
    """
    search = fronts[0]
    rows = []
    for front in fronts:
        alike = front is search
        claimed = None if alike or not front.claimed > 0 else search.claimed / front.claimed
        ratio = {
            stage: None if alike else paired(search.stages[stage], front.stages[stage])
            for stage in STAGES
        }
        volumes = {stage: _interval(front.stages[stage].volume) for stage in STAGES}
        rows.append(
            {
                "name": front.name,
                "kind": front.kind,
                "says": front.says,
                "records": front.records,
                "points": len(front.places),
                "ids": [points[index].id for index in front.places],
                "hypervolume": {SEARCH: number(front.claimed), **volumes},
                "share_of_box": _shares(front, box),
                "ratio": {SEARCH: claimed} | {k: _interval(v) for k, v in ratio.items()},
                "kept": _interval(_kept(ratio["test"], claimed)),
            }
        )
    return _with_p_values(rows, fronts)


def _shares(front: Front, box: Box | None) -> dict[str, Any] | None:
    """Return hypervolumes as shares of the box; None without one."""
    if box is None or not box.volume > 0:
        return None
    shares: dict[str, Any] = {SEARCH: number(front.claimed / box.volume)}
    for stage in STAGES:
        one = front.stages[stage].volume
        ends = (end / box.volume for end in (one.value, one.low, one.high))
        shares[stage] = _interval(Interval(*ends))
    return shares


def _with_p_values(rows: list[dict[str, Any]], fronts: Sequence[Front]) -> list[dict[str, Any]]:
    """Return the rows with the p-value of an equal hypervolume on test data, and Holm's.

    Holm's correction is over the single opponents, since each of them is a claim.
    """
    found = {
        front.name: p_of_ratio(fronts[0].stages["test"], front.stages["test"])
        for front in fronts[1:]
        if front.name != ALL
    }
    known = {name: p for name, p in found.items() if p is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    return [
        {**row, "p": known.get(row["name"]), "p_holm": adjusted.get(row["name"])} for row in rows
    ]


def point_rows(
    points: Sequence[Point],
    worked: Sequence[int],
    stages: Mapping[str, StageFigures],
    where: DominanceProbabilities,
) -> list[dict[str, Any]]:
    """Return one entry per point.

    Args:
        points: All of them.
        worked: How many fresh seeds each has values of.
        stages: Stage -> figures.
        where: How they stand on test data.
    """
    rows = []
    for index, (point, seeds) in enumerate(zip(points, worked, strict=True)):
        values = {
            name: {SEARCH: point.claimed.get(name)}
            | {stage: _summary(stages[stage].summaries[name][index]) for stage in STAGES}
            for name in stages["test"].summaries
        }
        rows.append(
            {
                "front": point.front,
                "id": point.id,
                "seeds": seeds,
                "p_non_dominated": number(where.share_own[index]),
                "p_non_dominated_all": number(where.share_all[index]),
                "dominated_by_own": bool(where.by_own[index]),
                "dominated_by_any": bool(where.by_any[index]),
                "feasible": bool(where.feasible[index]),
                "serve": {
                    k: list(v) if isinstance(v, tuple) else v for k, v in point.serve.items()
                },
                "values": values,
            }
        )
    return rows


def _summary(summary: Summary) -> dict[str, float | None]:
    entry = {
        "mean": number(summary.mean),
        "sd": number(summary.deviation),
        "low": number(summary.low),
        "high": number(summary.high),
    }
    return entry if summary.bias is None else {**entry, "bias": number(summary.bias)}


def flat(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of confirm.csv from :func:`point_rows`: one column per value."""
    lines = []
    for row in rows:
        line = {k: v for k, v in row.items() if k not in ("serve", "values")}
        line = {k: int(v) if isinstance(v, bool) else v for k, v in line.items()}
        for name, stages in row["values"].items():
            line[f"{SEARCH}.{name}"] = stages[SEARCH]
            for stage in STAGES:
                line[f"{stage}.{name}"] = stages[stage]["mean"]
                line |= {
                    f"{stage}.{name}.{key}": value
                    for key, value in stages[stage].items()
                    if key != "mean"
                }
        for name, value in row["serve"].items():
            line |= _columns(f"serve.{name}", value)
        lines.append({k: "" if v is None else v for k, v in line.items()})
    return lines


def _columns(name: str, value: Any) -> dict[str, Any]:  # Any: a value of any serving variable
    if isinstance(value, Mapping):
        return {f"{name}.{key}": weight for key, weight in value.items()}
    if isinstance(value, list):
        return {f"{name}.{number}": weight for number, weight in enumerate(value, start=1)}
    return {name: value}


def fixed_row(fixed: FixedValues | None, points: Sequence[Point]) -> dict[str, Any] | None:
    """Return the first objective at fixed values of the others, for JSON."""
    if fixed is None:
        return None
    return {
        "opponent": fixed.opponent,
        "quantile": fixed.level,
        "bounds": dict(fixed.bounds),
        "fronts": [
            {
                "name": one.front,
                "id": None if one.place is None else points[one.place].id,
                "value": _interval(one.value),
                "more": _interval(one.more),
                "percent": _interval(one.percent),
            }
            for one in fixed.fronts
        ],
    }
