"""What sharing one model gives each system, in words and as a table of the page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from pareto_rec.runs.view import RunView

HEADS = ("System", "Objective", "Fits on it alone", "Shared fits", "Best baseline", "Which")


def rows(view: RunView) -> list[tuple[str, ...]]:
    """Return a row for each system with a searched objective: values as texts, "" where none is."""
    found: list[tuple[str, ...]] = []
    for name, entry in (view.info.get("systems") or {}).items():
        apart = entry.get("sharing")
        if not apart:
            continue
        objective = str(apart["objective"])
        maximise = next(axis.maximise for axis in view.axes if axis.name == objective)
        baseline, value = _best(entry.get("baselines") or {}, objective, maximise=maximise)
        alone, shared = (_value(apart[key]) for key in ("alone", "shared"))
        found.append((str(name), objective, alone, shared, value, baseline))
    return found


def lines(view: RunView) -> list[str]:
    """Return a line for each system."""
    return [
        f"{name}: {objective} {shared or 'nothing'} of shared fits, {alone or 'nothing'} of fits "
        "on it alone" + (f", {value} of its best baseline ({baseline})" if value else "")
        for name, objective, alone, shared, value, baseline in rows(view)
    ]


def systems_part(view: RunView) -> str:
    """Return the section of the page; nothing where the run is of one system."""
    found = rows(view)
    if not found:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in found
    )
    note = (
        "Best values on validation data. Fits on one system alone take as many examples in a step, "
        "all of that system; there are fewer of them, and the best of few is less lucky."
    )
    return (
        '<section aria-labelledby="systems-title">'
        '<h2 id="systems-title">What sharing one model gives each system</h2>'
        f'<p class="hint">{html.escape(note)}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="systems-title">'
        f'<table id="systems" class="grid"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _value(best: Mapping[str, Any] | None) -> str:
    return f"{best['value']:.4g}" if best else ""


def _best(
    baselines: Mapping[str, Mapping[str, float]], objective: str, *, maximise: bool
) -> tuple[str, str]:
    """Return the name and the value of the best baseline."""
    known = {name: values[objective] for name, values in baselines.items() if objective in values}
    if not known:
        return "", ""
    sign = 1.0 if maximise else -1.0
    name = max(known, key=lambda baseline: sign * known[baseline])
    return name, f"{known[name]:.4g}"
