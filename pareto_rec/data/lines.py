"""Text tables whose errors name the file and the line."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.unpacking import most_bytes, too_large
from pareto_rec.data.schema import IntArray

LARGEST = 2**40


@dataclass(frozen=True)
class TextLayout:
    """Layout of a text table.

    Attributes:
        columns: Fields per line.
        separator: Between fields; there is no quoting.
        header: The first line, or None where the data begin at once.
        encoding: Of the text.
    """

    columns: int
    separator: str
    header: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Table:
    """Rows of one file.

    Attributes:
        where: Name of the file, for messages.
        rows: Fields of every row.
        first_line: Number of the first row's line.
    """

    where: str
    rows: list[list[str]]
    first_line: int

    def fail(self, row: int, problem: str) -> NoReturn:
        """Refuse a row.

        Raises:
            BadRequestError: Always.
        """
        raise BadRequestError(f"{self.where}, line {row + self.first_line}: {problem}")

    def numbers(self, column: int, what: str, low: int, high: int) -> IntArray:
        """Parse one column as whole numbers from `low` to `high`."""
        values = np.empty(len(self.rows), dtype=np.int64)
        for number, row in enumerate(self.rows):
            try:
                value = int(row[column])
            except ValueError:
                self.fail(number, f'{what} is not a whole number: "{row[column][:40]}"')
            if not low <= value <= high:
                self.fail(number, f"{what} is {value}, not within {low} and {high}")
            values[number] = value
        return values

    def ids(self, column: int, what: str) -> IntArray:
        """Parse one column as whole numbers without repeats."""
        values = self.numbers(column, what, 0, LARGEST)
        _, first = np.unique(values, return_index=True)
        if len(first) < len(values):
            again = np.setdiff1d(np.arange(len(values)), first)[0]
            self.fail(int(again), f"{what} {values[again]} occurs a second time")
        return values

    def positions(self, column: int, what: str, known: IntArray, file: str) -> IntArray:
        """Look up one column of ids as positions in `known`: ascending, at least one."""
        values = self.numbers(column, what, 0, LARGEST)
        positions = np.minimum(np.searchsorted(known, values), len(known) - 1)
        strange = np.flatnonzero(known[positions] != values)
        if len(strange):
            self.fail(int(strange[0]), f"{what} {values[strange[0]]} is not in {file}")
        return positions


def from_file(path: Path) -> tuple[str, bytes]:
    """Read a file: its name and content.

    Raises:
        BadRequestError: If it is missing or cannot be read.
    """
    try:
        return str(path), path.read_bytes()
    except FileNotFoundError:
        raise BadRequestError(f"{path} is missing; put it beside the other files") from None
    except OSError as error:
        raise BadRequestError(f"cannot read {path}: {error.strerror}") from error


def from_zip(archive: Path, member: str) -> tuple[str, bytes]:
    """Read a member of a zip archive: its name and content.

    Raises:
        BadRequestError: If the archive is broken or has no such member.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            inside = content.getinfo(member)
            if inside.file_size > most_bytes(inside.compress_size):
                raise too_large(f"{archive}/{member}", inside.compress_size)
            return f"{archive}/{member}", content.read(inside)
    except KeyError:
        raise BadRequestError(f"{archive} does not hold {member}; fetch it again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BadRequestError(f"{archive} is not a complete zip archive; fetch it again") from error


def parse(where: str, content: bytes, layout: TextLayout) -> Table:
    """Split a text table into its fields; blank lines at the end are passed over.

    Raises:
        BadRequestError: If it has no rows, ends within a line, or a line has another form.
    """
    try:
        lines = content.decode(layout.encoding).split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadRequestError(f"{where}, line {line}: not {layout.encoding} text") from error
    if lines[-1]:
        raise BadRequestError(
            f"{where}, line {len(lines)}: cut off (no end of line); fetch it again"
        )
    while lines and not lines[-1].strip():
        lines.pop()
    first = 0
    if layout.header is not None:
        if not lines or lines[0].rstrip("\r") != layout.header:
            shown = layout.header.replace(layout.separator, " ")
            raise BadRequestError(f"{where}, line 1: wrong columns; they should be: {shown}")
        first = 1
    rows = [line.rstrip("\r").split(layout.separator) for line in lines[first:]]
    table = Table(where, rows, first + 1)
    for number, row in enumerate(rows):
        if len(row) != layout.columns:
            table.fail(number, f"wrong columns: {len(row)} instead of {layout.columns}")
    if not rows:
        raise BadRequestError(f"{where} has no rows; fetch it again")
    return table
