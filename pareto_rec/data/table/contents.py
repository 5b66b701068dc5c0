"""Contents of one column: numbers, times, texts or lists, independent of its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.lists import parse_list
from pareto_rec.data.table.times import PATTERNS, Clock
from pareto_rec.data.table.values import coded, indices, numbers

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
SURE = 0.95  # share of the values that must fit a kind
_SAMPLE = 300  # different texts that each form of times is tried on
_FREQUENT = 8
_SOONEST, _LATEST = 631_152_000, 4_102_444_800  # 1990 and 2100: times without a name for it


@dataclass(frozen=True)
class TimeForm:
    """Format of times.

    Attributes:
        form: ``typed``, ``iso``, ``s``, ``ms``, ``us``, ``ns`` or a pattern.
        others: Patterns that fit every value as well.
        sure: Whether the contents alone say that these are times; numbers never do.
    """

    form: str
    others: tuple[str, ...] = ()
    sure: bool = True


@dataclass(frozen=True)
class Column:
    """One column, as far as it was looked at.

    Attributes:
        name: Its name.
        missing: Share of rows in which nothing stands.
        codes: Which text stands in each row ``[rows]``, -1 for none.
        texts: The different texts.
        frequent: The most frequent texts, at most eight.
        low: Smallest number; None where fewer than nine tenths are numbers.
        high: Largest number.
        integral: Whether all numbers are whole.
        time: How its times are written; None where it holds none.
        listed: Whether the texts are lists as Python or JSON write them.
    """

    name: str
    missing: float
    codes: IntArray = field(repr=False, compare=False)
    texts: tuple[str, ...] = field(repr=False)
    frequent: tuple[str, ...]
    low: float | None
    high: float | None
    integral: bool
    time: TimeForm | None
    listed: bool

    @classmethod
    def of(cls, name: str, column: pa.ChunkedArray, missing: Sequence[str]) -> Column:
        """Profile the values of a column."""
        once = coded(column, missing)
        codes = indices(once)
        counts = np.bincount(codes[codes >= 0], minlength=len(once.dictionary))
        used = np.flatnonzero(counts)
        rank = np.full(len(counts) + 1, -1, dtype=np.int64)
        rank[used] = np.arange(len(used))
        texts = tuple(once.dictionary.take(pa.array(used)).to_pylist())
        best = np.argsort(-counts[used], kind="stable")[:_FREQUENT]
        kind = column.type
        typed = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        low, high, integral = (None, None, False) if typed else _numbers(texts)
        time = TimeForm("typed") if typed else _time_form(texts, numeric=low is not None)
        listed = low is None and time is None and _are_lists(texts)
        share = float((codes < 0).mean()) if len(codes) else 0.0
        frequent = tuple(texts[index] for index in best.tolist())
        ranked = rank[codes]
        return cls(name, share, ranked, texts, frequent, low, high, integral, time, listed)

    @property
    def distinct(self) -> int:
        """Number of different texts."""
        return len(self.texts)

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.low is not None

    @property
    def sure_time(self) -> bool:
        """Whether it holds times, independent of its name."""
        return self.time is not None and self.time.sure

    @property
    def wordiness(self) -> float:
        """Mean number of words in a text."""
        sample = self.texts[:1000]
        return sum(len(text.split()) for text in sample) / max(len(sample), 1)

    def summary(self) -> str:
        """Describe the column in one line."""
        shown = ", ".join(text[:24] for text in self.frequent[:4])
        parts = [f"{self.distinct:,} different", f"such as {shown}" if shown else "all empty"]
        if self.low is not None:
            parts.append(f"from {self.low:g} to {self.high:g}")
        if self.missing:
            parts.append(f"{self.missing:.1%} missing")
        return ", ".join(parts)


def _numbers(texts: tuple[str, ...]) -> tuple[float | None, float | None, bool]:
    """Return the smallest and largest number, and whether all are whole."""
    if not texts:
        return None, None, False
    values, bad = numbers(pa.chunked_array([pa.array(texts, pa.string())]), [])
    known = values[~np.isnan(values)]
    if bad.mean() >= 0.1 or not len(known):
        return None, None, False
    return float(known.min()), float(known.max()), bool((known % 1 == 0).all())


def _time_form(texts: tuple[str, ...], *, numeric: bool) -> TimeForm | None:
    if not texts:
        return None
    if numeric:
        return _counted(texts)
    step = max(len(texts) // _SAMPLE, 1)
    sample = [text for text in texts[::step] if sum(c.isdigit() for c in text) >= 3]
    if len(sample) < SURE * len(texts[::step]) or max(map(len, sample)) > 60:
        return None
    if _fits(sample, "iso") >= SURE:
        return TimeForm("iso")
    good = [form for form in PATTERNS if _fits(sample, form) >= SURE]
    if not good:
        return None
    most = texts[:20_000]
    shares = {form: _fits(most, form) for form in good}
    best = max(shares.values())
    forms = [form for form in good if shares[form] == best]
    return TimeForm(forms[0], tuple(forms[1:]))


def _counted(texts: tuple[str, ...]) -> TimeForm | None:
    """Recognise numbers that count seconds, or parts of them, or are days such as 20240131."""
    values, bad = numbers(pa.chunked_array([pa.array(texts, pa.string())]), [])
    known = values[~bad & ~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, (0.02, 0.98))
    for unit, size in UNITS.items():
        if low / size >= _SOONEST and high / size <= _LATEST:
            return TimeForm(unit, sure=False)
    if low >= 19_900_101 and high <= 21_000_101 and _fits(texts[:_SAMPLE], "%Y%m%d") >= SURE:
        return TimeForm("%Y%m%d", sure=False)
    return None


def _fits(texts: Sequence[str], form: str) -> float:
    """Compute the share of texts that are times of a form."""
    try:
        _, bad = Clock(form, "UTC", []).read(pa.chunked_array([pa.array(texts, pa.string())]))
    except BadRequestError:
        return 0.0
    return float((~bad).mean())


def _are_lists(texts: tuple[str, ...]) -> bool:
    sample = texts[:200]
    return bool(sample) and all(parse_list(text) is not None for text in sample)
