"""Tables and answer of a confirmation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pareto_rec.analysis.bootstrap import Interval
from pareto_rec.analysis.confirm.reported_front import SEARCH, Point
from pareto_rec.analysis.confirm.statistics import (
    DominanceProbabilities,
    FrontFigures,
    StageFigures,
    Summary,
    paired,
)
from pareto_rec.core.wording import kept_in_words, repeats_in_words

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


def front_rows(fronts: Sequence[Front], points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return one entry per front, the search first; ratios are the search's over the others'."""
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
                "ratio": {SEARCH: claimed} | {k: _interval(v) for k, v in ratio.items()},
                "kept": _interval(_kept(ratio["test"], claimed)),
            }
        )
    return rows


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


def answer(
    fronts: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    best: str | None,
    objectives: Sequence[Mapping[str, Any]],
    earlier: Sequence[str],
    truth: Mapping[str, int],
) -> dict[str, Any]:
    """Return the answer in words and in three numbers.

    Args:
        fronts: From :func:`front_rows`.
        points: From :func:`point_rows`.
        best: The opponent with the most hypervolume on test data.
        objectives: Entries of confirm.json.
        earlier: When test data had been opened before.
        truth: Test rows that are left out of the truth (`Stage.truth_account`).
    """
    own = [row for row in points if row["front"] == SEARCH]
    by_own = sum(row["dominated_by_own"] for row in own)
    by_any = sum(row["dominated_by_any"] for row in own)
    says = [_headline(fronts, best), *_against_others(fronts, best), *_lost(fronts[1:])]
    says.append(
        f"On test data {by_own} of the {len(own)} confirmed points are dominated by another of "
        f"them, and {by_any} by a confirmed point of any front."
    )
    says += _best_values(points, [objective for objective in objectives if objective["searched"]])
    if words := repeats_in_words(truth, "test"):
        says.append(f"{words}.")
    if earlier:
        says.append(f"Test data had been opened before: {', '.join(earlier)}.")
    counts = {"dominated_by_own": by_own, "dominated_by_any": by_any}
    return {"says": says, "points": len(own), **counts}


def _headline(fronts: Sequence[Mapping[str, Any]], best: str | None) -> str:
    volume = fronts[0]["hypervolume"]["test"]
    text = f"On test data the hypervolume x 1000 of the confirmed front is {_thousand(volume)}"
    front = next((entry for entry in fronts if entry["name"] == best), None)
    if front is None or front["ratio"]["test"] is None:
        return f"{text}; no opponent is worth anything by the reference."
    ratio = front["ratio"]["test"]
    text += f", {_spread(ratio, 2)} times that of the strongest opponent, {best} "
    text += f"({front['says']}; {front['records']:,} settings)"
    retained = front["kept"]
    share = f"; {kept_in_words(retained['value'])} of that gain is kept" if retained else ""
    if front["ratio"][SEARCH] is not None:
        text += f"; the search's own values claimed {front['ratio'][SEARCH]:.2f} times{share}"
    text += "."
    if _holds_one(ratio):
        text += " The interval holds 1: test data does not show that the search is better."
    return text


def _holds_one(ratio: Mapping[str, Any]) -> bool:
    return ratio["low"] is not None and ratio["low"] <= 1.0 <= ratio["high"]


def _against_others(fronts: Sequence[Mapping[str, Any]], best: str | None) -> list[str]:
    """Return the ratios to the opponents besides the strongest, in one sentence."""
    parts = []
    for front in fronts[1:]:
        ratio = front["ratio"]["test"]
        if front["name"] in (best, ALL) or ratio is None:
            continue
        note = ", which holds 1" if _holds_one(ratio) else ""
        parts.append(f"{_spread(ratio, 2, note)} times {front['name']}")
    return [f"Against the other opponents on test data: {'; '.join(parts)}."] if parts else []


def _thousand(volume: Mapping[str, Any]) -> str:
    scaled = {k: None if v is None else 1000 * v for k, v in volume.items()}
    return _spread(scaled, 3)


def _spread(interval: Mapping[str, Any], digits: int, note: str = "") -> str:
    """Format a value with its interval, and what is to be said of the interval."""
    text = _shown(interval["value"], digits)
    if interval["low"] is None or interval["high"] is None:
        return text
    low, high = (_shown(interval[end], digits) for end in ("low", "high"))
    return f"{text} (95 % interval {low} to {high}{note})"


def _shown(value: float, digits: int) -> str:
    """Format a number for people: a hypervolume may have a dozen digits, or only zeros."""
    usual = value == 0 or 0.1 <= abs(value) < 1000
    return f"{value:.{digits}f}" if usual else f"{value:.4g}"


def _lost(rivals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return opponents that have more hypervolume than the search on test data."""
    better = [
        rival
        for rival in rivals
        if rival["ratio"]["test"] and rival["ratio"]["test"]["value"] < 1.0
    ]
    return [
        f"{rival['name']} ({rival['records']:,} settings): more hypervolume on test data than the "
        "search (ratio "
        f"{_spread(rival['ratio']['test'], 2)})."
        for rival in better
    ]


def _best_values(
    points: Sequence[Mapping[str, Any]], searched: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return objectives in which a feasible point of an opponent beats all of the search's."""
    sentences = []
    for objective in searched:
        sign = 1.0 if objective["maximise"] else -1.0
        best: dict[bool, tuple[float, str]] = {}
        for row in points:
            mean = row["values"][objective["name"]]["test"]["mean"]
            if mean is None or not row["feasible"]:
                continue
            mine, entry = row["front"] == SEARCH, (sign * mean, str(row["front"]))
            best[mine] = max(best.get(mine, entry), entry)
        if False not in best:
            continue
        (value, name), own = best[False], best.get(True)
        reached = f"{sign * value:.4f}"
        ours = None if own is None else f"{sign * own[0]:.4f}"
        if own is None or (value > own[0] and reached != ours):
            rest = "" if ours is None else f" (its best: {ours})"
            sentences.append(
                f"{name} reaches {objective['name']} = {reached} on test data, better than any "
                f"confirmed point of the search{rest}."
            )
    return sentences
