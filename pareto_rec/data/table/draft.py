"""A config to start from, drafted from what stands in files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pareto_rec.data.table.guess import words
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.profile import Column, Profile
from pareto_rec.errors import BadRequestError

MOST_GROUPS = 60  # different values of an attribute that makes groups

_SEARCH = """
[[objective]]
name = "ndcg@10"
reference = 0.0 # better: what popularity reaches on your data

[[objective]]
name = "ild@10"
reference = 0.0 # better: what popularity has on your data

[fixed]
model = "attention_pooling"

[space.train]
loss_weights = { kind = "simplex", names = ["softmax", "popularity"], floor = { softmax = 0.6 } }
learning_rate = { kind = "real", low = 0.003, high = 0.03, log = true }

[space.serve]
fusion = { kind = "simplex", names = ["network", "item_knn_recency"] }
mmr = { kind = "real", low = 0.0, high = 0.9 }

[smoke]
fixed.steps = 20
search = { population = 3, generations = 1, sweep = 3 }
"""


@dataclass(frozen=True)
class Roles:
    """Which files are the log, and which say something of its items and users."""

    log: Profile
    items: Profile | None
    users: Profile | None
    others: tuple[Profile, ...]


def roles_of(found: Sequence[Profile]) -> Roles:
    """Tell files apart by the columns that their names suggest.

    Raises:
        BadRequestError: If no file has a column of users and one of items.
    """
    logs = [one for one in found if one.guess.user and one.guess.item]
    if not logs:
        said = "; ".join(
            f"{one.files[0].path.name}: {', '.join(c.name for c in one.columns)}" for one in found
        )
        raise BadRequestError(
            "no file has a column of users and one of items, as far as their names tell; name them "
            f"in a config (data.columns.user, data.columns.item). Columns: {said}"
        )
    log = max(logs, key=lambda one: one.rows)
    items = [one for one in found if one.guess.item and not one.guess.user]
    users = [one for one in found if one.guess.user and not one.guess.item]
    chosen = [log, *items[:1], *users[:1]]
    others = tuple(one for one in found if all(one is not other for other in chosen))
    return Roles(log, items[0] if items else None, users[0] if users else None, others)


def draft(roles: Roles, name: str, options: TableOptions) -> str:
    """A config as TOML, what was found in comments above it.

    Args:
        roles: The files.
        name: Of the experiment.
        options: How the files were read.
    """
    log = roles.log
    lines = [*_remarks(roles), f"name = {_text(name)}"]
    lines.append('question = "Which trade-offs between accuracy and diversity can be had?"')
    lines += ['baselines = ["popularity", "item_knn_recency"]', "", "[data]", 'kind = "table"']
    lines += [f"name = {_text(name)}", f"files = {_files(log)}", f"columns = {_columns(log)}"]
    signals = _signals(log)
    if signals:
        lines.append(f"signals = {{ {', '.join(f'{n} = {rule}' for n, rule in signals.items())} }}")
    drops = [
        f'{{ column = {_text(one)}, missing = true, why = "no {role}" }}'
        for role, one in (("user", log.guess.user), ("item", log.guess.item))
        if one and log.column(one).missing
    ]
    if drops:
        lines.append(f"drop = [{', '.join(drops)}]")
    lines.append('on_bad_rows = "skip" # rows that cannot be read are counted and listed')
    lines += _items(roles, options) + _users(roles, options)
    if not _time(log):
        lines += ["", "[split]", 'kind = "random" # there are no times']
    return "\n".join(lines) + "\n" + _SEARCH


def _remarks(roles: Roles) -> list[str]:
    lines = []
    for what, one in (("log", roles.log), ("items", roles.items), ("users", roles.users)):
        if one is None:
            continue
        names = ", ".join(file.path.name for file in one.files)
        bad = f", {one.bad:,} of a wrong form" if one.bad else ""
        lines.append(f"# {what}: {names}, the first {one.rows:,} rows were looked at{bad}")
        lines += [f"#   {column.name}: {_one_line(column.said())}" for column in one.columns]
    for one in roles.others:
        lines.append(f"# not used: {', '.join(file.path.name for file in one.files)}")
    return lines


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's, except for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _files(one: Profile) -> str:
    names = list(dict.fromkeys(str(file.path.resolve()) for file in one.files))
    return _text(names[0]) if len(names) == 1 else f"[{', '.join(map(_text, names))}]"


def _time(log: Profile) -> str | None:
    typed = [column.name for column in log.columns if column.time]
    return log.guess.time or (typed[0] if typed else None)


def _columns(log: Profile) -> str:
    guess = log.guess
    found = {"user": guess.user, "item": guess.item, "time": _time(log) or "", "event": guess.event}
    found |= {"position": guess.position, "propensity": guess.propensity}
    given = {role: name for role, name in found.items() if name is not None}
    return f"{{ {', '.join(f'{role} = {_text(name)}' for role, name in given.items())} }}"


def _key(name: str) -> str:
    """A name for a signal: letters, digits and underscores."""
    return re.sub(r"\W+", "_", "_".join(words(name)) or "signal", flags=re.ASCII)


def _signals(log: Profile) -> dict[str, str]:
    """Signal -> rule: events, or columns of numbers whose names sound like signals."""
    if log.guess.event is not None:
        events = log.column(log.guess.event).frequent
        return {_key(event): f"{{ event = {_text(event)} }}" for event in reversed(events)}
    found: dict[str, str] = {}
    for name in log.guess.signals:
        column = log.column(name)
        if column.numeric and column.distinct > 1:
            found |= _signal(column)
    return found


def _signal(column: Column) -> dict[str, str]:
    key, name = _key(column.name), _text(column.name)
    low, high = column.low or 0.0, column.high or 0.0
    if low < 0:
        return {key: f"{{ column = {name}, above = 0 }}"}
    if column.distinct <= 20 and 2 < high <= 10 and low > 0:  # a rating
        liked = f"{{ column = {name}, at_least = {0.8 * high:g} }}"
        given = f"{{ column = {name}, above = 0 }}"
        return {f"{key}_given": given, f"{key}_high": liked, key: name}
    return {key: name}


def _items(roles: Roles, options: TableOptions) -> list[str]:
    one, own = roles.items or roles.log, roles.items is not None
    guess, key = one.guess, one.guess.item
    assert key is not None
    lines = [f"files = {_files(one)}", f"id = {_text(key)}"] if own else []
    text = [name for name in guess.text if not one.column(name).numeric]
    if not text:  # no name says text: what has many different words, or else the categories
        wordy = [c for c in one.columns if c.distinct > MOST_GROUPS and not (c.numeric or c.time)]
        text = [c.name for c in wordy if c.name not in (key, guess.user)]
        text = text or ([guess.categories] if guess.categories else [])
    if text:
        lines.append(f"text = {_text(', '.join(f'{{{name}}}' for name in text[:3]))}")
    if guess.categories:
        delimiter = _delimiter(one.column(guess.categories))
        lines.append(f"categories = {_text(guess.categories)}")
        lines += [f"delimiter = {_text(delimiter)}"] if delimiter else []
    elif text:
        lines.append("words = 50 # no column of categories: frequent words of the texts")
    if guess.price and one.column(guess.price).numeric:
        lines += [f"price = {_text(guess.price)}", "price_bands = 3"]
    lines += _groups(one, key, (*text, guess.categories or ""), options)
    return ["", "[data.items]", *lines] if lines else []


def _delimiter(column: Column) -> str | None:
    counts = {mark: sum(mark in text for text in column.frequent) for mark in ("|", ";", ",", ">")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] and best != "|" else None


def _users(roles: Roles, options: TableOptions) -> list[str]:
    one, key = roles.users or roles.log, (roles.users or roles.log).guess.user
    assert key is not None
    lines = [f"files = {_files(one)}", f"id = {_text(key)}"] if roles.users else []
    groups = _groups(one, key, (), options)
    return ["", "[data.users]", *lines, *groups] if groups else []


def _groups(one: Profile, key: str, used: Sequence[str], options: TableOptions) -> list[str]:
    """Columns of texts with few values that are the same in all rows of a user or an item."""
    guess = one.guess
    roles = {guess.user, guess.item, guess.time, guess.event, guess.price, *guess.signals, *used}
    fitting = [
        column.name
        for column in one.columns
        if column.name not in roles
        and 1 < column.distinct <= MOST_GROUPS
        and not column.time
        and not (column.numeric and column.distinct > 12)
        and one.fixed_by(key, column.name, options.missing)
    ]
    return [f"attributes = [{', '.join(map(_text, fitting))}]"] if fitting else []
