"""Temporary files and folders: named after their writing process, swept once it is dead."""

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


def spare_path(target: Path) -> Path:
    """Return a hidden neighbour of `target`, named after host and process, for one writer."""
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f".{target.name}.{owner}.spare")


@contextmanager
def spare_folder(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """Create an empty folder beside `target`, removed after the block unless it was renamed.

    What killed writers left there is swept before.

    Args:
        target: The folder that it may become.
        mode: Its permissions, less those that the umask takes.

    Raises:
        OSError: If it cannot be created.
    """
    sweep([target.parent])
    folder = spare_path(target)
    folder.mkdir(mode=mode)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder for the block; what killed processes left is swept before.

    Raises:
        OSError: If it cannot be created.
    """
    with spare_folder(Path(tempfile.gettempdir()) / "pareto-rec", mode=0o700) as folder:
        yield folder


def sweep(folders: Iterable[Path]) -> int:
    """Remove spare files and folders with a dead writer; returns how many.

    In the folder for temporary files, which other programs use too, only names of this version are
    recognised.

    Args:
        folders: Their own entries are looked at, not those of folders below them.
    """
    shared = tempfile.gettempdir()
    dead = [
        path
        for folder in folders
        for path in _leftovers(folder)
        if str(folder) != shared or _NAME.fullmatch(path.name)
    ]
    removed = [path for path in dead if _remove(path)]
    if removed:
        more = f" and {len(removed) - 1} more" if len(removed) > 1 else ""
        notice(f"removed what a killed process had left half-written: {removed[0]}{more}")
    return len(removed)


def sweep_below(root: Path, depth: int = 2) -> int:
    """Apply :func:`sweep` to a folder and to those below it."""
    level, folders = [root], [root]
    for _ in range(depth):
        level = [child for folder in level for child in _folders(folder)]
        folders += level
    return sweep(folders)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if e.is_dir() and e.name[0] != "."]
    except OSError:
        return []


def _leftovers(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if _is_leftover(entry)]
    except OSError:
        return []


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is temporary and its writer dead, as far as that can be known."""
    name = _NAME.fullmatch(entry.name)
    if name is None and not _OLDER.fullmatch(entry.name):
        return False
    with suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return False
        if name is not None and name[1] == _host():
            return not is_alive(int(name[2]))
        return time.time() - status.st_mtime > _A_DAY
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
    """Return whether a process runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
