"""Reader of records.jsonl: every line is compared with its checksum, for every command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import KEY, checksum_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.notices import notice

RECORDS = "records.jsonl"
FORMAT = 2  # of a run directory; from 2 on, lines and run.json carry checksums

REMEDY = (
    "put the line back from a copy, or remove it: search with --resume then evaluates its record "
    "again, on the fit in the cache"
)


@dataclass(frozen=True)
class Line:
    """A whole line.

    Attributes:
        number: From 1.
        entry: What it holds, without its checksum; empty where it cannot be believed.
        problem: Why it cannot be believed, or nothing.
    """

    number: int
    entry: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Lines:
    """What a file of records holds.

    Attributes:
        lines: The whole lines.
        size: Bytes of the whole lines.
        torn: Bytes after them: what a kill or a full disk left of a last line.
        unsigned: Lines without a checksum, as older versions wrote them.
    """

    lines: tuple[Line, ...]
    size: int
    torn: int
    unsigned: int

    def entries(self, path: Path) -> list[Mapping[str, Any]]:
        """Return what the lines hold.

        Args:
            path: Named where something is wrong.

        Raises:
            BadRequestError: If a line cannot be believed.
        """
        for line in self.lines:
            if line.problem:
                raise not_a_record(path, line.number, line.problem)
        return [line.entry for line in self.lines]


def not_a_record(path: Path, number: int, problem: str) -> BadRequestError:
    """Return what is said of a line that cannot be believed."""
    return BadRequestError(f"{path}, line {number}: not a record ({problem}); {REMEDY}")


def read_lines(content: bytes, *, signed: bool = False) -> Lines:
    """Return the lines of a file of records.

    Args:
        content: Of the file. What follows the last line break was cut short and is left out.
        signed: Whether every line has to carry a checksum.
    """
    size = content.rfind(b"\n") + 1
    lines = tuple(_lines(content[:size], signed=signed))
    unsigned = sum(not line.problem and KEY not in line.entry for line in lines)
    lines = tuple(
        Line(line.number, {k: v for k, v in line.entry.items() if k != KEY}, line.problem)
        for line in lines
    )
    return Lines(lines, size, len(content) - size, unsigned)


def _lines(content: bytes, *, signed: bool) -> Iterator[Line]:
    seen: dict[tuple[str, str], int] = {}
    for number, raw in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            entry = entry_of(raw, signed=signed)
            first = seen.setdefault((repr(entry.get("id")), repr(entry.get("seed"))), number)
            if first != number:
                raise ValueError(f"it repeats line {first}")
        except (ValueError, RecursionError) as error:  # ValueError: not JSON or not UTF-8
            yield Line(number, {}, " ".join(str(error).split()))
        else:
            yield Line(number, entry)


def entry_of(line: bytes, *, signed: bool = False) -> dict[str, Any]:
    """Return what a line holds, its checksum included.

    Raises:
        ValueError: If it is not an object, or not what its checksum says.
    """
    entry = json.loads(line.decode(), parse_constant=_no_constant)
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    if signed and KEY not in entry:
        raise ValueError("it has no checksum")
    if KEY in entry and entry[KEY] != checksum_of(entry):
        raise ValueError("it is not what its checksum says: it was changed after it was written")
    return entry


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def read_entries(path: Path, info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return records of a run as they stand in its file, a torn last line left out.

    Args:
        path: Of records.jsonl.
        info: What run.json says.

    Raises:
        BadRequestError: If it is missing, cannot be read, or a line cannot be believed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadRequestError(
            f"{path} is missing; run the search again, or name a complete run directory"
        ) from None
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read: {error.strerror}") from None
    lines = read_lines(content, signed=is_signed(info))
    entries = lines.entries(path)
    if lines.torn:
        notice(f"{path}: the last line was cut short ({lines.torn} bytes); it is left out")
    if lines.unsigned:
        notice(f"{path} has no checksums ({lines.unsigned:,} lines): a changed digit is not found")
    return entries


def is_signed(info: Mapping[str, Any]) -> bool:
    """Tell whether the lines of a run have to carry checksums, by what its run.json says."""
    number = info.get("format")
    return isinstance(number, int) and number >= FORMAT
