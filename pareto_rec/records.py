"""Records, the append-only store, and the run directory."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from pareto_rec.errors import BadRequestError

Value = float | int | str | tuple[float, ...]
Status = Literal["ok", "failed", "pruned"]
Origin = Literal["own", "sweep"]


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
    """The files of one run. Records are appended and synced; every other file is replaced whole."""

    def __init__(self, path: Path, store: TextIO) -> None:
        self.path = path
        self._store = store

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make a new run directory.

        Raises:
            BadRequestError: If it exists and is not empty, or cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise BadRequestError(f"{path} exists and is not empty; give another --out")
            return cls(path, (path / "records.jsonl").open("x", encoding="utf-8"))
        except OSError as error:
            raise BadRequestError(
                f"{path} cannot be written: {error.strerror}; give another --out"
            ) from None

    def append(self, records: Iterable[Record]) -> None:
        """Add records, one line each, and sync them to disk before returning."""
        self._store.write("".join(record.to_json() + "\n" for record in records))
        self._store.flush()
        os.fsync(self._store.fileno())

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Replace a JSON file in one step."""
        return self.write_text(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def write_table(
        self, name: str, rows: Sequence[Mapping[str, Any]], first: Sequence[str] = ()
    ) -> Path:
        """Replace a CSV file in one step; columns: `first`, then in order of first appearance."""
        columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
        with tempfile.SpooledTemporaryFile(mode="w+", newline="", max_size=1 << 26) as buffer:
            writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            buffer.seek(0)
            return self.write_text(name, buffer.read())

    def write_text(self, name: str, text: str) -> Path:
        """Replace a text file in one step."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return target

    def close(self) -> None:
        """Close the store."""
        self._store.close()
