"""Claims over several experiments, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pareto_rec.analysis.bootstrap import LEVEL, holm


@dataclass(frozen=True)
class ExperimentClaim:
    """One experiment's claim against its strongest opponent on test data.

    Attributes:
        experiment: Its name.
        opponent: The strongest.
        ratio: The search's hypervolume divided by the opponent's.
        searches: How many searches it is from; of several, their variance is in the p-value.
        p: Of equal hypervolumes.
        p_holm: The same, corrected for the number of experiments.
    """

    experiment: str
    opponent: str
    ratio: float
    searches: int
    p: float
    p_holm: float

    @property
    def is_shown(self) -> bool:
        """Whether it holds at the level of the intervals."""
        return self.p_holm <= 1.0 - LEVEL


def claims_together(contents: Mapping[str, Mapping[str, Any]]) -> list[ExperimentClaim]:
    """Return the claims of several confirmations, p-values corrected together.

    Within an experiment the p-value against the strongest opponent is corrected for its opponents
    already; over experiments the corrected ones are corrected again.

    Args:
        contents: Experiment -> content of its confirm.json; those without a p-value, such as files
            of earlier versions, are left out.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 1979.
    """
    found = {name: row for name, content in contents.items() if (row := _claim(content))}
    adjusted = holm([row[3] for row in found.values()])
    return [
        ExperimentClaim(name, *row, p_holm=p)
        for (name, row), p in zip(found.items(), adjusted, strict=True)
    ]


def _claim(content: Mapping[str, Any]) -> tuple[str, float, int, float] | None:
    """Return opponent, ratio, number of searches and p-value; None without one."""
    best = content.get("best_baseline")
    front = next((one for one in content.get("fronts", ()) if one["name"] == best), None)
    if front is None:
        return None
    searches = content.get("search_seeds") or {}
    for row in searches.get("opponents", ()):
        if row["kind"] == front["kind"] and row["p_holm"] is not None:
            return str(best), float(row["ratio"]["value"]), len(searches["runs"]), row["p_holm"]
    if front.get("p_holm") is None:
        return None
    return str(best), float(front["ratio"]["test"]["value"]), 1, float(front["p_holm"])
