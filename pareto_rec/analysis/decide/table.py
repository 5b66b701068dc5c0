"""Tables of a pick: the point, its price in every objective, and its test values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pareto_rec.analysis.decide import Mixture, Pick, Points
from pareto_rec.runs.confirmation import ConfirmedValues

GAP = "  "


def pick_lines(points: Points, pick: Pick, confirmed: Mapping[str, ConfirmedValues]) -> list[str]:
    """Return the chosen point, what each objective costs in the others, and its neighbours.

    Args:
        points: The front.
        pick: The choice.
        confirmed: Test values of points by their id.
    """
    shown = _shown(points, pick)
    rows = [["", "point", *shown]]
    rows.append(["chosen", pick.id, *(_value(pick.objectives.get(name)) for name in shown)])
    rows += _test_rows(pick.id, shown, confirmed)
    for step in pick.steps:
        there = points.objectives(step.row)
        here = (_value(there.get(n), minus=pick.objectives.get(n)) for n in shown)
        rows.append(
            [
                f"more {step.gains}" if _up(points, step.gains) else f"less {step.gains}",
                points.ids[step.row],
                *here,
            ]
        )
    lines = [f"point {pick.id}: {pick.reason}", "", *_aligned(rows)]
    if pick.steps:
        lines += [
            "",
            "The lower rows are steps to other points, as differences: the cheapest way "
            "to gain at least 5 % of the front's range.",
        ]
    if confirmed and pick.id not in confirmed:
        lines.append(
            "This point was not confirmed on test data; `pareto-rec confirm` does that for "
            "the points that front.csv marks as selected."
        )
    return lines


def mixture_lines(points: Points, mixture: Mixture) -> list[str]:
    """Return the shares of a mixture, what it expects, and what its bounds cost."""
    shown = [name for name in points.names if name in mixture.objectives]
    rows = [["share", "point", *shown]]
    for point_id, share in mixture.shares.items():
        values = points.objectives(points.row(point_id))
        rows.append([f"{share:.4f}", point_id, *(_value(values.get(name)) for name in shown)])
    rows.append(["expected", "", *(_value(mixture.objectives[name]) for name in shown)])
    lines = [f"mixture: {mixture.reason}", "", *_aligned(rows)]
    paid = [(bound, price) for bound, price in mixture.prices.items() if price > 0]
    if paid:
        lines += ["", *(f"easing {bound} would gain {price:.4g} per unit" for bound, price in paid)]
    return lines


def _up(points: Points, name: str) -> bool:
    return points.maximise[points.column(name)]


def _shown(points: Points, pick: Pick) -> list[str]:
    """Return the searched objectives and every other one in the reason."""
    searched = points.names[: points.searched]
    more = [n for n in points.names[points.searched :] if n in pick.reason]
    return [*searched, *more]


def _test_rows(
    point_id: str, shown: Sequence[str], confirmed: Mapping[str, ConfirmedValues]
) -> list[list[str]]:
    if point_id not in confirmed:
        return []
    point = confirmed[point_id]
    chance = "" if point.non_dominated is None else f"P(non-dominated) {point.non_dominated:.2f}"
    ends = [point.intervals.get(name) for name in shown]
    intervals = ["" if pair is None else f"[{pair[0]:.4g}, {pair[1]:.4g}]" for pair in ends]
    return [
        ["on test", "", *(_value(point.means.get(name)) for name in shown)],
        ["", chance, *intervals],
    ]


def _value(value: float | None, minus: float | None = None) -> str:
    if value is None:
        return "-"
    if minus is None:
        return f"{value:.5g}"
    return f"{value - minus:+.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
