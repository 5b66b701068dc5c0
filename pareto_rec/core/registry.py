"""Registries: what a name in a config stands for, built in or added by a plugin."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Generic, TypeVar

from pareto_rec.core.errors import BadRequestError

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Registry(Mapping[str, T], Generic[T]):
    """Registry of names and entries, read like a mapping; built-in entries first, in order.

    Entries are added and never replaced, so that a name means one thing for the life of a process.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        """Create a registry of built-in entries.

        Args:
            kind: What an entry is, for messages ("loss", "user encoder").
            entries: Name -> entry.
        """
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {list(self._entries)})"

    def register(self, name: str, entry: T) -> None:
        """Add an entry.

        Raises:
            BadRequestError: If the name is taken, or is not a plain name.
        """
        if not _NAME.fullmatch(name):
            raise BadRequestError(
                f'"{name}" is not a name for a {self.kind}: use letters, digits, _ and -, '
                "a letter first"
            )
        if name in self._entries:
            raise BadRequestError(f'there is a {self.kind} "{name}" already: choose another name')
        self._entries[name] = entry


_plugins: dict[str, dict[str, str]] = {}  # name as given -> file -> SHA-256 of its source


def add_plugin(name: str, sources: Mapping[str, Path]) -> None:
    """Make the source of a plugin part of every key that depends on code.

    Args:
        name: The plugin as a config or a command names it.
        sources: Its files, by their names within it.
    """
    _plugins[name] = {
        file: hashlib.sha256(path.read_bytes()).hexdigest() for file, path in sources.items()
    }


def loaded_plugins() -> tuple[str, ...]:
    """Names of the plugins of this process, as they were given, in the order of their loading."""
    return tuple(_plugins)


def plugin_stem(name: str) -> str:
    """What a plugin is known by wherever its file lies: the last part of its name."""
    return PurePath(name).stem if name.endswith(".py") else name.rpartition(".")[2]


def plugin_key() -> str:
    """Return what identifies the code of all plugins of this process; "" without any."""
    content = sorted((plugin_stem(name), sorted(files.items())) for name, files in _plugins.items())
    return hashlib.sha256(repr(content).encode()).hexdigest() if content else ""
