"""Bounds on objectives: parsing, filtering, and why no point keeps them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis.decide.points import Bools, Floats, Points
from pareto_rec.core.errors import BadRequestError

_BOUND = re.compile(r"\s*(?P<name>.*?)\s*(?P<sign>>=|<=)\s*(?P<value>\S+)\s*")


@dataclass(frozen=True)
class Bound:
    """An objective and the least or the most that it may be.

    Attributes:
        name: Objective.
        at_least: Whether the limit is a lower one.
        limit: Natural units.
    """

    name: str
    at_least: bool
    limit: float

    @classmethod
    def read(cls, text: str) -> Bound:
        """Return the bound of a text such as ``ndcg@10>=0.15``.

        Raises:
            BadRequestError: If it cannot be read.
        """
        match = _BOUND.fullmatch(text)
        try:
            limit = float(match["value"]) if match else math.nan
        except ValueError:
            limit = math.nan
        if match is None or not match["name"] or not math.isfinite(limit):
            raise BadRequestError(
                f'where "{text}" cannot be read: write for example "ndcg@10>=0.15" or '
                '"latency_p95<=5"'
            )
        return cls(match["name"], match["sign"] == ">=", limit)

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.at_least else '<='} {self.limit:g}"

    def kept(self, values: Floats) -> Bools:
        """Return which values keep it; NaN never does."""
        within = values >= self.limit if self.at_least else values <= self.limit
        return np.asarray(within)


def kept(points: Points, bounds: Sequence[Bound]) -> Bools:
    """Return which points keep every bound ``[points]``.

    Raises:
        BadRequestError: If an objective is not known, or no point keeps them all.
    """
    columns = [points.column(bound.name) for bound in bounds]
    masks = [
        bound.kept(points.values[:, column]) for bound, column in zip(bounds, columns, strict=True)
    ]
    allowed = np.logical_and.reduce([np.ones(len(points.ids), dtype=bool), *masks])
    if not allowed.any():
        raise BadRequestError(_reason(points, bounds, masks))
    return np.asarray(allowed)


def _reason(points: Points, bounds: Sequence[Bound], masks: Sequence[Bools]) -> str:
    """Return which bound fails, alone or together with those before it, and what comes nearest."""
    before = np.ones(len(points.ids), dtype=bool)
    for bound, mask in zip(bounds, masks, strict=True):  # one that no point keeps, even alone
        if not mask.any():
            return f"no point has {bound}; {_nearest(points, bound, before)}"
    for index, (bound, mask) in enumerate(zip(bounds, masks, strict=True)):
        if not (before & mask).any():
            given = " and ".join(str(earlier) for earlier in bounds[:index])
            near = _nearest(points, bound, before)
            return f"no point has {given} and {bound} together; with {given} {near}"
        before = before & mask
    raise AssertionError("some bound must fail")


def _nearest(points: Points, bound: Bound, among: Bools) -> str:
    values = points.values[:, points.column(bound.name)]
    rows = np.flatnonzero(among & np.isfinite(values))
    if not len(rows):
        return "it has no value at any of them"
    best = rows[np.argmax(values[rows]) if bound.at_least else np.argmin(values[rows])]
    word = "highest" if bound.at_least else "lowest"
    return f"the {word} is {values[best]:.6g}, point {points.ids[best]}"
