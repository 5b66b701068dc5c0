"""A config to start from, drafted from what stands in files."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pareto_rec.data.table import toml
from pareto_rec.data.table.about import About, about_items, decimal_sign, groups
from pareto_rec.data.table.contents import TimeForm
from pareto_rec.data.table.events import MOST_EVENTS, event_counts
from pareto_rec.data.table.files import File, find
from pareto_rec.data.table.guess import fitting
from pareto_rec.data.table.options import Duplicates, TableOptions
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.signals import Signals, signals_of
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


@dataclass(frozen=True)
class Told:
    """What was told of the files, before a draft is tried.

    Attributes:
        sources: Which file is what.
        signals: Signals of the log.
        events: Rows of every event.
        items: What is known of items.
        user_groups: Columns that make groups of users.
        decimal: What stands before fractions.
        unread: Columns of numbers that are written with another sign.
    """

    sources: Sources
    signals: Signals
    events: Counter[str]
    items: About
    user_groups: tuple[str, ...]
    decimal: str
    unread: tuple[str, ...]


def draft(sources: Sources, name: str, options: TableOptions) -> str:
    """A config as TOML that a search can run, what was found in comments above it.

    Args:
        sources: The files.
        name: Of the experiment.
        options: How the files were read.

    Raises:
        BadRequestError: If the data does not suffice for a search.
    """
    told = _tell(sources, options)
    once: Duplicates = "sum" if told.events else "first"
    data = "\n".join(_data(told, name, None))
    trial = attempt(data, sources, told.signals.relevance, once)
    lines = [*_remarks(told, trial), f"name = {toml.text(_experiment(name))}"]
    second = "diversity" if trial.diverse else "novelty"
    lines.append(f'question = "Which trade-offs between accuracy and {second} can be had?"')
    lines += ['baselines = ["popularity", "item_knn_recency"]', "", *_data(told, name, trial)]
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
    """A name that a folder can have."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")
    return plain if re.match(r"[A-Za-z0-9]", plain) else "table"


def _tell(sources: Sources, options: TableOptions) -> Told:
    log, roles = sources.log, sources.roles
    assert roles.user is not None
    assert roles.item is not None
    events: Counter[str] = Counter()
    if roles.event:
        events = event_counts(sources.log_files, roles.event, options)
    shared = _shared(sources)
    trimmed = _only(log, shared)
    events = events if len(events) <= MOST_EVENTS else Counter()
    signals = signals_of(trimmed, roles, events)
    taken = {*roles.taken, *_columns_of(signals)} - {roles.price}
    if sources.items:
        side = sources.items.profile
        price = next(iter(c for c in fitting(side.names, "price") if side.column(c).numeric), None)
        items = about_items(side, sources.items.key, (), price, side.names)
    else:
        items = about_items(log, roles.item, taken, roles.price, shared)
    if sources.users:
        user_groups = groups(
            sources.users.profile, sources.users.key, (), sources.users.profile.names
        )
    else:
        own = () if sources.items else (*items.attributes, items.categories or "")
        user_groups = groups(log, roles.user, {*taken, *own, roles.price or ""}, shared)
    profiles = [log, *([sources.items.profile] if sources.items else [])]
    numbers = {*_columns_of(signals), roles.price, items.price, roles.position, roles.propensity}
    decimal, unread = decimal_sign(profiles, {name for name in numbers if name})
    if unread:
        rules = {n: r for n, r in signals.rules.items() if not any(f'"{c}"' in r for c in unread)}
        signals = Signals(
            rules,
            tuple(n for n in signals.relevance if n in rules),
            tuple(n for n in signals.against if n in rules),
            signals.remarks,
        )
    return Told(sources, signals, events, items, user_groups, decimal, tuple(unread))


def _shared(sources: Sources) -> list[str]:
    """Columns that all logs have."""
    return [
        name for name in sources.log.names if all(name in other.names for other in sources.more)
    ]


def _only(profile: Profile, names: Sequence[str]) -> Profile:
    columns = tuple(column for column in profile.columns if column.name in names)
    return Profile(profile.files, profile.rows, columns, profile.bad, profile.table, profile.whole)


def _columns_of(signals: Signals) -> set[str]:
    """Columns that rules of signals name."""
    table = tomllib.loads("".join(f"{toml.key(n)} = {r}\n" for n, r in signals.rules.items()))
    rules = (r if isinstance(r, Mapping) else {"column": r} for r in table.values())
    return {str(rule["column"]) for rule in rules if "column" in rule}


