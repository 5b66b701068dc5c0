"""Unpacking of compressed files while they are read, up to a stated size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any, cast

from pareto_rec.core.errors import BadRequestError

LIMIT_VARIABLE = "PARETO_REC_UNPACKED_GB"
MOST_RATIO = 200  # logs of real people pack to a fifth, those of machines to a fiftieth
FREE_BYTES = 1_000_000_000  # to which every file may grow, however small it is
FREE_LINES = 1_000_000  # that every file of text may have; beyond, one for each packed byte
_XZ_MEMORY = 300 << 20  # what `xz -9` needs, four times over
_BLOCK = 1 << 18

BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
"""What unpackers raise for what is damaged or cut off, besides an ``OSError``."""


def most_bytes(packed: int) -> int:
    """Return the number of bytes to which a packed file may grow.

    Args:
        packed: Its size as it lies on disk.

    Raises:
        BadRequestError: If the environment variable that replaces the rule is not a size.
    """
    chosen = os.environ.get(LIMIT_VARIABLE, "")
    if not chosen:
        return max(FREE_BYTES, MOST_RATIO * packed)
    try:
        size = float(chosen)
    except ValueError:
        size = math.nan
    if not 0 < size < 1e9:
        raise BadRequestError(
            f"the environment variable {LIMIT_VARIABLE} must be a number of gigabytes above 0"
        )
    return int(size * 1e9)


def most_lines(packed: int) -> int | None:
    """Return the number of lines that a packed text may have: a row of a log takes a byte at least.

    A small file of a thousand million empty lines would keep its reader busy for minutes before it
    grows too large.

    Args:
        packed: Its size as it lies on disk.

    Returns:
        None where the user said how large files may grow.
    """
    return None if os.environ.get(LIMIT_VARIABLE) else max(FREE_LINES, packed)


def too_large(name: str, packed: int) -> BadRequestError:
    """Return the error for a file that unpacks to more than it may: says how to raise the limit."""
    return _grows(name, _readable_size(most_bytes(packed)), packed)


def _grows(name: str, most: str, packed: int) -> BadRequestError:
    return BadRequestError(
        f"{name} unpacks to more than {most} ({_readable_size(packed)} as it lies there): if "
        "that is right, unpack it yourself, or set the environment variable "
        f"{LIMIT_VARIABLE} to the number of gigabytes that it may grow to"
    )


def _readable_size(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"


class Bounded(io.RawIOBase):
    """A stream that ends in an error where it grows beyond what is allowed.

    Args:
        source: The unpacked bytes.
        name: What messages call it.
        packed: Size of the packed file.
        text: Whether its lines are counted too.
    """

    def __init__(self, source: IO[bytes], name: str, packed: int, *, text: bool = False) -> None:
        self._source, self._name, self._packed = source, name, packed
        self._left = most_bytes(packed)
        self._lines_left = most_lines(packed) if text else None

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end.

        Raises:
            BadRequestError: If more comes out than is allowed.
        """
        content = self._source.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise too_large(self._name, self._packed)
        if self._lines_left is not None:
            self._lines_left -= max(content.count(b"\n"), content.count(b"\r"))
            if self._lines_left < 0:
                most = f"{most_lines(self._packed):,} lines"
                raise _grows(self._name, most, self._packed)
        buffer[: len(content)] = content
        return len(content)


class _Xz(io.RawIOBase):
    """The content of xz data, with a bound on the memory that its dictionary may take."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._unpack: lzma.LZMADecompressor | None = None
        self._raw = b""

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end; several streams one after the other are one."""
        while True:
            if self._unpack is None and not self._begin():
                return 0
            assert self._unpack is not None
            if self._unpack.needs_input and not self._raw:
                self._raw = self._source.read(_BLOCK)
                if not self._raw:
                    raise EOFError
            content = self._unpack.decompress(self._raw, len(buffer))
            self._raw = b""
            if self._unpack.eof:
                self._raw, self._unpack = self._unpack.unused_data, None
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _begin(self) -> bool:
        """Return whether another stream begins here; NULs between streams fill up."""
        while not (raw := self._raw.lstrip(b"\x00")):
            raw = self._source.read(_BLOCK)
            if not raw:
                return False
            self._raw = raw
        self._raw = raw
        self._unpack = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        return True


def _arrow(codec: str) -> Callable[[IO[bytes]], IO[bytes]]:
    def unpack(source: IO[bytes]) -> IO[bytes]:
        import pyarrow as pa

        return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(source, mode="r"), codec))

    return unpack


UNPACK: Mapping[str, Callable[[IO[bytes]], IO[bytes]]] = MappingProxyType(
    {
        "gzip": lambda source: cast(IO[bytes], gzip.GzipFile(fileobj=source, mode="rb")),
        "bz2": lambda source: cast(IO[bytes], bz2.BZ2File(source)),
        "xz": lambda source: cast(IO[bytes], io.BufferedReader(_Xz(source), _BLOCK)),
        "zstd": _arrow("zstd"),
        "lz4": _arrow("lz4"),
    }
)
"""Packing -> from packed to unpacked bytes, read piece by piece."""
