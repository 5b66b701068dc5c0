"""Sources of a draft: which files are the log, which describe items or users, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.files import File
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.roles import Roles, log_roles, named_key, usable

MOST_SHOWN = 12  # columns that a question shows


@dataclass(frozen=True)
class Side:
    """Files of items or of users, and the column of their ids."""

    profile: Profile
    key: str
    known: float  # share of the log's ids that stand there


@dataclass(frozen=True)
class Sources:
    """Files by their part: log, items or users.

    Attributes:
        log: The log whose columns are drafted.
        roles: Its columns by role.
        more: Other logs that have all the columns needed.
        items: Files of items.
        users: Files of users.
        left_out: Files that are not used, each with the reason.
    """

    log: Profile
    roles: Roles
    more: tuple[Profile, ...] = ()
    items: Side | None = None
    users: Side | None = None
    left_out: tuple[tuple[Profile, str], ...] = ()

    @property
    def log_files(self) -> tuple[File, ...]:
        """Files of all logs."""
        return tuple(file for profile in (self.log, *self.more) for file in profile.files)


def sources_of(profiles: Sequence[Profile], given: Roles | None = None) -> Sources:
    """Tell files apart by the names of their columns, and by their contents.

    Args:
        profiles: What stands in the files.
        given: Columns of the log that the user named.

    Raises:
        BadRequestError: If no file is recognised as a log.
    """
    log, roles = _log(profiles, given or Roles())
    sources = Sources(log, roles)
    more: list[Profile] = []
    left: list[tuple[Profile, str]] = []
    sides: dict[str, Side] = {}
    for profile in profiles:
        if profile is log:
            continue
        lacking = [name for name in roles.taken if name not in profile.names]
        if not lacking:
            more.append(profile)
            continue
        role, side = _side(profile, sources)
        if role and role not in sides:
            sides[role] = side
        elif role and side.profile.names == sides[role].profile.names:
            left.append((profile, f"a second table of {role}s"))
        else:
            left.append((profile, _why_not(profile, lacking, role)))
    return Sources(log, roles, tuple(more), sides.get("item"), sides.get("user"), tuple(left))


def _why_not(profile: Profile, lacking: Sequence[str], role: str) -> str:
    if role:
        return f"another table of {role}s is used already"
    columns = ", ".join(f'"{name}"' for name in lacking)
    reason = f"it has no column {columns} as the log has"
    both = named_key(profile, "user") and named_key(profile, "item")
    return reason + ("; give its columns the same names to read both as one log" if both else "")


def _log(profiles: Sequence[Profile], given: Roles) -> tuple[Profile, Roles]:
    for role in ("user", "item", "time"):
        name = getattr(given, role)
        if name and not any(name in profile.names for profile in profiles):
            raise BadRequestError(f'no file has the column "{name}"; there are: {_shown(profiles)}')
    fit = [
        profile
        for profile in profiles
        if all(getattr(given, r) in (None, "", *profile.names) for r in ("user", "item", "time"))
    ]
    named = [
        profile
        for profile in fit
        if (given.user or named_key(profile, "user"))
        and (given.item or named_key(profile, "item"))
        and not _one_row_each(profile)
    ]
    keys = [ids for profile in profiles for ids in _unique_ids(profile)]
    for group in (named, [profile for profile in fit if profile not in named]):
        tried = [
            (
                profile,
                log_roles(profile, given, [ids for owner, ids in keys if owner is not profile]),
            )
            for profile in group
        ]
        logs = [(profile, roles) for profile, roles in tried if roles.user and roles.item]
        if logs:
            return max(logs, key=lambda pair: pair[0].rows)
    raise BadRequestError(
        "no file has a column of users and one of items, as far as names and contents tell; say "
        "which they are: --user COLUMN --item COLUMN. There are: " + _shown(profiles)
    )


def _one_row_each(profile: Profile) -> bool:
    """Return whether a table has one row for each of its items or users, as no log has."""
    key = named_key(profile, "item")
    column = profile.column(key) if key else None
    return column is not None and profile.rows > 20 and column.distinct == profile.rows


def _shown(profiles: Sequence[Profile]) -> str:
    parts = []
    for profile in profiles:
        if profile.doubt:
            parts.append(f"{profile.label}: {profile.doubt}")
            continue
        columns = [f"{_plain(c.name)} ({_plain(c.summary())})" for c in profile.columns]
        more = f"; and {len(columns) - MOST_SHOWN} more" if len(columns) > MOST_SHOWN else ""
        parts.append(f"{profile.label}: {'; '.join(columns[:MOST_SHOWN])}{more}")
    return " | ".join(parts)


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _unique_ids(profile: Profile) -> list[tuple[Profile, frozenset[str]]]:
    return [
        (profile, frozenset(column.texts))
        for column in profile.columns
        if profile.rows > 4 and column.distinct >= 0.98 * profile.rows and not column.sure_time
    ]


def _side(profile: Profile, sources: Sources) -> tuple[str, Side]:
    """Return whether a table describes items or users: the role, and how it is joined."""
    best: tuple[str, Side] = ("", Side(profile, "", 0.0))
    if {sources.roles.user, sources.roles.item} <= {*profile.names}:
        return best
    for role in ("item", "user"):
        log_column = getattr(sources.roles, role)
        ids = set(sources.log.column(log_column).texts)
        for column in profile.columns:
            if not usable(column.name) or column.distinct < 0.5 * profile.rows:
                continue
            shared = len(ids.intersection(column.texts)) / max(len(ids), 1)
            bonus = 0.5 if column.name in (named_key(profile, role), log_column) else 0.0
            bonus -= 0.3 if named_key(profile, "user" if role == "item" else "item") else 0.0
            if shared > 0.05 and shared + bonus > best[1].known:
                best = role, Side(profile, column.name, shared + bonus)
    return best
