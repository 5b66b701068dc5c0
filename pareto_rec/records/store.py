"""The append-only store: one record a line, on disk before the search goes on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pareto_rec.errors import BadRequestError, RunFailedError
from pareto_rec.records.record import Record

RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Stored:
    """What a store held when it was opened.

    Attributes:
        records: Record n stands on line n + 1.
        torn: Bytes of a last line that a kill or a full disk cut short, and that were cut off.
    """

    records: tuple[Record, ...] = ()
    torn: int = 0


class Store:
    """Appends records to a file that nobody else writes meanwhile.

    The lock belongs to the open file: the system takes it from a process that dies.
    """

    def __init__(self, path: Path, stream: FileIO, size: int) -> None:
        self._path, self._stream, self._size = path, stream, size

    @classmethod
    def create(cls, path: Path) -> Store:
        """A new, empty store.

        Raises:
            OSError: If it exists or cannot be made.
        """
        stream = FileIO(path, "x")
        _lock(stream, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut may leave the lines without their file
        finally:
            os.close(folder)
        return cls(path, stream, 0)

    @classmethod
    def open(cls, path: Path) -> tuple[Store, Stored]:
        """Go on with a store; a torn last line is cut off, other damage leaves it as it is.

        Raises:
            OSError: If it cannot be opened for writing.
            BadRequestError: If another process writes to it, or a whole line is no record.
        """
        stream = FileIO(path, "r+")
        try:
            _lock(stream, path)
            content = stream.readall()
            records, size = read_lines(path, content)
            if size < len(content):
                stream.truncate(size)
                os.fsync(stream.fileno())
            stream.seek(size)
        except BaseException:
            stream.close()
            raise
        return cls(path, stream, size), Stored(tuple(records), len(content) - size)

    def append(self, records: Iterable[Record]) -> None:
        """Add records, one line each, and sync them to disk before returning.

        Raises:
            RunFailedError: If that is not possible; then none of them is added.
        """
        content = "".join(record.to_json() + "\n" for record in records).encode()
        try:
            written = 0
            while written < len(content):
                written += self._stream.write(content[written:]) or 0
            os.fsync(self._stream.fileno())
        except OSError as error:
            with suppress(OSError):  # half a line must not stand between whole ones
                self._stream.truncate(self._size)
                self._stream.seek(self._size)
            raise write_failed(self._path, error) from error
        self._size += len(content)

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._stream.close()


def read_lines(path: Path, content: bytes) -> tuple[list[Record], int]:
    """Records of whole lines, and where the last of these ends.

    Args:
        path: Named where something is wrong.
        content: Of the file. What follows the last line break was cut short and is left out.

    Raises:
        BadRequestError: If a whole line is no record, or repeats an earlier one.
    """
    size = content.rfind(b"\n") + 1
    records: list[Record] = []
    lines: dict[tuple[str, int], int] = {}
    for number, line in enumerate(content[:size].split(b"\n")[:-1], start=1):
        try:
            record = Record.from_json(line.decode())
            first = lines.setdefault((record.id, record.seed), number)
            if first != number:
                raise ValueError(f"it repeats line {first}")
        except (ValueError, RecursionError) as error:  # what is no JSON or no UTF-8 is the former
            raise BadRequestError(
                f"{path}, line {number}: not a record ({error}); nothing was changed: put the line "
                "back from a copy, or begin a new run, which finds the fits in the cache"
            ) from None
        records.append(record)
    return records, size


def _lock(stream: FileIO, path: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise BadRequestError(
            f"{path.parent} is being written by another process; wait for its end or stop it"
        ) from None


def write_failed(path: Path, error: OSError) -> RunFailedError:
    """What is said when a file of a run cannot be written."""
    return RunFailedError(
        f"{path} cannot be written: {error.strerror}; every record before is kept: mend that, and "
        "the same command with --resume goes on"
    )
