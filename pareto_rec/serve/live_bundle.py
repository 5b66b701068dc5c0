"""Bundle with the items added while serving, seen by every process of the service."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.bundle.files import BACKBONE
from pareto_rec.core.errors import BadRequestError
from pareto_rec.serve.items_file import Floats, ItemsFile, NotKeptError, StoredItem

log = logging.getLogger("pareto_rec.serve")


class FullError(Exception):
    """As many items were added or changed as the service takes."""


class LiveBundle:
    """A bundle and the items that were added to it or changed; threads may share it.

    Changes are lines of a file that the processes of a service share: a process writes a line
    per change, and all read what is new before they answer. So an accepted item is known to every
    process from then on, and, where the file was named by the user, after a restart as well.
    """

    def __init__(self, bundle: Bundle, path: Path | None, most: int) -> None:
        """Begin with a bundle and what is in the file.

        Args:
            bundle: What is served.
            path: File of added items, made if it is not there; None to keep them in memory.
            most: Items that may be added or changed.

        Raises:
            BadRequestError: If the file cannot be read.
        """
        self._bundle, self._most = bundle, most
        self._before = len(bundle.parts.items)
        self._touched: dict[str, NewItem] = {}  # with all that is known of them
        self._mutex = threading.Lock()  # guards the above and the file
        self._file: ItemsFile | None = None
        if path is not None:
            self._file = ItemsFile(path, encoder_key(bundle))
            with self._file.locked():  # a second process waits, and need not encode again
                self._begin(self._file)

    def _begin(self, file: ItemsFile) -> None:
        stored = file.read()
        try:
            self._apply(stored)
        except BadRequestError as error:
            raise BadRequestError(f"{file.path}: {error}") from None
        if len(stored) > len(self._touched) or any(item.features is None for item in stored):
            self._compact(file)

    @property
    def added(self) -> int:
        """Number of items that the bundle on disk does not have."""
        return len(self._bundle.parts.items) - self._before

    @property
    def changed(self) -> int:
        """Number of items of the bundle on disk that are different now."""
        return len(self._touched) - self.added

    @property
    def known(self) -> Bundle:
        """The bundle without a look at the file."""
        return self._bundle

    def bundle(self) -> Bundle:
        """Return the bundle with every item that any process has accepted."""
        if self._file is not None and self._file.behind():
            with self._mutex:
                self._apply(self._file.read())
        return self._bundle

    def add(self, items: Sequence[NewItem]) -> tuple[int, int]:
        """Add or change items; one thread at a time.

        Returns:
            How many were added, and how many changed.

        Raises:
            BadRequestError: If an item makes no sense; then none is taken.
            FullError: If they would be too many.
            NotKeptError: If they cannot be written; then none is taken.
        """
        before = self.bundle()
        self._check_room(items)
        draft = before.with_items(items)  # slow, so done before the lock is taken
        features = _features(draft, [item.id for item in items])
        stored = [StoredItem(item, features[item.id]) for item in items]
        with self._alone():
            current = self._bundle
            self._check_room(items)
            after = draft if current is before else current.with_items(items, features)
            if self._file is not None:
                self._keep(self._file, stored)
            self._accept(after, items)
            if self._file is not None and self._file.wordy:
                self._compact(self._file)
        count = len(after.parts.items) - len(current.parts.items)
        return count, len(features) - count

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock on the file, after reading the changes of all other processes."""
        if self._file is None:
            with self._mutex:
                yield
            return
        with self._file.locked(), self._mutex:
            self._apply(self._file.read())
            yield

    def _check_room(self, items: Sequence[NewItem]) -> None:
        if len(self._touched.keys() | {item.id for item in items}) > self._most:
            raise FullError

    def _apply(self, stored: Sequence[StoredItem]) -> None:
        if not stored:
            return
        shape = self._bundle.parts.features.shape[1:]
        last = {item.item.id: item.features for item in stored}
        features = {
            id_: states
            for id_, states in last.items()
            if states is not None and states.shape == shape
        }
        latest = _merged({}, [item.item for item in stored])
        self._accept(self._bundle.with_items(list(latest.values()), features), latest.values())

    def _accept(self, bundle: Bundle, items: Iterable[NewItem]) -> None:
        self._touched = _merged(self._touched, items)
        self._bundle = bundle

    def _keep(self, file: ItemsFile, stored: Sequence[StoredItem]) -> None:
        if file.empty and self._touched:  # the old one was removed
            file.rewrite(self._all())
        file.append(stored)

    def _compact(self, file: ItemsFile) -> None:
        try:
            file.rewrite(self._all())
        except NotKeptError as error:
            log.warning("%s stays longer than it need be: %s", file.path, error)

    def _all(self) -> list[StoredItem]:
        features = _features(self._bundle, list(self._touched))
        return [StoredItem(item, features[id_]) for id_, item in self._touched.items()]


def encoder_key(bundle: Bundle) -> str:
    """Return what the states of added items depend on: the backbone, and how it reads texts."""
    texts = bundle.texts
    manifest = bundle.parts.manifest
    listed = {} if manifest is None else manifest.files
    backbone = {
        name: {"bytes": size, "sha256": digest}
        for name, (size, digest) in listed.items()
        if name.startswith(f"{BACKBONE}/")
    }
    content = json.dumps([backbone, texts.reads, texts.max_length, texts.cut], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _features(bundle: Bundle, ids: Sequence[str]) -> dict[str, Floats]:
    places = {id_: position for position, id_ in enumerate(bundle.parts.items.ids)}
    return {id_: bundle.parts.features[places[id_]] for id_ in ids}


def _merged(known: Mapping[str, NewItem], items: Iterable[NewItem]) -> dict[str, NewItem]:
    """Return items after changes, as repeated `Bundle.with_items` gives them."""
    merged = dict(known)
    for item in items:
        old = merged.get(item.id, NewItem(item.id))
        merged[item.id] = NewItem(
            item.id,
            item.text or item.title,
            item.title or old.title,
            item.categories or old.categories,
        )
    return merged
