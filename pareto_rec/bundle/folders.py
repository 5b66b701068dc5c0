"""Folders of bundles, which appear complete or not at all, and of temporary files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import spare_folder, temporary_folder


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that appears complete or not at all: filled under another name, then renamed.

    What killed writers left beside it is removed first.

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
        with spare_folder(folder) as unfinished:
            yield unfinished
            _sync(unfinished)
            unfinished.rename(folder)
            _sync_folder(folder.parent)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def check_vacant(folder: Path) -> None:
    """Refuse a path for a new bundle that is taken.

    Raises:
        BadRequestError: If it exists and is not empty, or lies in a bundle.
    """
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        parents = folder.resolve().parents
        around = [parent for parent in parents if (parent / "manifest.json").is_file()]
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
def work_folder() -> Iterator[Path]:
    """Yield a folder for temporary files, removed at the end.

    Raises:
        BadRequestError: If it cannot be written.
    """
    try:
        with temporary_folder() as folder:
            yield folder
    except OSError as error:
        raise BadRequestError(
            f"temporary files cannot be written: {error.strerror or error}; free some space, or "
            "set TMPDIR to a folder that can be written"
        ) from error


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
