"""Associations of decision variables with objectives, over all records and not the front alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pareto_rec.runs.view import RunView

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 0.05  # of a strength as large where variable and objective are independent


@dataclass(frozen=True)
class Drive:
    """Association of one decision variable with the searched objectives.

    Attributes:
        name: ``train.<name>`` or ``serve.<name>``.
        cases: Fits (training variables) or records (serving variables) that it rests on.
        ordered: Whether its values have an order, so that a strength has a sign.
        strengths: One per objective ``[objectives]``: Spearman's rank correlation, or for words
            the correlation ratio eta of the ranks, 0 to 1.
        chance: Size of a strength that chance alone exceeds in one of twenty cases.
    """

    name: str
    cases: int
    ordered: bool
    strengths: NDArray[np.float64]
    chance: float


def drives(view: RunView) -> list[Drive]:
    """Return every variable that varies, the strongest first.

    A training variable is held against the mean rank of each fit's records, since the records of
    one fit share it; a serving variable against the ranks of the records. Strength: Spearman's
    coefficient (Spearman 1904), for words eta, the root of the share of rank variance between them
    (Pearson 1905; its square over ranks is the statistic of Kruskal & Wallis 1952 divided by the
    number of cases less one, hence `chance` from chi-squared).
    """
    rows = view.records[view.records["status"] == "ok"]
    if rows.empty:
        return []
    ranks = rows[view.names].rank()
    fits = ranks.groupby(rows["fit"]).mean()
    first = rows.drop_duplicates("fit").set_index("fit").loc[fits.index]
    candidates = []
    for name in map(str, rows):
        if name.startswith("train."):
            candidates.append(_drive(name, first[name], fits))
        elif name.startswith("serve."):
            candidates.append(_drive(name, rows[name], ranks))
    varied = [drive for drive in candidates if drive is not None]
    return sorted(varied, key=lambda drive: -float(np.abs(drive.strengths).max()))


def _drive(name: str, column: pd.Series, outcomes: pd.DataFrame) -> Drive | None:
    """Return strengths over the cases with the variable active; None where it is constant."""
    from scipy.stats import chi2

    active = column.notna().to_numpy()
    column, outcomes = column[active], outcomes[active]
    kinds = column.nunique()
    if kinds < 2 or len(column) < 3:
        return None
    ordered = all(isinstance(value, int | float) for value in column)
    ranks = outcomes.rank()
    if ordered:
        strengths = ranks.corrwith(column.astype(float).rank())
    else:
        between = ranks.groupby(column.astype(str)).transform("mean").var(ddof=0)
        strengths = (between / ranks.var(ddof=0)) ** 0.5
    freedom = 1 if ordered else kinds - 1
    chance = float(np.sqrt(chi2.ppf(1 - CHANCE, freedom) / (len(column) - 1)))
    values = np.asarray(strengths.fillna(0.0), dtype=np.float64)
    return Drive(name, len(column), ordered, values, min(chance, 1.0))
