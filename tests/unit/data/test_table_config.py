"""The `[data]` table of a config: what it may say, and that it survives being written down."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from tables import LOG

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.experiment.checks import check_objectives
from pareto_rec.experiment.config import Config, load_config, parse_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import read_dataset, read_split

TABLE: dict[str, Any] = {
    "kind": "table",
    "files": "a.csv",
    "columns": {"time": {"row": True}},
    "signals": {"bought": "qty", "returned": {"column": "event", "matches": "^ret"}},
    "against": "returned",
    "items": {"text": "name", "attributes": "age", "bins": {"age": [18, 30]}},
    "k_core": {"user": 3},
}
REST: dict[str, Any] = {
    "name": "a",
    "question": "What?",
    "objective": [{"name": "ndcg@10"}, {"name": "ild@10"}],
    "space": {"serve": {"mmr": {"kind": "real", "low": 0.0, "high": 0.5}}},
}


def config(data: dict[str, Any], **more: Any) -> Config:
    return parse_config({**REST, "data": data, **more}, "here")


def test_it_is_the_same_after_being_written_down() -> None:
    first = config(TABLE)
    text = tomli_w.dumps(first.model_dump(exclude_none=True))
    assert parse_config(tomllib.loads(text), "there") == first
    assert Config.model_validate_json(first.model_dump_json()) == first


def test_a_registered_data_set_says_nothing_of_tables() -> None:
    said = config({"name": "movielens-100k"}).model_dump(exclude_none=True)["data"]
    assert said == {"name": "movielens-100k", "relevance": "watched", "liked": "liked"}


def test_a_table_brings_its_own_signals() -> None:
    data = config(TABLE).data
    assert (data.name, data.relevance, data.liked) == ("table", "bought", None)
    plain = config({"kind": "table", "files": ["a.csv"]}).data
    assert (plain.relevance, plain.liked) == ("interaction", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, 'data: kind = "table" needs "files"'),
        ({"kind": "registered", "name": "m"}, r'data: ".*" is for kind = "table"'),
        ({"signal": 1}, 'unknown key "data.signal"; did you mean "data.signals"'),
        ({"columns": {"usr": "x"}}, 'did you mean "data.columns.user"'),
        ({"drop": [{"column": "a", "atleast": 3}]}, 'did you mean "data.drop.0.at_least"'),
        ({"drop": [{"at_least": 3}]}, 'data.drop.0: needs either "column" or "event"'),
        (
            {"signals": {"a": {"column": "x", "matches": "("}}, "against": []},
            "not a regular express",
        ),
        ({"signals": {"a": {"column": "x", "times": "y", "above": 1}}, "against": []}, '"times" m'),
        ({"drop": [{"event": "x", "above": 1}]}, '"event" is a test of its own'),
        ({"against": ["seen"]}, '"seen" is not one of the signals'),
        ({"against": ["bought", "returned"]}, "some signal must speak for an item"),
        ({"items": {"bins": {"age": [1]}}}, 'bins of "age", which is not one of the attributes'),
        ({"items": {"attributes": "age", "bins": {"age": [3, 2]}}}, "edges must rise"),
        ({"items": {"price_bands": 3}}, 'price_bands needs "price"'),
        ({"items": {"words": 3, "categories": "kind"}}, "words stand for categories only where"),
        ({"columns": {"time": {"rows": True}}}, 'key "data.columns.time.row" is missing'),
        ({"columns": {"time": {"row": False}}}, "data.columns.time.row: only true says something"),
        ({"columns": {"time": 5}}, "data.columns.time: must be a table or a text, not 5"),
        (
            {"columns": {"time": {"row": True}}, "duplicates": "drop"},
            'data: duplicates = "drop" leaves out rows of equal time',
        ),
        ({"on_bad_rows": "skp"}, "must be 'error' or 'skip'"),
        ({"min_group": 0}, "data.min_group"),
    ],
)
def test_what_is_wrong_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as caught:
        config({**TABLE, **change})
    assert "\n" not in str(caught.value)


def test_paths_start_at_the_config_and_variables_are_filled_in_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "log.csv").write_text(LOG)
    path = tmp_path / "here" / "config.toml"
    path.write_text(tomli_w.dumps({**REST, "data": {"kind": "table", "files": "../log.csv"}}))
    found = load_config(path)
    assert len(read_dataset(found, tmp_path / "cache").interactions) == 6
    named = "${PARETO_REC_TEST_DATA}/log.csv"
    path.write_text(tomli_w.dumps({**REST, "data": {"kind": "table", "files": named}}))
    found = load_config(path)
    assert found.data.files == [named]  # no path of this machine in the config of a run
    with pytest.raises(BadRequestError, match="set the environment variable PARETO_REC_TEST_DATA"):
        read_dataset(found, tmp_path / "cache")
    monkeypatch.setenv("PARETO_REC_TEST_DATA", str(tmp_path))
    assert len(read_dataset(found, tmp_path / "cache").interactions) == 6


def test_objectives_on_prices_need_prices(tmp_path: Path) -> None:
    rows = ["user,item,time", *(f"u{n % 5},i{n % 6},{n}" for n in range(60))]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    data = {"kind": "table", "files": str(tmp_path / "log.csv"), "time_format": "s"}
    made = config(data, objective=[{"name": "ndcg@10"}, {"name": "revenue@10"}])
    stage = read_split(made, tmp_path / "cache").validation
    with pytest.raises(BadRequestError, match=r"revenue@10 needs prices.*data\.items\.price"):
        check_objectives(made, Experiment.of(made).objectives, stage)
    made = config(data, objective=[{"name": "ndcg@10"}, {"name": "worst(ndcg@10 by item.brand)"}])
    with pytest.raises(BadRequestError, match=r'unknown attribute .*"item.brand"'):
        check_objectives(made, Experiment.of(made).objectives, stage)


EXPERIMENTS = Path(__file__).parents[3] / "experiments"
RETAIL = {  # counted with pandas, apart from the last two
    "no customer": 135_080,
    "postage, fees and corrections, no products": 1_920,
    "no price": 33,
}


def own_data() -> None:
    import os

    if not os.environ.get("PARETO_REC_DATA"):
        pytest.skip("PARETO_REC_DATA names no folder with the data of the experiments on tables")


@pytest.mark.parametrize(
    "name",
    [
        *("retail_value_diversity", "grocery_fairness_price"),
        *("coupon_ctr_cvr", "vehicle_coupon_acceptance"),
        "movielens_1m_accuracy_fairness_diversity",
    ],
)
def test_configs_of_the_experiments_are_sound(name: str) -> None:
    path = EXPERIMENTS / name / "config.toml"
    for smoke in (False, True):
        Experiment.of(load_config(path, smoke=smoke))


def test_every_row_of_online_retail_is_accounted_for() -> None:
    own_data()
    data = read_dataset(load_config(EXPERIMENTS / "retail_value_diversity"), cache_dir())
    said = data.account
    assert said is not None
    assert said["rows"] == 541_909  # as published
    dropped = said["dropped"]
    assert isinstance(dropped, dict)
    assert {reason: dropped[reason] for reason in RETAIL} == RETAIL
    assert said["bad"] == {}
    assert said["used"] == len(data.interactions) == 541_909 - sum(dropped.values())
    assert data.items.prices is not None
    assert (data.items.prices > 0).all()
    again = data.interactions.positive(data.against)
    pairs = data.interactions.user[again] * len(data.items) + data.interactions.item[again]
    assert len(set(pairs.tolist())) == len(pairs)  # the first purchase alone


def test_every_row_of_the_groceries_is_accounted_for() -> None:
    own_data()
    data = read_dataset(load_config(EXPERIMENTS / "grocery_fairness_price"), cache_dir())
    said = data.account
    assert said is not None
    assert said["rows"] == 75_000
    dropped = said["dropped"]
    assert isinstance(dropped, dict)
    assert said["used"] == len(data.interactions) == 75_000 - sum(dropped.values())
    assert set(data.items.attributes["brand"]) <= {"National", "Private", ""}


def test_every_answer_of_the_drivers_is_accounted_for() -> None:
    own_data()
    data = read_dataset(load_config(EXPERIMENTS / "vehicle_coupon_acceptance"), cache_dir())
    assert data.account is not None
    assert data.account["rows"] == data.account["used"] == 12_684  # as published
    assert (len(data.users), len(data.items)) == (567, 122)  # counted with pandas
    assert data.interactions.signals["accepted"].mean() == pytest.approx(0.568, abs=5e-4)
