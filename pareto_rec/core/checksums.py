"""Checksums that JSON carries within itself, so that a changed digit is found when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "checksum"
_DIGITS = 16  # 64 bits: against damage and changes by hand, not against deliberate forgery


def checksum_of(content: Mapping[str, Any]) -> str:
    """Return hexadecimal digits of a SHA-256 over the content, for any order of its keys.

    Args:
        content: What JSON can hold; its own checksum is left out.
    """
    rest = {key: value for key, value in content.items() if key != KEY}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with its checksum, the last key."""
    rest = {key: value for key, value in content.items() if key != KEY}
    return {**rest, KEY: checksum_of(rest)}


def is_whole(content: Mapping[str, Any]) -> bool | None:
    """Return whether content is what its checksum says; None where it carries none."""
    return None if KEY not in content else content[KEY] == checksum_of(content)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