def _remarks(told: Told, trial: Trial) -> list[str]:
    sources, roles = told.sources, told.sources.roles
    lines = []
    logs = [(profile, "log") for profile in (sources.log, *sources.more)]
    sides = [(s.profile, w) for s, w in ((sources.items, "items"), (sources.users, "users")) if s]
    for profile, what in (*logs, *sides):
        rows = f"{'all' if profile.whole else 'the first'} {profile.rows:,} rows were looked at"
        bad = f", {profile.bad:,} of a wrong form" if profile.bad else ""
        lines.append(toml.comment(f"{what}: {profile.label}, {rows}{bad}"))
        lines += [
            toml.comment(f"{column.name}: {column.summary()}", "  ") for column in profile.columns
        ]
    for profile in sources.more:
        apart = set(profile.names) ^ set(sources.log.names)
        if apart:
            names = ", ".join(sorted(apart))
            lines.append(toml.comment(f"not in every log, so not used: {names}"))
    for profile, reason in sources.left_out:
        lines.append(toml.comment(f"left out: {profile.label}, as {reason}"))
    if roles.guessed or told.items.guessed:
        names = [
            f'"{getattr(roles, role)}" as {role}' for role in roles.guessed if getattr(roles, role)
        ]
        names += told.items.guessed
        lines.append(toml.comment(f"CHECK THESE: contents alone suggest {', '.join(names)}"))
    lines += [toml.comment(remark) for remark in told.signals.remarks]
    if roles.event and not told.events:
        lines.append(toml.comment(f"{roles.event}: too many different texts for events, not used"))
    for name in told.unread:
        lines.append(toml.comment(f"{name}: its fractions are written otherwise, not used"))
    form = _time_form(told)
    if form and form.others:
        others = " or ".join(f'"{other}"' for other in form.others)
        lines.append(toml.comment(f"CHECK: the times may also be read as {others}"))
    if trial.duplicates != "keep":
        words = "so rows of one user and item count once: lists never repeat what is known"
        lines.append(toml.comment(f"most held-out items were met before, {words}"))
    return lines


def _time_form(told: Told) -> TimeForm | None:
    time = told.sources.roles.time
    return told.sources.log.column(time).time if time else None


def _data(told: Told, name: str, trial: Trial | None) -> list[str]:
    """The tables of the config below ``[data]``."""
    sources, signals = told.sources, told.signals
    log = sources.log
    lines = ["[data]", 'kind = "table"', f"name = {toml.text(name)}"]
    lines.append(f"files = {_named(sources.log_files)}")
    lines.append(f"columns = {_columns(told)}")
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
    form = _time_form(told)
    if form and "%" in form.form:  # units are told, and mixed ones refused, by the reader
        lines.append(f"time_format = {toml.text(form.form)}")
    if told.decimal != ".":
        lines.append(f"decimal = {toml.text(told.decimal)}")
    if trial and trial.duplicates != "keep":
        lines.append(f"duplicates = {toml.text(trial.duplicates)}")
    return lines + _items(told) + _users(told)


def _signals(signals: Signals, trial: Trial | None) -> list[str]:
    rules = ", ".join(f"{toml.key(name)} = {rule}" for name, rule in signals.rules.items())
    lines = [f"signals = {{ {rules} }}"]
    if trial and len(signals.rules) > 1:
        lines.append(f"relevance = {toml.text(trial.relevance)}")
    if signals.against:
        lines.append(f"against = {toml.array(signals.against)}")
    return lines


def _columns(told: Told) -> str:
    roles = told.sources.roles
    found = {"user": roles.user, "item": roles.item, "time": roles.time or ""}
    found |= {"event": roles.event if told.events else None}
    unread = told.unread
    found |= {"position": None if roles.position in unread else roles.position}
    found |= {"propensity": None if roles.propensity in unread else roles.propensity}
    return toml.inline({r: toml.text(name) for r, name in found.items() if name is not None})


def _named(files: Sequence[File]) -> str:
    """Files as a config names them; members of an archive that holds other tables too, each."""
    names: list[str] = []
    for path in dict.fromkeys(file.path for file in files):
        own = [file for file in files if file.path == path]
        full = str(Path(path).resolve())
        whole = own[0].member == "" or set(own) == set(find([full]))
        names += [full] if whole else [f"{full}/{file.member}" for file in own]
    return toml.text(names[0]) if len(names) == 1 else toml.array(names)


def _items(told: Told) -> list[str]:
    side, about = told.sources.items, told.items
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
    if about.price and about.price not in told.unread:
        lines += [f"price = {toml.text(about.price)}", "price_bands = 3"]
    if about.attributes:
        lines.append(f"attributes = {toml.array(about.attributes)}")
    return ["", "[data.items]", *lines] if lines else []


def _users(told: Told) -> list[str]:
    side = told.sources.users
    if not told.user_groups:
        return []
    lines = [f"files = {_named(side.profile.files)}", f"id = {toml.text(side.key)}"] if side else []
    return ["", "[data.users]", *lines, f"attributes = {toml.array(told.user_groups)}"]
