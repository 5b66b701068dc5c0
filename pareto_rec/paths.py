"""Where fetched and computed files are kept, and how they get there whole."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pareto_rec.errors import BadRequestError

CACHE_VARIABLE = "PARETO_REC_CACHE"
_MEMO_FROM_BYTES = 8_000_000


def cache_dir() -> Path:
    """Root of everything that is fetched or computed once.

    ``$PARETO_REC_CACHE`` where it is set and not empty, else ``~/.cache/pareto_rec``. The folder is
    not created.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "pareto_rec"


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Write a file under a spare name beside `target`, then rename it into place.

    Whatever interrupts the writing (a kill, a full disk), `target` is either untouched or complete.

    Args:
        target: Where the file shall be; its folder is created.

    Yields:
        The path to write to: an existing, empty file in the folder of `target`.

    Raises:
        BadRequestError: On any ``OSError`` inside the block: no permission, a full disk, ...
    """
    spare = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        make_folder(target.parent)
        spare.open("xb").close()
        yield spare
        os.replace(spare, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            spare.unlink(missing_ok=True)


@contextmanager
def swapped(target: Path) -> Iterator[Path]:
    """Replace a file that has one writer at a time; it is as before, or new and whole.

    Args:
        target: The file; its folder exists.

    Yields:
        Where to write: a hidden neighbour, synced and renamed at the end of the block. What a
        killed writer leaves of it the next one overwrites.

    Raises:
        OSError: If that is not possible.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, unless it exists.

    Raises:
        BadRequestError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> BadRequestError:
    """Error for a file or folder that cannot be written: says why and what to do."""
    return BadRequestError(
        f"cannot write {path}: {error.strerror or error}; free some space, or set "
        f"{CACHE_VARIABLE} to a folder that can be written"
    )


def file_sha256(path: Path, memo: Path | None = None) -> str:
    """SHA-256 of a file, hexadecimal.

    Args:
        path: The file.
        memo: Folder that remembers checksums of large files by path, size and time of change, so
            that a second process need not read them again; None to read always.
    """
    state = path.stat()
    if memo is None or state.st_size < _MEMO_FROM_BYTES:
        return _read_sha256(path)
    where = str(path.resolve())
    key = [where, state.st_size, state.st_mtime_ns]
    note = memo / f"{hashlib.sha256(where.encode()).hexdigest()[:24]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if known["file"] == key:
            return str(known["sha256"])
    checksum = _read_sha256(path)
    with suppress(BadRequestError), written_whole(note) as spare:
        spare.write_text(json.dumps({"file": key, "sha256": checksum}))
    return checksum


def _read_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
