"""Ledger of test data: every opening by any run, kept outside the run directories.

One line of JSON for each, with a checksum. A line is on disk before test data is read, so that
neither a kill nor a full disk leaves an opening that nobody knows of.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from json import dumps
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import KEY, checksum_of, signed
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.paths import sync_folder
from pareto_rec.runs.lines import entry_of

LEDGER_VARIABLE = "PARETO_REC_LEDGER"
NAME = "test_openings.jsonl"
COMMITTED = Path("results") / "reference" / NAME
_TRIES, _PAUSE = 100, 0.1  # how often, and after how many seconds, a lock is asked for again


@dataclass(frozen=True)
class Opening:
    """One opening of test data.

    Attributes:
        at: When, ISO 8601 with its offset; empty until it is written down.
        command: What was run, such as ``"confirm"``.
        experiment: Name in the config.
        run: The last folders of the run directory's path; None where it is not known.
        config: SHA-256 of the resolved config; None where it is not known.
        test: SHA-256 of the held-out rows (`pareto_rec.data.identity.RowsIdentity`).
        sketch: Sketch of the held-out rows.
        data: SHA-256 of all rows, before they were split.
        split: How rows were held out, and which part of the data was taken; keys as in a config.
        objectives: Searched objective -> ``reference``, ``at_least`` and ``at_most``.
        seeds: Number of fresh seeds; None where there were none.
        commit: Commit of the source tree, if any.
        code: Key of the code that decides records.
        source: Where it is known from, if it was written down later.
    """

    at: str
    command: str
    experiment: str
    test: str
    data: str
    sketch: tuple[str, ...]
    split: Mapping[str, Any]
    objectives: Mapping[str, Mapping[str, float | None]]
    run: str | None = None
    config: str | None = None
    seeds: int | None = None
    commit: str | None = None
    code: str | None = None
    source: str | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Opening:
        """The opening that a line of JSON holds.

        Raises:
            ValueError: If it holds none.
        """
        try:
            fields = {name: value for name, value in entry.items() if name != KEY}
            opening = cls(**fields | {"sketch": tuple(entry["sketch"])})
            texts = (opening.command, opening.experiment, opening.test, opening.data)
            tables = (opening.split, opening.objectives, *opening.objectives.values())
            is_right = (
                opening.when.tzinfo is not None
                and all(isinstance(text, str) for text in (*texts, *opening.sketch))
                and all(isinstance(table, Mapping) for table in tables)
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it is not as this version writes it: {error}") from None
        if not is_right:
            raise ValueError("a part of it is of the wrong kind")
        return opening

    @property
    def when(self) -> datetime:
        """When, to be compared."""
        return datetime.fromisoformat(self.at)

    @property
    def id(self) -> str:
        """Its checksum, by which copies in several ledgers are told to be one."""
        return checksum_of(asdict(self))

    def to_json(self) -> str:
        """Return it as one line, with its checksum."""
        return dumps(signed(asdict(self)), allow_nan=False)


def ledgers() -> tuple[Path, ...]:
    """Return the ledgers that count; openings are written into the first, and read from all.

    Those that ``$PARETO_REC_LEDGER`` names, separated as in ``PATH``. Where it is not set, the
    user's own (``$XDG_DATA_HOME`` or ``~/.local/share``, then ``pareto_rec/test_openings.jsonl``),
    which outlives the cache and every run directory, and the one that is committed with the
    reference results of the source tree that this process works in, if any.

    Raises:
        BadRequestError: If the user has no home directory and the variable is not set.
    """
    chosen = [part for part in os.environ.get(LEDGER_VARIABLE, "").split(os.pathsep) if part]
    if chosen:
        return tuple(Path(part).expanduser() for part in chosen)
    data = os.environ.get("XDG_DATA_HOME", "")
    try:
        folder = Path(data) if data else Path.home() / ".local" / "share"
    except RuntimeError:
        raise BadRequestError(
            f"there is no home directory for the ledger of test data: set {LEDGER_VARIABLE} to a "
            "file that outlives this machine"
        ) from None
    here = Path.cwd()
    committed = (above / COMMITTED for above in (here, *here.parents))
    found = next((path for path in committed if path.is_file()), None)
    return (folder / "pareto_rec" / NAME, *(() if found is None else (found,)))


def read_openings(paths: Iterable[Path]) -> tuple[Opening, ...]:
    """Return the openings of several ledgers, first one first, copies once.

    A ledger that does not exist has none. What follows the last line break of a ledger was cut
    short: its opening never happened, since test data is read only after the line is whole.

    Raises:
        BadRequestError: If a ledger cannot be read, or a line of it cannot be believed.
    """
    found: dict[str, Opening] = {}
    for path in paths:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(path, error) from None
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                one = Opening.of(entry_of(line, signed=True))
            except (ValueError, RecursionError) as error:
                raise _damaged(path, number, error) from None
            found.setdefault(one.id, one)
    return tuple(sorted(found.values(), key=lambda opening: opening.when))


def append_opening(path: Path, opening: Opening) -> Opening:
    """Add an opening to a ledger; it is on disk when this returns.

    Any number of processes may do so at once, on any machine that shares the file.

    Args:
        path: The ledger.
        opening: The opening; without a time, it gets that of its line.

    Returns:
        The opening as it was written.

    Raises:
        RunFailedError: If that is not possible; then test data must not be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path) as stream:
            opening = (
                opening if opening.at else replace(opening, at=now())
            )  # later than those before it
            _append(stream, (opening.to_json() + "\n").encode())
        sync_folder(path.parent)
    except OSError as error:
        raise RunFailedError(
            f"{path} cannot be written: {error.strerror or error}, so test data was not opened; "
            f"free some space or mend the folder, or set {LEDGER_VARIABLE} to a file that can be "
            "written: no fit is trained twice"
        ) from error
    return opening


def now() -> str:
    """Return the time of an opening that happens now."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _append(stream: FileIO, line: bytes) -> None:
    """Add a line after the whole ones, and sync it; after an error there is nothing of it."""
    size = stream.readall().rfind(b"\n") + 1
    stream.truncate(size)  # half a line that a kill or a full disk has left
    stream.seek(size)
    try:
        written = 0
        while written < len(line):
            written += stream.write(line[written:]) or 0
        os.fsync(stream.fileno())
    except OSError:
        with suppress(OSError):
            stream.truncate(size)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """Open a ledger that no other process writes to meanwhile, from its beginning."""
    for left in range(_TRIES, -1, -1):
        with FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not left:
                    raise TimeoutError(None, "another process does not let go of it") from None
            else:
                here, own = os.stat(path), os.fstat(stream.fileno())
                if (here.st_dev, here.st_ino) == (own.st_dev, own.st_ino):  # else it was replaced
                    yield stream
                    return
        time.sleep(_PAUSE)
    raise FileNotFoundError(None, "it is replaced again and again")


def _unreadable(path: Path, error: OSError) -> BadRequestError:
    return BadRequestError(
        f"{path} cannot be read: {error.strerror}; it holds when test data was opened: mend that, "
        f"or set {LEDGER_VARIABLE} to the ledger that counts"
    )


def _damaged(path: Path, number: int, error: Exception) -> BadRequestError:
    problem = " ".join(str(error).split())
    return BadRequestError(
        f"{path}, line {number}: not an opening ({problem}); it holds when test data was opened: "
        "put the line back from a copy, or remove it and say so wherever results on that data are "
        "shown"
    )
