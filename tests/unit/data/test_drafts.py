"""Drafts: what is told of files, and that every draft which is printed can be searched.

``PARETO_REC_DRAFTS=300:60`` loads 300 made-up drafts and searches 60 of them instead of a few.
"""

from __future__ import annotations

import csv
import json
import os
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_up_logs import NAMES, shape, write_log
from random_bert import random_bert
from tables import shop, write_rows

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.draft import draft
from pareto_rec.data.table.files import find
from pareto_rec.data.table.lists import parse_list
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.profile import profiles
from pareto_rec.data.table.sources import sources_of
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.checks import check_objectives
from pareto_rec.experiment.config import Config, load_config, load_data_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import read_dataset, read_split

pytestmark = pytest.mark.usefixtures("single_thread")

LOADED, SEARCHED = map(int, os.environ.get("PARETO_REC_DRAFTS", "12:3").split(":"))
REFUSALS = ("nothing can be held out", "no file has a column of users")


def drafted(*paths: Path) -> str:
    options = TableOptions()
    return draft(sources_of(profiles(find([str(p) for p in paths]), options)), "mine", options)


def drafted_or_refused(paths: Sequence[Path]) -> str:
    try:
        return drafted(*paths)
    except BadRequestError as error:
        return f"refused: {error}"


def table(*paths: Path) -> dict[str, Any]:
    return tomllib.loads(drafted(*paths))


def log(folder: Path, names: Sequence[str], rows: Iterable[Sequence[Any]], file: str = "a") -> Path:
    return write_rows(folder / f"{file}.csv", [names, *rows])


def met(users: int = 20, items: int = 30, each: int = 10) -> list[tuple[str, str, str]]:
    """User, item and time of a plain log."""
    return [
        (f"u{u}", f"i{(u * 7 + n * 3) % items}", f"2024-{1 + n:02d}-{1 + u:02d} 10:00:00")
        for u in range(users)
        for n in range(each)
    ]


def loads(path: Path, cache: Path) -> Config:
    """A draft is a config whose data is read, split and fit for its objectives, tried or whole."""
    for smoke in (True, False):
        config = load_config(path, smoke=smoke)
        check_objectives(
            config, Experiment.of(config).objectives, read_split(config, cache).validation
        )
    return config


def test_every_draft_of_a_made_up_log_loads_and_can_be_searched(tmp_path: Path) -> None:
    bert, searched, refused = random_bert(tmp_path / "bert"), 0, 0
    for seed in range(LOADED):
        folder, how = tmp_path / str(seed), shape(seed)
        text = drafted_or_refused(write_log(folder / "data", how))
        if text.startswith("refused: "):
            assert any(words in text for words in REFUSALS), how
            assert "\n" not in text
            assert how.users == 1 or how.rows < 8 or how.repeats or how.names in ("unknown", "odd")
            refused += 1
            continue
        path = folder / "config.toml"
        path.write_text(text, encoding="utf-8")
        columns = loads(path, tmp_path / "cache").data.columns
        if how.names not in ("unknown", "odd"):  # names tell; contents alone may err, and say so
            names = NAMES[how.names].split()
            assert (columns.user, columns.item) == (names[0], names[1])
            assert columns.event == (names[6] if how.events else None)
            assert how.times in ("none", "days") or columns.time == names[2]
        else:
            assert "CHECK: contents alone suggest" in text
        if searched < SEARCHED:
            searched += 1
            small = [f'backbone.name="{bert}"', "backbone.max_length=8"]
            config = load_config(path, small, smoke=True)
            search_experiment(config, folder / "run", cache=tmp_path / "cache", workers=1)
            lines = (folder / "run" / "records.jsonl").read_text().splitlines()
            assert {json.loads(line)["status"] for line in lines} == {"ok"}, how
    assert searched == SEARCHED
    assert refused < 0.3 * LOADED


def test_the_plainest_log_asks_for_no_categories_and_takes_no_time_for_a_text(
    tmp_path: Path,
) -> None:
    found = table(log(tmp_path, ["user_id", "item_id", "timestamp"], met()))
    assert found["data"]["columns"]["time"] == "timestamp"
    assert "items" not in found["data"]
    assert [one["name"] for one in found["objective"]] == ["ndcg@10", "epc@10"]


