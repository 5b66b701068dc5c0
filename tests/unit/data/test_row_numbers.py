"""Rows in the order of a file in place of times: ``columns.time = { row = true }``."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import pytest
from tables import account, read, rows_of, write_rows

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.inspect import as_text, describe
from pareto_rec.data.schema import Dataset, Interactions, Split
from pareto_rec.data.split import SPLITS, split
from pareto_rec.data.table import TableOptions, load_table

ROW: dict[str, Any] = {"columns": {"user": "user", "item": "item", "time": {"row": True}}}
HISTORIES = {  # ids that follow neither the order nor its reverse, by number, text or hash
    "u1": ["i7", "i2", "i9", "i1", "i5"],
    "u2": ["i3", "i8", "i1"],
    "u3": ["i2", "i4"],
    "u4": ["i9", "i6", "i5", "i2"],
}


def interleaved(seed: int) -> list[list[str]]:
    """Rows of all users in a drawn order that keeps each user's own."""
    left = {user: list(items) for user, items in HISTORIES.items()}
    turns = [user for user, items in left.items() for _ in items]
    random.Random(seed).shuffle(turns)
    return [[user, left[user].pop(0)] for user in turns]


def table(folder: Path, rows: list[list[str]], **options: Any) -> Dataset:
    return read(write_rows(folder / "log.csv", [["user", "item"], *rows]), **ROW, **options)


def cut(dataset: Dataset, kind: str) -> Split:
    return split(dataset, kind, validation=0.3, test=0.3, seed=0)


def named(dataset: Dataset, rows: Interactions) -> dict[str, list[str]]:
    """Items of the rows by user, in their order."""
    found: dict[str, list[str]] = {}
    for user, item in zip(rows.user.tolist(), rows.item.tolist(), strict=True):
        found.setdefault(dataset.users.ids[user], []).append(dataset.items.ids[item])
    return found


def test_every_user_s_rows_are_numbered_in_the_order_of_the_file(tmp_path: Path) -> None:
    data = table(tmp_path, interleaved(1))
    wanted = [(u, item, n) for u, items in HISTORIES.items() for n, item in enumerate(items)]
    assert rows_of(data) == wanted
    assert (data.timed, data.ordered) == (False, True)
    assert "oldest first" in account(data)["notes"]["times"]


@pytest.mark.parametrize("seed", range(5))
def test_how_users_are_interleaved_makes_no_difference(tmp_path: Path, seed: int) -> None:
    grouped = [[user, item] for user, items in HISTORIES.items() for item in items]
    first, other = table(tmp_path, grouped), table(tmp_path, interleaved(seed))
    assert other.content_hash == first.content_hash
    backwards = table(tmp_path, grouped[::-1])
    assert backwards.content_hash != first.content_hash


@pytest.mark.parametrize("seed", range(5))
def test_leave_last_out_follows_the_file(tmp_path: Path, seed: int) -> None:
    data = table(tmp_path, interleaved(seed))
    made = cut(data, "leave_last_out")
    long = {user: items for user, items in HISTORIES.items() if len(items) >= 3}
    assert named(data, made.test.held_out) == {user: items[-1:] for user, items in long.items()}
    assert named(data, made.validation.held_out) == {u: items[-2:-1] for u, items in long.items()}
    assert named(data, made.validation.train) == {
        user: items[:-2] if user in long else items for user, items in HISTORIES.items()
    }
    assert named(data, made.test.history) == {
        user: items[:-1] if user in long else items for user, items in HISTORIES.items()
    }


def test_files_follow_each_other_as_they_are_listed(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("user,item\nu,first\nv,first\n")
    (tmp_path / "a.csv").write_text("user,item\nu,second\nv,second\n")
    both = [str(tmp_path / "b.csv"), str(tmp_path / "a.csv")]
    listed = read(tmp_path / "b.csv", **{**ROW, "files": both})
    assert rows_of(listed) == [
        *(("u", "first", 0), ("u", "second", 1)),
        *(("v", "first", 0), ("v", "second", 1)),
    ]
    by_name = read(tmp_path / "*.csv", **ROW)
    assert [item for _, item, _ in rows_of(by_name)] == ["second", "first"] * 2


def test_rows_that_are_left_out_leave_the_order_of_the_others(tmp_path: Path) -> None:
    rows = [["u", "a"], ["u", ""], ["u", "b"], ["", "c"], ["u", "a"], ["u", "c"]]
    drop = [{"column": "item", "equals": "b"}]
    path = write_rows(tmp_path / "log.csv", [["user", "item"], *rows])
    options = {**ROW, "drop": drop, "on_bad_rows": "skip", "duplicates": "last"}
    data = read(path, tmp_path / "skipped.csv", **options)
    assert rows_of(data) == [("u", "a", 0), ("u", "c", 1)]
    first = read(path, tmp_path / "skipped.csv", **{**options, "duplicates": "first"})
    assert rows_of(first) == [("u", "a", 0), ("u", "c", 1)]


def test_a_file_of_several_pieces_keeps_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pareto_rec.data.table.chunks.BLOCK_BYTES", 1 << 12)
    items = [f"i{n * 7919 % 4001}" for n in range(4000)]
    text = "user item\n" + "".join(f"u{n % 3} {item}\n" for n, item in enumerate(items))
    path = tmp_path / "log.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    data = read(path, **ROW, separator=" ")
    assert named(data, data.interactions) == {f"u{n}": items[n::3] for n in range(3)}


def test_it_is_the_same_out_of_the_cache(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "log.csv", [["user", "item"], *interleaved(2)])
    options = TableOptions.model_validate({"files": str(path), **ROW})
    first, again = (load_table(options, "mine", tmp_path / "cache") for _ in range(2))
    assert first.content_hash == again.content_hash
    assert first.ordered
    assert again.ordered
    untold = options.model_copy(update={"columns": options.columns.model_copy(update={"time": ""})})
    assert not load_table(untold, "mine", tmp_path / "cache").ordered


def test_what_compares_users_in_time_is_refused(tmp_path: Path) -> None:
    data = table(tmp_path, interleaved(3))
    refused = []
    for name, kind in SPLITS.items():
        if kind.needs == "times":
            refused.append(name)
            message = rf'"{name}" needs to know when .* only the order of .*"per_user".*"random"'
            with pytest.raises(BadRequestError, match=message):
                cut(data, name)
        else:
            made = cut(data, name)
            assert made.leak == "no times are known, only the order of each user's rows"
            assert made.late_train_share is None
    assert refused == ["global_time"]
    summary = describe(data, cut(data, "leave_last_out"))
    assert summary["time"] == {}  # a row's number is no day of 1970
    assert "1970" not in as_text(summary)


@pytest.mark.parametrize(
    ("time", "more", "message"),
    [
        ({"row": False}, {}, 'only true says something; without any order write time = ""'),
        ({"row": True}, {"duplicates": "drop"}, 'no two are equal: take "first" or "last"'),
        (5, {}, "valid"),
    ],
)
def test_what_cannot_be_meant_is_refused(time: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableOptions.model_validate({"files": "a.csv", "columns": {"time": time}, **more})
