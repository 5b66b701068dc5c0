"""Tables on small files whose every value can be checked by eye."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import LOG, account, read, rows_of, write_rows

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Dataset
from pareto_rec.data.split import split
from pareto_rec.data.table import TableOptions, as_lines, load_table

DAY = 86_400
FIRST = 1_704_103_200  # 2024-01-01 10:00 UTC, by `date -u -d ... +%s`
SIGNALS = {"bought": {"event": "buy"}, "seen": {"event": "view"}, "returned": {"event": "return"}}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def same(left: Dataset, right: Dataset) -> bool:
    return left.content_hash == right.content_hash


def test_columns_are_guessed_from_their_names_and_shown(log: Path) -> None:
    data = read(log)
    assert rows_of(data)[:2] == [("u1", "a", FIRST), ("u1", "a", FIRST + 3600)]
    assert data.interactions.signals["interaction"].tolist() == [1.0] * 6
    notes = account(data)["notes"]
    assert notes["column of users, guessed from its name"] == "user"
    assert notes["column of items, guessed from its name"] == "item"
    assert notes["column of times, guessed from its name"] == "time"
    assert notes["form of times, guessed"] == "iso"
    assert "column of users, guessed from its name: user" in as_lines(account(data))


def test_every_packing_and_form_gives_the_same_data(log: Path, tmp_path: Path) -> None:
    options = {"signals": {**SIGNALS, "qty": "qty"}, "items": {"text": "name", "price": "price"}}
    plain = read(log, **options)
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(LOG.encode()))
    archive = tmp_path / "log.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("deep/log.csv", LOG)
        content.writestr("readme.md", "no table")
    parquet = tmp_path / "log.parquet"
    pd.read_csv(log, parse_dates=["time"]).to_parquet(parquet)
    semicolons = tmp_path / "other.tsv"
    semicolons.write_text(LOG.replace(",", "\t"), encoding="utf-16")
    for path in (packed, archive, parquet, semicolons):
        assert same(read(path, **options), plain), path.name


def test_patterns_folders_and_several_files_are_read_as_one(tmp_path: Path) -> None:
    head, *lines = LOG.splitlines(keepends=True)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "b.csv").write_text(head + "".join(lines[:2]))
    (tmp_path / "parts" / "a.csv").write_text(head + "".join(lines[2:]))
    (tmp_path / "log.csv").write_text(LOG)
    whole = read(tmp_path / "log.csv")
    assert same(read(tmp_path / "parts"), whole)  # whatever the order of the rows
    assert same(read(tmp_path / "parts" / "*.csv"), whole)
    two = [str(tmp_path / "parts" / name) for name in ("b.csv", "a.csv")]
    assert same(read("", files=two), whole)


def test_signals_are_events_columns_tests_and_products(log: Path) -> None:
    data = read(
        log,
        signals={
            **SIGNALS,
            "many": {"column": "qty", "at_least": 2},
            "qty": "qty",
            "spent": {"column": "qty", "times": "price"},
        },
        against="returned",
    )
    found = {name: values.tolist() for name, values in data.interactions.signals.items()}
    # rows by user, time: view, buy, buy; buy, return, buy (without a price)
    assert found["bought"] == [0, 1, 1, 1, 0, 1]
    assert found["seen"] == [1, 0, 0, 0, 0, 0]
    assert found["many"] == [0, 1, 0, 1, 0, 0]
    assert found["qty"] == [0, 2, 1, 3, 1, 1]
    np.testing.assert_array_equal(found["spent"], [0, 3, 8, 7.5, 2.5, np.nan])
    assert data.against == ("returned",)


def test_only_some_events_are_read_and_rules_drop_rows_with_a_count(log: Path) -> None:
    data = read(
        log,
        event=["buy", "return"],
        drop=[
            {"column": "event", "equals": "return"},
            {"column": "qty", "above": 2, "why": "a wholesaler"},
            {"column": "price", "missing": True},
        ],
    )
    assert [(u, i) for u, i, _ in rows_of(data)] == [("u1", "a"), ("u1", "b")]
    assert account(data)["dropped"] == {
        "another event": 1,
        "event equals return": 1,
        "a wholesaler": 1,
        "price missing True": 1,
    }
    assert account(data)["rows"] == 6
    assert account(data)["used"] == 2


def test_items_take_the_most_frequent_text_and_the_median_price(log: Path) -> None:
    data = read(log, items={"text": "name", "price": "price", "price_bands": 2, "words": 5})
    # a: "Red cup" three times, "Red mug" once; prices 1.5, 1.5, 2.5, 2.5
    assert data.items.ids == ("a", "b", "c")
    assert data.items.texts == data.items.titles == ("Red cup", "Blue jug", "Red tin")
    assert data.items.prices is not None
    np.testing.assert_array_equal(data.items.prices, np.array([2.0, 8.0, np.nan], np.float32))
    assert data.items.attributes["price_band"] == ("1 of 2, up to 5", "2 of 2", "")
    assert data.items.category_names == ("red",)  # the only word of two texts
    assert data.items.categories[:, 0].tolist() == [1, 0, 1]
    assert account(data)["notes"]["items with several texts, the most frequent is taken"] == 1


def test_items_of_the_same_text_are_one_item(tmp_path: Path) -> None:
    rows = [["user", "item", "name"], ["u", "1", "Red  cup"], ["u", "2", "red CUP"], ["v", "3", ""]]
    data = read(write_rows(tmp_path / "log.csv", rows), items={"text": "name", "same_text": True})
    assert data.items.ids == ("1", "3")
    assert data.items.texts == ("Red  cup", "3")  # the id stands for a text that is missing
    assert [(u, i) for u, i, _ in rows_of(data)] == [("u", "1"), ("u", "1"), ("v", "3")]
    assert account(data)["notes"]["items made one with another of the same text"] == 1


def test_files_of_items_and_users_are_joined_by_id(log: Path, tmp_path: Path) -> None:
    items = [
        ["item", "brand", "kind", "genres", "price"],
        ["a", "Own", "cup", "red;small", "2"],
        ["b", "", "jug", "", "x"],
        ["z", "Far", "never bought", "far", "9"],
        ["", "No id", "", "", ""],
    ]
    users = [["id", "age", "sex"], ["u1", "17", "F"], ["u9", "30", "M"]]
    options = {
        "items": {
            "files": str(write_rows(tmp_path / "items.csv", items)),
            "text": "{kind} ({brand})",
            "categories": "genres",
            "delimiter": ";",
            "price": "price",
            "attributes": "brand",
        },
        "users": {
            "files": str(write_rows(tmp_path / "users.csv", users)),
            "id": "id",
            "attributes": ["age", "sex"],
            "bins": {"age": [18, 30]},
        },
        "on_bad_rows": "skip",
    }
    data = read(log, **options)
    assert data.items.ids == ("a", "b", "c")
    # b has a price that is none, and keeps its text; c is not in the file
    assert data.items.texts == ("cup (Own)", "jug", "c")
    np.testing.assert_array_equal(data.items.prices, np.array([2, np.nan, np.nan], np.float32))
    beside = account(data)["beside"]["items"]
    assert beside["unreadable_values"] == {"price": {"count": 1, "examples": ["x"]}}
    assert data.items.category_names == ("red", "small")
    assert data.items.attributes == {"brand": ("Own", "", "")}
    assert data.users.attributes == {"age": ("under 18", ""), "sex": ("F", "")}
    notes = account(data)["notes"]
    assert notes["items in their own files"].startswith("4 rows, 1 of them could not be read")
    everything = read(log, **options | {"items": {**options["items"], "without_rows": True}})
    assert everything.items.ids == ("a", "b", "c", "z")
    assert everything.items.texts[3] == "never bought (Far)"
    assert rows_of(everything) == rows_of(data)


def test_templates_leave_out_what_is_not_there(tmp_path: Path) -> None:
    rows = [["user", "item", "name", "brand", "size"], ["u", "1", "Cup", "Own", "5 l"]]
    rows += [["u", "2", "Cup", "", "5 l"], ["u", "3", "", "Own", ""], ["u", "4", "Cup", "", ""]]
    path = write_rows(tmp_path / "log.csv", rows)
    data = read(path, items={"text": "{name}, {brand} ({size})"})
    assert data.items.texts == ("Cup, Own (5 l)", "Cup (5 l)", "Own", "Cup")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("keep", None),
        ("drop", "equal to another row in all that is read"),
        ("first", "a later row of the same user and item"),
        ("last", "an earlier row of the same user and item"),
        ("sum", "summed into the first of the same user and item"),
    ],
)
def test_duplicates(log: Path, policy: str, reason: str | None) -> None:
    log.write_text(LOG + LOG.splitlines()[2] + "\n")  # u1 buys a twice in the same second
    data = read(log, signals=SIGNALS, against="returned", duplicates=policy)
    # u1-a: view, buy, buy; u1-b; u2-a: buy and a return, which is no duplicate; u2-c
    wanted = {"keep": 7, "drop": 6}.get(policy, 5)
    assert len(data.interactions) == wanted
    assert account(data)["used"] == wanted
    gone = account(data)["dropped"]
    assert sum(gone.values()) == 7 - wanted
    assert set(gone) == ({reason} if reason else set())
    assert account(data)["notes"]["rows equal to another in all that is read"] == 1
    rows = data.interactions
    mine = np.flatnonzero((rows.user == 0) & (rows.item == 0))
    if policy == "first":
        assert rows.time[mine].tolist() == [FIRST]
        assert rows.signals["bought"][mine].tolist() == [0]
    if policy == "last":
        assert rows.time[mine].tolist() == [FIRST + 3600]
    if policy == "sum":
        assert rows.time[mine].tolist() == [FIRST]
        assert rows.signals["bought"][mine].tolist() == [2]
        assert rows.signals["seen"][mine].tolist() == [1]


def test_k_core_is_applied_until_nothing_changes(tmp_path: Path) -> None:
    # c goes first (one row), then u3 has one row left, then b has one, then u2 has one and a three
    pairs = ["u1 a", "u1 d", "u2 a", "u2 b", "u3 b", "u3 c", "u4 a", "u4 d"]
    rows = [["user", "item"], *(pair.split() for pair in pairs)]
    data = read(write_rows(tmp_path / "log.csv", rows), k_core={"user": 2, "item": 2})
    assert [(u, i) for u, i, _ in rows_of(data)] == [
        ("u1", "a"),
        ("u1", "d"),
        ("u4", "a"),
        ("u4", "d"),
    ]
    assert account(data)["used"] == 4
    assert account(data)["notes"]["rounds until every user and item had enough rows"] == 4
    with pytest.raises(BadRequestError, match=r"no row is left.*lower data.k_core"):
        read(tmp_path / "log.csv", k_core={"user": 9})


@pytest.mark.parametrize(
    ("times", "options", "wanted"),
    [
        (["1704103200", "1704189600"], {}, "s"),
        (["1704103200000", "1704189600999"], {}, "ms"),
        (["1704103200000000", "1704189600000000"], {}, "us"),
        (["1704103200000000000", "1704189600000000000"], {}, "ns"),
        (["1704103200.7", "1.7041896e9"], {}, "s"),
        (["2024-01-01T10:00:00Z", "2024-01-02 12:00:00+02:00"], {}, "iso"),
        (["2024-01-01 11:00", "2024-01-02 11:00"], {"time_zone": "Europe/Berlin"}, "iso"),
        (["2024-01-01 11:00", "2024-01-02T10:00Z"], {"time_zone": "Europe/Berlin"}, "iso"),
        (["01.01.2024 10:00", "02.01.2024 10:00"], {}, "%d.%m.%Y %H:%M"),
        (["01/01/2024 10:00", "01/02/2024 10:00"], {"time_format": "%m/%d/%Y %H:%M"}, None),
        (["Jan 01, 2024 10:00 AM", "Jan 02, 2024 10:00 AM"], {}, "%b %d, %Y %I:%M %p"),
    ],
)
def test_times_of_many_forms(
    times: list[str], options: dict[str, str], wanted: str | None, tmp_path: Path
) -> None:
    rows = [["user", "item", "time"], *(["u", str(n), time] for n, time in enumerate(times))]
    data = read(write_rows(tmp_path / "log.csv", rows), **options)
    assert data.interactions.time.tolist() == [FIRST, FIRST + DAY]
    assert account(data)["notes"].get("form of times, guessed") == wanted


def test_days_are_midnights_and_what_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    def of(*times: str) -> Dataset:
        rows = [["user", "item", "time"], *(["u", str(n), time] for n, time in enumerate(times))]
        return read(write_rows(tmp_path / "log.csv", rows))

    assert of("20240101", "20240102").interactions.time.tolist() == [1704067200, 1704153600]
    assert of("2024-01-01", "2024-01-02").interactions.time.tolist() == [1704067200, 1704153600]
    assert of("13/01/2024", "02/01/2024").interactions.time.tolist() == [1704153600, 1705104000]
    with pytest.raises(BadRequestError, match=r'may be read as "%d/%m/%Y" or "%m/%d/%Y"'):
        of("01/02/2024", "02/03/2024")
    with pytest.raises(BadRequestError, match='times such as "soon" have no form'):
        of("soon", "later")


def test_without_times_only_splits_that_need_none_can_be_had(tmp_path: Path) -> None:
    rows = [["user", "item"], *([f"u{n % 9}", f"i{n % 7}"] for n in range(63))]
    data = read(write_rows(tmp_path / "log.csv", rows))
    assert not data.timed
    assert account(data)["notes"]["times"].startswith("none")
    made = split(data, "random", validation=0.2, test=0.2, seed=0)
    assert made.leak == "no times are known"
    assert made.late_train_share is None
    with pytest.raises(BadRequestError, match=r'"per_user" needs to know when.*"random", "cold_it'):
        split(data, "per_user", validation=0.2, test=0.2, seed=0)


def test_impressions_are_kept_apart_with_place_and_propensity(tmp_path: Path) -> None:
    rows: list[list[object]] = [["user", "item", "time", "click", "bought", "rank", "propensity"]]
    for n in range(60):
        rows.append([f"u{n % 4}", f"i{n % 5}", n, n % 3 == 0, "", n % 6 + 1, 0.5])
    path = write_rows(tmp_path / "log.csv", [[str(v) for v in row] for row in rows])
    text = path.read_text().replace("True", "1").replace("False", "0")
    path.write_text(text)
    columns = {"position": "rank", "propensity": "propensity"}
    signals = {"click": "click", "bought": "bought"}
    data = read(path, columns=columns, signals=signals, time_format="s")
    assert np.isnan(data.interactions.signals["bought"]).all()  # a label that is missing
    stage = split(data, "global_time", validation=0.2, test=0.2, seed=0).validation
    assert len(stage.train) == 12  # every third of 36
    assert stage.shown is not None
    assert len(stage.shown) == 36
    assert stage.shown.position is not None
    assert set(stage.shown.position.tolist()) == {1, 2, 3, 4, 5, 6}
    assert stage.shown.propensity is not None
    assert set(stage.shown.propensity.tolist()) == {0.5}
    assert (stage.train.signals["click"] > 0).all()
    assert stage.held_out_shown is not None
    assert len(stage.held_out_shown) == 12
    assert len(stage.held_out) == 4
    # each item 7 or 8 times of 36, a third of them clicked; ten rows at the rate of all
    clicks = np.bincount(stage.train.item, minlength=5)
    shown = np.bincount(stage.shown.item, minlength=5)
    np.testing.assert_allclose(stage.rate("click"), (clicks + 10 / 3) / (shown + 10))


def test_rows_against_an_item_are_no_interactions(log: Path) -> None:
    data = read(log, signals=SIGNALS, against="returned")
    kept = data.interactions.positive(data.against)
    assert kept.tolist() == [True, True, True, True, False, True]


def test_a_table_is_kept_in_the_cache_and_read_again_when_anything_changes(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pareto_rec.data.table import store

    base = {"files": str(log), "items": {"text": "name", "price": "price", "categories": "country"}}
    base |= {"signals": {"qty": "qty"}, "columns": {"position": "qty"}, "on_bad_rows": "skip"}
    log.write_text(LOG + "u3,a\n")
    options = TableOptions.model_validate(base)
    cache = tmp_path / "cache"
    first = load_table(options, "mine", cache)
    assert account(first)["skipped_rows_file"].endswith("skipped.csv")
    assert account(first)["unreadable_values"]["qty"] == {"count": 1, "examples": ["0"]}
    with monkeypatch.context() as patch:
        patch.setattr(store, "read_table", lambda *_: pytest.fail("it was read again"))
        again = load_table(options, "mine", cache)
    assert again.content_hash == first.content_hash
    assert again.account == first.account
    assert again.items.titles == first.items.titles
    assert not again.interactions.user.flags.writeable
    assert not again.items.categories.flags.writeable
    other = TableOptions.model_validate({**base, "k_core": {"user": 3}})
    assert len(load_table(other, "mine", cache).interactions) < len(first.interactions)
    log.write_text(LOG + "u9,b,2024-02-01 10:00:00,buy,1,8.00,Blue jug,DE\n")
    assert "u9" in load_table(options, "mine", cache).users.ids
    for broken in cache.rglob("rows.parquet"):
        broken.write_bytes(b"PAR1 broken")
    assert "u9" in load_table(options, "mine", cache).users.ids


def test_ids_of_several_columns(log: Path) -> None:
    data = read(log, columns={"user": "{country}-{user}", "item": "{name}, {price}"})
    assert data.users.ids == ("DE-u1", "FR-u2")
    assert data.items.ids == (
        "Blue jug, 8.00",
        "Red cup, 1.50",
        "Red cup, 2.50",
        "Red mug, 2.50",
        "Red tin, ",
    )
    rows = log.read_text() + ",,2024-01-06 10:00:00,buy,1,,,\n"
    log.write_text(rows)
    with pytest.raises(BadRequestError, match=r"no item"):
        read(log, columns={"item": "{name}, {price}", "user": "time"})
    kept = read(log, columns={"item": "{name}, {price}", "user": "time"}, on_bad_rows="skip")
    assert len(kept.interactions) == 6
    with pytest.raises(BadRequestError, match='has no column "shop"'):
        read(log, columns={"user": "{shop} {user}"})


def test_files_of_the_cache_need_no_variable(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARETO_REC_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".cache" / "pareto_rec" / "prepared"
    folder.mkdir(parents=True)
    name = "${PARETO_REC_CACHE}/prepared/log.csv"
    with pytest.raises(BadRequestError, match=r"no file .*log\.csv; the prepare\.py beside"):
        read(name)
    log.rename(folder / "log.csv")
    assert len(read(name).interactions) == 6


def test_ids_of_dropped_rows_alone_are_gone(log: Path) -> None:
    drop = [{"column": "country", "equals": "FR", "why": "abroad"}]
    for user in ("user", "{country}-{user}"):
        data = read(log, columns={"user": user}, drop=drop)
        assert len(data.users.ids) == 1


def test_an_event_that_the_log_does_not_have_is_named_with_the_nearest(log: Path) -> None:
    there = "its events and their rows: buy 4, view 1, return 1"
    misspelt = {**SIGNALS, "bought": {"event": "Buys"}}
    with pytest.raises(BadRequestError) as refused:
        read(log, signals=misspelt)
    assert str(refused.value) == (
        f'data.signals.bought: the log has no event "Buys" (did you mean "buy"?); {there}'
    )
    with pytest.raises(BadRequestError, match=r'data\.event: .* "RETURN" \(did you mean "return"'):
        read(log, event=["buy", "RETURN"])
    with pytest.raises(BadRequestError, match=r'data\.drop\.0: .*"veiw" \(did you mean "view"\?\)'):
        read(log, drop=[{"event": "veiw"}])
    with pytest.raises(BadRequestError, match=rf'no event "listened"; {there}'):  # none is near
        read(log, signals={"heard": {"event": "listened"}})


def test_events_that_may_be_absent_are_a_warning(log: Path) -> None:
    """A log without anything cancelled is as good as any other."""
    signals = {"bought": {"event": "buy"}, "cancelled": {"event": "cancel"}}
    data = read(log, signals=signals, against="cancelled", drop=[{"event": "fraud"}])
    assert [words.partition(";")[0] for words in account(data)["warnings"]] == [
        'data.signals.cancelled: the log has no event "cancel"',
        'data.drop.0: the log has no event "fraud"',
    ]