EVENTS = ["view", "View", "VIEW", "add-to-cart", "Покупка", "=1", *(f"odd {n}" for n in range(30))]


def test_every_event_is_drafted_or_named_with_its_count(tmp_path: Path) -> None:
    rows = [(*row, EVENTS[n % len(EVENTS)]) for n, row in enumerate(met())]
    names = ["user_id", "item_id", "timestamp", "event"]
    first = log(tmp_path, names, rows[:150], "a")
    later = log(tmp_path, names, [*rows[150:], ("u1", "i2", "2024-12-01 10:00:00", "späte")], "b")
    text = drafted(first, later)
    data = tomllib.loads(text)["data"]
    rules = list(data["signals"].values())
    drafted_ = {name for rule in rules for name in rule.get("one_of", [rule.get("event")])}
    comments = [line for line in text.splitlines() if line.startswith("# event")]
    for event in (*EVENTS, "späte"):
        count = sum(row[3] == event for row in rows) or 1
        assert any(f"{event} ({count} rows)" in line for line in comments), event
        named = [line for line in comments if f"{event} ({count} rows)" in line]
        assert event in drafted_ or any("left out" in line for line in named)
    assert data["signals"]["view"]["one_of"] == sorted(["VIEW", "View", "view"])
    assert data["signals"]["покупка"] == {"event": "Покупка"}
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    loads(path, tmp_path / "cache")


def test_events_that_speak_against_an_item_do_so_in_the_draft(tmp_path: Path) -> None:
    rows = [(*row, ("view", "purchase", "refund")[n % 3]) for n, row in enumerate(met())]
    data = table(log(tmp_path, ["user", "item", "time", "event"], rows))["data"]
    assert data["against"] == ["refund"]
    assert data["relevance"] == "purchase"


def test_logs_that_differ_in_a_column_are_one_log(tmp_path: Path) -> None:
    half = len(met()) // 2
    one = log(
        tmp_path,
        ["user_id", "item_id", "timestamp", "device"],
        [(*row, "ios") for row in met()[:half]],
        "one",
    )
    other = log(
        tmp_path,
        ["timestamp", "item_id", "user_id", "channel"],
        [(t, i, u, "web") for u, i, t in met()[half:]],
        "other",
    )
    text = drafted(one, other)
    assert sorted(tomllib.loads(text)["data"]["files"]) == [str(one), str(other)]
    assert "# not in every log, so not used: channel, device" in text
    lacking = log(tmp_path, ["user_id", "item_id"], [row[:2] for row in met()[:9]], "lacking")
    text = drafted(one, lacking)
    assert tomllib.loads(text)["data"]["files"] == str(one)
    assert '# left out: lacking.csv: it has no column "timestamp" as the log has' in text


def test_an_archive_of_log_and_items_is_taken_apart(tmp_path: Path) -> None:
    paths = shop(tmp_path)
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    found = table(packed)["data"]
    assert found["files"] == f"{packed}/log.csv"
    assert found["items"]["files"] == f"{packed}/items.csv"
    (tmp_path / "config.toml").write_text(drafted(packed))
    assert len(loads(tmp_path / "config.toml", tmp_path / "cache").data.files) == 1


def test_times_are_told_by_contents(tmp_path: Path) -> None:
    parts = ("morning", "evening")
    rows = [(u, i, parts[n % 2], t) for n, (u, i, t) in enumerate(met())]
    found = table(log(tmp_path, ["user", "item", "daytime", "occurred"], rows))["data"]
    assert found["columns"]["time"] == "occurred"
    found = table(log(tmp_path, ["user", "item", "daytime"], [row[:3] for row in rows]))
    assert found["data"]["columns"]["time"] == ""
    assert found["split"]["kind"] == "random"


def test_counts_amounts_and_ratings_are_signals_whatever_signs_they_are_written_with(
    tmp_path: Path,
) -> None:
    rows = [
        (*row, n % 4, f"1.00{n % 9},50", f"{1 + n % 5},0", ("yes", "no")[n % 2])
        for n, row in enumerate(met())
    ]
    names = ["user_id", "item_id", "timestamp", "cnt", "amount", "rating", "liked"]
    path = log(tmp_path, names, rows)
    signals = table(path)["data"]["signals"]
    assert signals["cnt"] == "cnt"
    assert signals["amount"] == "amount"
    assert signals["rating_high"] == {"column": "rating", "at_least": 4}
    assert signals["liked"] == {"column": "liked", "one_of": ["yes"]}
    (tmp_path / "config.toml").write_text(drafted(path))
    values = read_dataset(load_config(tmp_path / "config.toml"), tmp_path / "c").interactions
    assert values.signals["amount"].min() == pytest.approx(1000.5)
    assert set(values.signals["rating"].tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}


