"""The bundle as it stands now: items that were added, seen by every process of the service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.errors import BadRequestError


class FullError(Exception):
    """As many items were added as the service takes."""


class Shelf:
    """A bundle and the items that were added to it; one thread may change it, others look at it.

    Added items are lines of a file that the processes of a service share: whoever adds one writes a
    line, and all read what is new before they answer. So an item that was accepted is known to
    every process from then on, and, where the file was named by the user, after a restart as well.
    """

    def __init__(self, bundle: Bundle, path: Path | None, most: int) -> None:
        """Begin with a bundle and what is in the file.

        Args:
            bundle: What is served.
            path: File of added items, made if it is not there; None to keep them in memory.
            most: Items that may be added.

        Raises:
            BadRequestError: If the file cannot be read.
        """
        self._bundle, self._path, self._most = bundle, path, most
        self._before = len(bundle.parts.items)
        self._read = 0  # bytes of the file that were applied
        if path is not None:
            try:
                path.touch()
            except OSError as error:
                raise _unusable(path, error) from None
            self.bundle()

    @property
    def added(self) -> int:
        """Number of items that the bundle on disk does not have."""
        return len(self._bundle.parts.items) - self._before

    @property
    def known(self) -> Bundle:
        """The bundle without a look at the file; any thread may ask."""
        return self._bundle

    def current(self) -> Bundle | None:
        """As `bundle`, None where items have yet to be read for it; any thread may ask."""
        # the bundle is looked at last, as what changes it counts bytes as read after that
        return None if self._behind() else self._bundle

    def bundle(self) -> Bundle:
        """The bundle with every item that any process has accepted."""
        if self._path is not None and self._behind():
            self._catch_up(self._path)
        return self._bundle

    def _behind(self) -> bool:
        return self._path is not None and os.stat(self._path).st_size > self._read

    def add(self, items: Sequence[NewItem]) -> tuple[int, int]:
        """Add or change items.

        Returns:
            How many were added, and how many changed.

        Raises:
            BadRequestError: If an item makes no sense; then none is taken.
            FullError: If they would be too many.
        """
        with self._alone():
            before = self.bundle()
            after = before.with_items(items)
            count = len(after.parts.items) - len(before.parts.items)
            if len(after.parts.items) - self._before > self._most:
                raise FullError
            written = 0 if self._path is None else self._write(self._path, items)
            self._bundle = after
            self._read += written
        return count, len({item.id for item in items}) - count

    def _write(self, path: Path, items: Sequence[NewItem]) -> int:
        """Write a line; its length."""
        line = json.dumps([asdict(item) for item in items]).encode() + b"\n"
        with path.open("ab", buffering=0) as file:
            try:
                file.write(line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._read)  # no half lines
                raise
        return len(line)

    def _catch_up(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        latest: dict[str, NewItem] = {}
        for line in whole.splitlines():
            try:
                found = [
                    NewItem(**{**one, "categories": tuple(one["categories"])})
                    for one in json.loads(line)
                ]
            except (ValueError, TypeError, KeyError) as error:
                raise BadRequestError(
                    f"{path} holds a line that is no list of items ({error}); remove the line, or "
                    "give another --items"
                ) from None
            latest |= {one.id: one for one in found}
        self._bundle = self._bundle.with_items(list(latest.values()))
        self._read += len(whole)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time adds, so that all of them see the same order."""
        if self._path is None:
            yield
            return
        import fcntl

        with self._path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _unusable(path: Path, error: OSError) -> BadRequestError:
    return BadRequestError(
        f"{path} cannot be written: {error.strerror}; give another file with --items"
    )
