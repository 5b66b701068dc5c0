"""Bytes of any encoding as UTF-8, with a mark where they are none of it."""

from __future__ import annotations

import codecs
import io
import threading
from typing import IO

MARK = "\ufdd0"  # no character (Unicode, section 23.7), so that no text has it
_HANDLER = "pareto_rec.mark"


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        raise error
    return MARK, error.end


codecs.register_error(_HANDLER, _mark)


class Decoded(io.RawIOBase):
    """A stream in UTF-8 of a stream in another encoding, or in one that should be UTF-8.

    The reader of rows takes only what is valid; it would lose rows without a word otherwise.

    Attributes:
        marked: Whether anything so far was none of the encoding; `MARK` stands for it.
    """

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        name = "utf-8-sig" if encoding == "utf-8" else encoding
        self._decoder = codecs.getincrementaldecoder(name)(errors=_HANDLER)
        self._left = b""
        self._ended = False
        self.marked = False
        self._reading = threading.Lock()

    def close(self) -> None:
        """End it, after what is being read: the reader of rows reads ahead in a thread of its own.

        A thread that still reads while Python ends would take the whole process down.
        """
        with self._reading:
            self._ended, self._left = True, b""
            super().close()

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer; 0 at the end."""
        with self._reading:
            return self._fill(buffer)

    def _fill(self, buffer: bytearray | memoryview) -> int:
        while not self._left and not self._ended:
            raw = self._source.read(max(len(buffer) // 2, 1))
            self._ended = not raw
            text = self._decoder.decode(raw, final=not raw)
            self._left = text.encode("utf-8", errors=_HANDLER)
            self.marked |= MARK.encode() in self._left
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count
