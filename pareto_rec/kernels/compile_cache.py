"""Compiled kernels on disk, each with a checksum; a damaged file is compiled again.

numba trusts its index and data files: one that is cut short or empty makes every call fail, for
ever, and flipped bits are executed. Here every kernel and every set of argument types has
one file, whose checksum covers everything that it was compiled from.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile

_MARK = b"pareto_rec kernel 1\n"
_DIGEST = 32  # bytes of a SHA-256
_SOON = 3600.0  # seconds after which a file that was begun is abandoned

_LOG = logging.getLogger("pareto_rec")


class CheckedFiles(IndexDataCacheFile):
    """Checked files of one kernel, replacing numba's own."""

    def __init__(self, cache_path: str, filename_base: str, source_stamp: object) -> None:
        super().__init__(cache_path, filename_base, source_stamp)  # type: ignore[no-untyped-call]  # numba
        self._folder, self._base = Path(cache_path), filename_base

    def flush(self) -> None:
        """Keep all files: a file is only ever replaced."""

    def save(self, key: object, data: object) -> None:
        """Store a compiled kernel.

        Args:
            key: Types of the arguments, processor and code.
            data: What numba makes of it.

        Raises:
            OSError: If it cannot be written.
        """
        content: bytes = self._dump(data)  # type: ignore[no-untyped-call]  # numba
        stamp = self._stamp()
        checksum = self._checksum(stamp, key, content)
        with self._open_for_write(str(self._path(key))) as stream:
            stream.write(_MARK + checksum + stamp + content)
        self._sweep()

    def load(self, key: object) -> Any:  # Any: numba's
        """Load a stored kernel; None if there is none, or it is out of date or damaged."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        head = len(_MARK)
        checksum, stamp = (
            raw[head : head + _DIGEST],
            raw[head + _DIGEST : head + 2 * _DIGEST],
        )
        content = raw[head + 2 * _DIGEST :]
        known = raw[:head] == _MARK
        if not known or checksum != self._checksum(stamp, key, content):
            return self.drop(key)
        if stamp != self._stamp():
            return None
        return pickle.loads(content)  # written by this package, and as it was written

    def drop(self, key: object) -> None:
        """Remove a damaged kernel, with a warning."""
        path = self._path(key)
        with suppress(OSError):
            path.unlink()
            _LOG.warning("%s is damaged: the kernel is compiled again", path)

    def _checksum(self, stamp: bytes, key: object, content: bytes) -> bytes:
        """Hash the kernel's name, too: numba's keys do not tell constants apart."""
        digest = hashlib.sha256()
        for part in (self._base.encode(), stamp, repr(key).encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()

    def _path(self, key: object) -> Path:
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:12]
        return self._folder / f"{self._base}.{name}.nbc"

    def _stamp(self) -> bytes:
        """Hash what else a kernel is compiled from: the source file and numba."""
        origin = f"{numba.__version__} {self._source_stamp!r}"
        return hashlib.sha256(origin.encode()).digest()

    def _sweep(self) -> None:
        """Remove half-written files of killed processes."""
        for path in self._folder.glob(f"{self._base}.*.nbc.tmp.*"):
            with suppress(OSError):
                if time.time() - os.stat(path).st_mtime > _SOON:
                    path.unlink()
