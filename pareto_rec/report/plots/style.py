"""Style of the figures: colours, words around the axes, limits, and writing files."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.paths import swapped
from pareto_rec.core.wording import times_in_words
from pareto_rec.runs.confirmation import Confirmed
from pareto_rec.runs.view import Axis, RunView
from pareto_rec.search.pareto import non_dominated

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stay apart for colour-blind readers: the run in the two strongest (Okabe and Ito,
# 2008), the experts in muted ones (Tol, 2021).
FRONT, CHOSEN, FAINT, INK, RULE = "#0072B2", "#D55E00", "#9a9a9a", "#222222", "#555555"
EXPERTS = ("#117733", "#AA4499", "#999933", "#44AA99", "#882255", "#CC6677", "#6B6B6B", "#DDAA33")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
OPPONENTS = (  # in the order of confirm.json
    *(("#222222", "s"), ("#AA4499", "D"), ("#117733", "^"), ("#CC6677", "v"), ("#999933", "P")),
)
TIMES = "\N{MULTIPLICATION SIGN}"
DPI = 200
LINE_INCHES = 0.15  # height of one line of the footnote
CHARACTERS_PER_INCH = 15  # of the footnote
HEAD_CHARACTERS_PER_INCH = 13.5  # of the verdict in its usual size
LABEL_CHARACTERS = 32  # of a line of an axis label
LEGEND_COLUMN_INCHES = 2.3


def legend_columns(width: float) -> int:
    """Return columns of a legend below a figure of that many inches."""
    return max(2, int(width / LEGEND_COLUMN_INCHES))


def opponent(number: int) -> tuple[str, str]:
    """Return colour and marker of the opponent at a place, the same in every figure."""
    return OPPONENTS[number % len(OPPONENTS)]


def thousandths(volume: float) -> str:
    """Return a hypervolume times 1000, two decimals where that says enough."""
    value = 1000 * volume
    return f"{value:.2f}" if value == 0 or 0.01 <= value < 1000 else f"{value:.3g}"


def arrow(axis: Axis) -> str:
    """Return an axis label with an arrow that points where values get better."""
    name = "\n".join(textwrap.wrap(axis.label_with_unit, LABEL_CHARACTERS))
    return f"{name}   better →" if axis.maximise else f"← better   {name}"


def verdict(view: RunView) -> str:
    """Return the hypervolume of the front beside the baselines', in one line.

    Of a confirmed run: beside the strongest opponent's on test data.
    """
    volumes = view.hypervolumes
    if volumes.front is None:
        return f"{len(view.front)} points on the front"
    text = f"hypervolume {TIMES} 1000: front {thousandths(volumes.front)}"
    strongest = view.confirmed.strongest if view.confirmed else None
    if strongest is not None and "test" in strongest.ratio:
        ratio, low, high = strongest.ratio["test"]
        return f"{text}; on test {ratio:.2f} [{low:.2f}, {high:.2f}] times {strongest.name}"
    if volumes.all_baselines is not None:
        text += f", all baselines together {thousandths(volumes.all_baselines)}"
    if volumes.gain is None:
        return text
    return f"{text} (ratio {volumes.gain:.2f}, not at equal numbers of settings)"


def opened(confirmed: Confirmed) -> str:
    """Say when test data was opened, and how often, in one sentence."""
    times = len(confirmed.opened)
    first = confirmed.opened[0][:10] if times else "a day that was not noted"
    if times < 2:
        text = f"The test data was opened once, on {first}"
    else:
        text = (
            f"The test data was opened {times} times, first on {first}, so that later "
            "choices may have been led by it"
        )
    text += "." if confirmed.finished else "; confirm did not come to its end."
    if confirmed.before is not None and confirmed.before > times - 1:
        text += f" All runs together had opened it {times_in_words(confirmed.before)} before."
    return f"{text} {confirmed.void}".strip()


def footnote(view: RunView) -> str:
    """Return which data the values come from, and what the split leaks."""
    text = "Values on validation data; the test data was not opened."
    if view.confirmed is not None:
        text = f"Values on validation data. {opened(view.confirmed)}"
    return f"{text} {leak(view)}".strip()


def leak(view: RunView) -> str:
    """Say what the split lets a model see of the future; empty if that is unknown."""
    share = view.late_train_share
    if share is None:
        return ""
    seen = ": models see some of the future of other people" if share > 0 else ""
    return (
        f"{share:.0%} of the training interactions are later than the median test "
        f"interaction{seen}."
    )


def heading(figure: Figure, title: str, line: str, left: float = 0.01) -> None:
    """Write title and verdict at the upper left, in the room that `reserve` keeps."""
    width, height = map(float, figure.get_size_inches())
    room = HEAD_CHARACTERS_PER_INCH * width  # at size 9
    size = min(9.0, max(6.5, 9.0 * room / max(len(line), 1)))
    figure.text(
        left, 1 - 0.1 / height, title, ha="left", va="top", size=11, weight="bold", color=INK
    )
    figure.text(left, 1 - 0.34 / height, line, ha="left", va="top", size=size, color=INK)


def footnote_lines(view: RunView, width: float, extra: str = "") -> list[str]:
    """Return the footnote in lines of about equal length that fit a figure of `width` inches."""
    text = f"{footnote(view)} {extra}".strip()
    room = int(width * CHARACTERS_PER_INCH)
    count = len(_wrap(text, room))
    shortest = len(text) // count
    return next(
        lines
        for lines in (_wrap(text, size) for size in range(max(1, shortest), room + 1))
        if len(lines) == count
    )


def _wrap(text: str, size: int) -> list[str]:
    return textwrap.wrap(text, size, break_on_hyphens=False, break_long_words=False)


def write_footnote(figure: Figure, lines: list[str]) -> float:
    """Return the footnote at the lower edge; its height in inches."""
    height = float(figure.get_figheight())
    text = "\n".join(lines)
    figure.text(0.5, 0.08 / height, text, ha="center", va="bottom", size=7.5, color=RULE)
    return 0.12 + LINE_INCHES * len(lines)


def reserve(figure: Figure, head: float, foot: float) -> None:
    """Keep the panels out of `head` inches above and `foot` inches below."""
    engine: Any = figure.get_layout_engine()  # Any: the base class does not declare `rect`
    height = float(figure.get_figheight())
    engine.set(rect=(0, foot / height, 1, 1 - (head + foot) / height), w_pad=0.08, wspace=0.04)


def tidy(axes: Axes) -> None:
    """Remove box and grid, and lighten the ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(labelsize=8, color=RULE, labelcolor=INK, length=3)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    axes.locator_params(nbins=6)


