"""Tables as strangers write them: no row, text or id is lost or merged without a word."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from generated_tables import Counts, generated_table
from pyarrow import parquet
from tables import account, read, rows_of

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table import TableOptions, as_lines
from pareto_rec.data.table.build import read_table
from pareto_rec.data.table.ids import merging, written_alike
from pareto_rec.data.table.times import UNITS, other_unit, unit_of
from pareto_rec.data.table.values import NumberFormat, number_format

TABLES = int(os.environ.get("PARETO_REC_TABLES", "60"))  # 5000 before a release


def files_of(data: Any) -> dict[str, dict[str, int]]:
    """File name -> its rows, of the log and beside it."""
    said = account(data)
    beside = [one["files"] for one in said.get("beside", {}).values()]
    return {Path(n).name: rows for part in (said["files"], *beside) for n, rows in part.items()}


def counts(rows: int, used: int, dropped: int = 0, bad: int = 0) -> dict[str, int]:
    return {"rows": rows, "used": used, "dropped": dropped, "bad": bad}


def log_of(folder: Path, lines: list[str], name: str = "log.csv", **form: Any) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", **form)
    return path


def plain_rows(count: int, start: int = 0) -> list[str]:
    return [f"u{n % 7},i{n % 5},{1_600_000_000 + n}" for n in range(start, start + count)]


# Every row of every file


@pytest.mark.parametrize("seed", range(TABLES))
def test_accounts_of_generated_tables_are_exact_for_every_file(seed: int, tmp_path: Path) -> None:
    table = generated_table(seed)
    options = TableOptions.model_validate(table.write(tmp_path))
    data = read_table(options, "generated", tmp_path / "skipped.csv")
    found = {
        next(part for part in Path(name).parts[::-1] if part in table.counts): Counts(**rows)
        for one in (account(data), *account(data).get("beside", {}).values())
        for name, rows in one["files"].items()
    }
    assert found == table.counts, table.forms
    listed = 0
    if (tmp_path / "skipped.csv").exists():
        with (tmp_path / "skipped.csv").open(newline="", encoding="utf-8") as stream:
            listed = len(list(csv.DictReader(stream)))
    assert listed == sum(one.bad for one in table.counts.values())


def test_a_file_whose_rows_all_have_another_width_is_not_passed_over(tmp_path: Path) -> None:
    good = log_of(tmp_path, ["user,item,time", *plain_rows(20)], "a.csv")
    wide = log_of(tmp_path, ["user,item,time", *(r + ",x,y" for r in plain_rows(20))], "b.csv")
    files = [str(good), str(wide)]
    with pytest.raises(BadRequestError, match=r"b\.csv, line 2: wrong number of fields: 5 inst"):
        read("", files=files)
    data = read("", files=files, on_bad_rows="skip")
    assert files_of(data) == {"a.csv": counts(20, 20), "b.csv": counts(20, 0, bad=20)}
    assert any("b.csv: 20 of 20 rows could not be read" in line for line in as_lines(account(data)))


def test_bad_rows_after_the_last_good_one_are_counted(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["user,item,time", *plain_rows(5), "u1", "u2,i1,3,4", "u3"])
    assert files_of(read(path, on_bad_rows="skip"))["log.csv"] == counts(8, 5, bad=3)


@pytest.mark.parametrize("header", ["user,item,time", "user,item,time,"])
@pytest.mark.parametrize("end", ["", ","])
def test_a_separator_at_the_end_of_lines(header: str, end: str, tmp_path: Path) -> None:
    path = log_of(tmp_path, [header, *(row + end for row in plain_rows(20))])
    data = read(path)
    assert files_of(data)["log.csv"] == counts(20, 20)
    said = "ends in a separator more" in " ".join(as_lines(account(data)))
    assert said == (header.endswith(",") != (end == ","))
    if end and not header.endswith(","):  # what stands after it is not lost in silence
        path.write_text(path.read_text() + "u1,i1,1600000000,lost\n")
        with pytest.raises(BadRequestError, match="line 22: wrong number of fields: 4 instead of"):
            read(path)


def test_rows_dropped_later_are_counted_for_their_files(tmp_path: Path) -> None:
    first = log_of(tmp_path, ["user,item,time", "u,a,1", "u,b,2", "v,a,3"], "1.csv")
    other = log_of(tmp_path, ["user,item,time", "u,a,1", "v,b,4", "w,c,5"], "2.csv")
    options: dict[str, Any] = {
        "duplicates": "drop",
        "k_core": {"user": 2, "item": 2},
        "time_format": "s",
    }
    data = read("", files=[str(first), str(other)], **options)
    assert files_of(data) == {"1.csv": counts(3, 3), "2.csv": counts(3, 1, dropped=2)}


# Quotes and escapes


def test_backslashes_before_quotes_are_told(tmp_path: Path) -> None:
    items = [r'"item";"name"', *(rf'"i{n}";"the \"best\"; no. {n}"' for n in range(5))]
    beside: dict[str, Any] = {"files": str(log_of(tmp_path, items, "items.csv")), "text": "name"}
    log = log_of(tmp_path, ["user,item,time", *plain_rows(20)])
    data = read(log, items=beside)
    assert data.items.texts == tuple(f'the "best"; no. {n}' for n in range(5))
    with pytest.raises(BadRequestError, match=r"items\.csv, line 2: wrong number of fields"):
        read(log, items={**beside, "escape": ""})
    data = read(log, items={**beside, "escape": ""}, on_bad_rows="skip")
    assert files_of(data)["items.csv"] == counts(5, 0, bad=5)
    assert any("items.csv: 5 of 5 rows" in line for line in as_lines(account(data)))


@pytest.mark.parametrize("seed", [1466, 4770])  # their only escapes stand in rows that lost a field
def test_an_escape_in_a_row_of_another_width_is_told(seed: int, tmp_path: Path) -> None:
    test_accounts_of_generated_tables_are_exact_for_every_file(seed, tmp_path)


def test_null_of_a_database_stays_missing_where_backslashes_escape(tmp_path: Path) -> None:
    lines = ["user\titem\ttime\tname", "u\ta\t1\t\\N", 'v\tb\t2\tsaid \\"no\\"', "w\tc\t3\ta\\\tb"]
    data = read(log_of(tmp_path, lines), escape="\\", items={"text": "name"}, time_format="s")
    assert data.items.texts == ("a", 'said "no"', "a\tb")  # the id stands for what is missing


@pytest.mark.parametrize("apart", [1, 2, 30])
def test_a_quote_that_opens_within_a_text_swallows_no_row(apart: int, tmp_path: Path) -> None:
    rows = [f"u{n % 7},i{n % 5},pan {n},{1_600_000_000 + n}" for n in range(60)]
    rows[5] = 'u1,i1,"12 inch pan,1600000005'
    rows[5 + apart] = f'u1,i1,pan 12",{1_600_000_005 + apart}'
    path = log_of(tmp_path, ["user,item,title,time", *rows])
    data = read(path, items={"text": "title"})
    assert files_of(data)["log.csv"] == counts(60, 60)
    assert "read without quoting (data.quoting)" in account(data)["notes"]
    with pytest.raises(BadRequestError, match=r"log\.csv, line 7: in a quote that spans lines"):
        read(path, quoting="double")
    data = read(path, quoting="double", on_bad_rows="skip")
    assert files_of(data)["log.csv"] == counts(60, 59 - apart, bad=1 + apart)


def test_a_quote_far_behind_the_first_lines_swallows_no_row(tmp_path: Path) -> None:
    rows = [f'u{n % 7},i{n % 5},"pan, {n}",{1_600_000_000 + n}' for n in range(12_000)]
    rows[9_000] = 'u1,i1,"12 inch pan,1600009000'
    path = log_of(tmp_path, ["user,item,title,time", *rows])
    data = read(path, tmp_path / "skipped", on_bad_rows="skip")
    assert files_of(data)["log.csv"] == counts(12_000, 11_998, bad=2)  # up to the next quote
    assert "line 9002" in account(data)["first_bad_rows"][0]


@pytest.mark.parametrize("rest", [0, 1, 20])
@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_never_closed(rest: int, place: int, end: str, tmp_path: Path) -> None:
    fields = ["u1", "i1", "1600000000"]
    fields[place] = '"' + fields[place]
    lines = ["user,item,time", *plain_rows(20), ",".join(fields), *plain_rows(rest)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + end)
    data = read(path, quoting="double", on_bad_rows="skip")
    single = rest == 0 and place == 2 and not end  # nothing follows: the field is whole
    assert files_of(data)["log.csv"] == counts(21 + rest, 20 + single, bad=1 + rest - single)


def test_long_texts_are_read_and_named(tmp_path: Path) -> None:
    prose = "\n".join(f"a line of prose, with a comma no. {n}" for n in range(60))
    lines = ["user,item,time,review", *(f"{row},short" for row in plain_rows(9))]
    path = log_of(tmp_path, [*lines, f'u1,i1,1600000009,"{prose}"'])
    data = read(path, items={"text": "review"})
    assert files_of(data)["log.csv"] == counts(10, 10)
    assert account(data)["warnings"][0].startswith(f"{path}: the row in line 11 spans 60 lines")


def test_prose_of_several_lines_is_no_swallowed_row(tmp_path: Path) -> None:
    rows = [f'{n},"Dear {n}, hello\nmy friend, bye",{n % 4}' for n in range(30)]
    data = read(log_of(tmp_path, ["user,review,item", *rows]), items={"text": "review"})
    assert files_of(data)["log.csv"] == counts(30, 30)
    assert data.items.texts[0].endswith("my friend, bye")


# Headers and separators


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::", "||", " ", "  ", "\x01"])
def test_files_without_names(separator: str, tmp_path: Path) -> None:
    rows = [row.replace(",", separator) for row in plain_rows(30)]
    path = log_of(tmp_path, rows, "ratings.dat")
    told: dict[str, Any] = {"separator": separator} if separator in ("||",) else {}
    data = read(path, names=["user", "item", "time"], **told)
    assert files_of(data)["ratings.dat"] == counts(30, 30)
    assert rows_of(data)[0] == ("u0", "i0", 1_600_000_000)
    columns: dict[str, Any] = {"user": "column 1", "item": "column 2", "time": "column 3"}
    by_number = read(path, columns=columns, **told)
    assert rows_of(by_number) == rows_of(data)
    assert any("the first line is read as a row" in note for note in account(by_number)["notes"])
    with pytest.raises(BadRequestError, match=r"which column names the user\?.*u0"):
        read(path, **told)
    headed = log_of(tmp_path, [separator.join(("user", "item", "time")), *rows], "headed.dat")
    assert rows_of(read(headed, **told)) == rows_of(data)
    assert rows_of(read(headed, names=["User", "item", "time"], **told)) == rows_of(data)


def test_names_and_header_are_believed(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["2019,2020,2021", *plain_rows(20)])
    columns: dict[str, Any] = {"user": "2019", "item": "2020", "time": "2021"}
    assert len(read(path, header=True, columns=columns).interactions) == 20
    with pytest.raises(BadRequestError, match="names names 2 columns, and its rows have 3 fields"):
        read(path, names=["user", "item"])
    texts = [f"{'abc'[n % 3]},{'xyz'[n % 3]}" for n in range(9)]
    path = log_of(tmp_path, texts)
    data = read(path, columns={"user": "column 1", "item": "column 2"})
    assert files_of(data)["log.csv"] == counts(9, 9)


def test_separators_within_quotes_stay(tmp_path: Path) -> None:
    lines = ["user::item::time::name", *(f'u{n}::i{n}::{n}::"a::b"' for n in range(9))]
    data = read(log_of(tmp_path, lines), items={"text": "name"}, time_format="s")
    assert set(data.items.texts) == {"a::b"}
    lines = ["user item  time   name", *(f'u{n}   i{n} {n}\t"a b"' for n in range(9))]
    data = read(log_of(tmp_path, lines), items={"text": "name"}, time_format="s")
    assert set(data.items.texts) == {"a b"}


# Ids


@pytest.mark.parametrize("log_form", ["{}", "{}.0"])
@pytest.mark.parametrize("items_form", ["{}", "{}.0", "parquet"])
def test_whole_numbers_are_one_id_however_written(
    log_form: str, items_form: str, tmp_path: Path
) -> None:
    rows = [f"{log_form.format(n % 7)},{log_form.format(n % 5)},{n}" for n in range(30)]
    log = log_of(tmp_path, ["user,item,time", *rows])
    if items_form == "parquet":
        beside = tmp_path / "items.parquet"
        table = {"item": [0.0, 1.0, 2.0, 3.0, 4.0], "name": [f"thing {n}" for n in range(5)]}
        parquet.write_table(pa.table(table), beside)
    else:
        items = [f"{items_form.format(n)},thing {n}" for n in range(5)]
        beside = log_of(tmp_path, ["item,name", *items], "items.csv")
    data = read(log, items={"files": str(beside), "text": "name"}, time_format="s")
    assert data.items.ids == ("0", "1", "2", "3", "4")
    assert data.items.texts == tuple(f"thing {n}" for n in range(5))
    assert data.users.ids == tuple(str(n) for n in range(7))


def test_versions_are_no_whole_numbers() -> None:
    assert written_alike(("1.0", "2.0"), ("1.0", "1.1", "2.0"))[0] == ("1.0", "2.0")
    assert written_alike(("1.0", "2"), ("1", "2.00")) == (("1", "2"), ("1", "2"))


@pytest.mark.parametrize(
    ("kind", "value", "large"),
    [
        (pa.float64(), 2.0**53, True),
        (pa.float64(), 2.0**53 - 1, False),
        (pa.float32(), 2.0**24, True),
        (pa.float32(), 2.0**24 - 1, False),
        (pa.int64(), 2**62, False),
    ],
)
def test_floats_that_may_merge_ids_are_refused(
    kind: pa.DataType, value: float, large: bool, tmp_path: Path
) -> None:
    ids = pa.array([value, 1, None], kind)
    assert merging(pa.chunked_array([ids])).tolist() == [large, False, False]
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"user": ids, "item": ["a", "b", "c"], "time": [1, 2, 3]}), path)
    data = read(path, on_bad_rows="skip", time_format="s")
    assert files_of(data)["log.parquet"] == counts(3, 2 - large, bad=1 + large)
    with pytest.raises(
        BadRequestError, match=r"line 1: user is a float too" if large else "line 3"
    ):
        read(path, time_format="s")


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ("{}", "{:04d}", "without leading zeros"),
        ("sku{}", "SKU{}", "with small and capital letters alike"),
        ("item_{}", "{}", "by their digits alone"),
    ],
)
def test_ids_that_nearly_match_are_named(
    ours: str, theirs: str, words: str, tmp_path: Path
) -> None:
    log = [f"u{n % 7},{ours.format(n % 5 + 1)},{n}" for n in range(30)]
    items = [f"{theirs.format(n + 1)},thing {n}" for n in range(5)]
    beside = log_of(tmp_path, ["item,name", *items], "items.csv")
    data = read(
        log_of(tmp_path, ["user,item,time", *log]),
        items={"files": str(beside), "text": "name"},
        time_format="s",
    )
    (warning,) = account(data)["warnings"]
    assert warning.startswith("5 of 5 items of the log are not in data.items.files; 5 of them")
    assert words in warning
    assert f'log: "{ours.format(1)}", file: "{theirs.format(1)}"' in warning


def test_namibia_stays_a_country_and_null_a_person(tmp_path: Path) -> None:
    rows = ["user,item,time,country", "null,a,1,NA", "u,NA,2,None", "v,b,3,DE"]
    path = log_of(tmp_path, rows)
    options: dict[str, Any] = {"users": {"attributes": "country"}}
    data = read(path, time_format="s", **options)
    assert data.users.ids == ("null", "u", "v")
    assert data.items.ids == ("NA", "a", "b")
    assert data.users.attributes["country"] == ("NA", "None", "DE")
    assert len([w for w in account(data)["warnings"] if "read as an id like any other" in w]) == 2
    told = read(path, time_format="s", missing=["NA", "null"], on_bad_rows="skip", **options)
    assert told.users.ids == ("v",)
    assert account(told)["warnings"] == [f"{path}: 2 of 3 rows could not be read (no user in user)"]


def test_ids_that_a_spreadsheet_rounded_are_named(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["user,item,time", "u,8.90123E+12,1", "v,b,2"])
    (warning,) = account(read(path, time_format="s"))["warnings"]
    assert "8.90123E+12 look rounded" in warning


# Numbers and times


def test_a_price_that_cannot_be_read_costs_the_price_alone(tmp_path: Path) -> None:
    prices = ["-", "$12.50", "2.5", "Free", "12,50 €", "-3", "NA", ""]
    items = ["item;name;price", *(f"i{n};thing {n};{p}" for n, p in enumerate(prices))]
    beside = log_of(tmp_path, items, "items.csv")
    log = log_of(tmp_path, ["user,item,time", *(f"u,i{n},{n}" for n in range(len(prices)))])
    asked = {"files": str(beside), "text": "name", "price": "price"}
    data = read(log, items=asked, time_format="s")  # though bad rows are errors
    nan = np.nan
    wanted = np.array([nan, 12.5, 2.5, nan, 12.5, nan, nan, nan], np.float32)
    np.testing.assert_array_equal(data.items.prices, wanted)
    assert data.items.texts == tuple(f"thing {n}" for n in range(len(prices)))
    lost = account(data)["beside"]["items"]["unreadable_values"]
    assert lost == {"price": {"count": 3, "examples": ["-", "Free", "-3"]}}
    joined = log_of(tmp_path, ["user;item;time;price", *(f"u;i{n};{n};{p}" for n, p in
                                                          enumerate(prices))])  # fmt: skip
    data = read(joined, items={"price": "price"}, time_format="s")
    np.testing.assert_array_equal(data.items.prices, wanted)
    assert account(data)["unreadable_values"] == lost
    rule = {"column": "price", "above": 12}
    data = read(joined, drop=[rule], time_format="s")
    assert account(data)["dropped"] == {"price above 12.0": 2}
    assert account(data)["unreadable_values"]["price"]["count"] == 2


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["27,50", "3,0", "7"], [27.5, 3, 7]),
        (["1.001,00", "1.500", "2"], [1001, 1500, 2]),
        (["1,001.00", "1,500", "2"], [1001, 1500, 2]),
        (["1.500", "2.250"], [1.5, 2.25]),
        (["1,500", "12,500"], [1500, 12500]),
        (["0,500", "1,250"], [0.5, 1.25]),
        (["1 234,5", "1'234.5"], [1234.5, 1234.5]),
        (["USD 5", "5 EUR", "US$ 1,000.5"], [5, 5, 1000.5]),
        (["-$5", "$-5", "\u22125"], [-5, -5, -5]),
    ],
)
def test_numbers_as_people_write_them(
    texts: list[str], values: list[float], tmp_path: Path
) -> None:
    rows = [f"u{n};i;{n};{text}" for n, text in enumerate(texts)]
    path = log_of(tmp_path, ["user;item;time;amount", *rows], encoding="utf-8")
    data = read(path, signals={"amount": "amount"}, time_format="s", separator=";")
    assert data.interactions.signals["amount"].tolist() == values


def test_a_decimal_mark_that_is_said_is_kept_to(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["user;item;time;amount", "u;i;1;1.500", "v;i;2;27.50", "w;i;3;1,5"])
    options: dict[str, Any] = {
        "signals": {"amount": "amount"},
        "time_format": "s",
        "on_bad_rows": "skip",
    }
    data = read(path, decimal=",", **options)
    assert data.users.ids == ("u", "w")  # 27.50 is not 2750
    assert data.interactions.signals["amount"].tolist() == [1500, 1.5]


def test_a_value_that_is_no_number_leaves_its_bin_empty(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["user,item,time,age", "u,i,1,17", "v,i,2,old", "w,i,3,40"])
    users: dict[str, Any] = {"attributes": "age", "bins": {"age": [18]}}
    data = read(path, users=users, time_format="s")
    assert data.users.attributes["age"] == ("under 18", "", "18 and over")
    assert account(data)["unreadable_values"]["age (in bins)"]["count"] == 1


@pytest.mark.parametrize(("most", "few"), [("ms", "s"), ("s", "ms"), ("us", "s"), ("ns", "ms")])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("said", [False, True])
def test_units_of_time_are_not_mixed(
    most: str, few: str, early: bool, said: bool, tmp_path: Path
) -> None:
    size = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    units = [few if n % 10 == 9 else most for n in range(1000)]
    units = sorted(units, key=lambda unit: (unit == few) != early) if early else units
    rows = [f"u{n % 9},i{n % 7},{(1_600_000_000 + n) * size[unit]}" for n, unit in enumerate(units)]
    path = log_of(tmp_path, ["user,item,time", *rows])
    told: dict[str, Any] = {"time_format": most} if said else {}
    line = units.index(few) + 2
    with pytest.raises(BadRequestError, match=f"line {line}: time is in another unit of time than"):
        read(path, **told)
    data = read(path, on_bad_rows="skip", **told)
    assert files_of(data)["log.csv"] == counts(1000, 900, bad=100)
    assert data.interactions.time.min() >= 1_600_000_000
    assert data.interactions.time.max() < 1_600_001_000


@pytest.mark.parametrize(("most", "few"), [("{}", "2024013{}"), ("2024-01-0{}T00:00:00", "{}")])
def test_forms_of_time_are_not_mixed(most: str, few: str, tmp_path: Path) -> None:
    times = [most.format(n % 9 + 1 if "-" in most else 1_600_000_000 + n) for n in range(99)]
    times.append(few.format(1 if "2024" in few else 1_600_000_000))
    rows = [f"u{n % 9},i{n},{time}" for n, time in enumerate(times)]
    with pytest.raises(BadRequestError, match="line 101: time is "):
        read(log_of(tmp_path, ["user,item,time", *rows]))


def test_row_names_and_the_first_line_of_a_spreadsheet(tmp_path: Path) -> None:
    rows = [f'"{n}" "u{n % 7}" "i{n % 5}" {1_600_000_000 + n}' for n in range(1, 31)]
    data = read(log_of(tmp_path, ['"user" "item" "time"', *rows]))  # as write.table of R does
    assert files_of(data)["log.csv"] == counts(30, 30)
    assert any("rows begin with a number" in note for note in account(data)["notes"])
    rows = [row.replace(",", ";") for row in plain_rows(30)]
    path = log_of(tmp_path, ["sep=;", "user;item;time", *rows, "u1;i1"])
    data = read(path, on_bad_rows="skip")
    assert files_of(data)["log.csv"] == counts(31, 30, bad=1)
    assert "line 33" in account(data)["first_bad_rows"][0]


def test_a_character_that_stands_for_separators_is_refused(tmp_path: Path) -> None:
    rows = [row.replace(",", "::") for row in plain_rows(30)]
    path = log_of(tmp_path, ["user::item::time", *rows, "u\x1f::i::1600000000"])
    with pytest.raises(BadRequestError, match=r"log\.csv cannot be read: the character U\+001F"):
        read(path)


def test_separators_may_be_escaped(tmp_path: Path) -> None:
    lines = ["user,item,name,time", *(f"u{n},i{n},a\\, b,{n}" for n in range(9))]
    data = read(log_of(tmp_path, lines), items={"text": "name"}, time_format="s")
    assert set(data.items.texts) == {"a, b"}


def test_apostrophes_are_no_quotes(tmp_path: Path) -> None:
    names = ["'Til Dawn'", "'night, Mother'", "Rosemary's Baby", "'71"]
    lines = ["user|item|time|name", *(f"u{n}|i{n}|{n}|{names[n % 4]}" for n in range(40))]
    data = read(log_of(tmp_path, lines), items={"text": "name"}, time_format="s")
    assert set(data.items.texts) == set(names)
    lines = ["'user','item','time','name'", *(f"'u{n}','i{n}','{n}','a, b'" for n in range(9))]
    data = read(log_of(tmp_path, lines), items={"text": "name"}, time_format="s")
    assert set(data.items.texts) == {"a, b"}


def test_numbers_may_stand_for_names(tmp_path: Path) -> None:
    rows = [f"{n},u{n % 3},i{n % 4},{1_600_000_000 + n}" for n in range(20)]
    path = log_of(tmp_path, [",0,1,2", *rows])
    data = read(path, columns={"user": "0", "item": "1", "time": "2"})
    assert files_of(data)["log.csv"] == counts(20, 20)


def test_small_counts_are_times_like_any_other(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["user,item,time", *(f"u,i{n},{n * 1000}" for n in range(9))])
    assert read(path).interactions.time.tolist() == [n * 1000 for n in range(9)]


def test_units_of_numbers_are_told_by_their_size() -> None:
    now = 1_600_000_000.0
    for unit, size in UNITS.items():
        values = np.array([now, now + 1e6, now + 2e6]) * size
        assert unit_of(values) == unit
        assert not other_unit(values, unit).any()
        for other in set(UNITS) - {unit}:
            assert other_unit(values, other).all()
    assert unit_of(np.array([20240131.0])) == "%Y%m%d"
    assert not other_unit(np.array([np.nan, 0.0, 5e6]), "s").any()


def test_the_format_of_numbers_is_told_from_texts() -> None:
    assert number_format(["12,50", "-", "3", "x"]) == NumberFormat(",", True, 0.5)
    assert number_format(["1.500", "NA", ""]) == NumberFormat(".", False, 1.0)
    assert number_format(["red", "12 o'clock", "A27"]).readable == 0.0
    assert number_format([]).readable == 0.0
