"""Roles of the columns of a table: by name, and by contents."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import permutations
from math import log

import numpy as np

from pareto_rec.data.table.contents import Column
from pareto_rec.data.table.events import MOST_EVENTS, known_event
from pareto_rec.data.table.guess import fitting
from pareto_rec.data.table.profile import Profile

AGREES = 0.8  # share of an item's rows that must hold the same text for it to be the item's
_MOST_CANDIDATES = 8
_USER_LIKE = re.compile(r"^(u|user|c|cust|customer|visitor|member)[-_ ]?\d+$|@", re.IGNORECASE)
_ITEM_LIKE = re.compile(
    r"^(i|item|p|prod|product|sku|b0\w{8}|m|movie)[-_ ]?\d*$|^\d{9}[\dX]$", re.IGNORECASE
)


@dataclass(frozen=True)
class Roles:
    """Columns of a table by role; None where there is none.

    Attributes:
        user: Who.
        item: What.
        time: When.
        event: What happened.
        price: What one of the item costs.
        position: Position at which the item was shown.
        propensity: Probability that it was shown there.
        guessed: Roles that contents alone suggest.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    event: str | None = None
    price: str | None = None
    position: str | None = None
    propensity: str | None = None
    guessed: tuple[str, ...] = ()

    @property
    def taken(self) -> tuple[str, ...]:
        """Columns that have a role."""
        names = (self.user, self.item, self.time, self.event, self.price)
        return tuple(name for name in (*names, self.position, self.propensity) if name)


def usable(name: str) -> bool:
    """Return whether a config can name a column: braces would make a template of it."""
    return "{" not in name and "}" not in name and bool(name.strip())


def named_key(profile: Profile, role: str) -> str | None:
    """Return the column of users or items that the names suggest and the contents allow."""
    for name in fitting(filter(usable, profile.names), role):
        column = profile.column(name)
        if column.distinct and not column.sure_time and not _fractions(column):
            return name
    return None


def log_roles(
    profile: Profile, given: Roles | None = None, keys: Collection[frozenset[str]] = ()
) -> Roles:
    """Assign roles to the columns of a log.

    Args:
        profile: What stands in it.
        given: Roles that the user named; the rest is guessed.
        keys: Ids of other files, each of which stands there once.
    """
    given = given or Roles()
    user = given.user or named_key(profile, "user")
    item = given.item or named_key(profile, "item")
    if item == user:
        item = None
    guessed: list[str] = []
    if user is None or item is None:
        pair = _pair(profile, user, item, keys)
        guessed = [role for role, name in (("user", user), ("item", item)) if name is None]
        user, item = pair or (user, item)
    roles = replace(given, user=user, item=item, guessed=tuple(guessed))
    if user is None or item is None:
        return roles
    if roles.time is None:
        time, unnamed = _time(profile, roles)
        guessed += ["time"] if unnamed else []
        roles = replace(roles, time=time)
    event, unnamed = _event(profile, roles)
    guessed += ["event"] if unnamed else []
    roles = replace(roles, event=event, guessed=tuple(guessed))
    roles = replace(roles, price=_numbers_of(profile, roles, "price"))
    roles = replace(roles, position=_numbers_of(profile, roles, "position"))
    return replace(roles, propensity=_numbers_of(profile, roles, "propensity"))


def _fractions(column: Column) -> bool:
    return column.numeric and not column.integral


def _free(profile: Profile, roles: Roles) -> list[str]:
    return [name for name in profile.names if usable(name) and name not in roles.taken]


def _pair(
    profile: Profile, user: str | None, item: str | None, keys: Collection[frozenset[str]]
) -> tuple[str, str] | None:
    """Choose the likeliest columns of users and of items by their contents."""
    fitting_ = [c for c in profile.columns if _may_be_id(c, profile.rows)]
    candidates = sorted(fitting_, key=lambda c: -c.distinct)[:_MOST_CANDIDATES]
    names = [c.name for c in profile.columns if c in candidates]
    names += [name for name in (user, item) if name and name not in names]
    pairs = [(u, i) for u, i in permutations(names, 2) if user in (None, u) and item in (None, i)]
    scores = {pair: _likely(profile, *pair, keys) for pair in pairs}
    best = max(scores, key=lambda pair: scores[pair], default=None)
    return best if best and scores[best] > 0 else None


def _may_be_id(column: Column, rows: int) -> bool:
    if not usable(column.name) or column.sure_time or column.listed or _fractions(column):
        return False
    if column.time is not None and column.time.form in ("s", "ms", "us", "ns"):
        return False
    known = rows * (1 - column.missing)
    return 2 < column.distinct <= 0.8 * known and column.wordiness <= 3


