"""Records, the append-only store, and the run directory."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Literal, Self

from pareto_rec.errors import BadRequestError, RunFailedError

Value = float | int | str | tuple[float, ...]
Status = Literal["ok", "failed", "pruned"]
Origin = Literal["own", "sweep"]

RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Record:
    """One evaluated (candidate, seed).

    Attributes:
        id: Candidate id, derived from its content.
        fit: Id of the fit that it was evaluated on.
        seed: Seed of the fit.
        generation: Generation in which it was evaluated, from 0.
        position: Place within the generation; (generation, position) is the order of the search.
        origin: ``"own"``: the candidate's own serving variables; ``"sweep"``: one of the others.
        train: Training variables, natural values.
        serve: Serving variables, natural values.
        status: ``"ok"``, ``"failed"`` or ``"pruned"``.
        objectives: Objective name -> value in natural units, searched and reported ones.
        reason: Why it is not ``"ok"``.
        timing: Seconds; not part of the identity of a record.
    """

    id: str
    fit: str
    seed: int
    generation: int
    position: int
    origin: Origin
    train: Mapping[str, Value]
    serve: Mapping[str, Value]
    status: Status
    objectives: Mapping[str, float]
    reason: str | None = None
    timing: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of ``records.jsonl``, without the line break."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))


class RunDirectory:
    """The files of one run. Records are appended and synced; every other file is replaced whole.

    Whatever interrupts it (a kill, a full disk), every record written before stays readable.
    """

    def __init__(self, path: Path, store: FileIO) -> None:
        self.path = path
        self._store = store
        self._size = 0  # bytes of whole records

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
            return cls(path, FileIO(path / RECORDS, "x"))
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
        content = "".join(record.to_json() + "\n" for record in records).encode()
        try:
            written = 0
            while written < len(content):
                written += self._store.write(content[written:]) or 0
            os.fsync(self._store.fileno())
        except OSError as error:
            with suppress(OSError):  # half a line must not stand between whole ones
                self._store.truncate(self._size)
                self._store.seek(self._size)
            raise _write_failed(self.path / RECORDS, error) from error
        self._size += len(content)

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
        temporary = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, target)
        except OSError as error:
            raise _write_failed(target, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return target

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _make_empty(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise BadRequestError(f"{path} exists and is not empty; give another --out")


def _cannot_write(path: Path, error: OSError) -> BadRequestError:
    return BadRequestError(f"{path} cannot be written: {error.strerror}; give another --out")


def _write_failed(path: Path, error: OSError) -> RunFailedError:
    return RunFailedError(
        f"{path} cannot be written: {error.strerror}; every record before is kept, and fits are "
        "cached: after mending it, search again into another --out and none is trained twice"
    )
