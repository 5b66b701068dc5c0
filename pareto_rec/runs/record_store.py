"""Append-only store of records: one a line, on disk before the search goes on."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.paths import sync_folder
from pareto_rec.runs.lines import RECORDS, Lines, not_a_record, read_lines
from pareto_rec.runs.record import Record

__all__ = ["RECORDS", "Store", "Stored", "locked", "write_failed"]

_TRIES, _PAUSE = 3, 0.1  # how often, and after how many seconds, a lock is asked for again


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
    """Appends records to a file that no other process writes meanwhile.

    The lock belongs to the open file: the system takes it from a process that dies.
    """

    def __init__(self, path: Path, stream: FileIO, size: int) -> None:
        self._path, self._stream, self._size = path, stream, size

    @classmethod
    def create(cls, path: Path) -> Store:
        """Return a new, empty store.

        Raises:
            OSError: If it exists or cannot be made.
        """
        stream = FileIO(path, "x")
        _lock(stream, path)
        for folder in (path.parent, path.parent.parent):
            sync_folder(folder)  # else a power cut may leave the lines without their file
        return cls(path, stream, 0)

    @classmethod
    def open(cls, path: Path, *, signed: bool = False) -> tuple[Store, Stored]:
        """Go on with a store; a torn last line is cut off, other damage leaves it as it is.

        Args:
            path: The file.
            signed: Whether every line has to carry a checksum.

        Raises:
            OSError: If it cannot be opened for writing.
            BadRequestError: If another process writes to it, or a whole line is not a record.
        """
        stream = FileIO(path, "r+")
        try:
            _lock(stream, path)
            content = stream.readall()
            lines = read_lines(content, signed=signed)
            records, size = _records(path, lines), lines.size
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
        self.check_place()
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

    @property
    def size(self) -> int:
        """Bytes of its lines."""
        return self._size

    def check_place(self) -> None:
        """Check that the file still lies where it was opened.

        Raises:
            RunFailedError: If it was deleted, moved or replaced meanwhile.
        """
        try:
            here, own = os.stat(self._path), os.fstat(self._stream.fileno())
            if (here.st_dev, here.st_ino) == (own.st_dev, own.st_ino):
                return
        except OSError:
            pass
        raise RunFailedError(
            f"{self._path} was deleted or moved while the search wrote to it; begin the search "
            "anew, and it finds its fits in the cache"
        )

    def touch(self) -> None:
        """Give a sign of life: the time of the file's last change."""
        with suppress(OSError, ValueError):  # the latter once it is closed
            os.utime(self._stream.fileno())

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._stream.close()


def _records(path: Path, lines: Lines) -> list[Record]:
    """Return records of whole lines.

    Raises:
        BadRequestError: If a line is not a record, was changed, or repeats an earlier one.
    """
    records = []
    for line in lines.lines:
        try:
            if line.problem:
                raise ValueError(line.problem)
            records.append(Record.of(line.entry))
        except ValueError as error:
            raise not_a_record(path, line.number, str(error)) from None
    return records


def _lock(stream: FileIO, path: Path) -> None:
    for left in range(_TRIES, -1, -1):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE)  # a process that only tests the lock holds it for a moment
    stream.close()
    raise BadRequestError(
        f"{path.parent} is being written by another process; wait for its end or stop it"
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a store that is not opened for writing, while other files are written.

    Raises:
        BadRequestError: If another process writes to it, or it cannot be read.
    """
    try:
        stream = FileIO(path, "r")
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read: {error.strerror}") from None
    with stream:
        _lock(stream, path)
        yield


def write_failed(path: Path, error: OSError) -> RunFailedError:
    """Return what is said when a file of a run cannot be written."""
    return RunFailedError(
        f"{path} cannot be written: {error.strerror}; every record before is kept: mend that, and "
        "the same command with --resume goes on"
    )
