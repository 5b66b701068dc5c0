"""Separator, quotes and escapes of a text file, told from its first lines."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from pareto_rec.data.table.written import WHITESPACE, Written

SEPARATORS = (",", "\t", ";", "|", "::", "\x01", " ", WHITESPACE)
PARTS = "\x1f"  # stands for a separator that is not one character while rows are read
QUOTES = {"double": '"', "single": "'", "none": ""}
_FIRST_LINES = 200
_LIKELY = 0.5
_LOOSE_COMMA = r"(?<!\d),|,(?!\d)"  # one that is not within a number
_FOREIGN = {";": ";", "\t": r"\t", "|": r"\|", "::": "::", ",": _LOOSE_COMMA}
ROWS_WITHIN = 3  # so many lines of a field that look like rows are rows that a quote swallowed


@dataclass(frozen=True)
class Dialect:
    """How fields are parted.

    Attributes:
        separator: Between fields.
        quote: Around them, or "".
        escape: Before a quote or separator that belongs to the text, or "".
    """

    separator: str
    quote: str
    escape: str


@dataclass(frozen=True)
class Record:
    """One row of a text file.

    Attributes:
        fields: Its fields.
        lines: How many lines it takes.
    """

    fields: list[str]
    lines: int


def one_character(text: str, separator: str) -> str:
    """Lines whose separator is one character."""
    if separator == WHITESPACE:
        text = re.sub(r"[ \t]+", PARTS, text)
        return re.sub(rf"(?m)^{PARTS}|{PARTS}(?=\r?$)", "", text)
    return text if len(separator) == 1 else text.replace(separator, PARTS)


def records(text: str, dialect: Dialect, most: int | None = None) -> list[Record]:
    """The rows of a text; blank lines, and what the reader of them refuses, are left out."""
    found: list[Record] = []
    for record in _records(text, dialect):
        if _is_said(record):
            found.append(record)
        if len(found) == most:
            break
    return found


def heading(text: str, dialect: Dialect) -> tuple[int, int]:
    """Rows and lines up to the end of the first row that is not blank."""
    rows = lines = 0
    for record in _records(text, dialect):
        rows, lines = rows + 1, lines + record.lines
        if _is_said(record):
            break
    return rows, lines


def _is_said(record: Record) -> bool:
    return any(field.strip() for field in record.fields)


def _records(text: str, dialect: Dialect) -> Iterator[Record]:
    separator, before = dialect.separator, 0
    if len(separator) > 1:
        text, separator = one_character(text, separator), PARTS
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quotechar=dialect.quote or None,
        escapechar=dialect.escape or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
    )
    try:
        for fields in reader:
            if separator == PARTS:
                fields = [one.replace(PARTS, dialect.separator) for one in fields]
            yield Record(fields, reader.line_num - before)
            before = reader.line_num
    except csv.Error:  # a field beyond its limit: a quote that is never closed
        yield Record([], max(text.count("\n") - before, 1))


def rows_within(text: str, separator: str, width: int) -> bool:
    """Whether the inner lines of a field look like rows: a quote swallowed them."""
    inner = text.split("\n")[1:-1]
    if width < 2 or len(inner) < ROWS_WITHIN:
        return False
    like = sum(line.count(separator) == width - 1 for line in inner)
    return like >= 0.9 * len(inner)


def dialect_of(text: str, written: Written) -> Dialect:
    """The way to part fields that makes the most rows of one width, of fields that are whole.

    Args:
        text: The first lines of a file, each whole.
        written: What the config says; what it says is not guessed.
    """
    first = "".join(text.splitlines(keepends=True)[:_FIRST_LINES])
    separators: tuple[str, ...] = (written.separator,) if written.separator else SEPARATORS
    separators = tuple(s for s in separators if s == WHITESPACE or s in first) or separators[:1]
    tried = [d for s in separators for d in _tried(first, s, written)]
    scores = [_score(first, one) for one in tried]
    best = max(scores)
    chosen = tried[scores.index(best)]
    if best < _LIKELY:  # no way makes rows: the one that parts the first line into most fields
        line = text.partition("\n")[0]
        chosen = next(d for d in tried if d.separator == max(separators, key=line.count))
    again = _tried(text, chosen.separator, written)
    return max(again, key=lambda one: _score(text, one)) if len(again) > 1 else chosen


def _tried(text: str, separator: str, written: Written) -> list[Dialect]:
    """Quotes and escapes that may be meant, the usual ones first."""
    quotes = [QUOTES[written.quoting]] if written.quoting else ['"']
    if not written.quoting:
        single = text.count('"') == 0 and "'" in text
        quotes += [""] if '"' in text else []
        quotes += ["'"] if single else []
    escapes = [""] if written.escape is None else [written.escape]
    if written.escape is None and ('\\"' in text or f"\\{separator}" in text):
        escapes.append("\\")
    return [Dialect(separator, quote, escape) for quote in quotes for escape in escapes]


def _score(text: str, dialect: Dialect) -> float:
    """From 0 to 1: the share of lines in rows of one width, less what fields should not hold."""
    found = records(text, dialect)
    widths = Counter(len(one.fields) for one in found[1:] or found)
    width = widths.most_common(1)[0][0] if widths else 0
    if width < 2:
        return 0.0
    lines = sum(one.lines for one in found)
    good = sum(one.lines for one in found[1:] if _sound(one, dialect.separator, width))
    good += found[0].lines * (len(found[0].fields) >= 2)
    heading = len(found[0].fields)
    told = 1.0 if heading >= 2 and abs(heading - width) <= 1 else 0.5
    cells = [cell for one in found[:_FIRST_LINES] for cell in one.fields]
    foreign = sum(bool(_foreign(dialect.separator).search(cell)) for cell in cells) / len(cells)
    marked = sum(_has_marks(cell) for cell in cells) / len(cells)
    return good / lines * told * (1.0 - foreign / 2) * (1.0 - marked)


def _sound(one: Record, separator: str, width: int) -> bool:
    if len(one.fields) != width:
        return False
    return one.lines <= ROWS_WITHIN or not any(
        rows_within(field, separator, width) for field in one.fields
    )


@cache
def _foreign(separator: str) -> re.Pattern[str]:
    """Other separators, which fields hold where this one is not meant."""
    blank = separator == WHITESPACE
    return re.compile(
        "|".join(r for s, r in _FOREIGN.items() if s != separator and not (blank and s == "\t"))
    )


def _has_marks(cell: str) -> bool:
    """Whether quotes or escapes are left over in a field."""
    return len(cell) > 1 and ((cell[0] == cell[-1] and cell[0] in "\"'") or '\\"' in cell)


def width_of(found: Sequence[Record]) -> int:
    """The most frequent width of rows; 0 without any."""
    widths = Counter(len(one.fields) for one in found)
    return widths.most_common(1)[0][0] if widths else 0
