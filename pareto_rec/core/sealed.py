"""Cached files with checksums: a damaged one counts as missing and is reported in one line.

The checksum covers the name, too, so that a file in another's place is found like a flipped bit.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pareto_rec.core.checksums import is_whole, signed
from pareto_rec.core.notices import notice
from pareto_rec.core.paths import written_whole

_MARK = b"\nsha256 "
_LENGTH = len(_MARK) + 64
_HEADER = 4096  # bytes that hold the header of any array that is kept here


def damaged(path: Path) -> None:
    """Say that a cached file is damaged, and what becomes of that."""
    notice(f"{path} is damaged or has no checksum: what it held is computed again")


def write_json(path: Path, content: object) -> None:
    """Keep what JSON can hold.

    Raises:
        BadRequestError: If it cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(signed({"file": path.name, "content": content})))


def read_json(path: Path) -> Any:  # Any: JSON
    """Return what :func:`write_json` kept; None where there is none or the file is damaged."""
    try:
        stored = json.loads(path.read_bytes())
        if is_whole(stored) and stored["file"] == path.name:
            return stored["content"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    damaged(path)
    return None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Keep an array.

    Raises:
        BadRequestError: If it cannot be written.
    """
    with written_whole(path) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
        seal(temporary, path.name)


def seal(path: Path, name: str) -> None:
    """Add the checksum to an NPY file that is written.

    Args:
        path: The file.
        name: Under which it will be read.

    Raises:
        OSError: If it cannot be read and written.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.sha256(_prefix(name)))
    with path.open("ab") as stream:
        stream.write(_MARK + digest.hexdigest().encode())


def read_array(
    path: Path, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> np.memmap[Any, Any] | None:
    """Map an array that was sealed, read-only; None where there is none or the file is damaged.

    Args:
        path: The file.
        shape: What it must have; None for any.
        dtype: What it must have; None for any.
    """
    try:
        file: np.memmap[Any, Any] = np.memmap(path, dtype=np.uint8, mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # an empty file is the latter
        damaged(path)
        return None
    content, end = file[:-_LENGTH], bytes(file[-_LENGTH:])
    digest = hashlib.sha256(_prefix(path.name))
    digest.update(content.data)
    if end != _MARK + digest.hexdigest().encode():
        damaged(path)
        return None
    stream = io.BytesIO(bytes(content[:_HEADER]))
    np.lib.format.read_magic(stream)
    stored_shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    offset = stream.tell()
    if (shape is not None and stored_shape != shape) or (
        dtype is not None and kind != np.dtype(dtype)
    ):
        return None
    mapped: Any = content[offset:].view(kind).reshape(stored_shape)
    found: np.memmap[Any, Any] = mapped
    return found


def _prefix(name: str) -> bytes:
    return name.encode() + b"\0"
