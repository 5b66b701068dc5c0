"""Parents: the records that stand for each fit, and their order by what the fits are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.types import Goal
from pareto_rec.search.variables import Floats


@dataclass(frozen=True)
class Parent:
    """A record that stands for its fit.

    Attributes:
        fit: Id of its training variables.
        cube: Its point of the unit cube ``[dimension]``.
        values: Its objectives ``[goals]``, natural units.
    """

    fit: str
    cube: Floats
    values: Floats


class Parents:
    """The parents of all fits so far."""

    def __init__(self, goals: Sequence[Goal]) -> None:
        """Start without any.

        Args:
            goals: What is searched for.
        """
        self._goals = tuple(goals)
        self._maximise = [goal.maximise for goal in goals]
        self._all: list[Parent] = []

    def add(self, parents: Sequence[Parent]) -> None:
        """Remember parents of a generation."""
        self._all += parents

    def by_worth(self, worth: Mapping[str, float]) -> list[Parent]:
        """Return all parents, those of the fits that are worth most first.

        Fits worth the same are ordered by their best record: by violation of the constraints, then
        by non-dominated sorting, then by age, the oldest first. Parents of one fit stay together.

        Args:
            worth: By id of training variables; a fit that is not named is worth nothing.
        """
        if not self._all:
            return []
        table = np.stack([one.values for one in self._all])
        broken, ranks = violation(table, self._goals), front.ranks(table, maximise=self._maximise)
        best: dict[str, tuple[float, int]] = {}
        own: dict[str, list[Parent]] = {}
        for one, key in zip(
            self._all, zip(broken.tolist(), ranks.tolist(), strict=True), strict=True
        ):
            best[one.fit] = min(best.get(one.fit, key), key)
            own.setdefault(one.fit, []).append(one)
        order = sorted(own, key=lambda fit: (-worth.get(fit, 0.0), best[fit]))
        return [one for fit in order for one in own[fit]]
