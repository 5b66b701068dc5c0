"""Re-encoding to UTF-8; undecodable bytes become U+FDD0."""

from __future__ import annotations

import codecs
import io
import threading
from typing import IO

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.dialect import PARTS, Dialect, one_character
from pareto_rec.data.table.magic import mark_of
from pareto_rec.data.table.written import WHITESPACE

MARK = "\ufdd0"  # no character (Unicode, section 23.7), so that no text has it
_HANDLER = "pareto_rec.mark"
_LONGEST = 1 << 24  # characters of one line that are waited for


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        raise error
    return MARK, error.end


codecs.register_error(_HANDLER, _mark)


def encoding_of(name: str, head: bytes, wanted: str | None) -> str:
    """Return the encoding of a text file.

    Args:
        name: What messages call the file.
        head: Its first bytes, which may begin with a mark.
        wanted: As the config says; None: what the mark says, or UTF-8.

    Raises:
        BadRequestError: If Python knows no such encoding of text.
    """
    if wanted is None:
        return mark_of(head)
    try:
        codec = codecs.lookup(wanted).name
        if not isinstance(codecs.getincrementaldecoder(codec)("replace").decode(b"a,b\n"), str):
            raise LookupError
    except (LookupError, AttributeError, TypeError, ValueError):
        raise BadRequestError(f'{name}: data.encoding = "{wanted}" is not known') from None
    return "utf-8" if codec in ("utf-8", "utf-8-sig", "ascii") else codec


class Decoded(io.RawIOBase):
    """A stream in UTF-8 of a stream in another encoding, or in one that should be UTF-8.

    The reader of rows takes only what is valid; it would lose rows without a word otherwise. It
    knows separators of one character alone: others are replaced by `PARTS`.

    Attributes:
        marked: Whether anything so far was not of the encoding; `MARK` stands for it.
        lines: Lines so far.
        last: The last character but for line ends.
    """

    def __init__(self, source: IO[bytes], encoding: str, dialect: Dialect) -> None:
        self._source = source
        name = "utf-8-sig" if encoding == "utf-8" else encoding
        self._decoder = codecs.getincrementaldecoder(name)(errors=_HANDLER)
        self._left = b""
        self._dialect, self._waiting = dialect, ""
        self._by_line = len(dialect.separator) > 1 or dialect.escape == "\\"
        self._ended = False
        self._breaks, self._open, self._return = 0, False, False
        self.marked = False
        self.last = ""
        self._reading = threading.Lock()

    def close(self) -> None:
        """Close it after a running read: the CSV reader reads ahead in a thread of its own.

        A thread that still reads while Python ends would take the whole process down.
        """
        with self._reading:
            self._ended, self._left = True, b""
            super().close()

    @property
    def lines(self) -> int:
        """Lines so far, one without an end included."""
        return self._breaks + self._open

    def readable(self) -> bool:
        """Return True."""
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
            if self._by_line:
                text = self._edited(text)
            self._count(text)
            self._left = text.encode("utf-8", errors=_HANDLER)
            self.marked |= MARK.encode() in self._left
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def _count(self, text: str) -> None:
        """Count line ends: LF, CR, or both as one, also where a piece ends between them."""
        if not text:
            return
        self._breaks += text.count("\n") + text.count("\r") - text.count("\r\n")
        self._breaks -= self._return and text[0] == "\n"
        self._return = text[-1] == "\r"
        self._open = text[-1] not in "\r\n"
        self.last = (text[-256:].rstrip("\r\n") or self.last)[-1:]

    def _edited(self, text: str) -> str:
        """Return complete lines with separators of one character; the rest waits."""
        text, self._waiting = self._waiting + text, ""
        if not self._ended:
            end = text.rfind("\n") + 1
            if end or len(text) < _LONGEST:
                text, self._waiting = text[:end], text[end:]
        if self._dialect.escape == "\\":
            text = text.replace("\\N", "\\\\N")  # NULL as databases write it, not an escaped N
        if len(self._dialect.separator) > 1:
            if PARTS in text:
                raise UnicodeError(
                    "the character U+001F stands in it, which a separator of several characters is "
                    "replaced by; write it with another separator"
                )
            text = one_character(text, self._dialect.separator)
        return text


def restored(separator: str) -> str | None:
    """Return what `PARTS` within fields stands for; None where nothing was replaced."""
    if len(separator) == 1:
        return None
    return " " if separator == WHITESPACE else separator
