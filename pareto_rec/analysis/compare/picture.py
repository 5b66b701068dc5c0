"""Files of a comparison: JSON, tables and one figure."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pareto_rec.analysis.compare.indicators import SHARES, attainment
from pareto_rec.analysis.compare.runs import read_runs
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import swapped
from pareto_rec.report.plots import style
from pareto_rec.runs.view import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (style.FRONT, style.CHOSEN, *style.EXPERTS)
_DASHES = {"any": ":", "half": "-", "all": "--"}

Surfaces = Mapping[str, Mapping[tuple[str, str], Mapping[str, np.ndarray[Any, Any]]]]
"""Group -> pair of objectives -> share of the runs -> corners ``[points, 2]``."""


def surfaces(paths: Sequence[Path], content: Mapping[str, Any]) -> Surfaces:
    """Return attainment surfaces of every group on every pair of objectives.

    A group of one run has its front's edge as the only surface.

    Args:
        paths: The runs.
        content: From ``compare_runs``.
    """
    runs = {run.label: run for run in read_runs(paths)}
    axes = next(iter(runs.values())).view.axes
    result: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for group in content["groups"]:
        fronts = [runs[label].front for label in group["runs"]]
        shares = SHARES if len(fronts) > 1 else {"any": 0}
        pairs = itertools.combinations(range(len(axes)), 2)
        result[group["group"]] = {
            (axes[x].name, axes[y].name): {
                name: attainment(
                    [front[:, [x, y]] for front in fronts],
                    share,
                    maximise=[axes[x].maximise, axes[y].maximise],
                )
                for name, share in shares.items()
            }
            for x, y in pairs
        }
    return result


def save_comparison(paths: Sequence[Path], content: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write compare.json, compare.csv, attainment.csv and compare.png.

    Args:
        paths: The runs.
        content: From ``compare_runs``.
        folder: Where to write; made if it is not there.

    Raises:
        RunFailedError: If it cannot be written.
    """
    by_group = surfaces(paths, content)
    rows = [{k: v for k, v in row.items() if k != "course"} for row in content["runs"]]
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = {"compare.json": text, "compare.csv": _csv(rows)}
        for name, written in (contents | {"attainment.csv": _csv(_flat(by_group))}).items():
            with swapped(folder / name) as temporary:
                temporary.write_text(written, encoding="utf-8")
        axes = read_runs(paths)[0].view.axes
        picture = style.save(plot(content, by_group, axes), folder / "compare.png")
    except OSError as error:
        raise RunFailedError(
            f"{folder} cannot be written: {error.strerror}; give another --out"
        ) from error
    return [folder / "compare.json", folder / "compare.csv", folder / "attainment.csv", picture]


def _flat(surfaces: Surfaces) -> list[dict[str, Any]]:
    return [
        {"group": group, "x_objective": x, "y_objective": y, "attained_by": share}
        | {"x": float(corner[0]), "y": float(corner[1])}
        for group, pairs in surfaces.items()
        for (x, y), shares in pairs.items()
        for share, corners in shares.items()
        for corner in corners
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def plot(content: Mapping[str, Any], surfaces: Surfaces, axes: Sequence[Axis]) -> Figure:
    """Plot hypervolume against fits and seconds, and attainment surfaces of objective pairs.

    Args:
        content: From ``compare_runs``.
        surfaces: From :func:`surfaces`.
        axes: The searched objectives.
    """
    from matplotlib.figure import Figure

    pairs = list(itertools.combinations(axes, 2))
    rows = math.ceil((2 + len(pairs)) / 3)
    figure = Figure(figsize=(11.7, 3.5 * rows + 1.0), layout="constrained", dpi=style.DPI)
    colours = {
        entry["group"]: _COLOURS[number % len(_COLOURS)]
        for number, entry in enumerate(content["groups"])
    }
    for number, name in enumerate(("fits", "seconds")):
        panel = figure.add_subplot(rows, 3, number + 1)
        _draw_course(panel, content, name, colours)
    for number, (x, y) in enumerate(pairs):
        panel = figure.add_subplot(rows, 3, number + 3)
        panel.set_xlabel(style.arrow(x))
        panel.set_ylabel(style.arrow(y))
        for group, colour in colours.items():
            _draw_surfaces(panel, surfaces[group][x.name, y.name], (x, y), colour)
        style.tidy(panel)
    handles = [
        panel.plot([], [], color=colour, label=f"group {group}: {_members(content, group)}")[0]
        for group, colour in colours.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=7.5)
    figure.suptitle(
        "Hypervolume as the searches went on, and what any (dotted), half (solid) and all (dashed) "
        "runs of a group attain, on validation data",
        fontsize=9,
    )
    return figure


def _members(content: Mapping[str, Any], group: str) -> str:
    names = next(entry["runs"] for entry in content["groups"] if entry["group"] == group)
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _draw_course(
    panel: Axes, content: Mapping[str, Any], name: str, colours: Mapping[str, str]
) -> None:
    for row in content["runs"]:
        spent = np.array(row["course"][name], dtype=np.float64)
        volume = 1000 * np.array(row["course"]["hypervolume"])
        panel.step(spent, volume, where="post", color=colours[row["group"]], lw=1.0, alpha=0.8)
    panel.set_xlabel("Fits" if name == "fits" else "Seconds since the run began")
    panel.set_ylabel(f"Hypervolume {style.TIMES} 1000   better →")
    style.tidy(panel)


def _draw_surfaces(
    panel: Axes,
    shares: Mapping[str, np.ndarray[Any, Any]],
    pair: tuple[Axis, Axis],
    colour: str,
) -> None:
    alone = len(shares) == 1
    for name, corners in shares.items():
        x, y = style.stairs(corners, [axis.maximise for axis in pair])
        panel.plot(x, y, color=colour, lw=1.2, ls="-" if alone else _DASHES[name])
