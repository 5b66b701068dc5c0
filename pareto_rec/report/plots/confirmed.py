"""The figure of a confirmation: what the front and its opponents are on test data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.report.plots import style
from pareto_rec.runs.view import Axis, RunView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OWN = "search"
PANEL_INCHES = 3.9


def save_confirmed(view: RunView, content: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw ``confirm.png`` and ``confirm.svg``.

    Args:
        view: The run: axes and title.
        content: Of a finished confirm.json.
        folder: Where to write.
    """
    figure = plot_confirmed(view, content)
    return [style.save(figure, folder / f"confirm.{kind}") for kind in ("png", "svg")]


def plot_confirmed(view: RunView, content: Mapping[str, Any]) -> Figure:
    """Return every pair of searched objectives on test data, with intervals.

    Args:
        view: The run: axes and title.
        content: Of a finished confirm.json.
    """
    from matplotlib.figure import Figure

    pairs = list(itertools.combinations(view.axes, 2))
    columns = min(3, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    width = max(6.4, PANEL_INCHES * columns)
    fronts = [front for front in content["fronts"] if front["kind"] != "union" and front["points"]]
    per_row = style.legend_columns(width)
    legend = 0.22 * math.ceil((1 + len(fronts)) / per_row)
    note = _note(content, int(width * style.CHARACTERS_PER_INCH))
    height = 3.4 * rows + 0.8 + legend + style.LINE_INCHES * len(note)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=style.DPI)
    style.heading(figure, f"{view.title}: confirmed on test data", _verdict(content))
    below = style.write_footnote(figure, note)
    style.reserve(figure, 0.6, below + legend + 0.1)
    handles: dict[str, Any] = {}  # artists of several kinds
    for panel, (x, y) in enumerate(pairs, start=1):
        axes = figure.add_subplot(rows, columns, panel)
        axes.set_xlabel(style.arrow(x))
        axes.set_ylabel(style.arrow(y))
        for number, front in enumerate(fronts):
            handles |= _draw(axes, content, str(front["name"]), number - 1, (x, y))
        style.tidy(axes)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="lower center",
        bbox_to_anchor=(0.5, below / height),
        ncols=per_row,
        frameon=False,
        fontsize=8,
    )
    return figure


def _verdict(content: Mapping[str, Any]) -> str:
    own = content["fronts"][0]
    share = own.get("share_of_box")
    text = "Void; " if content.get("void") else ""
    text += (
        f"hypervolume {style.TIMES} 1000 on test: "
        f"{style.thousandths(own['hypervolume']['test']['value'])}"
        if share is None
        else f"hypervolume on test: {share['test']['value']:.3f} of the box"
    )
    for front in content["fronts"]:
        ratio = front["ratio"]["test"]
        if front["name"] == content["best_baseline"] and ratio is not None:
            text += f"; {ratio['value']:.2f} times {front['name']}"
            if ratio["low"] is not None and ratio["high"] is not None:
                text += f" ({ratio['low']:.2f} to {ratio['high']:.2f})"
    return text


def _note(content: Mapping[str, Any], room: int) -> list[str]:
    import textwrap

    opened = ", ".join(str(opening["at"])[:10] for opening in content["opened"])
    text = (
        f"Values on test data, opened on {opened}. Means of {len(content['seeds'])} fresh seeds; "
        f"bars: {content['level']:.0%} intervals over {covered(content)}. "
        f"Points were chosen on validation data. {content.get('void', '')}"
    )
    return textwrap.wrap(text, room)


def covered(content: Mapping[str, Any]) -> str:
    """Return what the bars cover; a cost does not depend on users, other objectives do."""
    covers: dict[str, list[str]] = {}
    for objective in content["objectives"]:
        if objective["searched"]:
            covers.setdefault(objective["interval_over"] or "nothing", []).append(objective["name"])
    first, *rest = covers
    return "; ".join([first, *(f"of {', '.join(covers[over])} over {over}" for over in rest)])


def _draw(
    axes: Axes, content: Mapping[str, Any], name: str, number: int, pair: Sequence[Axis]
) -> dict[str, Any]:
    """Return points of one front with bars; its handle for the legend."""
    rows = [row for row in content["points"] if row["front"] == name and row["seeds"]]
    if not rows:
        return {}
    (x, across), (y, along) = (_values(rows, axis.name) for axis in pair)
    mine = name == OWN
    colour, marker = (style.FRONT, "o") if mine else style.opponent(number)
    if mine:
        axes.errorbar(
            x, y, yerr=along, xerr=across, fmt="none", ecolor=colour, alpha=0.45, lw=0.8, zorder=3
        )
    dots = axes.scatter(
        x,
        y,
        s=24 if mine else 14,
        color=colour,
        marker=marker,
        alpha=1.0 if mine else 0.75,
        linewidths=0,
        zorder=4 if mine else 2,
    )
    return {"confirmed points of the search" if mine else name: dots}


def _values(
    rows: Sequence[Mapping[str, Any]], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means ``[points]`` and distances to the interval's ends ``[2, points]``."""
    values = [row["values"][name]["test"] for row in rows]
    mean = np.array([value["mean"] for value in values], dtype=np.float64)
    ends = np.array(
        [
            [value["mean"] if value[end] is None else value[end] for value in values]
            for end in ("low", "high")
        ],
        dtype=np.float64,
    )
    return mean, np.maximum(np.stack([mean - ends[0], ends[1] - mean]), 0.0)
