"""The coupon experiment from files to a front, on files made on the spot."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

RUN = Path(__file__).parents[2] / "experiments" / "coupon_ctr_cvr" / "run.py"
HOUSES, KINDS, CAMPAIGNS = 40, 12, 6


def write_files(folder: Path) -> None:
    """Campaigns a month apart; households that like some kinds buy and redeem those more."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    products = [(f"p{n}", "GROCERY", f"CATEGORY {n // 3}", f"TYPE {n}") for n in range(KINDS)]
    days = [pd.Timestamp(2017, 1 + n, 1) for n in range(CAMPAIGNS)]
    sent, redeemed, lines, coupons = [], [], [], []
    for campaign, day in enumerate(days):
        coupons += [(f"c{campaign}-{n}", f"p{n}", str(campaign)) for n in range(KINDS)]
        for house in range(HOUSES):
            sent.append((str(campaign), f"h{house}"))
            for n in range(KINDS):
                chance = 0.5 if n % 4 == house % 4 else 0.1
                if rng.random() < chance:
                    when = day + pd.Timedelta(days=3)
                    lines.append((f"h{house}", f"p{n}", 1.0, 1.0 + n, when))
                    if rng.random() < 0.4:
                        redeemed.append((f"h{house}", f"c{campaign}-{n}", str(campaign)))
    tables = {
        "products": (products, ["product_id", "department", "product_category", "product_type"]),
        "coupons": (coupons, ["coupon_upc", "product_id", "campaign_id"]),
        "campaigns": (sent, ["campaign_id", "household_id"]),
        "coupon_redemptions": (redeemed, ["household_id", "coupon_upc", "campaign_id"]),
        "campaign_descriptions": (
            [
                (str(n), str(d.date()), str(d.date() + pd.Timedelta(days=20)))
                for n, d in enumerate(days)
            ],
            ["campaign_id", "start_date", "end_date"],
        ),
        "transactions_sample": (
            lines,
            ["household_id", "product_id", "quantity", "sales_value", "transaction_timestamp"],
        ),
    }
    for name, (rows, columns) in tables.items():
        pd.DataFrame(rows, columns=columns).to_parquet(folder / f"{name}.parquet")


def run(*options: str, data: Path | None, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PARETO_REC_DATA"}
    environment |= {"PARETO_REC_CACHE": str(cache)}
    environment |= {} if data is None else {"PARETO_REC_DATA": str(data)}
    return subprocess.run(
        [sys.executable, str(RUN), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_files_to_a_front_with_chances(tmp_path: Path) -> None:
    write_files(tmp_path / "data" / "completejourney")
    settings = ("backbone.text=false", "search.sweep=2", "fixed.width=8", "fixed.heads=2")
    settings += ("fixed.steps=5", "fixed.task_batch=64", "split.validation=0.2", "split.test=0.2")
    settings += (
        'reported=["log_loss[bought]", "pooled_auc[bought*redeemed]", '
        '"calibration_error[redeemed]", "expected_revenue@10[bought*redeemed]", '
        '"grouped_auc[redeemed]"]',
    )
    options = [part for one in settings for part in ("--set", one)]
    out = tmp_path / "run"
    found = run(
        *("--smoke", *options, "--workers", "1", "--out", str(out)),
        data=tmp_path / "data",
        cache=tmp_path / "cache",
    )
    assert found.returncode == 0, found.stderr
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert {one["status"] for one in records} == {"ok"}
    bounds = {"log_loss[bought]": math.log(2) * 3, "calibration_error[redeemed]": 1.0}
    networks = [one for one in records if one["fit"] != "experts"]
    assert networks
    assert all(not set(bounds) & set(r["objectives"]) for r in records if r not in networks)
    for one in networks:
        values = one["objectives"]
        assert all(0 <= values[name] <= most for name, most in bounds.items())
        assert 0 <= values["pooled_auc[bought*redeemed]"] <= 1
        assert 0 < values["expected_revenue@10[bought*redeemed]"] < sum(range(1, 13))
    alone = [one for one in networks if "+" not in one["fit"]]
    by_fit = {(r["fit"], r["objectives"]["log_loss[bought]"]) for r in alone}
    assert len(by_fit) == len({r["fit"] for r in alone})  # serving changes no probability
    rows = list(csv.DictReader((out / "baselines.csv").read_text().splitlines()))
    assert all(float(row["grouped_auc[redeemed]"]) > 0 for row in rows)
    assert all(not row.get("log_loss[bought]") for row in rows)  # experts give no probabilities


def test_without_data_it_says_so_in_one_line(tmp_path: Path) -> None:
    found = run(data=None, cache=tmp_path)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "set the environment variable PARETO_REC_DATA" in found.stderr
    assert not list(tmp_path.iterdir())
