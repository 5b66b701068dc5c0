"""Spare files and folders: named after their writer, and swept once that has died."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pareto_rec.core.notices import notice

_NAME = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.spare")
_OLDER = re.compile(r"\..+\.\d+-[0-9a-f]{8}|\..+\.part|\.shared-[0-9a-f]{16}|tmp.+\.part")
_A_DAY = 86400.0  # age at which what another machine or an older version left is swept
_TEMPORARY = ".pareto-rec"


def spare_path(target: Path) -> Path:
    """A hidden neighbour of `target` that nobody else writes; its name says whose it is."""
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f".{target.name}.{owner}.spare")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder for as long as the block lasts; what killed processes left is swept before.

    Raises:
        OSError: If it cannot be made.
    """
    place = Path(tempfile.gettempdir())
    sweep([place])
    folder = spare_path(place / _TEMPORARY.removeprefix("."))
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folders: Iterable[Path]) -> int:
    """Remove spare files and folders whose writer is dead; says how many.

    Args:
        folders: Where to look; their own entries alone.
    """
    here = tempfile.gettempdir()
    dead = [
        path
        for folder in folders
        for path in _spares(folder)
        if str(folder) != here or path.name.startswith(_TEMPORARY)
    ]
    removed = [path for path in dead if _remove(path)]
    if removed:
        more = f" and {len(removed) - 1} more" if len(removed) > 1 else ""
        notice(f"swept what a process that died had left half-written: {removed[0]}{more}")
    return len(removed)


def sweep_below(root: Path, depth: int = 2) -> int:
    """:func:`sweep` of a folder and of those below it."""
    level, folders = [root], [root]
    for _ in range(depth):
        level = [one for folder in level for one in _folders(folder)]
        folders += level
    return sweep(folders)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(one.path) for one in entries if one.is_dir() and one.name[0] != "."]
    except OSError:
        return []


def _spares(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(one.path) for one in entries if _is_left(one)]
    except OSError:
        return []


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a spare one whose writer is dead, as far as that can be known."""
    found = _NAME.fullmatch(entry.name)
    if found is None and not _OLDER.fullmatch(entry.name):
        return False
    with suppress(OSError):
        about = entry.stat(follow_symlinks=False)
        if hasattr(os, "getuid") and about.st_uid != os.getuid():
            return False
        if found is not None and found[1] == _host():
            return not is_alive(int(found[2]))
        return time.time() - about.st_mtime > _A_DAY
    return False


def _remove(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
