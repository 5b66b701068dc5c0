"""Remarks on a draft, as comments above it."""

from __future__ import annotations

from pareto_rec.data.table import toml
from pareto_rec.data.table.findings import Findings
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.trial import Trial


def remarks(findings: Findings, trial: Trial) -> list[str]:
    """Write comments: contents of the files, guesses, and what is left out and why."""
    lines = [line for profile, what in _tables(findings) for line in _table(profile, what)]
    lines += map(toml.comment, [*_files(findings), *_guesses(findings), *_choices(findings, trial)])
    return lines


def _tables(findings: Findings) -> list[tuple[Profile, str]]:
    sources = findings.sources
    logs = [(profile, "log") for profile in (sources.log, *sources.more)]
    sides = ((sources.items, "items"), (sources.users, "users"))
    return logs + [(side.profile, what) for side, what in sides if side]


def _table(profile: Profile, what: str) -> list[str]:
    rows = f"{'all' if profile.complete else 'the first'} {profile.rows:,} rows were looked at"
    bad = f", {profile.bad:,} of a wrong form" if profile.bad else ""
    columns = [f"{column.name}: {column.summary()}" for column in profile.columns]
    first = toml.comment(f"{what}: {profile.label}, {rows}{bad}")
    return [first, *(toml.comment(line, "  ") for line in columns)]


def _files(findings: Findings) -> list[str]:
    sources = findings.sources
    lines = []
    apart = {n for log in sources.more for n in {*log.names} ^ {*sources.log.names}}
    if apart:
        lines.append(f"not in every log, so not used: {', '.join(sorted(apart))}")
    lines += [f"left out: {profile.label}: {reason}" for profile, reason in sources.left_out]
    return lines


def _guesses(findings: Findings) -> list[str]:
    roles = findings.sources.roles
    named = [(role, getattr(roles, role)) for role in roles.guessed]
    guesses = [f'"{name}" as {role}' for role, name in named if name] + list(findings.items.guessed)
    lines = [f"CHECK: contents alone suggest {', '.join(guesses)}"] if guesses else []
    form = findings.time_form
    if form and form.others:
        others = " or ".join(f'"{other}"' for other in form.others)
        lines.append(f"CHECK: the times may also be read as {others}")
    return lines


def _choices(findings: Findings, trial: Trial) -> list[str]:
    lines = list(findings.signals.remarks)
    event = findings.sources.roles.event
    if event and not findings.events:
        lines.append(f"{event}: not used, as it has too many different texts for events, or none")
    if trial.duplicates != "keep":
        lines.append(
            "most held-out items were met before, which lists never repeat, so rows of one user "
            "and item count once"
        )
    return lines
