"""Rows of any table: what is read of them, and where those go that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.options import Rule
from pareto_rec.data.table.rows import RowOptions, Rows, Wanted, read_rows

TABLE = """\
text,author,worth,label
hello you,ann,"1.500,25",yes
,bob,2,no
third,bob,,no
fourth,,3,yes
fifth,cid,many,maybe
"""


def read(path: Path, wanted: Wanted, text: str = TABLE, **options: Any) -> Rows:
    path.write_text(text)
    asked = RowOptions.model_validate({"files": str(path), **options})
    return read_rows(asked, wanted, "system 0: data.files")


def test_texts_and_numbers_are_read_and_missing_ones_are_empty(tmp_path: Path) -> None:
    wanted = Wanted(
        {"both": "{text} of {author}", "who": "author"},
        {"worth": Rule(column="worth"), "label": Rule(column="label", equals="yes")},
    )
    rows = read(tmp_path / "table.csv", wanted, decimal=",")
    assert rows.texts["both"] == (
        "hello you of ann",
        " of bob",
        "third of bob",
        "fourth of ",
        "fifth of cid",
    )
    assert rows.texts["who"] == ("ann", "bob", "bob", "", "cid")
    np.testing.assert_array_equal(rows.values["worth"], [1500.25, 2, np.nan, 3, np.nan])
    np.testing.assert_array_equal(rows.values["label"], [1, 0, 0, 1, 0])
    assert rows.account.cells["worth"].count == 1  # "many"
    assert rows.account.rows == rows.account.used == len(rows) == 5


def test_rows_without_what_is_needed_are_named_by_line(tmp_path: Path) -> None:
    wanted = Wanted({"text": "text"}, {"worth": Rule(column="worth")}, frozenset({"text", "worth"}))
    with pytest.raises(
        BadRequestError, match=r"table.csv, line 3: no text in text.*line 4: no worth"
    ):
        read(tmp_path / "table.csv", wanted, decimal=",")
    rows = read(tmp_path / "table.csv", wanted, decimal=",", on_bad_rows="skip")
    assert rows.texts["text"] == ("hello you", "fourth")
    assert dict(rows.account.bad) == {
        "no text in text": 1,
        "no worth in worth": 1,
        "worth is not a number": 1,
    }
    assert rows.account.rows == rows.account.used + 3


def test_dropped_rows_are_counted(tmp_path: Path) -> None:
    drop = [{"column": "label", "equals": "maybe", "why": "nobody knows"}]
    rows = read(tmp_path / "table.csv", Wanted({"text": "text"}), drop=drop)
    assert dict(rows.account.dropped) == {"nobody knows": 1}
    assert len(rows) == 4


def test_several_files_are_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text(f"text,n\n{name} 1,1\n{name} 2,2\n")
    asked = RowOptions.model_validate({"files": str(tmp_path / "*.csv")})
    rows = read_rows(asked, Wanted({"text": "text"}, {"n": Rule(column="n")}), "data.files")
    assert rows.texts["text"] == ("a 1", "a 2", "b 1", "b 2")
    taken = rows.take(np.array([3, 0]))
    assert taken.texts["text"] == ("b 2", "a 1")
    assert taken.values["n"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("wanted", "text", "message"),
    [
        (Wanted({"x": "missing"}), TABLE, 'has no column "missing"; it has text, author'),
        (Wanted({"x": "text"}), "text,author\n", "no row can be used of 0"),
        (
            Wanted({"x": "text"}, needed=frozenset({"x"})),
            "text,author\n,ann\n",
            "no row can be used of 1: 1 no x in text",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, wanted: Wanted, text: str, message: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        read(tmp_path / "table.csv", wanted, text, on_bad_rows="skip")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
