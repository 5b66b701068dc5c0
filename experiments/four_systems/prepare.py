"""Makes one table of campaigns sent to households out of six files of The Complete Journey.

A row is a household and a campaign that was sent to it: what its coupons are for and what the
household had bought until then, in words; what it had spent; who it is; and whether it redeemed a
coupon of the campaign. Run it alone, or let ``run.py`` do so: ``python prepare.py``.
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
FILES = (
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
    "demographics",
    "products",
    "transactions_sample",
)
NAMED = 5  # categories that a text names
SENT = ["household_id", "campaign_id"]
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


def commonest(rows: pd.DataFrame, keys: list[str], column: str) -> pd.Series:
    """Return the most frequent texts of a column for each key, the most frequent first, joined."""
    counts = rows.groupby([*keys, column], observed=True).size().rename("count").reset_index()
    counts = counts.sort_values(
        [*keys, "count", column], ascending=[True] * len(keys) + [False, True]
    )
    first = counts.groupby(keys, observed=True).head(NAMED)
    words = first[column].astype(str).str.lower()
    return words.groupby([first[key] for key in keys], observed=True).agg(", ".join)


def sendings(files: Tables) -> pd.DataFrame:
    """Return one row per household and campaign."""
    import pandas as pd

    about = files["campaign_descriptions"].assign(
        start=lambda table: pd.to_datetime(table["start_date"])
    )[["campaign_id", "campaign_type", "start"]]
    products = files["products"][["product_id", "product_category"]]
    offers = files["coupons"].merge(products, on="product_id")
    offered = commonest(offers, ["campaign_id"], "product_category").rename("offered")
    rows = (
        files["campaigns"]
        .merge(about, on="campaign_id")
        .merge(offered.reset_index(), on="campaign_id", how="left")
    )
    lines = files["transactions_sample"].merge(products, on="product_id")
    lines = lines[lines["quantity"] > 0]
    before = rows[[*SENT, "start"]].merge(lines, on="household_id")
    before = before[before["transaction_timestamp"] < before["start"]]
    bought = commonest(before, SENT, "product_category").rename("bought")
    spent = before.groupby(SENT).agg(
        lines=("product_id", "size"), spent=("sales_value", "sum"), coupons=("coupon_disc", "sum")
    )
    rows = rows.merge(bought.reset_index(), on=SENT, how="left")
    rows = rows.merge(spent.reset_index(), on=SENT, how="left")
    rows = rows.merge(files["demographics"], on="household_id", how="left")
    taken = files["coupon_redemptions"][SENT].drop_duplicates().assign(redeemed=1)
    rows = rows.merge(taken, on=SENT, how="left")
    rows["redeemed"] = rows["redeemed"].fillna(0).astype("int8")
    for name in ("lines", "spent", "coupons"):
        rows[name] = rows[name].fillna(0.0)
    rows["offered"] = rows["offered"].fillna("many products")
    rows["bought"] = rows["bought"].fillna("nothing known")
    return rows.sort_values(SENT).drop(columns="start").reset_index(drop=True)


def prepare(source: str = SOURCE) -> Path:
    """Write the table beside other computed data; where it is.

    Raises:
        BadRequestError: If a file is missing, or nothing can be written.
    """
    rows = sendings(read(Path(expand(source))))
    target = cache_dir() / "prepared" / "four_systems" / "sendings.parquet"
    with written_whole(target) as spare:
        rows.to_parquet(spare, index=False)
    return target


if __name__ == "__main__":
    try:
        print(prepare())
    except BadRequestError as error:
        sys.exit(f"error: {error}")