def _likely(profile: Profile, user: str, item: str, keys: Collection[frozenset[str]]) -> float:
    """Score two columns as users and items; above 0 where they may be."""
    who, what = profile.column(user), profile.column(item)
    score = log(max(who.distinct, 1)) + log(max(what.distinct, 1))
    score += 2.0 * (_like(who, _USER_LIKE) - _like(who, _ITEM_LIKE))
    score += 2.0 * (_like(what, _ITEM_LIKE) - _like(what, _USER_LIKE))
    positions = profile.names.index(user), profile.names.index(item)
    score += (0.5 if positions[0] < positions[1] else 0.0) - 0.3 * sum(positions)
    score -= sum(1.5 for column in (who, what) if column.numeric and (column.high or 0) <= 10)
    score += 1.0 if _runs(who) > _runs(what) else 0.0
    score -= 0.5 * max(what.wordiness - 1, 0) + 0.5 * max(who.wordiness - 1, 0)
    texts = set(what.texts)
    score += 4.0 if any(len(texts & ids) > 0.5 * len(texts) for ids in keys) else 0.0
    for key, other in ((user, item), (item, user)):  # a kind of items is not a user
        fixed = profile.agreement(key, other)
        score -= 6.0 if fixed is not None and fixed > 0.9 else 0.0
    for column in profile.columns:
        if column.name not in (user, item) and 2 <= column.distinct <= what.distinct:
            of_item = (profile.agreement(item, column.name) or 0.0) > 0.95
            of_user = (profile.agreement(user, column.name) or 0.0) > 0.95
            described = column.wordiness > 1.5 or column.listed
            score += (1.0 if described else 0.1) * (of_item - of_user)
    return score


def _like(column: Column, pattern: re.Pattern[str]) -> float:
    return sum(bool(pattern.search(text)) for text in column.frequent) / max(
        len(column.frequent), 1
    )


def _runs(column: Column) -> float:
    """Compute the share of rows that repeat the value of the row before."""
    return float((np.diff(column.codes) == 0).mean()) if len(column.codes) > 1 else 0.0


def _time(profile: Profile, roles: Roles) -> tuple[str | None, bool]:
    """Choose the column of times, and whether it was chosen by contents alone."""
    free = _free(profile, roles)
    named = fitting(free, "time")
    sure = [name for name in free if profile.column(name).sure_time]
    counted = [name for name in free if profile.column(name).time and name not in sure]
    order = [name for name in named if name in sure]
    order += [name for name in named if name in counted]
    order += [name for name in sure if name not in named]
    order += [name for name in counted if name not in named and _plainly(profile, name)]
    order += [name for name in named if _rising(profile.column(name))]
    for name in order:
        of_item = profile.agreement(roles.item or "", name)
        if of_item is None or of_item < 0.95 or profile.column(name).distinct == 1:
            return name, name not in named
    return None, False


def _plainly(profile: Profile, name: str) -> bool:
    """Return whether unnamed numbers are times: of many values, none of them before 2000."""
    column = profile.column(name)
    size = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}.get(column.time.form if column.time else "")
    return size is not None and (column.low or 0) / size > 946_684_800 and column.distinct > 4


def _rising(column: Column) -> bool:
    """Return whether numbers named as times can order rows, such as days of a study."""
    return column.numeric and (column.low or 0.0) >= 0 and column.distinct > 12


def _event(profile: Profile, roles: Roles) -> tuple[str | None, bool]:
    free = _free(profile, roles)
    named = fitting(free, "event")
    for name in [*named, *(name for name in free if name not in named)]:
        column = profile.column(name)
        if not 1 <= column.distinct <= MOST_EVENTS or column.time or _fractions(column):
            continue
        known = sum(map(known_event, column.texts)) >= max(0.5 * column.distinct, 1)
        if name in named and (not column.numeric or column.distinct <= 20):
            return name, False
        if name not in named and known and not column.numeric and column.wordiness <= 3:
            return name, True
    return None, False


def _numbers_of(profile: Profile, roles: Roles, role: str) -> str | None:
    for name in fitting(_free(profile, roles), role):
        column = profile.column(name)
        low, high = column.low, column.high
        if low is None or high is None or high <= 0:
            continue
        if role == "position" and (low < 1 or not column.integral):
            continue
        if role == "propensity" and (high > 1 or low <= 0):
            continue
        return name
    return None
