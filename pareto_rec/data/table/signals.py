"""Signals of a log: its events, its ratings, and its counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from pareto_rec.data.table import toml
from pareto_rec.data.table.contents import Column
from pareto_rec.data.table.events import MOST_SIGNALS, speaks_against, spellings, strength
from pareto_rec.data.table.guess import fitting
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.roles import Roles, usable

_RATINGS = {"rating", "ratings", "stars", "score", "grade", "note", "bewertung", "оценка",
            "рейтинг", "puntuacion"}  # fmt: skip
_YES, _NO = {"true", "yes", "y", "t", "ja", "oui", "si", "да"}, {"false", "no", "n", "f", "nein",
                                                                 "non", "нет"}  # fmt: skip


@dataclass(frozen=True)
class Signals:
    """Signals of a log.

    Attributes:
        rules: Signal -> its rule as TOML.
        relevance: Signals that may count as relevant, the best first.
        against: Signals that speak against an item.
        remarks: Notes on them for the user.
    """

    rules: dict[str, str]
    relevance: tuple[str, ...]
    against: tuple[str, ...]
    remarks: tuple[str, ...]


def signals_of(profile: Profile, roles: Roles, events: Counter[str]) -> Signals:
    """Draft the signals of a log.

    Args:
        profile: What stands in it.
        roles: Its columns.
        events: Rows of every event in all files; empty without a column of events.
    """
    rules: dict[str, str] = {}
    relevance: list[str] = []
    against: list[str] = []
    remarks: list[str] = []
    if roles.event and events:
        _add_events(roles.event, events, rules, relevance, against, remarks)
    if not against:  # a row that is returned has a quantity too, and would count as liked
        weak: list[str] = []
        for column in _numeric(profile, roles):
            for name, rule in _rules_of(column, set(rules)).items():
                rules[name] = rule
                weak.append(name)
        relevance += weak
    if rules and not set(rules) - set(against):
        against = []
        remarks.append("every event seems to speak against its item: check which one does")
    return Signals(rules, tuple(relevance), tuple(against), tuple(remarks))


def _add_events(
    column: str,
    events: Counter[str],
    rules: dict[str, str],
    relevance: list[str],
    against: list[str],
    remarks: list[str],
) -> None:
    groups = spellings(events)
    drafted, rest = groups[:MOST_SIGNALS], groups[MOST_SIGNALS:]
    rows = {}
    for names in drafted:
        name = _free(_signal_name(names[0]), rules)
        rows[name] = sum(events[spelling] for spelling in names)
        if len(names) == 1:
            rules[name] = toml.inline({"event": toml.text(names[0])})
        else:
            rules[name] = toml.inline({"column": toml.text(column), "one_of": toml.array(names)})
        if speaks_against(names[0]):
            against.append(name)
        counts = ", ".join(f"{spelling} ({events[spelling]:,} rows)" for spelling in names)
        remarks.append(f"event {name}: {counts}")
    for names in rest:
        counts = ", ".join(f"{spelling} ({events[spelling]:,} rows)" for spelling in names)
        remarks.append(f"event left out, there are too many for signals: {counts}")
    wanted = [name for name in rules if name not in against]
    relevance += sorted(wanted, key=lambda name: (strength(name), -rows[name], name))


def _signal_name(text: str) -> str:
    """Make a name for a signal: letters, digits and underscores of any script."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    return re.sub(r"\W+", "_", parted).strip("_").lower()[:60] or "signal"


def _free(name: str, taken: Collection[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _numeric(profile: Profile, roles: Roles) -> list[Column]:
    """List columns of counts, amounts, ratings and answers, those of the best names first."""
    free = [name for name in profile.names if usable(name) and name not in roles.taken]
    named = [name for name in fitting(free, "signal") if name not in fitting(free, "text")]
    columns = [profile.column(name) for name in named]
    columns = [c for c in columns if (c.high or 0) > 0 or _is_answer(c)]
    others = [profile.column(name) for name in free if name not in named]
    columns += [c for c in others if _looks_like_rating(c) and not _of_item(profile, roles, c)]
    return [c for c in columns if c.time is None]


def _of_item(profile: Profile, roles: Roles, column: Column) -> bool:
    """Return whether all rows of an item, or of a user, hold the same value."""
    for key in (roles.item, roles.user):
        fixed = profile.agreement(key, column.name) if key else None
        if fixed is not None and fixed > 0.99:
            return True
    return False


def _is_answer(column: Column) -> bool:
    texts = {text.casefold() for text in column.texts}
    return len(texts) == 2 and bool(texts & _YES) and bool(texts & _NO)


def _looks_like_rating(column: Column) -> bool:
    low, high = column.low, column.high
    if low is None or high is None or not 2 <= column.distinct <= 11:
        return False
    return (low, high) == (0, 1) or (0 <= low <= 1 and 5 <= high <= 10)


def _rules_of(column: Column, taken: Collection[str]) -> dict[str, str]:
    named = {"column": toml.text(column.name)}
    name = _free(_signal_name(column.name), taken)
    if _is_answer(column):
        yes = [text for text in column.texts if text.casefold() in _YES]
        return {name: toml.inline(named | {"one_of": toml.array(yes)})}
    low, high = column.low or 0.0, column.high or 0.0
    rating = bool(_RATINGS & set(name.split("_"))) or _looks_like_rating(column)
    if rating and 2 < high <= 10 and low >= 0 and column.distinct <= 21:
        given = toml.inline(named | {"missing": "false"})
        liked = toml.inline(named | {"at_least": f"{0.8 * high:g}"})
        return {
            _free(f"{name}_given", taken): given,
            _free(f"{name}_high", taken): liked,
            name: toml.text(column.name),
        }
    if low < 0:
        return {name: toml.inline(named | {"above": "0"})}
    return {name: toml.text(column.name)}
