"""Findings about files, before a config is drafted from them."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pareto_rec.data.table import toml
from pareto_rec.data.table.about import About, about_items, groups
from pareto_rec.data.table.contents import TimeForm
from pareto_rec.data.table.events import MOST_EVENTS, event_counts
from pareto_rec.data.table.guess import fitting
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.signals import Signals, signals_of
from pareto_rec.data.table.sources import Sources


@dataclass(frozen=True)
class Findings:
    """Findings about the files, before a draft is tried.

    Attributes:
        sources: Which file is what.
        signals: Signals of the log.
        events: Rows of every event.
        items: What is known of items.
        user_groups: Columns that make groups of users.
    """

    sources: Sources
    signals: Signals
    events: Counter[str]
    items: About
    user_groups: tuple[str, ...]

    @property
    def time_form(self) -> TimeForm | None:
        """How the times of the log are written."""
        time = self.sources.roles.time
        return self.sources.log.column(time).time if time else None


def find_out(sources: Sources, options: TableOptions) -> Findings:
    """Determine what the files hold.

    Raises:
        BadRequestError: If a file cannot be read.
    """
    log, roles, shared = sources.log, sources.roles, _shared(sources)
    assert roles.user is not None
    assert roles.item is not None
    events: Counter[str] = Counter()
    if roles.event:
        events = event_counts(sources.log_files, roles.event, options)
        events = events if len(events) <= MOST_EVENTS else Counter()
    signals = signals_of(_only(log, shared), roles, events)
    taken = ({*roles.taken} | _columns_of(signals)) - {roles.price}
    own: tuple[str, ...] = ()
    if sources.items:
        side = sources.items.profile
        prices = (name for name in fitting(side.names, "price") if side.column(name).numeric)
        items = about_items(side, sources.items.key, (), next(prices, None), side.names)
    else:
        items = about_items(log, roles.item, taken, roles.price, shared)
        own = (*items.attributes, items.categories or "")
    if sources.users:
        people = sources.users.profile
        user_groups = groups(people, sources.users.key, (), people.names)
    else:
        others = {*taken, *own, roles.price or ""}
        user_groups = groups(log, roles.user, others, shared)
    return Findings(sources, signals, events, items, user_groups)


def _shared(sources: Sources) -> list[str]:
    """List the columns that all logs have."""
    logs = (sources.log, *sources.more)
    return [name for name in sources.log.names if all(name in log.names for log in logs)]


def _only(profile: Profile, names: Sequence[str]) -> Profile:
    columns = tuple(column for column in profile.columns if column.name in names)
    return replace(profile, columns=columns)


def _columns_of(signals: Signals) -> set[str]:
    """List the columns that rules of signals name."""
    table = tomllib.loads("".join(f"{toml.key(n)} = {r}\n" for n, r in signals.rules.items()))
    rules = (r if isinstance(r, Mapping) else {"column": r} for r in table.values())
    return {str(rule["column"]) for rule in rules if "column" in rule}
