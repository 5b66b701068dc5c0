"""Sections of the page that are plain HTML tables and lists."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from pareto_rec.core.wording import kept_in_words
from pareto_rec.report.answer import failures
from pareto_rec.report.drives import Drive, drives
from pareto_rec.report.plots.style import TIMES, opened, thousandths
from pareto_rec.runs.confirmation import OWN, ConfirmedFront, Interval
from pareto_rec.runs.view import RunView

SHOWN_DRIVES = 12


def rows_of(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of a table: a name and a value."""
    return "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )


def failures_part(view: RunView) -> str:
    """Return how many records are not usable, and why."""
    counts = failures(view)
    if not counts:
        return f"<p>None of the {len(view.records):,} records failed.</p>"
    total = sum(count for _, count in counts)
    stopped = sum(count for reason, count in counts if reason.startswith("pruned"))
    text = f"{total:,} of {len(view.records):,} records are not usable."
    if stopped:
        text += f" {stopped:,} of them are not failures: their fits were stopped early."
    rows = rows_of((reason, f"{count:,}") for reason, count in counts)
    return f"<p>{text}</p><table>{rows}</table>"


def controls_part(view: RunView) -> str:
    """Return the section of the controls; nothing where none was run."""
    if not view.controls:
        return ""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in view.controls)
    return _section(
        "controls",
        "What each part buys, at the same number of fits",
        f'<ul id="controls">{items}</ul>',
    )


def confirmed_part(view: RunView) -> str:
    """Return a table of hypervolumes on validation and test data; empty before ``confirm``."""
    confirmed = view.confirmed
    if confirmed is None or not confirmed.finished:
        return ""
    level = f"{confirmed.level:.0%} interval"
    fixed = any(front.fixed for front in confirmed.fronts)
    heads = (
        *("Front", "Records", "Points", "As searched", f"Validation ({level})", f"Test ({level})"),
        *(f"Search divided by it, on test ({level})", "Share of the gain kept on test"),
        *((f"{view.axes[0].label} on test, others fixed ({level})",) if fixed else ()),
    )
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in heads)
    body = "".join(_front_row(front, fixed) for front in confirmed.fronts)
    what = (
        "Hypervolume as a share of the box from the reference to the best values of all points,"
        if all(front.share_of_box for front in confirmed.fronts)
        else f"Hypervolume {TIMES} 1000"
    )
    note = (
        f"{what} of the selected points, trained again with {confirmed.seeds} fresh seeds. "
        f"{opened(confirmed)}"
    )
    more = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in confirmed.says[1:])
    return _section(
        "confirmed",
        "What is left of it on test data",
        f'<ul class="says">{more}</ul><p class="hint">{html.escape(note)}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="confirmed-title">'
        f'<table id="confirmed" class="grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
    )


def _front_row(front: ConfirmedFront, fixed: bool) -> str:
    ratio, share = front.ratio.get("test"), front.share_of_box
    searched = share.get(OWN)
    cells = [
        f"{front.records:,}",
        str(front.points),
        thousandths(front.searched) if searched is None else f"{searched[0]:.3f}",
        *(
            _interval(share[stage], "{:.3f}")
            if stage in share
            else _volume(front.hypervolume.get(stage))
            for stage in ("validation", "test")
        ),
        "\N{EN DASH}" if ratio is None else _interval(ratio, "{:.2f}"),
        "\N{EN DASH}" if front.kept is None else _kept(front.kept),
    ]
    if fixed:
        cells.append("\N{EN DASH}" if front.fixed is None else _interval(front.fixed, "{:.4f}"))
    name = "this search" if front.name == OWN else front.name
    first = f'<th scope="row" title="{html.escape(front.says)}">{html.escape(name)}</th>'
    return f"<tr>{first}{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _volume(interval: Interval | None) -> str:
    if interval is None:
        return "\N{EN DASH}"
    value, low, high = map(thousandths, interval)
    return f"{value} [{low}, {high}]"


def _kept(ratio: Interval) -> str:
    value, low, high = map(kept_in_words, ratio)
    return f"{value} [{low}, {high}]"


def _interval(interval: Interval, form: str) -> str:
    value, low, high = map(form.format, interval)
    return f"{value} [{low}, {high}]"


def drives_part(view: RunView) -> str:
    """Return a table of strengths, variables by objectives."""
    associations = drives(view)
    if not associations:
        return '<p id="drives">No decision variable varies.</p>'
    heads = "".join(f'<th scope="col">{html.escape(axis.label)}</th>' for axis in view.axes)
    shown = "".join(map(_drive_row, associations[:SHOWN_DRIVES]))
    more = "".join(map(_drive_row, associations[SHOWN_DRIVES:]))
    head = f'<thead><tr><th scope="col">Variable</th>{heads}<th scope="col">Cases</th></tr></thead>'
    rest = (
        f"<details><summary>{len(associations) - SHOWN_DRIVES} weaker variables</summary>"
        f'<table class="grid drives">{head}<tbody>{more}</tbody></table></details>'
        if more
        else ""
    )
    return f'<table id="drives" class="grid drives">{head}<tbody>{shown}</tbody></table>{rest}'


def _drive_row(drive: Drive) -> str:
    cells = []
    for strength in drive.strengths:
        size = round(100 * abs(float(strength)))
        weak = abs(strength) < drive.chance
        text = (
            f"{strength:+.2f}".replace("-", "\N{MINUS SIGN}")
            if drive.ordered
            else f"η {strength:.2f}"
        )
        colour = "weak" if weak else "up" if drive.ordered and strength > 0 else "down"
        colour = "word" if not (weak or drive.ordered) else colour
        cells.append(f'<td class="{colour}" style="--strength: {size}%">{text}</td>')
    kind = "fits" if drive.name.startswith("train.") else "records"
    breakable = re.sub(r"(?<=[._])", "<wbr>", html.escape(drive.name))
    name = f'<th scope="row">{breakable}</th>'
    return f"<tr>{name}{''.join(cells)}<td>{drive.cases:,} {kind}</td></tr>"


def _section(name: str, title: str, content: str) -> str:
    return (
        f'<section aria-labelledby="{name}-title"><h2 id="{name}-title">{html.escape(title)}</h2>'
        f"{content}</section>"
    )
