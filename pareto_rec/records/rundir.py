"""The run directory: records are appended and synced, every other file is replaced whole."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pareto_rec.errors import BadRequestError
from pareto_rec.paths import swapped
from pareto_rec.records.record import Record
from pareto_rec.records.store import RECORDS, Store, Stored, write_failed

CONFIG, INFO = "config.toml", "run.json"


class RunDirectory:
    """The files of one run.

    Whatever interrupts it (a kill, a full disk), every record written before stays readable.

    Attributes:
        path: Where it lies.
        stored: The records that were there when it was opened.
    """

    def __init__(self, path: Path, store: Store, stored: Stored) -> None:
        self.path, self.stored = path, stored
        self._store = store

    @staticmethod
    def check(path: Path) -> None:
        """Refuse a place where no run can be written, before any work; leaves nothing behind.

        Raises:
            BadRequestError: If it exists and is not empty, or cannot be written.
        """
        made: list[Path] = []
        try:
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
            _make_empty(path)
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            raise _cannot_write(path, error) from None
        finally:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make a new run directory.

        Raises:
            BadRequestError: If it exists and is not empty, or cannot be written.
        """
        try:
            _make_empty(path)
            return cls(path, Store.create(path / RECORDS), Stored())
        except OSError as error:
            raise _cannot_write(path, error) from None

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Go on with a run directory.

        Raises:
            BadRequestError: If there is none, it cannot be written, its records are damaged, or
                another process writes to it.
        """
        try:
            return cls(path, *Store.open(path / RECORDS))
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
        """Replace a JSON file in one step."""
        return self.write_text(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

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
        try:
            target.parent.mkdir(exist_ok=True)
            with swapped(target) as part:
                part.write_bytes(content)
        except OSError as error:
            raise write_failed(target, error) from error
        return target

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _make_empty(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        begun = (path / RECORDS).exists()
        hint = "give another --out" + (", or --resume to go on with it" if begun else "")
        raise BadRequestError(f"{path} exists and is not empty; {hint}")


def _cannot_write(path: Path, error: OSError) -> BadRequestError:
    return BadRequestError(f"{path} cannot be written: {error.strerror}; give another --out")
