"""Times of any common form as whole seconds since 1970 (UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.values import coded, numbers

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y",
         "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%a %b %d %Y")  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
PATTERNS = tuple(day + clock for day in _DAYS for clock in _CLOCKS)
_SAMPLE = 500
_FROM, _TO = -5_000_000_000, 100_000_000_000  # 1811 to 5138: no log lies beyond
_OFFSET = r"(Z|z|[+-]\d\d:?\d\d)$"


@dataclass
class Clock:
    """Reads the times of one log; what is not said is guessed from its first rows, then kept.

    Attributes:
        form: ``s``, ``ms``, ``us``, ``ns``, ``iso`` or a pattern; "" until guessed.
        zone: Of times that name none.
        missing: Texts of missing values.
        guessed: Whether the form was guessed.
        dated: Whether any number so far was a date in its unit, not a mere count.
        other: Of the rows read last, those that count in another unit ``[rows]``.
    """

    form: str
    zone: str
    missing: Sequence[str]
    guessed: bool = field(default=False)
    dated: bool = field(default=False)
    other: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise BadRequestError(f'data.time_zone: there is no time zone "{self.zone}"') from None

    def read(self, column: pa.ChunkedArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Read seconds ``[rows]``, 0 for missing values; mark rows without a time.

        Raises:
            BadRequestError: If the form cannot be detected from the first rows.
        """
        kind, self.other = column.type, np.zeros(len(column), dtype=bool)
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return self._typed(column)
        if not self.form:
            self.form, self.guessed = self._guess(column), True
        if self.form in UNITS:
            return self._counted(column)
        return self._from_texts(column)

    def _counted(self, column: pa.ChunkedArray) -> tuple[IntArray, NDArray[np.bool_]]:
        values, bad = numbers(column, self.missing)
        self.dated = self.dated or bool(_is_date(values, self.form).any())
        self.other = other_unit(values, self.form) if self.dated else np.zeros(len(bad), dtype=bool)
        bad = bad | np.isnan(values) | self.other
        return _within(np.floor(values / UNITS[self.form]), bad)

    def _typed(self, column: pa.ChunkedArray) -> tuple[IntArray, NDArray[np.bool_]]:
        import pandas as pd

        zoned = pa.types.is_timestamp(column.type) and column.type.tz is not None
        seconds = pc.cast(pc.cast(column, pa.timestamp("s"), safe=False), pa.int64())
        nothing = pc.is_null(seconds).to_numpy()
        values = seconds.fill_null(0).to_numpy()
        if not zoned and self.zone != "UTC":
            inside = np.clip(values, _FROM, _TO).astype("datetime64[s]")
            values = _seconds(_local(pd.Series(inside), self.zone))[0]
        return _within(values.astype(np.float64), nothing)

    def _from_texts(self, column: pa.ChunkedArray) -> tuple[IntArray, NDArray[np.bool_]]:
        once = coded(column, self.missing)
        values, bad = _parse(once.dictionary, self.form, self.zone)
        codes = once.indices.fill_null(-1).to_numpy()
        return np.append(values, 0)[codes], np.append(bad, True)[codes]

    def _guess(self, column: pa.ChunkedArray) -> str:
        for rows in (_SAMPLE * 10, len(column)):  # all of them only where the first hold nothing
            once = coded(column.slice(0, rows), self.missing)
            texts = once.dictionary_decode().drop_null().slice(0, _SAMPLE)
            if len(texts) >= min(_SAMPLE, len(column)):
                break
        if not len(texts):
            return "iso"
        values, bad = numbers(pa.chunked_array([texts]), self.missing)
        if bad.mean() < 0.5:
            return unit_of(values[~bad])
        if (~_parse(texts, "iso", "UTC")[1]).mean() >= 0.5:
            return "iso"
        good = {form: float((~_parse(texts, form, "UTC")[1]).mean()) for form in PATTERNS}
        best = max(good.values())
        forms = [form for form, share in good.items() if share == best]
        if best < 0.5:
            raise BadRequestError(
                f'times such as "{texts[0].as_py()}" have no form that is recognised; set '
                'data.time_format, for example "%d/%m/%Y %H:%M"'
            )
        if len(forms) > 1:
            alternatives = " or ".join(f'"{form}"' for form in forms)
            raise BadRequestError(
                f'times such as "{texts[0].as_py()}" may be read as {alternatives}; set '
                "data.time_format"
            )
        return forms[0]


