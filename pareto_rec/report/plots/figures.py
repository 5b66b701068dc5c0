"""Figures of a run: its front beside the baselines, and how fast the search got there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.report.plots import style
from pareto_rec.runs.confirmation import Confirmed
from pareto_rec.runs.convergence import Curve, convergence
from pareto_rec.runs.view import Axis, RunView

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = 3.9
LEGEND_NOTE = (
    "Lines: best feasible points of each pair; in brackets: hypervolume of an expert's sweep."
)
OPPONENTS_NOTE = (
    "Open marks: chosen points of the opponents, each searched over as many settings as the search "
    "has records; in brackets: their hypervolume."
)


def plot_front(view: RunView, axes: Sequence[Axis] | None = None) -> Figure:
    """Return every pair of objectives: the front, its selected points and the baselines.

    Once the run is confirmed, the chosen points of its opponents are drawn as well, by the values
    that they were chosen by, as the front is.

    Args:
        view: The run.
        axes: Objectives to draw, two at least; by default those that were searched on.
    """
    from matplotlib.figure import Figure

    pairs = list(itertools.combinations(view.axes if axes is None else axes, 2))
    columns = min(3, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    width = max(6.4, PANEL_INCHES * columns)
    per_row = style.legend_columns(width)
    opponents = view.confirmed.opponents if view.confirmed else {}
    legend = 0.22 * math.ceil((4 + len(view.experts) + len(opponents)) / per_row)
    notes = f"{LEGEND_NOTE} {OPPONENTS_NOTE}" if opponents else LEGEND_NOTE
    note = style.footnote_lines(view, width, notes)
    height = 3.4 * rows + 0.6 + 0.2 + legend + style.LINE_INCHES * len(note)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=style.DPI)
    style.heading(figure, view.title, style.verdict(view))
    below = style.write_footnote(figure, note)
    style.reserve(figure, 0.6, below + legend + 0.1)
    handles: dict[str, Artist] = {}
    for number, (x, y) in enumerate(pairs):
        ends: Any = {"xlim": style.limits(view, x), "ylim": style.limits(view, y)}
        panel = figure.add_subplot(rows, columns, number + 1, **ends)
        panel.set_xlabel(style.arrow(x))
        panel.set_ylabel(style.arrow(y))
        handles |= _draw_pair(panel, view, x, y)
        style.tidy(panel)
    _legend(figure, handles, below, per_row)
    return figure


def plot_convergence(view: RunView) -> Figure:
    """Return the hypervolume against evaluations and against seconds, with the baselines' as lines.

    Args:
        view: The run.
    """
    from matplotlib.figure import Figure

    curve = convergence(view)
    figure = Figure(figsize=(9.6, 4.4), layout="constrained", dpi=style.DPI)
    style.heading(figure, view.title, f"{style.verdict(view)}; {_cost(curve)}")
    below = style.write_footnote(figure, style.footnote_lines(view, 9.6))
    style.reserve(figure, 0.6, below + 0.32)
    left = figure.add_subplot(1, 2, 1)
    right = figure.add_subplot(1, 2, 2, sharey=left)
    lines = _baseline_lines(view)
    handles = _draw_curve(left, curve.records.astype(np.float64), curve, lines)
    _draw_curve(right, curve.seconds, curve, lines)
    left.set_xlabel("Records evaluated")
    left.set_ylabel(f"Hypervolume {style.TIMES} 1000   better →")
    right.set_xlabel("Seconds since the run began")
    top = 1000 * max([*curve.hypervolume, *(volume for volume, _ in lines.values())])
    left.set_ylim(0, 1.1 * top if top > 0 else 1.0)
    for axes in (left, right):
        style.tidy(axes)
    right.tick_params(labelleft=False)
    _fits_on_top(left, curve)
    _legend(figure, handles, below, len(handles))
    return figure


def save_plots(view: RunView, run_dir: Path) -> list[Path]:
    """Write front.png, front.svg and convergence.png; each appears whole or not at all.

    Args:
        view: The run.
        run_dir: Where to write.

    Returns:
        The three paths.
    """
    front = plot_front(view)
    return [
        style.save(front, run_dir / "front.png"),
        style.save(front, run_dir / "front.svg"),
        style.save(plot_convergence(view), run_dir / "convergence.png"),
    ]


def _draw_pair(axes: Axes, view: RunView, x: Axis, y: Axis) -> dict[str, Artist]:
    """Return everything of one panel; legend label -> artist."""
    pair, maximise = [x.name, y.name], [x.maximise, y.maximise]
    front = _values(view.front, pair)
    chosen = front[view.front["selected"].to_numpy(dtype=bool)]
    others = view.records[~view.records["id"].isin(view.front["id"])]
    cloud = _values(others[others["status"] == "ok"], pair)
    handles: dict[str, Artist] = {}
    big: Any = {"s": 36, "edgecolor": "white", "lw": 0.7, "zorder": 7}
    handles[f"front ({len(front)} points)"] = _dots(axes, front, style.FRONT, 0.7, s=12, zorder=6)
    handles[f"selected ({len(chosen)} of them)"] = _dots(axes, chosen, style.CHOSEN, 1, **big)
    handles["other records"] = _dots(axes, cloud, style.FAINT, 0.35, zorder=1, rasterized=True)
    axes.plot(*style.stairs(front, maximise), color=style.FRONT, lw=1.2, alpha=0.8, zorder=5)
    handles["worth nothing, or infeasible"] = _shade(axes, x, y)
    handles |= _draw_opponents(axes, view.confirmed, pair) if view.confirmed else {}
    return handles | _draw_experts(axes, view, pair, maximise)


def _values(frame: pd.DataFrame, pair: list[str]) -> NDArray[np.float64]:
    """Return two objectives of the rows that have both ``[rows, 2]``."""
    known: NDArray[np.float64] = frame.reindex(columns=pair).to_numpy(dtype=np.float64)
    return known[~np.isnan(known).any(axis=1)]


def _dots(
    axes: Axes, points: NDArray[np.float64], colour: str, alpha: float, **look: Any
) -> Artist:
    """Return a cloud of points ``[points, 2]``; `look` goes to matplotlib."""
    look = {"s": 6, "lw": 0} | look
    return axes.scatter(points[:, 0], points[:, 1], color=colour, alpha=alpha, **look)


def _draw_opponents(axes: Axes, confirmed: Confirmed, pair: list[str]) -> dict[str, Artist]:
    """Draw the chosen points of every opponent as open marks, and return its legend entry."""
    volumes = {front.name: front.searched for front in confirmed.fronts}
    handles: dict[str, Artist] = {}
    for number, (name, points) in enumerate(confirmed.opponents.items()):
        known = [one.searched for one in points if one.searched.keys() >= set(pair)]
        x, y = ([values[axis] for values in known] for axis in pair)
        look: Any = {"s": 22, "lw": 1.0, "facecolor": "none", "zorder": 6.5}
        colour, marker = style.opponent(number)
        label = f"{name} ({style.thousandths(volumes.get(name, 0.0))})"
        handles[label] = axes.scatter(x, y, edgecolor=colour, marker=marker, label=name, **look)
    return handles


def _draw_experts(
    axes: Axes, view: RunView, pair: list[str], maximise: list[bool]
) -> dict[str, Artist]:
    volumes = view.hypervolumes.experts
    handles: dict[str, Artist] = {}
    for number, expert in enumerate(sorted(view.experts, key=lambda name: -volumes.get(name, 0))):
        rows = view.baselines[view.baselines["expert"] == expert]
        swept = _values(rows, pair)
        colour = style.EXPERTS[number % len(style.EXPERTS)]
        marker = style.MARKERS[number % len(style.MARKERS)]
        _dots(axes, swept, colour, 0.22, marker=marker, zorder=2, rasterized=True)
        corners = style.stairs(_values(rows[view.feasible(rows)], pair), maximise)
        axes.plot(*corners, color=colour, lw=1.0, alpha=0.9, zorder=3)
        best = (corners[0][::2], corners[1][::2])
        look: Any = {"color": colour, "marker": marker, "ls": "", "ms": 3, "mew": 0}
        (line,) = axes.plot(*best, zorder=4, label=expert, **look)
        known = f" ({style.thousandths(volumes[expert])})" if expert in volumes else ""
        handles[expert + known] = line
    return handles


def _shade(axes: Axes, x: Axis, y: Axis) -> Artist:
    """Shade the region beyond the reference value or a bound of either axis."""
    from matplotlib.patches import Patch

    shade: Any = {"color": style.FAINT, "alpha": 0.16, "lw": 0, "zorder": 0}
    rule: Any = {"color": style.RULE, "lw": 0.8, "ls": (0, (4, 3)), "zorder": 0.5}
    for axis, span, line, (low, high) in (
        (x, axes.axvspan, axes.axvline, axes.get_xlim()),
        (y, axes.axhspan, axes.axhline, axes.get_ylim()),
    ):
        floors = [axis.at_least, axis.reference if axis.maximise else None]
        ceilings = [axis.at_most, None if axis.maximise else axis.reference]
        floor = max((value for value in floors if value is not None), default=low)
        ceiling = min((value for value in ceilings if value is not None), default=high)
        if floor > low:
            span(low, floor, **shade)
            line(floor, **rule)
        if ceiling < high:
            span(ceiling, high, **shade)
            line(ceiling, **rule)
    return Patch(color=style.FAINT, alpha=0.3, lw=0)


def _baseline_lines(view: RunView) -> dict[str, tuple[float, str]]:
    """Return label -> hypervolume and colour; one line if there is only one expert."""
    volumes, best = view.hypervolumes, view.hypervolumes.best_expert
    together = volumes.all_baselines
    lines: dict[str, tuple[float, str]] = {}
    if best is not None:
        alone = volumes.experts[best]
        same = together is not None and together <= 1.001 * alone
        name = f"{best}, and all baselines together" if same else f"best expert: {best}"
        lines[f"{name} ({style.thousandths(alone)})"] = alone, style.EXPERTS[0]
        if same:
            return lines
    if together is not None:
        lines[f"all baselines together ({style.thousandths(together)})"] = together, style.INK
    return lines


def _draw_curve(
    axes: Axes, x: NDArray[np.float64], curve: Curve, lines: dict[str, tuple[float, str]]
) -> dict[str, Artist]:
    handles: dict[str, Artist] = {}
    known = ~np.isnan(x)
    steps, y = np.append(0.0, x[known]), np.append(0.0, 1000 * curve.hypervolume[known])
    (handles["search so far"],) = axes.plot(
        steps, y, color=style.FRONT, lw=1.8, drawstyle="steps-post", zorder=3, label="search"
    )
    axes.fill_between(steps, y, step="post", color=style.FRONT, alpha=0.08, lw=0)
    for number, (label, (volume, colour)) in enumerate(lines.items()):
        dashes = (0, (5, 2)) if number == 0 else (0, (1.5, 1.5))
        handles[label] = axes.axhline(
            1000 * volume, color=colour, lw=1.4, ls=dashes, zorder=2, label=label
        )
    for end in x[curve.boundary & known][:-1]:
        axes.axvline(end, color=style.FAINT, lw=0.6, alpha=0.35, zorder=1)
    axes.set_xlim(0, 1.02 * steps[-1] if steps[-1] > 0 else 1.0)
    if not known.any():
        axes.text(0.5, 0.5, "no times recorded", transform=axes.transAxes, ha="center", size=9)
    return handles


def _fits_on_top(axes: Axes, curve: Curve) -> None:
    """Draw an axis above with the fits at the ends of at most seven generations."""
    ends = np.flatnonzero(curve.boundary)
    shown = ends[np.unique(np.linspace(0, len(ends) - 1, min(7, len(ends))).astype(int))]
    top = axes.secondary_xaxis("top")
    top.set_xticks(curve.records[shown], [str(fits) for fits in curve.fits[shown]])
    top.set_xlabel("Fits (lines: ends of generations)", size=8, color=style.RULE)
    top.tick_params(labelsize=8, labelcolor=style.RULE, color=style.RULE, length=3)
    top.spines["top"].set_color(style.RULE)


def _cost(curve: Curve) -> str:
    text = f"{curve.fits[-1]:,} fits, {curve.records[-1]:,} records"
    return text if np.isnan(curve.seconds[-1]) else f"{text}, {curve.seconds[-1]:,.0f} s"


def _legend(figure: Figure, handles: dict[str, Artist], below: float, columns: int) -> None:
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="lower center",
        bbox_to_anchor=(0.5, below / figure.get_figheight()),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        markerscale=1.3,
        borderpad=0,
        labelspacing=0.35,
        handletextpad=0.5,
        columnspacing=1.6,
    )
