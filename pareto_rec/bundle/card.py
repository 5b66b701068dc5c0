"""Model card of a bundle: what to know before serving it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from pareto_rec.bundle.data import BundleData, BundleManifest, ObjectiveAbout, PointAbout

_SHOWN = 20  # points in the table of a whole front


def card_of(parts: BundleData) -> str:
    """Return README.md: a metadata header, then what it is, where it lies and its limits."""
    about, config = parts.about, tomllib.loads(parts.config)
    sections = [
        _header(about, config),
        f"# {about.experiment}: {_what(about)}",
        about.question,
        _use(about),
        _data(parts, config),
        _objectives(about),
        _forms(about),
        _front(about),
        _neighbours(about),
        _chosen(about),
        _limits(parts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(about: BundleManifest, config: dict[str, Any]) -> str:
    backbone = config.get("backbone", {}).get("name", "unknown")
    metrics = [objective.name for objective in about.objectives if objective.searched]
    lines = [
        "---",
        "library_name: pareto_rec",
        "tags:",
        "- recommendation",
        "- multi-objective",
        f"base_model: {_quoted(str(backbone))}",
        "datasets:",
        f"- {_quoted(str(config.get('data', {}).get('name', 'unknown')))}",
        "metrics:",
        *(f"- {_quoted(name)}" for name in metrics),
        "---",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Return a YAML scalar in double quotes, which reads as JSON does."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _what(about: BundleManifest) -> str:
    if len(about.points) == 1:
        return f"operating point {about.points[0].id}"
    return f"a front of {len(about.points)} operating points"


def _use(about: BundleManifest) -> str:
    prefer = {objective.name: 0.5 for objective in about.objectives if objective.searched}
    shown = ", ".join(f'"{name}": {weight}' for name, weight in prefer.items())
    lines = [
        "## Intended use",
        "",
        f"Lists of up to {about.k} items (longer ones were not measured) for people of the data set"
        " below, or for any history that names items of its catalogue. Lists never repeat an"
        " item of the history. Who has no history gets what is most popular, and the answer says"
        " so.",
        "",
        "```python",
        "from pareto_rec.bundle import Bundle",
        "",
        'bundle = Bundle.load("this/folder")',
        f'bundle.recommend(history=["ID", "ID"], k={about.k}, explain=True)',
    ]
    if len(about.points) > 1:
        lines.append(f'bundle.recommend(user="ID", prefer={{{shown}}})')
    lines += ["```", "", "Nothing in it was made for decisions about people."]
    return "\n".join(lines)


def _data(parts: BundleData, config: dict[str, Any]) -> str:
    about, split = parts.about, config.get("split", {})
    kind = split.get("kind", "per_user")
    lines = [
        "## Data",
        "",
        f"{config.get('data', {}).get('name', 'unknown')}: {len(parts.users):,} users, "
        f"{len(parts.items):,} items, {len(parts.train):,} rows learnt from ({about.learned_from});"
        f' split "{kind}". What counts as relevant: "{about.relevance}"'
        + (f'; second task: "{about.liked}".' if about.liked else ".")
        + _tasks(config),
    ]
    if about.late_train_share is not None:
        seen = ": it learns from the future of other people" if about.late_train_share else ""
        lines.append(
            f"{about.late_train_share:.0%} of the training rows are later than the median test "
            f"row{seen}."
        )
    return "\n".join(lines)


def _tasks(config: dict[str, Any]) -> str:
    """Return what is predicted besides, of a config with tasks."""
    text = [
        f'{task["name"]} ("{task["signal"]}"'
        + (f", given {task['condition']})" if task.get("condition") else ")")
        for task in config.get("task", [])
    ]
    return f" Tasks on what was shown: {', '.join(text)}." if text else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruled, *rows))


def _direction(objective: ObjectiveAbout) -> str:
    unit = "" if objective.unit in ("", "1") else f" [{objective.unit}]"
    return f"{objective.name}{unit} ({'more' if objective.maximise else 'less'} is better)"


def _objectives(about: BundleManifest) -> str:
    point = about.point(about.default)
    rows = []
    for objective in about.objectives:
        if objective.name not in point.objectives:
            continue
        span = point.intervals.get(objective.name)
        test = _number(point.test.get(objective.name))
        test += f" [{_number(span[0])}, {_number(span[1])}]" if span and test else ""
        kind = "searched" if objective.searched else "reported"
        rows.append([_direction(objective), kind, _number(point.objectives[objective.name]), test])
    lines = ["## Objectives", "", f"Of point {point.id}, on rows that were held out.", ""]
    if about.note:
        lines[2] += f" {about.note}"
    lines.append(_table(["objective", "", "validation", "test (confirmed)"], rows))
    if not point.test:
        lines += ["", "Not confirmed on test data: a search picks what looks best on validation, "
                  "so expect less."]  # fmt: skip
    return "\n".join(lines)


def _forms(about: BundleManifest) -> str:
    """Say where each exported form lies: of the default point, and the largest change of any."""
    measured = list(about.point(about.default).forms)
    if not measured:
        return ""
    lines = ["## Where each form lies", "", _agreements(about), ""]
    point = about.point(about.default)
    rows = []
    for objective in about.objectives:
        values = [point.forms[form].get(objective.name) for form in measured]
        if values[0] is None:
            continue
        cells = [_number(values[0])]
        for value in values[1:]:
            cells.append("" if value is None else f"{_number(value)} ({value - values[0]:+.4f})")
        rows.append([objective.name, *cells])
    heads = [measured[0], *(f"{form} (change)" for form in measured[1:])]
    lines.append(_table(["objective", *heads], rows))
    if len(about.points) > 1 and len(measured) > 1:
        lines += ["", "Largest change of any point of the front:", ""]
        spread = [
            [objective.name, *_largest(about, objective.name, measured)]
            for objective in about.objectives
        ]
        changed = [row for row in spread if any(row[1:])]
        lines.append(_table(["objective", *measured[1:]], changed))
    return "\n".join(lines)


def _largest(about: BundleManifest, name: str, measured: Sequence[str]) -> list[str]:
    cells = []
    for form in measured[1:]:
        changes = [
            abs(point.forms[form][name] - point.forms[measured[0]][name])
            for point in about.points
            if name in point.forms.get(form, {}) and name in point.forms.get(measured[0], {})
        ]
        cells.append(f"{max(changes):.4f}" if changes else "")
    return cells


def _agreements(about: BundleManifest) -> str:
    lines = []
    for form, agreement in about.agreement.items():
        same = f"{agreement['same_lists']:.2%}"
        text = f"- {form}: {same} of the lists of all users are those of the run"
        if agreement.get("ties"):
            text += f" ({agreement['ties']:.0f} differ where scores tie within rounding)"
        if "text_cosine" in agreement:
            text += (
                f"; texts encoded with a cosine of at least {agreement['text_cosine']:.5f} to fp32"
            )
        if "p95_ms" in agreement:
            text += (
                f"; one request takes {agreement['p50_ms']:.2f} ms (p95 {agreement['p95_ms']:.2f})"
            )
            text += " on one core of the machine of the export"
            text += f", whose load was {agreement['load']:.1f}" if "load" in agreement else ""
        lines.append(text)
    texts = [name for name in about.point(about.default).forms if name.endswith("text")]
    if texts:
        lines.append(
            f"- {', '.join(texts)}: every item read again by that form's text encoder, as new items"
            " are; scored in fp32"
        )
    return "\n".join(lines)


def _front(about: BundleManifest) -> str:
    if len(about.points) == 1:
        return ""
    names = [objective.name for objective in about.objectives if objective.searched]
    shown = [point for point in about.points if point.selected] or about.points
    if about.default not in {point.id for point in shown[:_SHOWN]}:
        shown = [about.point(about.default), *shown]
    rows = [
        [point.id + (" (default)" if point.id == about.default else ""), *_values(point, names)]
        for point in shown[:_SHOWN]
    ]
    lines = ["## The front", ""]
    lines.append(
        f"{len(about.points)} points on validation data, all in this bundle; "
        f"{len(rows)} of them, chosen to keep much of the hypervolume:"
    )
    return "\n".join([*lines, "", _table(["point", *names], rows)])


def _values(point: PointAbout, names: Sequence[str]) -> list[str]:
    return [_number(point.objectives.get(name)) for name in names]


def _neighbours(about: BundleManifest) -> str:
    if not about.neighbours:
        return ""
    names = [objective.name for objective in about.objectives if objective.searched]
    here = about.point(about.default).objectives
    rows = [[f"{about.default} (this one)", "", *(_number(here.get(name)) for name in names)]]
    for neighbour in about.neighbours:
        values = [
            f"{_number(neighbour.objectives[n])} ({neighbour.objectives[n] - here[n]:+.4f})"
            for n in names
        ]
        rows.append([neighbour.id, neighbour.better_in, *values])
    lines = ["## Trade-offs", "", "The nearest point of the run's front that is better in ...:", ""]
    return "\n".join([*lines, _table(["point", "better in", *names], rows)])


def _chosen(about: BundleManifest) -> str:
    reason = about.point(about.default).picked
    if not reason:
        reason = "Nobody wrote down why this point was picked (pareto-rec pick does)."
    return f"## How it was chosen\n\n{about.default}: {reason}"


def _limits(parts: BundleData) -> str:
    about = parts.about
    lines = [
        "## Limits",
        "",
        "- It holds the histories and attributes of the people it learnt from: treat it as personal"
        " data.",
        "- Offline measures reward what people met under another system; they say little of what"
        " they would do with these lists.",
        "- Items added after export are scored from their text alone, without interactions.",
        "- Checksums (manifest.json) show damage, not its author.",
    ]
    if about.forms != ["fp32"]:
        lines.append(
            "- The ONNX forms score the catalogue of the export; fusion and re-ranking are done by"
            " pareto_rec in every form."
        )
    return "\n".join(lines)
