"""What the records of a search say its fits, and settings of them, are worth.

Records are counted by generation, so that a search that is resumed finds what it found before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from pareto_rec.runs.record import Record
from pareto_rec.search import Goal
from pareto_rec.search import pareto as front
from pareto_rec.search.constraints import violation
from pareto_rec.search.space import Candidate

SERVING: Final = "serving"  # origin of the records of settings

Floats = NDArray[np.float64]


class Box(TypedDict):
    """What a hypervolume is computed with."""

    reference: list[float]
    maximise: list[bool]


def box_of(goals: Sequence[Goal]) -> Box:
    """Return what the hypervolume of some goals is computed with."""
    return {
        "reference": [goal.reference for goal in goals],
        "maximise": [goal.maximise for goal in goals],
    }


@dataclass(frozen=True)
class FitRecords:
    """One fit with its feasible records.

    Attributes:
        fit: Its id.
        records: They name no other fit.
        values: Their searched objectives ``[records, goals]``.
    """

    fit: str
    records: tuple[Record, ...]
    values: Floats


def by_fit(records: Iterable[Record], goals: Sequence[Goal]) -> list[FitRecords]:
    """Return the fits that have feasible records of their own, in the order of the search.

    A setting of the serving search is no record of a fit's own, even if it fuses no other.
    """
    ordered = sorted(records, key=lambda record: (record.generation, record.position))
    own: dict[str, list[Record]] = {}
    for record in ordered:
        if record.status == "ok" and record.origin != SERVING and len(record.fit_ids) == 1:
            own.setdefault(record.fit, []).append(record)
    fits = []
    for fit, members in own.items():
        values = values_of(members, goals)
        inside = np.flatnonzero(violation(values, goals) == 0.0)
        if len(inside):
            kept = tuple(members[index] for index in inside.tolist())
            fits.append(FitRecords(fit, kept, values[inside]))
    return fits


def values_of(records: Sequence[Record], goals: Sequence[Goal]) -> Floats:
    """Return searched objectives ``[records, goals]``, natural units."""
    rows = [[record.objectives[goal.name] for goal in goals] for record in records]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(goals))


def feasible(records: Iterable[Record], goals: Sequence[Goal]) -> tuple[list[Record], Floats]:
    """Return records that meet all constraints, and their values ``[records, goals]``."""
    usable = [record for record in records if record.status == "ok"]
    values = values_of(usable, goals)
    inside = np.flatnonzero(violation(values, goals) == 0.0)
    return [usable[index] for index in inside.tolist()], values[inside]


def most_accurate(fits: Sequence[FitRecords], goals: Sequence[Goal]) -> FitRecords:
    """Return the fit with the best record by the first objective."""
    sign = 1.0 if goals[0].maximise else -1.0
    return max(fits, key=lambda fit: float((sign * fit.values[:, 0]).max()))


def chosen_fits(fits: Sequence[FitRecords], count: int, goals: Sequence[Goal]) -> list[str]:
    """Return ids of the fits whose records together keep the most hypervolume.

    Args:
        fits: To choose from.
        count: How many; fewer where no other adds anything.
        goals: What is searched for.
    """
    nothing = np.zeros((0, len(goals)))
    picked = front.select_sets([one.values for one in fits], count, given=nothing, **box_of(goals))
    return [fits[index].fit for index in picked]


class Journal(Protocol):
    """Holds the records of a search (`pareto_rec.execution.run_writer.RunWriter`)."""

    @property
    def records(self) -> Sequence[Record]:
        """All records so far."""


@dataclass(frozen=True)
class SearchHistory:
    """The records of a search, by generations of fits and rounds of settings.

    Attributes:
        journal: Holds all records so far.
        goals: What is searched for.
    """

    journal: Journal
    goals: Sequence[Goal]

    @property
    def box(self) -> Box:
        """What hypervolumes are computed with."""
        return box_of(self.goals)

    def before(self, generation: int) -> list[Record]:
        """Return records of the generations before one, in the order of the search.

        A resumed run holds later ones already, which must not decide what is asked for.
        """
        earlier = [one for one in self.journal.records if one.generation < generation]
        return sorted(earlier, key=lambda record: (record.generation, record.position))

    def feasible(self, generation: int) -> tuple[list[Record], Floats]:
        """Return feasible records before a generation, and their values ``[records, goals]``."""
        return feasible(self.before(generation), self.goals)

    def offered(self, generation: int) -> set[str]:
        """Return the fits that settings before a generation were searched of."""
        searched = [one for one in self.before(generation) if one.origin == SERVING]
        return {fit for one in searched for fit in one.fit_ids}

    def worth(self, generation: int) -> dict[str, float]:
        """Return fit -> hypervolume that would be lost without the records that fuse it.

        Args:
            generation: Records before it count.

        Returns:
            The fits that stand on the front.
        """
        records, values = self.feasible(generation)
        whole = front.hypervolume(values, **self.box)
        on_front = np.flatnonzero(front.non_dominated(values, maximise=self.box["maximise"]))
        return {
            fit: whole - _without({fit}, records, values, self.box)
            for fit in sorted({name for i in on_front.tolist() for name in records[i].fit_ids})
        }

    def worth_of_training(self, generation: int) -> dict[str, float]:
        """Return the same by id of training variables (`Trial.train_id`)."""
        worth = self.worth(generation)
        return {
            Candidate(one.records[0].train, {}).train_id: worth[one.fit]
            for one in by_fit(self.before(generation), self.goals)
            if one.fit in worth
        }

    def gained(self, begin: int, middle: int, end: int) -> tuple[float, float]:
        """Return what fits, and the settings searched after them, added to the hypervolume.

        Args:
            begin: First generation of the fits.
            middle: First round of the settings.
            end: The generation after the last round.

        Returns:
            What would be lost without these fits, and what was gained besides.
        """
        before = front.hypervolume(self.feasible(begin)[1], **self.box)
        earlier = {fit for one in self.before(begin) for fit in one.fit_ids}
        new = {fit for one in self.before(middle) for fit in one.fit_ids} - earlier
        records, values = self.feasible(end)
        after = front.hypervolume(values, **self.box)
        without = _without(new, records, values, self.box)
        return after - without, max(without - before, 0.0)

    def counted(self, begin: int, end: int) -> int:
        """Return how many records the generations from `begin` until before `end` have."""
        return sum(begin <= record.generation < end for record in self.journal.records)

    def trained(self, begin: int, end: int) -> int:
        """Return how many fits came in the generations from `begin` until before `end`."""
        before, until = (
            {fit for one in self.before(number) for fit in one.fit_ids} for number in (begin, end)
        )
        return len(until) - len(before)

    def seconds(self, begin: int, end: int) -> float:
        """Return how long some generations took, by the stamps of the records.

        Args:
            begin: The first one.
            end: The one after the last.
        """
        return self._stamp(end) - self._stamp(begin)

    def _stamp(self, generation: int) -> float:
        """Return when the last record before a generation was written, seconds of the search."""
        return max(
            (one.timing.get("elapsed_s", 0.0) for one in self.before(generation)), default=0.0
        )


def _without(fits: Collection[str], records: Sequence[Record], values: Floats, box: Box) -> float:
    """Return the hypervolume of the records that fuse none of some fits.

    Records behind those that do come to the front, so all are looked at.
    """
    rest = [i for i, one in enumerate(records) if not any(fit in fits for fit in one.fit_ids)]
    return front.hypervolume(values[rest], **box)
