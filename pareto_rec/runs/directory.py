"""Run directory: records are appended and synced, every other file is replaced as a whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from pareto_rec.core.checksums import signed
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import sweep_below
from pareto_rec.core.paths import swapped
from pareto_rec.runs.heartbeat import beating
from pareto_rec.runs.record import Record
from pareto_rec.runs.record_store import RECORDS, Store, Stored, write_failed

CONFIG, INFO = "config.toml", "run.json"


class RunDirectory:
    """The files of one run.

    Whatever interrupts it (a kill, a full disk), every record written before stays readable.

    Attributes:
        path: Where it lies.
        stored: The records that were there when it was opened.
    """

    def __init__(
        self, path: Path, store: Store, stored: Stored, created: Sequence[Path] = ()
    ) -> None:
        self.path, self.stored = path, stored
        self._store, self._created = store, created

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Create a new run directory, which no other process can create from now on.

        Raises:
            BadRequestError: If it exists and is not empty, or cannot be written; nothing is left
                behind then.
        """
        created = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            _make_empty(path)
            return cls(path, Store.create(path / RECORDS), Stored(), created)
        except FileExistsError as error:
            if not (path / RECORDS).exists():  # a file is where a folder should be
                raise _cannot_write(path, error) from None
            raise _not_empty(path) from None  # another process was first, a moment ago
        except OSError as error:
            _remove_empty(created)
            raise _cannot_write(path, error) from None

    @classmethod
    def open(cls, path: Path, *, signed: bool = False) -> RunDirectory:
        """Go on with a run directory.

        Args:
            path: Where it lies.
            signed: Whether every record has to carry a checksum.

        Raises:
            BadRequestError: If there is none, it cannot be written, its records are damaged, or
                another process writes to it.
        """
        try:
            run = cls(path, *Store.open(path / RECORDS, signed=signed))
            sweep_below(path, 1)
            return run
        except FileNotFoundError:
            raise BadRequestError(
                f"{path} holds no {RECORDS}: no search to go on with; leave --resume away"
            ) from None
        except OSError as error:
            raise _cannot_write(path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Iterable[Record]) -> None:
        """Add records, one line each, and sync them to disk before returning.

        Raises:
            RunFailedError: If that is not possible; then none of them is added.
        """
        self._store.append(records)

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Replace a JSON file in one step; it carries a checksum."""
        return self.write_text(name, json.dumps(signed(content), indent=2, allow_nan=False) + "\n")

    def write_table(
        self, name: str, rows: Sequence[Mapping[str, Any]], first: Sequence[str] = ()
    ) -> Path:
        """Replace a CSV file in one step; columns: `first`, then in order of first appearance."""
        columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
        buffer = io.StringIO(newline="")
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return self.write_text(name, buffer.getvalue())

    def write_text(self, name: str, text: str) -> Path:
        """Replace a text file in one step.

        Raises:
            RunFailedError: If that is not possible; the file is then as it was before.
        """
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Replace a file in one step, as :meth:`write_text`."""
        target = self.path / name
        self._store.check_place()
        try:
            target.parent.mkdir(exist_ok=True)
            with swapped(target) as part:
                part.write_bytes(content)
        except OSError as error:
            self._store.check_place()
            raise write_failed(target, error) from error
        return target

    @contextmanager
    def living(self) -> Iterator[None]:
        """Show for as long as the block lasts that somebody writes here."""
        with beating(self._store.touch):
            yield

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Hold a new directory while its search is prepared; it goes if that comes to nothing."""
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if not self._store.size and [file.name for file in self.path.iterdir()] == [
                    RECORDS
                ]:
                    (self.path / RECORDS).unlink()
                    _remove_empty(self._created)
            raise

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _make_empty(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise _not_empty(path)


def _not_empty(path: Path) -> BadRequestError:
    begun = (path / RECORDS).exists()
    hint = "give another --out" + (", or --resume to go on with it" if begun else "")
    return BadRequestError(f"{path} exists and is not empty; {hint}")


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _cannot_write(path: Path, error: OSError) -> BadRequestError:
    return BadRequestError(f"{path} cannot be written: {error.strerror}; give another --out")
