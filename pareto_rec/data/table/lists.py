"""Lists in one cell, in the notation of Python, JSON or plain text."""

from __future__ import annotations

import ast
import json

_LONGEST = 100_000  # characters of a cell that are tried as a list


def parse_list(text: str) -> list[str] | None:
    """Parse a list such as ``['a', 'b']``, ``["a", "b"]`` or ``[a, b]``.

    An entry that is a table is represented by its name.

    Returns:
        The entries; None where the text is not a list.
    """
    text = text.strip()
    if len(text) > _LONGEST or not (
        text.startswith(("[", "(", "{")) and text.endswith(("]", ")", "}"))
    ):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            entries = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        if not isinstance(entries, list | tuple | set):
            return None
        return [name for name in map(_entry, entries) if name]
    if text.startswith("[") and "'" not in text and '"' not in text and "[" not in text[1:]:
        return [name.strip() for name in text[1:-1].split(",") if name.strip()]
    return None


def _entry(entry: object) -> str:
    if isinstance(entry, dict):
        named = [entry[key] for key in ("name", "title", "label") if key in entry]
        entry = (named or list(entry.values()) or [""])[0]
    return "" if entry is None else str(entry).strip()
