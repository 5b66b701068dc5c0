"""Archive of a search: the front so far, its counts, and how they grew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.space import Candidate
from pareto_rec.search.types import Goal, Progress, Scored
from pareto_rec.search.variables import Floats


class Archive:
    """The non-dominated feasible candidates, and one entry of history per generation.

    Attributes:
        history: Where the search stood after each generation.
        candidates: The front.
        cubes: Their points of the unit cube ``[front, dimension]``.
        values: Their objectives ``[front, goals]``, natural units.
        succeeded: Records with values; `failed` and `pruned`: those without.
    """

    def __init__(self, goals: Sequence[Goal], dimension: int) -> None:
        """Start with an empty front.

        Args:
            goals: What is searched for.
            dimension: Of the unit cube.
        """
        self._goals = tuple(goals)
        self._maximise = [goal.maximise for goal in goals]
        self._reference = [goal.reference for goal in goals]
        self.history: list[Progress] = []
        self.candidates: list[Candidate] = []
        self.cubes: Floats = np.zeros((0, dimension))
        self.values: Floats = np.zeros((0, len(goals)))
        self.succeeded = self.failed = self.pruned = 0

    def scored(self) -> list[Scored]:
        """Return the front with its objectives by name."""
        names = [goal.name for goal in self._goals]
        return [
            Scored(candidate, dict(zip(names, row, strict=True)))
            for candidate, row in zip(self.candidates, self.values.tolist(), strict=True)
        ]

    def add(
        self, candidates: Sequence[Candidate], cubes: Floats, values: Floats, *,
        fits: int, failed: int, pruned: int,
    ) -> Progress:  # fmt: skip
        """Fold in the records of a generation, and forget what is not on the front.

        Args:
            candidates: Those with values.
            cubes: Their points ``[records, dimension]``.
            values: Their objectives ``[records, goals]``, natural units.
            fits: Fits since the start of the search.
            failed: Records of this generation that failed.
            pruned: Records of this generation whose fits were stopped.
        """
        feasible = np.flatnonzero(violation(values, self._goals) == 0.0)
        pool = [*self.candidates, *(candidates[index] for index in feasible.tolist())]
        table = np.concatenate([self.values, values[feasible]])
        stays = np.flatnonzero(front.non_dominated(table, maximise=self._maximise))
        self.candidates = [pool[index] for index in stays.tolist()]
        self.cubes = np.concatenate([self.cubes, cubes[feasible]])[stays]
        self.values = table[stays]
        self.succeeded += len(candidates)
        self.failed += failed
        self.pruned += pruned
        self.history.append(
            Progress(
                generation=len(self.history),
                fits=fits,
                evaluated=self.succeeded + self.failed + self.pruned,
                failed=self.failed,
                front=len(self.candidates),
                hypervolume=front.hypervolume(
                    self.values, reference=self._reference, maximise=self._maximise
                ),
                pruned=self.pruned,
            )
        )
        return self.history[-1]
