"""Parameters that the baselines of a run were tuned to, in words and as a table of the page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pareto_rec.runs.view import RunView

HEADS = ("Baseline", "Parameters", "Value", "Defaults", "Value", "Settings", "Seconds")


@dataclass(frozen=True)
class Tuned:
    """One baseline.

    Attributes:
        name: Its name.
        parameters: What was chosen, in words.
        value: The metric with these on validation data, in words.
        default: The values before, in words.
        default_value: The metric with those, in words.
        metric: Name of the metric.
        tried: Settings that were tried.
        seconds: What that took.
        cut_short: Whether the clock ended it.
    """

    name: str
    parameters: str
    value: str
    default: str
    default_value: str
    metric: str
    tried: int
    seconds: float
    cut_short: bool


def tuned(view: RunView) -> list[Tuned]:
    """Return what run.json says of the baselines, in the order of their names there."""
    return [
        Tuned(
            str(name),
            _words(entry["parameters"]),
            _number(entry["value"]),
            _words(entry["default"]),
            _number(entry["default_value"]),
            str(entry["metric"]),
            int(entry["tried"]),
            float(entry["seconds"]),
            bool(entry["cut_short"]),
        )
        for name, entry in (view.info.get("experts") or {}).items()
    ]


def lines(view: RunView) -> list[str]:
    """Return one line for each tuned baseline."""
    return [
        f"baseline {one.name}: {one.parameters}; validation {one.metric} {one.value}, with its "
        f"defaults {one.default_value}; {one.tried} settings in {one.seconds:.1f} s"
        f"{', ended by tuning.seconds' if one.cut_short else ''}"
        for one in tuned(view)
    ]


def tuned_part(view: RunView) -> str:
    """Return the section of the page; nothing where no baseline was tuned."""
    rows = tuned(view)
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    body = "".join(
        f'<tr><th scope="row">{html.escape(one.name)}</th>'
        + "".join(
            f"<td>{html.escape(cell)}</td>"
            for cell in (
                *(one.parameters, one.value, one.default, one.default_value),
                f"{one.tried}{' (ended by the clock)' if one.cut_short else ''}",
                f"{one.seconds:.1f}",
            )
        )
        + "</tr>"
        for one in rows
    )
    note = (
        f"Chosen by {rows[0].metric} on validation data before the search. The best of many "
        "settings is partly luck, as the front is."
    )
    return (
        '<section aria-labelledby="tuned-title">'
        '<h2 id="tuned-title">What the baselines were tuned to</h2>'
        f'<p class="hint">{html.escape(note)}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="tuned-title">'
        f'<table id="tuned" class="grid"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items()) or "none"


def _number(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.4f}"
