"""File of added and changed items, which the processes of a service share.

A line is what one request added or changed, with the states that the backbone made of the texts, so
that no process and no restart has to encode them again. Whoever changes the file holds its lock; to
read it no lock is needed, as a line counts once its end is there.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.bundle import NewItem
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import spare_path, sweep

Floats = NDArray[np.float32]
SLACK = 1 << 20  # bytes that a file may grow by before it is written again
log = logging.getLogger("pareto_rec.serve")


class NotKeptError(Exception):
    """Items could not be written; nothing has changed."""


@dataclass(frozen=True)
class StoredItem:
    """An item with what the backbone made of its text ``[F]``; None: it has to be encoded."""

    item: NewItem
    features: Floats | None


class ItemsFile:
    """Lines that are appended, read from where the reader left off, and now and then compacted."""

    def __init__(self, path: Path, encoder: str) -> None:
        """Open the file, or create it.

        Args:
            path: The file.
            encoder: What the states depend on; those of other encoders are not used.

        Raises:
            BadRequestError: If it cannot be written.
        """
        self.path, self.encoder = path, encoder
        self._lines = 0
        sweep([path.absolute().parent])
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise BadRequestError(
                f"{path} cannot be written: {error.strerror}; give another file with --items"
            ) from None
        self._seen = self._identity()  # the file that was read, and how many bytes of it
        self._base = 0  # bytes after the file was written again

    def _open(self) -> int:
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if new:
            _sync_folder(self.path)
        return descriptor

    def _identity(self) -> tuple[int, int]:
        return os.fstat(self._descriptor).st_ino, 0

    def behind(self) -> bool:
        """Return whether there is something that has not been read; any thread may ask."""
        number, read = self._seen
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False  # the next change writes it again
        return now.st_ino != number or now.st_size > read

    def read(self) -> list[StoredItem]:
        """Return the changes since the last call; all of them once the file was replaced.

        Raises:
            BadRequestError: If a line is not what `append` writes.
        """
        self._follow()
        number, begin = self._seen
        size = os.fstat(self._descriptor).st_size
        content = _read(self._descriptor, begin, size)
        complete = content[: content.rfind(b"\n") + 1]
        items = [item for line in complete.splitlines() for item in self._parsed(line)]
        self._seen = number, begin + len(complete)
        return items

    def _follow(self) -> None:
        """Go over to the file that has taken the name, if one has."""
        try:
            if os.stat(self.path).st_ino == self._seen[0]:
                return
        except FileNotFoundError:
            return
        old, self._descriptor = self._descriptor, self._open()
        self._seen, self._lines = self._identity(), 0
        os.close(old)

    def _parsed(self, line: bytes) -> Iterator[StoredItem]:
        self._lines += 1
        line = line.rpartition(b"\0")[2]  # JSON has no such byte: what is before it is torn
        if not line.strip():
            return
        try:
            content = json.loads(line)
            known = isinstance(content, dict) and content["encoder"] == self.encoder
            for entry in content["items"] if isinstance(content, dict) else content:
                yield _stored(entry, known=known)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BadRequestError(
                f"{self.path}, line {self._lines}: not a list of items ({error}); remove the line, "
                "or give another --items"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock on changes of the file; cut off torn ends of dead processes."""
        while True:
            descriptor = self._descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                if os.stat(self.path).st_ino == os.fstat(descriptor).st_ino:
                    break
            except FileNotFoundError:
                self.path.touch()
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._follow()
        try:
            self._cut_torn_end()
            yield
        finally:  # by now it may be another one
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _cut_torn_end(self) -> None:
        size = os.fstat(self._descriptor).st_size
        begin, tail = size, b""
        while begin and b"\n" not in tail:
            begin = max(0, begin - (1 << 16))
            tail = _read(self._descriptor, begin, size)
        end = begin + tail.rfind(b"\n") + 1
        if end < size:
            log.warning("%s: cut off %d bytes of an incomplete line", self.path, size - end)
            os.ftruncate(self._descriptor, end)

    def append(self, items: Iterable[StoredItem]) -> None:
        """Write a line, all of it or nothing; it counts as read. The lock has to be held.

        Raises:
            NotKeptError: If it cannot be written.
        """
        line = self._line(items)
        before = os.fstat(self._descriptor).st_size
        try:
            _write(self._descriptor, line, before)
        except OSError as error:
            os.ftruncate(self._descriptor, before)
            raise NotKeptError(error.strerror) from error
        self._lines += 1
        self._seen = self._seen[0], before + len(line)

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, as in one that was begun because the old one is gone."""
        return self._seen[1] == 0

    @property
    def wordy(self) -> bool:
        """Whether it has become much longer than what it has to say."""
        return self._seen[1] > 2 * self._base + SLACK

    def rewrite(self, items: Iterable[StoredItem]) -> None:
        """Replace the file by one with these items alone. The lock has to be held until the end.

        Raises:
            NotKeptError: If it cannot be written; then it stays as it is.
        """
        temporary = spare_path(self.path)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # for processes that switch to it
                lines = [self._line([item]) for item in items]
                _write(descriptor, b"".join(lines), 0)
                os.replace(temporary, self.path)
            except OSError:
                os.close(descriptor)
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(self.path)
        except OSError as error:
            raise NotKeptError(error.strerror) from error
        old, self._descriptor = self._descriptor, descriptor
        self._base, self._lines = sum(map(len, lines)), len(lines)
        self._seen = self._identity()[0], self._base
        os.close(old)  # processes that wait for its lock wake and follow

    def _line(self, items: Iterable[StoredItem]) -> bytes:
        content = {"encoder": self.encoder, "items": [_as_json(item) for item in items]}
        return json.dumps(content).encode() + b"\n"


def _read(descriptor: int, begin: int, end: int) -> bytes:
    parts: list[bytes] = []
    while begin < end and (part := os.pread(descriptor, end - begin, begin)):
        parts.append(part)
        begin += len(part)
    return b"".join(parts)


def _write(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of it and have it on the disk."""
    rest = memoryview(content)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count
    os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _as_json(stored: StoredItem) -> dict[str, Any]:
    item, features = stored.item, stored.features
    content: dict[str, Any] = {"id": item.id, "text": item.text, "title": item.title,
                               "categories": item.categories}  # fmt: skip
    if features is not None:
        content["features"] = base64.b64encode(features.astype("<f4").tobytes()).decode()
    return content


def _stored(content: dict[str, Any], *, known: bool) -> StoredItem:
    id_, text, title, names = (content[key] for key in ("id", "text", "title", "categories"))
    if not all(isinstance(part, str) for part in (id_, text, title, *names)):
        raise ValueError("an id, a text, a title or a category is not a text")
    if unknown := set(content) - {"id", "text", "title", "categories", "features"}:
        raise ValueError(f"unknown key {min(unknown)}")
    raw = content.get("features") if known else None
    features = None if raw is None else np.frombuffer(base64.b64decode(raw, validate=True), "<f4")
    if features is not None and not np.isfinite(features).all():
        raise ValueError("features that are not finite")
    return StoredItem(NewItem(id_, text, title, tuple(names)), features)
