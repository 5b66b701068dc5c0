"""Separator, quotes and escapes of a text file, detected from its first lines."""

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
_TYPED = re.compile(
    r"[+-]?[\d.,]*\d(?:[eE][+-]?\d+)?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T]\d{1,2}:\d\d.*)?"
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_MARKS = ('"',)
ROWS_WITHIN = 3  # so many lines of a field that look like rows are rows that a quote swallowed


@dataclass(frozen=True)
class Dialect:
    """Separator, quote and escape of a text file.

    Attributes:
        separator: Between fields.
        quote: Around them, or "".
        escape: Before a quote or separator that belongs to the text, or "".
    """

    separator: str
    quote: str
    escape: str


PLAIN = Dialect(",", '"', "")
"""Nothing that a reader of lines has to know of."""


@dataclass(frozen=True)
class Record:
    """One row of a text file.

    Attributes:
        fields: Its fields.
        lines: How many lines it takes.
    """

    fields: list[str]
    lines: int

    def text(self, dialect: Dialect) -> str:
        """Join the row without its quotes."""
        return dialect.separator.join(self.fields)


def one_character(text: str, separator: str) -> str:
    """Replace separators of several characters by one character."""
    if separator == WHITESPACE:
        text = re.sub(r"[ \t]+", PARTS, text)
        return re.sub(rf"(?m)^{PARTS}|{PARTS}(?=\r?$)", "", text)
    return text if len(separator) == 1 else text.replace(separator, PARTS)


def records(text: str, dialect: Dialect, most: int | None = None) -> list[Record]:
    """Parse the rows of a text, without blank lines and rows that the parser refuses."""
    rows: list[Record] = []
    for record in _records(text, dialect):
        if _has_content(record):
            rows.append(record)
        if len(rows) == most:
            break
    return rows


def heading(text: str, dialect: Dialect) -> tuple[int, int]:
    """Count rows and lines up to the end of the first row that is not blank."""
    rows = lines = 0
    for record in _records(text, dialect):
        rows, lines = rows + 1, lines + record.lines
        if _has_content(record):
            break
    return rows, lines


def _has_content(record: Record) -> bool:
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
                fields = [field.replace(PARTS, dialect.separator) for field in fields]
            yield Record(fields, reader.line_num - before)
            before = reader.line_num
    except csv.Error:  # a field beyond its limit: a quote that is never closed
        yield Record([], max(text.count("\n") - before, 1))


def typed_columns(rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Find columns of rows of one width that hold numbers or times, nearly all of them."""
    typed = []
    for number, column in enumerate(zip(*rows, strict=True)):
        known = [value.strip() for value in column if value.strip()]
        like = sum(is_typed(value) for value in known)
        if known and like >= 0.9 * len(known):
            typed.append(number)
    return tuple(typed)


def is_typed(text: str) -> bool:
    """Return whether a field is a number or a time, as names and prose are not."""
    return bool(_TYPED.fullmatch(text))


def swallowed(text: str, separator: str, width: int, typed: Sequence[int]) -> bool:
    """Return whether the lines of a row are rows themselves, merged by a quote.

    Args:
        text: The row, of several lines.
        separator: Between fields.
        width: Fields of a row.
        typed: Columns of numbers or times.
    """
    lines = _LINE_END.split(text)
    if width < 2 or len(lines) < 2:
        return False
    parts = [_parted(line, separator, width) for line in lines]
    inner = parts[1:-1]
    if len(inner) >= ROWS_WITHIN:
        return sum(len(fields) == width for fields in inner) >= 0.9 * len(inner)
    return bool(typed) and all(_is_row(fields, width, typed) for fields in parts)


def _parted(line: str, separator: str, width: int) -> list[str]:
    """Split a line into fields: without quotes, or else with them if that makes a row."""
    plain = line.split(separator)
    if len(plain) == width or '"' not in line:
        return plain
    rows = records(line, Dialect(separator, '"', ""), 1)
    return rows[0].fields if rows else plain


def _is_row(fields: Sequence[str], width: int, typed: Sequence[int]) -> bool:
    if len(fields) != width:
        return False
    known = [fields[c].strip("\"' ") for c in typed]
    return any(known) and all(is_typed(value) for value in known if value)


def dialect_of(text: str, written: Written) -> Dialect:
    """Detect the dialect that makes the most rows of one width from complete fields.

    Args:
        text: The first lines of a file, each whole.
        written: What the config says; what it says is not guessed.
    """
    first = "".join(text.splitlines(keepends=True)[:_FIRST_LINES])
    separators: tuple[str, ...] = (written.separator,) if written.separator else SEPARATORS
    separators = tuple(s for s in separators if s == WHITESPACE or s in first) or separators[:1]
    tried = [d for s in separators for d in _tried(first, s, written)]
    scores = [_Trial(first, dialect, written).score for dialect in tried]
    best = max(scores)
    chosen = tried[scores.index(best)]
    if best < _LIKELY:  # no way makes rows: the one that parts the first line into most fields
        line = text.partition("\n")[0]
        chosen = next(d for d in tried if d.separator == max(separators, key=line.count))
    return _quoted(text, chosen.separator, written)


def _quoted(text: str, separator: str, written: Written) -> Dialect:
    """Detect quotes and escapes: quotes are only ignored if that saves many rows."""
    trials = [_Trial(text, dialect, written) for dialect in _tried(text, separator, written)]
    with_quotes = [
        trial for trial in trials if trial.dialect.quote == '"' or trial.wrapped
    ] or trials
    usual = max(with_quotes, key=lambda trial: trial.alone)
    alike = [trial for trial in with_quotes if trial.dialect.quote == usual.dialect.quote]
    usual = max(alike, key=lambda trial: (_well_formed(text, trial.dialect), trial is usual))
    plain = max((trial for trial in trials if trial not in with_quotes), default=usual, key=_score)
    saved = plain.good - usual.good
    return plain.dialect if saved > 0 and saved >= plain.marked else usual.dialect


def _well_formed(text: str, dialect: Dialect) -> int:
    """Count the lines with an escaped quote in which every quote opens, closes or is escaped.

    A row that lost a field has the wrong width however it is read; this still tells of its escape.
    """
    if not dialect.quote:
        return 0
    blank = dialect.separator == WHITESPACE
    separator = r"\s+(?!\s)" if blank else re.escape(dialect.separator)
    quote = re.escape(dialect.quote)
    escaped = rf"|{re.escape(dialect.escape)}." if dialect.escape else ""
    inner = rf"[^{quote}{re.escape(dialect.escape)}]{escaped}|{quote}{quote}"
    field = rf"(?:{quote}(?:{inner})*{quote}|(?!{quote})(?:(?!{separator})[^{quote}])*)"
    line = re.compile(rf"{field}(?:{separator}{field})*")
    marked = (one for one in text.splitlines() if rf"\{dialect.quote}" in one)
    return sum(line.fullmatch(one) is not None for one in marked)


def _tried(text: str, separator: str, written: Written) -> list[Dialect]:
    """List the dialects to try, the usual ones first."""
    quotes = [QUOTES[written.quoting]] if written.quoting else ['"']
    if not written.quoting:
        single = text.count('"') == 0 and "'" in text
        quotes += [""] if '"' in text else []
        quotes += ["'"] if single else []
    escapes = [""] if written.escape is None else [written.escape]
    if written.escape is None and ('\\"' in text or f"\\{separator}" in text):
        escapes.append("\\")
    return [Dialect(separator, quote, escape) for quote in quotes for escape in escapes]


class _Trial:
    """Parse of a text by one dialect, with its score.

    Attributes:
        dialect: The dialect.
        good: Lines in rows of the most frequent width.
        marked: Fields that begin or end with a quote, as they do where one is not taken for such.
        wrapped: Whether the fields of some column all stand in its quotes.
        alone: The score of rows of one line: a wrong escape makes rows of several.
        score: From 0 to 1: the share of good lines, less what fields should not hold.
    """

    def __init__(self, text: str, dialect: Dialect, written: Written) -> None:
        self.dialect, self.good, self.marked = dialect, 0, 0
        self.score = self.alone = 0.0
        self.wrapped = bool(written.quoting) or _is_wrapped(text, dialect)
        parsed = records(text, dialect)
        width = width_of(parsed[1:] or parsed)
        if width < 2:
            return
        rows = [
            record.fields
            for record in parsed[1:]
            if record.lines == 1 and len(record.fields) == width
        ]
        typed, separator = typed_columns(rows[:_FIRST_LINES]), dialect.separator
        heading = len(parsed[0].fields)
        self.good = parsed[0].lines * (heading >= 2)
        self.good += sum(
            record.lines
            for record in parsed[1:]
            if len(record.fields) == width
            and not (
                record.lines > 1
                and swallowed(record.text(dialect), dialect.separator, width, typed)
            )
        )
        cells = [cell for record in parsed for cell in record.fields]
        self.marked = sum(cell[:1] in _MARKS or cell[-1:] in _MARKS for cell in cells if cell)
        cells = [cell for record in parsed[:_FIRST_LINES] for cell in record.fields]
        certainty = {0: 1.0, 1: 0.9}.get(abs(heading - width), 0.5) if heading >= 2 else 0.5
        if written.names:
            certainty = 1.0 if 0 <= width - len(written.names) <= 1 else 0.25
        elif written.header is False:
            certainty = 1.0
        foreign = sum(bool(_foreign(separator).search(cell)) for cell in cells) / len(cells)
        left = sum(_has_marks(cell) for cell in cells) / len(cells)
        lines = sum(record.lines for record in parsed)
        certainty *= 0.85 if separator == WHITESPACE else 1.0  # it parts empty fields from nothing
        held = certainty * (1.0 - foreign / 2) * (1.0 - left)
        self.score, self.alone = self.good / lines * held, len(rows) / lines * held
        if separator == " " and text.count("  ") * 2 > lines:
            self.score /= 2  # columns that blanks align


def _is_wrapped(text: str, dialect: Dialect) -> bool:
    """Return whether every value of some column is quoted, as no column of prose is."""
    bare = records(text, Dialect(dialect.separator, "", ""), _FIRST_LINES)[1:]
    width, quote = width_of(bare), dialect.quote
    rows = [record.fields for record in bare if len(record.fields) == width]
    return bool(quote) and any(
        all(len(cell) > 1 and cell[0] == cell[-1] == quote for cell in column)
        for column in zip(*rows, strict=True)
    )


def _score(trial: _Trial) -> float:
    return trial.score


@cache
def _foreign(separator: str) -> re.Pattern[str]:
    """Compile a pattern of other separators, which fields hold if this one is wrong."""
    blank = separator == WHITESPACE
    return re.compile(
        "|".join(r for s, r in _FOREIGN.items() if s != separator and not (blank and s == "\t"))
    )


def _has_marks(cell: str) -> bool:
    """Return whether quotes or escapes are left over in a field."""
    return len(cell) > 1 and ((cell[0] == cell[-1] and cell[0] in "\"'") or '\\"' in cell)


def width_of(rows: Sequence[Record]) -> int:
    """Return the most frequent width of rows; 0 without any."""
    widths = Counter(len(row.fields) for row in rows)
    return widths.most_common(1)[0][0] if widths else 0
