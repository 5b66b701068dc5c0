"""Folders that appear complete or not at all, and the removal of what killed writers left.

A folder that is being filled is locked by its writer. The lock ends with the process, however it
ends, so that a folder of such a name that nobody has locked is a leftover.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pareto_rec.core.errors import BadRequestError

_TOKEN = "[0-9a-f]{8}"
_UNFINISHED = re.compile(rf"\..+\.{_TOKEN}\.bundle-part")
_TEMPORARY = re.compile(rf"pareto-rec-[a-z]+-{_TOKEN}")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears complete or not at all: filled under another name, then renamed.

    Unfinished folders beside it that killed processes left are removed first.

    Args:
        folder: Must not exist, or be empty.

    Yields:
        The folder to fill.

    Raises:
        BadRequestError: If it exists and is not empty, lies in a bundle, or cannot be written.
    """
    folder = folder.absolute()
    try:
        check_vacant(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent, _UNFINISHED)
        with _locked(folder.parent, f".{folder.name}.{{}}.bundle-part", 0o777) as unfinished:
            yield unfinished
            _sync(unfinished)
            unfinished.rename(folder)
            _sync_folder(folder.parent)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def check_vacant(folder: Path) -> None:
    """Refuse a place for a new bundle that is taken.

    Raises:
        BadRequestError: If it exists and is not empty, or lies in a bundle.
    """
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        around = [one for one in folder.resolve().parents if (one / "manifest.json").is_file()]
    except (OSError, ValueError, RuntimeError) as error:  # names with NULs; links in a circle
        raise _cannot_write(folder, error) from None
    if taken:
        raise BadRequestError(f"{folder} exists and is not empty; give another --to")
    if around:
        raise BadRequestError(
            f"{folder} lies in the bundle {around[0]}, which it would damage; give another --to"
        )


def _cannot_write(folder: Path, error: Exception) -> BadRequestError:
    reason = getattr(error, "strerror", None) or str(error)
    return BadRequestError(f"{str(folder)!r} cannot be written: {reason}; give another --to")


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder for temporary files, removed at the end.

    Those of killed processes, whatever their purpose, are removed before it is made.

    Args:
        purpose: What it is for, in lower-case letters; part of its name.

    Raises:
        BadRequestError: If it cannot be written.
    """
    try:
        parent = Path(tempfile.gettempdir())
        sweep(parent, _TEMPORARY)
        with _locked(parent, f"pareto-rec-{purpose}-{{}}", 0o700) as folder:
            yield folder
    except OSError as error:
        raise BadRequestError(
            f"temporary files cannot be written: {error.strerror or error}; free some space, or "
            "set TMPDIR to a folder that can be written"
        ) from error


@contextmanager
def _locked(parent: Path, name: str, mode: int) -> Iterator[Path]:
    """A new folder, locked until the end, and removed then unless it was renamed."""
    while True:
        folder = parent / name.format(secrets.token_hex(4))
        folder.mkdir(mode=mode)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks: nothing is swept there either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # else another process took it for a leftover before it was locked
            break
        os.close(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path, names: re.Pattern[str]) -> list[Path]:
    """Remove folders whose writers are dead.

    Args:
        parent: Where they lie.
        names: What they are called.

    Returns:
        Those that were removed. One that cannot be removed stays, without an error.
    """
    removed = []
    for folder in sorted(parent.iterdir()):
        if not names.fullmatch(folder.name):
            continue
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        except OSError:  # its writer is alive
            pass
        finally:
            os.close(lock)
    return removed


def _sync(folder: Path) -> None:
    """Have everything below a folder on disk before its name appears."""
    for path in [*folder.rglob("*"), folder]:
        if stat.S_ISDIR(path.lstat().st_mode):
            _sync_folder(path)
        else:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(handle)
    finally:
        os.close(handle)
