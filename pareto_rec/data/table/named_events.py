"""Events that a config names, compared with those that the log has."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.events import MOST_EVENTS, counts_of, parts_of
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.row_audit import RowAudit

MOST_SHOWN = 12  # events of the log that an error lists, the most frequent first


@dataclass(frozen=True)
class NamedEvent:
    """An event in a config.

    Attributes:
        key: Where it stands.
        name: Its name.
        needed: Whether a log without it is of no use: rows of what is dropped, or speaks against an
            item, may well be absent.
    """

    key: str
    name: str
    needed: bool


def named_events(options: TableOptions) -> Iterator[NamedEvent]:
    """Yield every event that the options of a table name."""
    for name in options.event:
        yield NamedEvent("data.event", name, needed=True)
    for signal, rule in options.signals.items():
        if rule.event is not None:
            needed = signal not in options.against
            yield NamedEvent(f"data.signals.{signal}", rule.event, needed)
    for number, rule in enumerate(options.drop):
        if rule.event is not None:
            yield NamedEvent(f"data.drop.{number}", rule.event, needed=False)


class EventTally:
    """Rows of every event that was read so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, events: pa.DictionaryArray) -> None:
        """Count the rows of a chunk."""
        self.counts.update(counts_of(events))

    def check(self, options: TableOptions, account: RowAudit) -> None:
        """Look for the events that a config names.

        One that is needed or looks misspelt is an error, any other a warning in the account.

        Raises:
            BadRequestError: If the log does not have such an event: names the nearest that it has,
                and how many rows each of them has.
        """
        for event in named_events(options):
            if not self.counts or event.name in self.counts:
                continue
            near = self._nearest(event.name)
            hint = f' (did you mean "{near}"?)' if near else ""
            message = f'{event.key}: the log has no event "{event.name}"{hint}; '
            message += f"its events and their rows: {self._in_words()}"
            if event.needed or near:
                raise BadRequestError(message)
            account.warnings.append(message)

    def _nearest(self, name: str) -> str | None:
        """Return the event that is spelt most like a name, case and marks apart."""
        known: dict[str, str] = {}
        for event, _ in self.counts.most_common(MOST_EVENTS):
            known.setdefault(_spelt(event), event)
        near = difflib.get_close_matches(_spelt(name), known, n=1, cutoff=0.7)
        return known[near[0]] if near else None

    def _in_words(self) -> str:
        shown = [f"{name} {rows:,}" for name, rows in self.counts.most_common(MOST_SHOWN)]
        more = len(self.counts) - len(shown)
        return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _spelt(event: str) -> str:
    return "".join(parts_of(event)) or event
