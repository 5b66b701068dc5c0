"""How a text file is written: its encoding, its separator and its header."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pareto_rec.data.table.files import File
from pareto_rec.errors import BadRequestError

HEAD_BYTES = 1 << 18
SEPARATORS = (",", "\t", ";", "|")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Form:
    """How a text file is written.

    Attributes:
        encoding: Name of its encoding; texts in ``utf-8`` are checked row by row.
        separator: Between fields.
        header: Names of its columns.
        header_lines: Lines that the header takes.
        empty: Whether nothing follows the header.
    """

    encoding: str
    separator: str
    header: tuple[str, ...]
    header_lines: int
    empty: bool


def form_of(file: File, separator: str | None, encoding: str | None) -> Form:
    """Look at the beginning of a file.

    Args:
        file: The file.
        separator: As the config says; None: the one that parts the header into most columns.
        encoding: As the config says; None: UTF-8, or what a mark at the beginning says.

    Raises:
        BadRequestError: If the file is empty or is not in that encoding, or two columns share a
            name.
    """
    with file.open() as stream:
        head = stream.read(HEAD_BYTES)
    chosen = _encoding(file, head, encoding)
    text = codecs.getincrementaldecoder(chosen)(errors="replace").decode(head)
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise BadRequestError(f"{file.name} is empty: a table begins with a line of column names")
    if "\x00" in text.partition("\n")[0]:
        raise BadRequestError(f"{file.name} is no text file (or set data.encoding)")
    parted = separator or _separator(text)
    header, lines = _first_record(file, text, parted)
    rest = len(text.splitlines()) <= lines and len(head) < HEAD_BYTES
    return Form(chosen, parted, header, lines, rest)


def _encoding(file: File, head: bytes, wanted: str | None) -> str:
    if wanted is None:
        return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    try:
        name = codecs.lookup(wanted).name
        if not isinstance(codecs.getincrementaldecoder(name)("replace").decode(b"a,b\n"), str):
            raise LookupError
    except (LookupError, AttributeError, TypeError, ValueError):
        raise BadRequestError(f'{file.name}: data.encoding = "{wanted}" is not known') from None
    return "utf-8" if name in ("utf-8", "utf-8-sig", "ascii") else name


def _separator(text: str) -> str:
    line = text.partition("\n")[0]
    return max(SEPARATORS, key=line.count)


def _first_record(file: File, text: str, separator: str) -> tuple[tuple[str, ...], int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = next(reader)
    except (csv.Error, StopIteration) as error:
        raise BadRequestError(f"{file.name}, line 1: no line of column names: {error}") from None
    names = tuple(name.strip() for name in header)
    doubled = sorted({name for name in names if names.count(name) > 1 and name})
    if doubled:
        raise BadRequestError(f'{file.name}, line 1: two columns are named "{doubled[0]}"')
    return _without_gaps(names), reader.line_num


def _without_gaps(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which none is empty: a column without a name gets its number."""
    taken = set(names)
    found = []
    for number, name in enumerate(names, 1):
        while not name:
            name = f"column {number}"
            if name in taken:
                number, name = number + len(names), ""
        taken.add(name)
        found.append(name)
    return tuple(found)
