"""Where every row went: what was read, used, dropped for a reason, or could not be read."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pareto_rec.errors import BadRequestError

SHOWN = 3


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read.

    Attributes:
        file: Its file.
        line: Its line in a text file (of the first of them), its row from 1 in a Parquet file.
        reason: What is wrong with it.
        text: How it reads, or as much of it as is known.
    """

    file: str
    line: int
    reason: str
    text: str

    def said(self) -> str:
        """One line for people."""
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass
class Account:
    """Counts of rows while a table is read; rows in = rows used + rows dropped + rows bad.

    Attributes:
        rows: Rows in the files.
        blank: Lines without any content; they are no rows.
        dropped: Reason -> rows, in the order in which the reasons apply.
        bad: Reason -> rows that could not be read.
        examples: The first bad rows.
        notes: What else was done or guessed, name -> count or words.
        skipped: Where bad rows are written; None writes none.
    """

    rows: int = 0
    blank: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)
    notes: dict[str, object] = field(default_factory=dict)
    skipped: Path | None = None

    @property
    def used(self) -> int:
        """Rows that are neither dropped nor bad."""
        return self.rows - self.dropped.total() - self.bad.total()

    def drop(self, reason: str, rows: int) -> None:
        """Rows that are left out for a reason; a reason that met no row is kept as 0."""
        self.dropped[reason] += int(rows)

    def skip(self, rows: list[BadRow], *, refuse: bool) -> None:
        """Rows that could not be read.

        Raises:
            BadRequestError: If they are refused; the first of them are shown.
        """
        self.examples += rows[: SHOWN - len(self.examples)] if len(self.examples) < SHOWN else []
        if rows and refuse:
            shown = "; ".join(row.said() for row in rows[:SHOWN])
            more = f" (and {len(rows) - SHOWN} more near them)" if len(rows) > SHOWN else ""
            raise BadRequestError(
                f'{shown}{more}; correct the file, or set data.on_bad_rows = "skip" to leave such '
                "rows out and have them counted"
            )
        self.bad.update(_kind(row.reason) for row in rows)
        if rows and self.skipped is not None:
            with self.skipped.open("a", newline="", encoding="utf-8", errors="replace") as stream:
                writer = csv.writer(stream)
                if stream.tell() == 0:
                    writer.writerow(["file", "line", "reason", "row"])
                writer.writerows([row.file, row.line, row.reason, row.text] for row in rows)

    def summary(self) -> Mapping[str, object]:
        """Ready for JSON."""
        return {
            "rows": self.rows,
            "used": self.used,
            "dropped": dict(self.dropped),
            "bad": dict(self.bad),
            "first_bad_rows": [row.said() for row in self.examples],
            "blank_lines": self.blank,
            "notes": dict(self.notes),
        }


def _kind(reason: str) -> str:
    """A reason without the value that it names."""
    return reason.partition(": ")[0]


def as_lines(account: Mapping[str, object]) -> list[str]:
    """An account in words, one line each."""
    notes, dropped, bad = (account[part] for part in ("notes", "dropped", "bad"))
    assert isinstance(notes, Mapping)
    assert isinstance(dropped, Mapping)
    assert isinstance(bad, Mapping)
    lines = [f"{account['rows']:,} rows read, {account['used']:,} used"]
    lines += [f"  {count:>9,} dropped: {reason}" for reason, count in dropped.items()]
    lines += [f"  {count:>9,} could not be read: {reason}" for reason, count in bad.items()]
    if account["blank_lines"]:
        lines.append(f"  {account['blank_lines']:,} blank lines, which are no rows")
    shown = account["first_bad_rows"]
    if isinstance(shown, list) and shown:
        lines += ["first of the rows that could not be read:", *(f"  {row}" for row in shown)]
    for name, value in notes.items():
        lines.append(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    return lines
