"""TOML text of parts of a config."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text(value: str) -> str:
    """Write a string: JSON's escapes are TOML's, except for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def key(name: str) -> str:
    """Write a key, quoted where it has to be."""
    return name if _BARE.fullmatch(name) else text(name)


def array(values: Iterable[str]) -> str:
    """Write a list of strings."""
    return f"[{', '.join(map(text, values))}]"


def inline(table: Mapping[str, str]) -> str:
    """Write a table on one line; the values are TOML already."""
    return f"{{ {', '.join(f'{key(name)} = {value}' for name, value in table.items())} }}"


def comment(line: str, indent: str = "") -> str:
    """Write a comment line, without characters that would end it or cannot be shown."""
    return f"# {indent}" + " ".join("".join(c if c.isprintable() else " " for c in line).split())
