"""Draft of a config, from the contents of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pareto_rec.data.table import toml
from pareto_rec.data.table.files import File, find
from pareto_rec.data.table.findings import Findings, find_out
from pareto_rec.data.table.options import Duplicates, TableOptions
from pareto_rec.data.table.remarks import remarks
from pareto_rec.data.table.signals import Signals
from pareto_rec.data.table.sources import Sources
from pareto_rec.data.table.trial import Trial, attempt

_SEARCH = """
[[objective]]
name = "ndcg@{k}"
reference = 0.0 # better: what popularity reaches on your data

[[objective]]
name = "{second}@{k}"{why}
reference = 0.0 # better: what popularity has on your data

[fixed]
model = "attention_pooling"

[space.train]
loss_weights = {{ kind = "simplex", names = ["softmax", "popularity"], {floor} }}
learning_rate = {{ kind = "real", low = 0.003, high = 0.03, log = true }}

[space.serve]
fusion = {{ kind = "simplex", names = ["network", "item_knn_recency"] }}
mmr = {{ kind = "real", low = 0.0, high = 0.9 }}

[smoke] # a sample of the data is taken besides, see the guide
fixed.steps = 20
search = {{ population = 3, generations = 1, sweep = 3 }}
"""
_NO_CATEGORIES = " # relevant items that few know; without categories lists cannot be compared"


def draft(sources: Sources, name: str, options: TableOptions) -> str:
    """Write a config as TOML that a search can run, with comments on the findings above it.

    Args:
        sources: The files.
        name: Of the experiment.
        options: How the files were read.

    Raises:
        BadRequestError: If the data does not suffice for a search.
    """
    findings = find_out(sources, options)
    once: Duplicates = "sum" if findings.events else "first"
    data = "\n".join(_data(findings, name, None))
    trial = attempt(data, sources, findings.signals.relevance, once)
    lines = [*remarks(findings, trial), f"name = {toml.text(_experiment(name))}"]
    second = "diversity" if trial.diverse else "novelty"
    lines.append(f'question = "Which trade-offs between accuracy and {second} are possible?"')
    lines += ['baselines = ["popularity", "item_knn_recency"]', "", *_data(findings, name, trial)]
    if trial.split != "per_user" or trial.share != 0.1:
        why = "" if sources.roles.time else " # there are no times"
        lines += ["", "[split]", f"kind = {toml.text(trial.split)}{why}"]
        if trial.share != 0.1:
            lines += [f"validation = {trial.share:g}", f"test = {trial.share:g}"]
    search = _SEARCH.format(
        k=trial.length,
        second="ild" if trial.diverse else "epc",
        floor="floor = { softmax = 0.6 }",
        why="" if trial.diverse else _NO_CATEGORIES,
    )
    return "\n".join(lines) + "\n" + search


def _experiment(name: str) -> str:
    """Make a name that is valid for a folder."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")
    return plain if re.match(r"[A-Za-z0-9]", plain) else "table"


def _data(findings: Findings, name: str, trial: Trial | None) -> list[str]:
    """Write the tables of the config below ``[data]``."""
    sources, signals = findings.sources, findings.signals
    log = sources.log
    lines = ["[data]", 'kind = "table"', f"name = {toml.text(name)}"]
    lines.append(f"files = {_named(sources.log_files)}")
    lines.append(f"columns = {_columns(findings)}")
    if signals.rules:
        lines += _signals(signals, trial)
    roles = (("user", sources.roles.user), ("item", sources.roles.item))
    drops = [
        toml.inline({"column": toml.text(c), "missing": "true", "why": toml.text(f"no {role}")})
        for role, c in roles
        if c and log.column(c).missing
    ]
    if drops:
        lines.append(f"drop = [{', '.join(drops)}]")
    lines.append('on_bad_rows = "skip" # rows that cannot be read are counted and listed')
    form = findings.time_form
    if form and "%" in form.form:  # units, and mixed ones, are the reader's
        lines.append(f"time_format = {toml.text(form.form)}")
    if trial and trial.duplicates != "keep":
        lines.append(f"duplicates = {toml.text(trial.duplicates)}")
    return lines + _items(findings) + _users(findings)


def _signals(signals: Signals, trial: Trial | None) -> list[str]:
    rules = ", ".join(f"{toml.key(name)} = {rule}" for name, rule in signals.rules.items())
    lines = [f"signals = {{ {rules} }}"]
    if trial and len(signals.rules) > 1:
        lines.append(f"relevance = {toml.text(trial.relevance)}")
    if signals.against:
        lines.append(f"against = {toml.array(signals.against)}")
    return lines


def _columns(findings: Findings) -> str:
    roles = findings.sources.roles
    columns = {"user": roles.user, "item": roles.item, "time": roles.time or ""}
    columns |= {"event": roles.event if findings.events else None}
    columns |= {"position": roles.position, "propensity": roles.propensity}
    return toml.inline({r: toml.text(name) for r, name in columns.items() if name is not None})


def _named(files: Sequence[File]) -> str:
    """Write files as a config names them; members of a mixed archive individually."""
    names: list[str] = []
    for path in dict.fromkeys(file.path for file in files):
        own = [file for file in files if file.path == path]
        full = str(Path(path).resolve())
        complete = own[0].member == "" or set(own) == set(find([full]))
        names += [full] if complete else [f"{full}/{file.member}" for file in own]
    return toml.text(names[0]) if len(names) == 1 else toml.array(names)


def _items(findings: Findings) -> list[str]:
    side, about = findings.sources.items, findings.items
    lines = [f"files = {_named(side.profile.files)}", f"id = {toml.text(side.key)}"] if side else []
    if about.texts:
        lines.append(f"text = {toml.text(about.texts)}")
    if about.categories:
        lines.append(f"categories = {toml.text(about.categories)}")
        if about.lists:
            lines.append("category_lists = true # they are written as lists")
        elif about.delimiter not in ("", "|"):
            lines.append(f"delimiter = {toml.text(about.delimiter)}")
    elif about.texts:
        lines.append("words = 50 # no column of categories: frequent words of the texts")
    if about.price:
        lines += [f"price = {toml.text(about.price)}", "price_bands = 3"]
    if about.attributes:
        lines.append(f"attributes = {toml.array(about.attributes)}")
    return ["", "[data.items]", *lines] if lines else []


def _users(findings: Findings) -> list[str]:
    side = findings.sources.users
    if not findings.user_groups:
        return []
    lines = [f"files = {_named(side.profile.files)}", f"id = {toml.text(side.key)}"] if side else []
    return ["", "[data.users]", *lines, f"attributes = {toml.array(findings.user_groups)}"]