def stairs(
    values: NDArray[np.float64], maximise: list[bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edge of the dominated region of values ``[points, 2]`` as stairs.

    Returns:
        x and y of the corners, in the order of x.
    """
    best = values[non_dominated(values, maximise=maximise)]
    best = best[np.argsort(best[:, 0], kind="stable")]
    x, y = best.T
    if len(best) < 2:
        return x, y
    # Between two points the edge is as good in y as the one that is better in x.
    middle = np.column_stack([x[:-1], y[1:]] if maximise[0] else [x[1:], y[:-1]])
    corners = np.empty((2 * len(best) - 1, 2))
    corners[0::2], corners[1::2] = best, middle
    return corners[:, 0], corners[:, 1]


def limits(view: RunView, axis: Axis) -> tuple[float, float]:
    """Return the range of an axis: around the front, all baselines above the reference, opponents.

    Corners that are worth nothing do not stretch the axis; the reference value is inside where it
    is near.
    """
    sign = 1.0 if axis.maximise else -1.0
    signs = np.where(view.maximise, 1.0, -1.0)
    baselines = view.baselines[view.feasible(view.baselines)]
    worth = (signs * view.values(baselines) > signs * np.array(view.reference)).all(axis=1)
    columns = [_column(view.front, axis), _column(baselines[worth], axis), _opponents(view, axis)]
    shown = sign * np.concatenate(columns)
    if not len(shown):
        shown = sign * _column(view.feasible_records, axis)
    edge = np.nan if axis.reference is None else sign * axis.reference
    start = 0.0 if np.isnan(edge) else edge
    worst, best = (shown.min(), shown.max()) if len(shown) else (start, start + 1.0)
    span = (best - worst) or max(abs(best), 1.0) * 0.1
    if 0 < worst - edge < 0.6 * span:
        worst = edge
    low, high = worst - 0.07 * span, best + 0.05 * span
    return (low, high) if axis.maximise else (-high, -low)


def _column(frame: pd.DataFrame, axis: Axis) -> NDArray[np.float64]:
    """Return values of an objective where there are any."""
    if axis.name not in frame:
        return np.empty(0)
    values: NDArray[np.float64] = frame[axis.name].to_numpy(dtype=np.float64)
    return values[~np.isnan(values)]


def _opponents(view: RunView, axis: Axis) -> NDArray[np.float64]:
    """Return values of an objective at the chosen points of the opponents, where there are any."""
    fronts = view.confirmed.opponents.values() if view.confirmed else ()
    found = [one.searched[axis.name] for p in fronts for one in p if axis.name in one.searched]
    return np.array(found, dtype=np.float64)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure under another name, then move it into place.

    The same figure gives the same bytes.
    """
    import matplotlib as mpl

    metadata: Any = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with swapped(path) as part, mpl.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(part, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return path
