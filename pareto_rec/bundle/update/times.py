"""Times of new rows as whole seconds since 1970, from numbers of any unit, dates or times."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError

if TYPE_CHECKING:
    import pandas as pd

UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds", "days such as 20260131")
_LIMITS = (1e11, 1e14, 1e17)  # as pareto_rec.data.table.times tells units by size
_FORMS = ("s", "ms", "us", "ns", "%Y%m%d")
_DAY = len(_LIMITS) + 1
_SINCE_2001 = 1e9  # seconds; a number of eight digits beside such ones is a day
_SHOWN = 3


def seconds_of(path: Path, column: pd.Series, config: str) -> NDArray[np.int64]:
    """Return seconds since 1970 ``[rows]`` out of numbers of any unit, dates or times.

    A unit is recognised by the size of the numbers; a pattern of dates is the config's where
    it has one, else it is inferred from the first rows.

    Args:
        path: The file, for errors.
        column: The times.
        config: The run's config, TOML.

    Raises:
        BadRequestError: If units are mixed, or a row holds no time; with rows.
    """
    import pyarrow as pa

    from pareto_rec.data.table.times import Clock

    values = pa.chunked_array([pa.Array.from_pandas(column)])
    pattern, zone = _written(config)
    unit = _unit(path, column)
    read = []
    for form in (unit,) if unit else dict.fromkeys((pattern, "")):
        try:
            seconds, bad = Clock(form, zone, ("",)).read(values)
        except BadRequestError as error:
            raise BadRequestError(f"{path}, column timestamp: {error}") from None
        read.append((seconds, np.asarray(bad)))
        if not bad.any():
            return seconds
    _, bad = min(read, key=lambda values: int(values[1].sum()))
    row = int(np.flatnonzero(bad)[0])
    raise BadRequestError(
        f'{path}, row {row + 1}: "{column.iloc[row]}" is not a time as the other rows have it '
        f"({int(bad.sum())} of {len(bad)} rows are not); correct them, or leave them out"
    )


def _written(config: str) -> tuple[str, str]:
    """Return the pattern of dates and time zone of the log that the bundle was learnt from.

    A unit of numbers is not taken from there: numbers show their own.
    """
    data = tomllib.loads(config).get("data", {})
    form, zone = str(data.get("time_format", "")), str(data.get("time_zone", "UTC"))
    return (form if "%" in form else ""), zone


def _unit(path: Path, column: pd.Series) -> str:
    """Return what numbers count, as `Clock` has it; empty where most rows hold no numbers.

    Raises:
        BadRequestError: If they count several things: some would be read as of another age.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return ""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    known = np.flatnonzero(np.isfinite(numbers))
    if 2 * len(known) <= len(numbers):
        return ""
    values = np.abs(numbers[known])
    kinds = np.searchsorted(_LIMITS, values, side="right")
    if np.median(values) >= _SINCE_2001:
        kinds[_day_like(values)] = _DAY
    units = np.unique(kinds)
    if len(units) > 1:
        shown = "; ".join(_rows(column, known[kinds == unit], UNITS[unit]) for unit in units)
        raise BadRequestError(
            f"{path}: timestamps are in several units ({shown}); write all of them in one unit"
        )
    return "%Y%m%d" if _day_like(values).all() else _FORMS[units[0]]


def _day_like(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    year, month, day = values // 10_000, values // 100 % 100, values % 100
    plausible = (values == np.floor(values)) & (year >= 1900) & (year <= 2100)
    return np.asarray(plausible & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31))


def _rows(column: pd.Series, rows: NDArray[np.intp], unit: str) -> str:
    examples = ", ".join(f'row {row + 1} "{column.iloc[row]}"' for row in rows[:_SHOWN])
    return f"{unit}: {len(rows)} rows, such as {examples}"
