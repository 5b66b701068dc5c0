"""Makes one table of answers to coupons out of six files of The Complete Journey.

A row is a household and a kind of product on which a campaign that was sent to the household had a
coupon. Run it alone, or let ``run.py`` do so: ``python prepare.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir, written_whole
from pareto_rec.data.table.files import expand

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "${PARETO_REC_DATA}/completejourney"
LEVELS = ["product_type", "product_category", "department"]  # from narrow to wide
SAME = ["household_id", "campaign_id", "kind"]
FILES = (
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
    "products",
    "transactions_sample",
)
Tables = dict[str, "pd.DataFrame"]


def read(folder: Path) -> Tables:
    """Return the files by name.

    Raises:
        BadRequestError: If one of them is not there.
    """
    import pandas as pd

    found = {}
    for name in FILES:
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise BadRequestError(f"there is no file {path}: README.md says where it is available")
        found[name] = pd.read_parquet(path)
    return found


def named(values: pd.Series, level: str) -> pd.Series:
    """Return names of kinds: a type of product as it is, of wider levels "any" of it."""
    return values.astype(str) if level == LEVELS[0] else "any " + values.astype(str)


def kinds(files: Tables) -> pd.DataFrame:
    """Return what every coupon is for: the narrowest kind that half of its products or more are of.

    A type of product, else any of a category, else any of a department, else anything.
    """
    import pandas as pd

    both = files["coupons"][["coupon_upc", "product_id"]].drop_duplicates()
    both = both.merge(files["products"], on="product_id")
    size = both.groupby("coupon_upc").size()
    found = pd.DataFrame({"kind": "anything", **dict.fromkeys(LEVELS, "")}, index=size.index)
    for level in reversed(LEVELS):  # narrower names overwrite wider ones
        count = both.groupby(["coupon_upc", level], observed=True).size().rename("count")
        ordered = count.reset_index().sort_values(["count", level], ascending=[False, True])
        most = ordered.drop_duplicates("coupon_upc").set_index("coupon_upc")
        most = most[most["count"] * 2 >= size[most.index]]
        found.loc[most.index, level] = most[level].astype(str)
        found.loc[most.index, "kind"] = named(most[level], level)
    return found.reset_index()


def purchases(files: Tables, times: pd.DataFrame) -> pd.DataFrame:
    """Return household, campaign and coupon of purchases under the coupon in its time."""
    import pandas as pd

    lines = files["transactions_sample"]
    lines = lines[lines["quantity"] > 0][["household_id", "product_id", "transaction_timestamp"]]
    sent = lines.merge(files["campaigns"], on="household_id").merge(times, on="campaign_id")
    when = sent["transaction_timestamp"]
    inside = (when >= sent["start"]) & (when < sent["end"] + pd.Timedelta(days=1))
    return sent[inside].merge(files["coupons"], on=["product_id", "campaign_id"])


def prices(files: Tables) -> pd.DataFrame:
    """Return the median price of one piece of every kind, in dollars."""
    import pandas as pd

    lines = files["transactions_sample"]
    lines = lines[(lines["quantity"] > 0) & (lines["sales_value"] > 0)]
    lines = lines.assign(price=lines["sales_value"] / lines["quantity"])
    lines = lines.merge(files["products"], on="product_id")
    overall = round(float(lines["price"].median()), 2)
    parts = [pd.DataFrame({"kind": ["anything"], "price": [overall]})]
    for level in LEVELS:
        median = lines.groupby(level, observed=True)["price"].median().round(2).reset_index()
        parts.append(median.assign(kind=named(median[level], level))[["kind", "price"]])
    return pd.concat(parts)


def answers(files: Tables) -> pd.DataFrame:
    """Return one row per household, campaign and kind: bought or not, redeemed or not.

    ``bought`` holds where a line of the sample shows that a product under the coupon was bought
    while the campaign ran, and where the coupon was redeemed, which takes a purchase.
    """
    import pandas as pd

    times = files["campaign_descriptions"][["campaign_id", "start_date", "end_date"]]
    times = times.assign(
        start=pd.to_datetime(times["start_date"]), end=pd.to_datetime(times["end_date"])
    )[["campaign_id", "start", "end"]]
    of = kinds(files)
    offered = files["coupons"][["campaign_id", "coupon_upc"]].drop_duplicates().merge(of)
    offered = offered.sort_values(["campaign_id", "kind", "coupon_upc"])
    offered = offered.drop_duplicates(["campaign_id", "kind"]).drop(columns="coupon_upc")
    rows = files["campaigns"].merge(offered, on="campaign_id")
    labels = {"bought": purchases(files, times), "redeemed": files["coupon_redemptions"]}
    for name, found in labels.items():
        pairs = found.merge(of, on="coupon_upc")[SAME].drop_duplicates()
        rows = rows.merge(pairs.assign(**{name: 1}), on=SAME, how="left")
        rows[name] = rows[name].fillna(0).astype("int8")
    rows["bought"] = rows[["bought", "redeemed"]].max(axis=1)
    rows = rows.merge(times.drop(columns="end"), on="campaign_id")
    rows = rows.merge(prices(files), on="kind", how="left")
    return rows.sort_values(SAME).reset_index(drop=True)


def prepare(source: str = SOURCE) -> Path:
    """Write the table beside other computed data; where it is.

    Raises:
        BadRequestError: If a file is missing, or nothing can be written.
    """
    rows = answers(read(Path(expand(source))))
    target = cache_dir() / "prepared" / "coupon_ctr_cvr" / "answers.parquet"
    with written_whole(target) as spare:
        rows.to_parquet(spare, index=False)
    return target


if __name__ == "__main__":
    try:
        print(prepare())
    except BadRequestError as error:
        sys.exit(f"error: {error}")