@pytest.mark.parametrize("form", ["python", "json", "bare"])
def test_lists_written_as_text_are_categories(form: str, tmp_path: Path) -> None:
    kinds = [["Action", "Indie"], ["RPG"], ["Sim", "Role, play"]]
    form_of = {"python": str, "json": json.dumps, "bare": lambda k: f"[{', '.join(k)}]"}[form]
    path = log(tmp_path, ["user_id", "item_id", "timestamp"], met())
    items = [(f"i{n}", f"thing {n}", form_of(kinds[n % 3])) for n in range(30)]
    own = log(tmp_path, ["item_id", "title", "genres"], items, "items")
    text = drafted(path, own)
    assert tomllib.loads(text)["data"]["items"]["category_lists"] is True
    (tmp_path / "config.toml").write_text(text)
    names = read_dataset(load_config(tmp_path / "config.toml"), tmp_path / "c").items.category_names
    apart = {"Role", "play"} if form == "bare" else {"Role, play"}
    assert set(names) == {"Action", "Indie", "RPG", "Sim"} | apart


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("['a', \"b's\"]", ["a", "b's"]),
        ('[{"id": 18, "name": "Drama"}]', ["Drama"]),
        ("[]", []),
        ("{'x'}", ["x"]),
        ("(3)", None),
        ("a, b", None),
        ("[" * 5000 + "]" * 5000, None),
        ("[__import__('os')]", None),
    ],
)
def test_a_list_is_read_and_nothing_is_run(text: str, entries: list[str] | None) -> None:
    assert parse_list(text) == entries


def test_words_that_link_others_are_not_categories(tmp_path: Path) -> None:
    path = log(tmp_path, ["user_id", "item_id", "timestamp"], met())
    kinds = ("cup", "jug", "tin")
    items = [(f"i{n}", f"The thing with the {kinds[n % 3]} {n}") for n in range(30)]
    own = log(tmp_path, ["item_id", "title"], items, "items")
    text = drafted(path, own)
    assert [one["name"] for one in tomllib.loads(text)["objective"]] == ["ndcg@10", "ild@10"]
    (tmp_path / "config.toml").write_text(text)
    data = read_dataset(load_config(tmp_path / "config.toml"), tmp_path / "cache")
    assert data.items.category_names == kinds


def test_unknown_names_are_told_from_contents_and_asked_about(tmp_path: Path) -> None:
    rows = [(n, t, i, u) for n, (u, i, t) in enumerate(met())]
    text = drafted(log(tmp_path, ["q1", "q2", "q3", "q4"], rows))
    found = tomllib.loads(text)["data"]["columns"]
    assert (found["user"], found["item"], found["time"]) == ("q4", "q3", "q2")
    assert '# CHECK: contents alone suggest "q4" as user, "q3" as item, "q2" as time' in text
    with pytest.raises(
        BadRequestError, match=r"--user COLUMN --item COLUMN.*p \(1 different, such"
    ):
        drafted(log(tmp_path, ["p", "q"], [(1, 2)], "few"))


def test_data_of_a_config_is_counted_without_what_only_a_search_needs(tmp_path: Path) -> None:
    path = log(tmp_path, ["user_id", "item_id"], [("u", "i"), ("u", "j")])
    config = tmp_path / "config.toml"
    config.write_text(f'[data]\nkind = "table"\nfiles = "{path.name}"\n')
    assert len(read_dataset(load_data_config(config), tmp_path / "cache").interactions) == 2
    config.write_text("seed = 1\n")
    with pytest.raises(BadRequestError, match=r"there is no \[data\]"):
        load_data_config(config)


def test_people_who_buy_again_have_something_to_predict(tmp_path: Path) -> None:
    rows = [
        (f"u{u}", f"i{(u + n % 5) % 30}", 1_700_000_000 + n) for u in range(20) for n in range(20)
    ]
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["user", "item", "time"], *rows])
    assert table(tmp_path / "a.csv")["data"]["duplicates"] == "first"
