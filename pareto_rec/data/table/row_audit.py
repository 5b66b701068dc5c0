"""Row audit: which rows were read, used, dropped for a reason, or could not be read."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray

SHOWN = 3
_FILES_SHOWN = 20


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

    def message(self) -> str:
        """Describe the row in one line."""
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass
class FileRows:
    """Rows of one file: rows = used + dropped + bad."""

    rows: int = 0
    blank: int = 0
    dropped: int = 0
    bad: int = 0

    @property
    def used(self) -> int:
        """Rows that are neither dropped nor bad."""
        return self.rows - self.dropped - self.bad

    def summary(self) -> dict[str, int]:
        """Return the counts, ready for JSON."""
        return {"rows": self.rows, "used": self.used, "dropped": self.dropped, "bad": self.bad}


@dataclass
class Cells:
    """Values of one column that could not be read; their rows are used without them."""

    count: int = 0
    filled: int = 0
    examples: dict[str, None] = field(default_factory=dict)


@dataclass
class RowAudit:
    """Counts of rows while a table is read; rows in = rows used + rows dropped + rows bad.

    Attributes:
        files: Name of each file -> its rows.
        dropped: Reason -> rows, in the order in which the reasons apply.
        bad: Reason -> rows that could not be read.
        examples: The first bad rows.
        cells: Column -> values in it that could not be read.
        warnings: What a person has to look at.
        notes: What else was done or guessed, name -> count or words.
        beside: Accounts of the files of items and users.
        skipped: Where bad rows are written; None writes none.
        long_rows: Rows that span many lines; the first of them are among the warnings.
    """

    files: dict[str, FileRows] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)
    cells: dict[str, Cells] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, object] = field(default_factory=dict)
    beside: dict[str, RowAudit] = field(default_factory=dict)
    skipped: Path | None = None
    long_rows: int = 0

    @property
    def rows(self) -> int:
        """Rows in the files."""
        return sum(file.rows for file in self.files.values())

    @property
    def used(self) -> int:
        """Rows that are neither dropped nor bad."""
        return sum(file.used for file in self.files.values())

    def of(self, file: str) -> FileRows:
        """Return the rows of a file."""
        return self.files.setdefault(file, FileRows())

    def note_of(self, file: str, notes: Sequence[str], long: Sequence[tuple[int, int]]) -> None:
        """Add notes on a file, and rows of it that span many lines."""
        for note in notes:
            files = self.notes.get(note)
            self.notes[note] = f"{files}, {Path(file).name}" if files else Path(file).name
        for first, last in long:
            self.long_rows += 1
            if self.long_rows <= SHOWN:
                self.warnings.append(
                    f"{file}: the row in line {first} spans {last - first + 1:,} lines, up to line "
                    f"{last:,}; if a quote in it is not meant to hold them, set data.quoting"
                )

    def drop(self, reason: str, rows: int, file: str) -> None:
        """Count rows of a file that are left out for a reason; a reason without rows stays as 0."""
        self.dropped[reason] += int(rows)
        self.of(file).dropped += int(rows)

    def drop_of(self, reason: str, origin: IntArray) -> None:
        """Count rows of several files that are left out for a reason.

        Args:
            reason: Why.
            origin: The file of each of them ``[rows]``, its index in `files`.
        """
        self.dropped[reason] += len(origin)
        for file, rows in zip(
            self.files.values(), np.bincount(origin, minlength=len(self.files)), strict=True
        ):
            file.dropped += int(rows)

    def lose(self, column: str, texts: Sequence[str], count: int, filled: int) -> None:
        """Count values of a column that could not be read.

        Args:
            column: What messages call it.
            texts: Some of the values.
            count: How many there are.
            filled: Rows that hold some value, readable or not.
        """
        cells = self.cells.setdefault(column, Cells())
        cells.count, cells.filled = cells.count + count, cells.filled + filled
        for text in texts:
            if len(cells.examples) >= SHOWN:
                break
            cells.examples[text[:40]] = None

    def skip(self, rows: list[BadRow], *, refuse: bool) -> None:
        """Count rows that could not be read, and write them out.

        Raises:
            BadRequestError: If they are refused; the first of them are shown.
        """
        self.examples += rows[: max(SHOWN - len(self.examples), 0)]
        if rows and refuse:
            shown = "; ".join(row.message() for row in rows[:SHOWN])
            more = f" (and {len(rows) - SHOWN} more near them)" if len(rows) > SHOWN else ""
            raise BadRequestError(
                f'{shown}{more}; correct the file, or set data.on_bad_rows = "skip" to leave such '
                "rows out and have them counted"
            )
        self.bad.update(_kind(row.reason) for row in rows)
        for row in rows:
            self.of(row.file).bad += 1
        if rows and self.skipped is not None:
            with self.skipped.open("a", newline="", encoding="utf-8", errors="replace") as stream:
                writer = csv.writer(stream)
                if stream.tell() == 0:
                    writer.writerow(["file", "line", "reason", "row"])
                writer.writerows([row.file, row.line, row.reason, row.text] for row in rows)

    def warn_of_losses(self) -> None:
        """Warn of files and columns that lost most of their values."""
        if self.long_rows > SHOWN:
            self.warnings.append(f"{self.long_rows - SHOWN:,} more rows span as many lines")
        for name, file in self.files.items():
            if file.bad * 2 > file.rows:
                reason = self.bad.most_common(1)[0][0]
                self.warnings.append(
                    f"{name}: {file.bad:,} of {file.rows:,} rows could not be read ({reason})"
                )
        for column, cells in self.cells.items():
            if cells.count * 2 > cells.filled:
                self.warnings.append(
                    f"{column}: {cells.count:,} of {cells.filled:,} values could not be read, such "
                    f"as {_quoted(cells.examples)}; see data.decimal and data.missing"
                )

    def summary(self) -> dict[str, object]:
        """Return the audit, ready for JSON."""
        summary: dict[str, object] = {
            "rows": self.rows,
            "used": self.used,
            "dropped": dict(self.dropped),
            "bad": dict(self.bad),
            "first_bad_rows": [row.message() for row in self.examples],
            "blank_lines": sum(part.blank for part in self.files.values()),
            "files": {name: part.summary() for name, part in self.files.items()},
            "unreadable_values": {
                column: {"count": cells.count, "examples": list(cells.examples)}
                for column, cells in self.cells.items()
                if cells.count
            },
            "warnings": list(self.warnings),
            "notes": dict(self.notes),
        }
        if self.beside:
            summary["beside"] = {name: part.summary() for name, part in self.beside.items()}
        return summary


def _kind(reason: str) -> str:
    """Strip the value that a reason names."""
    return reason.partition(": ")[0]


def _quoted(texts: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def as_lines(account: Mapping[str, object]) -> list[str]:
    """Describe an audit in words, one line each."""
    beside = account.get("beside") or {}
    assert isinstance(beside, Mapping)
    lines = _rows_as_lines(account)
    for name, part in beside.items():
        head, *rest = _rows_as_lines(part)
        lines += [f"files of {name}: {head}", *rest]
    if account.get("skipped_rows_file"):
        lines.append(f"all rows that could not be read: {account['skipped_rows_file']}")
    lines += [f"warning: {text}" for text in warnings_of(account)]
    notes = account["notes"]
    assert isinstance(notes, Mapping)
    for name, value in notes.items():
        lines.append(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    return lines


def warnings_of(account: Mapping[str, object]) -> list[str]:
    """List the warnings for the user, of the log and of the files beside it."""
    beside = account.get("beside") or {}
    assert isinstance(beside, Mapping)
    return [text for part in (account, *beside.values()) for text in part.get("warnings") or ()]


def _rows_as_lines(account: Mapping[str, object]) -> list[str]:
    dropped, bad = account["dropped"], account["bad"]
    assert isinstance(dropped, Mapping)
    assert isinstance(bad, Mapping)
    lines = [f"{account['rows']:,} rows read, {account['used']:,} used"]
    lines += [f"  {count:>9,} dropped: {reason}" for reason, count in dropped.items()]
    lines += [f"  {count:>9,} could not be read: {reason}" for reason, count in bad.items()]
    if account["blank_lines"]:
        lines.append(f"  {account['blank_lines']:,} blank lines, which are not rows")
    files = account.get("files") or {}
    assert isinstance(files, Mapping)
    if len(files) > 1:
        ordered = sorted(files.items(), key=lambda entry: -entry[1]["bad"])
        lines += [
            f"  {Path(name).name}: {entry['rows']:,} rows = {entry['used']:,} used + "
            f"{entry['dropped']:,} dropped + {entry['bad']:,} that could not be read"
            for name, entry in ordered[:_FILES_SHOWN]
        ]
        if len(files) > _FILES_SHOWN:
            lines.append(f"  and {len(files) - _FILES_SHOWN:,} more files (data inspect --json)")
    cells = account.get("unreadable_values") or {}
    assert isinstance(cells, Mapping)
    lines += [
        f"  {entry['count']:>9,} values of {column} could not be read and are unknown, such as "
        f"{_quoted(entry['examples'])}"
        for column, entry in cells.items()
    ]
    shown = account["first_bad_rows"]
    if isinstance(shown, list) and shown:
        lines += ["first of the rows that could not be read:", *(f"  {row}" for row in shown)]
    return lines