def unit_of(values: NDArray[np.float64]) -> str:
    """Detect what numbers count: days written as 20240131, or seconds and parts of them by size.

    Args:
        values: Finite numbers ``[n]``, at least one; the size of their median decides.

    Returns:
        A key of `UNITS`, or ``%Y%m%d``.
    """
    middle = float(np.sort(np.abs(values))[len(values) // 2])
    year, month, day = middle // 10_000, middle // 100 % 100, middle % 100
    if 1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31 and middle == int(middle):
        return "%Y%m%d"
    limits = {"s": 1e11, "ms": 1e14, "us": 1e17}
    return next((unit for unit, limit in limits.items() if middle < limit), "ns")


def other_unit(values: NDArray[np.float64], unit: str) -> NDArray[np.bool_]:
    """Mark numbers ``[n]`` that are dates of our time only in another unit than the one given.

    A table with both has mixed units: read in one, the rest would lie in 1970 or beyond 5000.

    Args:
        values: Numbers; NaN is in no unit.
        unit: A key of `UNITS`.
    """
    elsewhere = np.zeros(len(values), dtype=bool)
    for other in UNITS:
        elsewhere |= _is_date(values, other)
    year, month, day = values // 10_000, values // 100 % 100, values % 100
    integral = (values == np.floor(values)) & (year >= 1900) & (year <= 2100)
    elsewhere |= integral & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)  # as 20240131
    return elsewhere & ~_is_date(values, unit)


def _is_date(values: NDArray[np.float64], unit: str) -> NDArray[np.bool_]:
    """Mark numbers ``[n]`` that lie between 1973 and 2103: no number does so in two units."""
    seconds = values / UNITS[unit]
    return np.asarray((seconds >= 1e8) & (seconds <= 4.2e9))


def _parse(texts: pa.Array, form: str, zone: str) -> tuple[IntArray, NDArray[np.bool_]]:
    """Parse texts, none of them null, as seconds; mark those that are not times of that form."""
    import pandas as pd

    offset = pc.match_substring_regex(texts, pattern=_OFFSET).to_numpy(zero_copy_only=False)
    # A date alone ends like an offset does: 2024-01-31 has none.
    clock = pc.match_substring(texts, pattern=":").to_numpy(zero_copy_only=False)
    series = pd.Series(texts.to_pylist(), dtype=object)
    pandas_format = "ISO8601" if form == "iso" else form
    try:
        times = pd.to_datetime(series, format=pandas_format, errors="coerce", utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRequestError(f'data.time_format = "{form}": {error}') from None
    values, bad = _seconds(times)
    values, bad = values.copy(), bad.copy()
    if zone != "UTC":
        here = ~(offset & clock) & ~bad
        local = _local(times[here].dt.tz_localize(None), zone)
        values[here], bad[here] = _seconds(local)
    return _within(values.astype(np.float64), bad)


def _local(times: Any, zone: str) -> Any:
    """Localise clock times of a zone; an hour that comes twice is taken as its second."""
    ambiguous = np.zeros(len(times), dtype=bool)
    return times.dt.tz_localize(zone, ambiguous=ambiguous, nonexistent="shift_forward")


def _seconds(times: Any) -> tuple[IntArray, NDArray[np.bool_]]:
    bad = times.isna().to_numpy()
    plain = times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz is not None else times
    values = plain.to_numpy().astype("datetime64[s]").astype(np.int64)
    return np.where(bad, 0, values), bad


def _within(
    values: NDArray[np.float64], bad: NDArray[np.bool_]
) -> tuple[IntArray, NDArray[np.bool_]]:
    bad = bad | ~((values >= _FROM) & (values <= _TO))
    return np.where(bad, 0.0, values).astype(np.int64), bad
