"""Report page: one HTML file that opens from disk and never asks the network."""

from __future__ import annotations

import html
import re
from importlib import resources
from pathlib import Path

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import swapped
from pareto_rec.report.answer import answer, caveat, choices, cost, provenance
from pareto_rec.report.groups import groups_part
from pareto_rec.report.payload import payload, script_json
from pareto_rec.report.systems import systems_part
from pareto_rec.report.tables import (
    confirmed_part,
    controls_part,
    drives_part,
    failures_part,
    rows_of,
)
from pareto_rec.report.tuned import tuned_part
from pareto_rec.runs.view import RunView

SCRIPTS = (
    *("store.js", "theme.js", "scatter.js", "parallel.js", "table.js"),
    *("details.js", "lists.js", "convergence.js"),
)


def build_report(view: RunView) -> str:
    """Return the page as text.

    Args:
        view: The run.

    Raises:
        BadRequestError: If plotly is not installed.
    """
    parts = {
        "title": html.escape(view.title),
        "question": html.escape(str(view.info.get("question", ""))),
        "status": html.escape(str(view.info.get("status", "unknown"))),
        "answer": html.escape(" ".join(answer(view))),
        "caveat": html.escape(caveat(view)),
        "confirmed": confirmed_part(view),
        "controls": controls_part(view),
        "drives": drives_part(view),
        "groups": groups_part(view),
        "systems": systems_part(view),
        "tuned": tuned_part(view),
        "failures": failures_part(view),
        "choices": rows_of(choices(view)) or "<tr><td>no variable without an order</td></tr>",
        "cost": rows_of(cost(view)),
        "provenance": rows_of(provenance(view)),
        "data": script_json(payload(view)),
        "css": _asset("page.css"),
        "plotly": _inline(_plotly()),
        "js": _inline("\n".join(_asset(name) for name in SCRIPTS)),
    }
    # One pass, so that nothing inside a part is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def write_report(view: RunView, run_dir: Path) -> Path:
    """Write report.html; it appears whole or not at all.

    Args:
        view: The run.
        run_dir: Where to write.

    Raises:
        BadRequestError: If plotly is not installed.
    """
    path = run_dir / "report.html"
    with swapped(path) as part:
        part.write_text(build_report(view), encoding="utf-8")
    return path


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise BadRequestError(
            'the report page needs plotly: pip install "pareto_rec[report]"'
        ) from None
    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """Return a script that cannot close its own element."""
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)
