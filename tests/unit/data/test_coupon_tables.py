"""The table of coupons that an experiment makes, on files small enough to check by eye."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.checks import check_objectives
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import read_split

pytestmark = pytest.mark.usefixtures("single_thread")

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
PRODUCTS = [  # product, department, category, type
    *(("p1", "GROCERY", "TEA", "GREEN TEA"), ("p2", "GROCERY", "TEA", "BLACK TEA")),
    *(("p3", "GROCERY", "JAM", "CHERRY JAM"), ("p4", "GROCERY", "JAM", "PLUM JAM")),
    *(("p5", "DRUG", "SOAP", "SOAP"), ("p6", "MEAT", "BEEF", "BEEF")),
]
COUPONS = [  # coupon, product, campaign
    *(("green", "p1", "1"), ("tea", "p1", "1"), ("tea", "p2", "1"), ("grocer", "p1", "2")),
    *(("grocer", "p3", "2"), ("grocer", "p4", "2"), ("grocer", "p5", "2")),
    *(("all", "p1", "2"), ("all", "p3", "2"), ("all", "p5", "2"), ("all", "p6", "2")),
    *(("all", "p2", "2"), ("green2", "p1", "2")),
]
LINES = [  # household, product, pieces, dollars, when
    *(("a", "p1", 2, 3.0, "2017-01-03"), ("a", "p2", 1, 2.5, "2017-03-01")),
    *(("b", "p1", 1, 2.0, "2017-01-20 23:00"), ("b", "p5", 1, 9.0, "2017-02-05")),
    *(("c", "p1", 1, 2.0, "2017-01-03"), ("a", "p3", 0, 0.0, "2017-02-03")),
]


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    path = EXPERIMENTS / "coupon_ctr_cvr" / "prepare.py"
    spec = importlib.util.spec_from_file_location("coupon_prepare", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frame(rows: list[tuple[object, ...]], *names: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(names))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data" / "completejourney"
    folder.mkdir(parents=True)
    types = ("product_id", "department", "product_category", "product_type")
    sold = ("household_id", "product_id", "quantity", "sales_value", "transaction_timestamp")
    lines = frame(list(LINES), *sold)
    lines["transaction_timestamp"] = pd.to_datetime(
        lines["transaction_timestamp"], format="ISO8601"
    )
    periods = [("1", "2017-01-01", "2017-01-20"), ("2", "2017-02-01", "2017-02-28")]
    tables = {
        "products": frame(list(PRODUCTS), *types),
        "coupons": frame(list(COUPONS), "coupon_upc", "product_id", "campaign_id"),
        "transactions_sample": lines,
        "campaigns": frame(
            [("1", "a"), ("1", "b"), ("2", "a"), ("2", "b")], "campaign_id", "household_id"
        ),
        "campaign_descriptions": frame(list(periods), "campaign_id", "start_date", "end_date"),
        "coupon_redemptions": frame(
            [("a", "all", "2"), ("a", "all", "2")], "household_id", "coupon_upc", "campaign_id"
        ),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    monkeypatch.setenv("PARETO_REC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PARETO_REC_CACHE", str(tmp_path / "cache"))
    return folder


def test_a_coupon_is_for_the_narrowest_kind_of_half_of_its_products(
    prepare: ModuleType, data: Path
) -> None:
    found = prepare.kinds(prepare.read(data)).set_index("coupon_upc")
    assert found["kind"].to_dict() == {
        "green": "GREEN TEA",
        "green2": "GREEN TEA",
        "tea": "BLACK TEA",  # half of each: the first in the alphabet
        "grocer": "any JAM",  # two of four
        "all": "any GROCERY",  # three of five, two of which are tea
    }
    assert found.loc["all", ["product_type", "product_category", "department"]].tolist() == [
        *("", "", "GROCERY")
    ]
    assert found.loc["green", "product_category"] == "TEA"


def test_who_bought_and_who_redeemed(prepare: ModuleType, data: Path) -> None:
    rows = prepare.answers(prepare.read(data))
    said = {
        (r.household_id, r.campaign_id, r.kind): (r.bought, r.redeemed) for r in rows.itertuples()
    }
    assert said == {
        ("a", "1", "GREEN TEA"): (1, 0),
        ("a", "1", "BLACK TEA"): (1, 0),  # green tea is under that coupon too
        ("b", "1", "GREEN TEA"): (1, 0),  # on the last day
        ("b", "1", "BLACK TEA"): (1, 0),
        ("a", "2", "any JAM"): (0, 0),  # nothing of it was bought, but a line was corrected
        ("a", "2", "any GROCERY"): (1, 1),  # no line in the sample, but redeeming takes a purchase
        ("a", "2", "GREEN TEA"): (0, 0),  # bought in another month
        ("b", "2", "any JAM"): (1, 0),  # soap is under it as well
        ("b", "2", "any GROCERY"): (1, 0),
        ("b", "2", "GREEN TEA"): (0, 0),
    }  # household c was sent nothing
    assert (rows["redeemed"] <= rows["bought"]).all()
    assert set(rows["start"].astype(str)) == {"2017-01-01", "2017-02-01"}
    price = rows.set_index("kind")["price"].to_dict()
    assert price["GREEN TEA"] == 2.0  # median of 1.50, 2 and 2
    assert price["any GROCERY"] == 2.0  # and 2.50


def test_it_is_the_same_whatever_the_order_of_the_files(prepare: ModuleType, data: Path) -> None:
    first = pd.read_parquet(prepare.prepare())
    for path in data.glob("*.parquet"):
        table = pd.read_parquet(path)
        table.sample(frac=1, random_state=3).to_parquet(path, index=False)
    target = prepare.prepare()
    pd.testing.assert_frame_equal(pd.read_parquet(target), first)
    assert target.is_relative_to(data.parents[1] / "cache")


def test_what_is_missing_is_one_line(
    prepare: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "coupons.parquet").unlink()
    with pytest.raises(BadRequestError, match=r"no file .*coupons\.parquet: README\.md says"):
        prepare.prepare()
    monkeypatch.delenv("PARETO_REC_DATA")
    with pytest.raises(BadRequestError, match="set the environment variable PARETO_REC_DATA"):
        prepare.prepare()


def test_the_config_reads_it_and_cuts_between_campaigns(prepare: ModuleType, data: Path) -> None:
    more = [(str(n), f"2017-0{n}-01", f"2017-0{n}-20") for n in range(3, 6)]
    periods = pd.read_parquet(data / "campaign_descriptions.parquet")
    others = frame(list(more), "campaign_id", "start_date", "end_date")
    pd.concat([periods, others]).to_parquet(data / "campaign_descriptions.parquet")
    sent = [(str(n), f"h{house}") for n in range(1, 6) for house in range(6)]
    frame(list(sent), "campaign_id", "household_id").to_parquet(data / "campaigns.parquet")
    offered = [(f"{p[3]}{n}", p[0], str(n)) for n in range(1, 6) for p in PRODUCTS]
    coupons = frame(list(offered), "coupon_upc", "product_id", "campaign_id")
    coupons.to_parquet(data / "coupons.parquet")
    taken = [(f"h{n % 6}", f"{PRODUCTS[n % 6][3]}{n % 5 + 1}", str(n % 5 + 1)) for n in range(20)]
    redeemed = frame(list(taken), "household_id", "coupon_upc", "campaign_id")
    redeemed.to_parquet(data / "coupon_redemptions.parquet")
    prepare.prepare()
    config = load_config(EXPERIMENTS / "coupon_ctr_cvr")
    found = read_split(config, data.parents[1] / "cache")
    check_objectives(config, Experiment.of(config).objectives, found.validation)
    assert found.validation.held_out_shown is not None
    assert len(found.validation.held_out_shown) > len(found.validation.held_out)
    assert found.validation.held_out.time.min() > found.validation.train.time.max()


def test_every_redemption_of_the_published_files_is_accounted_for(
    prepare: ModuleType,
) -> None:
    if not os.environ.get("PARETO_REC_DATA"):
        pytest.skip("PARETO_REC_DATA names no folder with the data of the experiments on tables")
    files = prepare.read(Path(os.environ["PARETO_REC_DATA"]) / "completejourney")
    rows = prepare.answers(files)
    redeemed = files["coupon_redemptions"].merge(prepare.kinds(files), on="coupon_upc")
    assert len(redeemed) == 2_102  # as published: none is lost in the join
    assert rows["redeemed"].sum() == len(redeemed[prepare.SAME].drop_duplicates())
    sent = set(zip(files["campaigns"].campaign_id, files["campaigns"].household_id, strict=True))
    assert set(zip(rows.campaign_id, rows.household_id, strict=True)) == sent
    assert not rows.duplicated(prepare.SAME).any()


def test_drivers_and_situations_of_the_survey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver is a profile, an item a coupon in a situation, a "no" an answer."""
    folder = tmp_path / "vehicle_coupon"
    folder.mkdir()
    config = load_config(EXPERIMENTS / "vehicle_coupon_acceptance")
    profile = config.data.columns.user
    assert profile is not None
    names = [part.strip("{}") for part in profile.split(", ")]
    situation = ["coupon", "expiration", "destination", "passanger", "time"]
    rows = []
    for driver in range(12):
        for offer in range(10):
            person = [f"{name}{driver % 6}" for name in names]
            place = [f"{name}{offer // 2}" for name in situation[:-1]] + [f"{offer}PM"]
            rows.append([*person, *place, (driver + offer) % 2])
    table = pd.DataFrame(rows, columns=[*names, *situation, "Y"])
    path = folder / "in-vehicle-coupon-recommendation.csv.zip"
    table.to_csv(path, index=False, compression={"method": "zip", "archive_name": "all.csv"})
    monkeypatch.setenv("PARETO_REC_DATA", str(tmp_path))
    found = read_split(config, tmp_path / "cache").validation
    assert found.shape == (6, 10)  # two drivers of one profile are one
    check_objectives(config, Experiment.of(config).objectives, found)
    assert found.shown is not None
    assert set(found.shown.signals["accepted"].tolist()) == {0.0, 1.0}
    assert "driver with passenger: passanger0" in found.items.texts[0]
