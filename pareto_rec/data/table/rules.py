"""Rules of the config applied to rows: tests and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Formatter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.numerals import UNKNOWN, Decimal
from pareto_rec.data.table.options import NUMBERS, Rule
from pareto_rec.data.table.values import Mask, Numbers, coded, number_format, numbers, plain

_TELLING_ROWS = 50_000  # of a piece, from which the decimal mark is detected


@dataclass(frozen=True)
class Reader:
    """Reads columns of a chunk by the conventions of its table.

    Attributes:
        table: The columns.
        missing: Texts of missing values.
        decimal: Between whole and fraction; None: detected from the values of a column.
        event: Column of events; None without one.
        decimal_marks: Column -> decimal mark detected from its values, one for all pieces.
        known: Columns and templates whose texts were read before.
    """

    table: pa.Table
    missing: Sequence[str]
    decimal: Decimal | None = None
    event: str | None = None
    decimal_marks: dict[str, Decimal] = field(default_factory=dict)
    known: dict[str, pa.DictionaryArray] = field(default_factory=dict)

    def texts(self, column: str) -> pa.Array:
        """Read a column as texts, null where a value is missing."""
        return self.coded(column).dictionary_decode()

    def coded(self, column: str) -> pa.DictionaryArray:
        """Read a column as a dictionary of texts, null where a value is missing."""
        if column not in self.known:
            self.known[column] = coded(self.table.column(column), self.missing)
        return self.known[column]

    def numbers(self, column: str) -> tuple[Numbers, Mask]:
        """Read a column as numbers, NaN for missing values; mark rows that are not a number."""
        values = self.table.column(column)
        if (
            self.decimal is None
            and column not in self.decimal_marks
            and pa.types.is_string(values.type)
        ):
            once = coded(values.slice(0, _TELLING_ROWS), self.missing)
            number_form = number_format(once.dictionary)
            if number_form.certain:
                self.decimal_marks[column] = number_form.decimal
        return numbers(values, self.missing, self.decimal, self.decimal_marks.get(column))

    def unknown(self, column: str) -> Mask:
        """Mark rows ``[rows]`` of which the value is missing in a column of numbers."""
        texts = plain(self.table.column(column), (*self.missing, *UNKNOWN))
        return np.asarray(pc.is_null(texts).to_numpy(zero_copy_only=False), dtype=bool)

    def ids(self, named: str) -> pa.DictionaryArray:
        """Read ids from a column or a template as a dictionary, null where they are missing."""
        if "{" not in named:
            return self.coded(named)
        if named not in self.known:
            self.known[named] = self._filled(named)
        return self.known[named]

    def _filled(self, template: str) -> pa.DictionaryArray:
        size = self.table.num_rows
        pieces, known = [], pa.array(np.zeros(size, dtype=bool))
        for literal, name, _, _ in Formatter().parse(template):
            pieces.append(pa.scalar(literal))
            if name:
                texts = self.texts(name)
                pieces.append(texts.fill_null(""))
                known = pc.or_(known, pc.is_valid(texts))
        joined = pc.binary_join_element_wise(*pieces, "")
        return pc.if_else(known, joined, pa.scalar(None, pa.string())).dictionary_encode()

    def event_column(self) -> str:
        """Return the column of events.

        Raises:
            BadRequestError: If there is none.
        """
        if self.event is None:
            raise BadRequestError("an event is asked for and data.columns.event names no column")
        return self.event

    def test(self, rule: Rule) -> tuple[Mask, Mask]:
        """Mark rows ``[rows]`` that pass every test of a rule, and rows without a needed number."""
        passed = np.ones(self.table.num_rows, dtype=bool)
        column = self.event_column() if rule.event is not None else rule.column
        wanted = rule.event if rule.event is not None else rule.equals
        if any(v is not None for v in (wanted, rule.one_of, rule.matches, rule.missing)):
            texts = self.texts(column)
            if wanted is not None:
                passed &= _true(pc.equal(texts, wanted))
            if rule.one_of is not None:
                passed &= _true(pc.is_in(texts, value_set=pa.array(rule.one_of, pa.string())))
            if rule.matches is not None:
                passed &= _true(pc.match_substring_regex(texts, pattern=rule.matches))
            if rule.missing is not None:
                passed &= _true(pc.is_null(texts)) == rule.missing
        bad = np.zeros(len(passed), dtype=bool)
        if any(getattr(rule, name) is not None for name in NUMBERS):
            values, bad = self.numbers(column)
            if rule.at_least is not None:
                passed &= values >= rule.at_least
            if rule.at_most is not None:
                passed &= values <= rule.at_most
            if rule.above is not None:
                passed &= values > rule.above
            if rule.below is not None:
                passed &= values < rule.below
        return passed & ~bad, bad

    def value(self, rule: Rule) -> tuple[Numbers, Mask]:
        """Compute a signal ``[rows]``, NaN where it is not known; mark rows without a number."""
        if rule.tests:
            passed, bad = self.test(rule)
            return passed.astype(np.float64), bad
        values, bad = self.numbers(rule.column)
        if rule.times is not None:
            others, worse = self.numbers(rule.times)
            values, bad = values * others, bad | worse
        large = np.abs(values) > np.finfo(np.float32).max
        return np.where(large, np.nan, values), bad | large


def _true(mask: pa.Array) -> Mask:
    return np.asarray(mask.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def columns_of(rule: Rule, event: str | None) -> list[str]:
    """List the columns that a rule looks at."""
    named = [event if rule.event is not None else rule.column, rule.times]
    return [name for name in named if name]
