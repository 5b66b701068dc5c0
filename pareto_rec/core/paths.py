"""Paths of cached files, and writing them atomically."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pareto_rec.core.checksums import is_whole, sha256_of, signed
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import spare_path

CACHE_VARIABLE = "PARETO_REC_CACHE"
_MEMO_FROM_BYTES = 8_000_000


def cache_dir() -> Path:
    """Return the root of everything that is fetched or computed once.

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
    temporary = spare_path(target)
    try:
        make_folder(target.parent)
        temporary.open("xb").close()
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def swapped(target: Path) -> Iterator[Path]:
    """Replace a file that must not be lost: it is as before, or new and whole, even if power fails.

    Args:
        target: The file; its folder exists.

    Yields:
        Where to write: a hidden neighbour, of this writer alone, synced and renamed at the end of
        the block. What a killed writer leaves of it is swept (`pareto_rec.core.leftovers`).

    Raises:
        OSError: If that is not possible.
    """
    temporary = spare_path(target)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk: a name survives a power cut only then.

    Raises:
        OSError: If that is not possible.
    """
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change a folder's content; the lock ends with the process.

    Raises:
        BadRequestError: If the folder cannot be read.
    """
    try:
        import fcntl
    except ImportError:  # Windows: the last of two writers in one moment wins
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise BadRequestError(f"{folder} cannot be read: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make_folder(folder: Path) -> Path:
    """Create a folder with its parents, unless it exists; the folder.

    Raises:
        BadRequestError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def cannot_write(path: Path, error: OSError) -> BadRequestError:
    """Return the error for a file or folder that cannot be written: says why and what to do."""
    return BadRequestError(
        f"cannot write {path}: {error.strerror or error}; free some space, or set "
        f"{CACHE_VARIABLE} to a folder that can be written"
    )


def file_sha256(path: Path, memo: Path | None = None) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Args:
        path: The file.
        memo: Folder that remembers checksums of large files by path, size and time of change, so
            that a second process need not read them again; None to read always.
    """
    state = path.stat()
    if memo is None or state.st_size < _MEMO_FROM_BYTES:
        return sha256_of(path)
    where = str(path.resolve())
    key = [where, state.st_size, state.st_mtime_ns]
    note = memo / f"{hashlib.sha256(where.encode()).hexdigest()[:24]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if known["file"] == key and is_whole(known):
            return str(known["sha256"])
    checksum = sha256_of(path)
    with suppress(BadRequestError), written_whole(note) as temporary:
        temporary.write_text(json.dumps(signed({"file": key, "sha256": checksum})))
    return checksum
