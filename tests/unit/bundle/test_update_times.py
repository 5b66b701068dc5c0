"""Times of new rows: the same seconds from any unit or form; several units are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pareto_rec.bundle.update.times import seconds_of
from pareto_rec.core.errors import BadRequestError

FILE = Path("new.csv")
SECONDS = [1_700_000_000, 1_700_000_060, 1_700_003_600, 1_700_090_000]


def read(values: list[object], config: str = "") -> list[int]:
    return seconds_of(FILE, pd.Series(values, dtype=object), config).tolist()


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
def test_numbers_of_any_unit_are_the_same_seconds(factor: int) -> None:
    numbers = [second * factor for second in SECONDS]
    assert read([str(number) for number in numbers]) == SECONDS
    typed = pd.Series(np.array(numbers, dtype=np.int64))
    assert seconds_of(FILE, typed, "").tolist() == SECONDS


def test_fractions_of_a_second_are_cut_off() -> None:
    assert read([f"{second}.75" for second in SECONDS]) == SECONDS
    assert read([f"{second}999" for second in SECONDS]) == SECONDS


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])
def test_dates_are_read_as_the_config_of_the_run_has_them(form: str) -> None:
    """11 January or 1 November: only the config knows."""
    texts = [pd.Timestamp(n, unit="s").strftime(form) for n in (1_704_931_200, 1_698_796_800)]
    assert read(list(texts), f'[data]\ntime_format = "{form}"') == [1_704_931_200, 1_698_796_800]


def test_a_unit_in_the_config_is_not_taken_for_that_of_new_rows() -> None:
    assert read([str(second) for second in SECONDS], '[data]\ntime_format = "ms"') == SECONDS


def test_days_written_as_numbers() -> None:
    assert read(["20231114", "20231115"]) == [1_699_920_000, 1_700_006_400]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            [*(str(1000 * n) for n in SECONDS * 3), *map(str, SECONDS[:2])],
            'seconds: 2 rows, such as row 13 "1700000000", row 14 "1700000060"; '
            'milliseconds: 12 rows, such as row 1 "1700000000000"',
        ),
        ([str(n) for n in SECONDS] + ["1700000000000000"], "microseconds: 1 rows, such as row 5"),
        ([str(n) for n in SECONDS] + ["20231114"], 'days such as 20260131: 1 rows, such as row 5'),
    ],
)  # fmt: skip
def test_several_units_in_one_column_are_refused_with_rows(values: list[object], says: str) -> None:
    with pytest.raises(BadRequestError, match=r"\A[^\n]*write all of them in one unit\Z") as caught:
        read(values)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", ["", "soon", "1e400", "99999999999999999999999"])
def test_what_is_no_time_is_named_with_its_row(value: str) -> None:
    with pytest.raises(BadRequestError, match=r"new\.csv") as caught:
        read([*map(str, SECONDS), value])
    assert "row 5" in str(caught.value)
    assert f'"{value}"' in str(caught.value)


def test_small_seconds_stay_seconds() -> None:
    """A made-up log counts from 0; numbers that look like days are seconds beside such ones."""
    assert read(["0", "20000131", "40000000"]) == [0, 20000131, 40000000]
