"""Coverage of item attributes that objectives read, in the catalogue and in the front's lists.

Missing values never make a list better (see each objective's "Misleads"), so a value that is low
may speak of the catalogue and not of the lists. The run says where that may be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.objectives import Catalogue, Objective, Outcome

Counts = Mapping[str, tuple[int, int]]


def lacking(measures: ObjectiveSet, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Return objectives that read what some items lack.

    Returns:
        Objective -> ``what`` it reads, ``items`` that lack it, ``of`` so many, and whether it
        counts ``pairs``.
    """
    entries = {}
    for objective in measures.all:
        for what in sorted(objective.reads):
            known = catalogue.known(what)
            if not known.all():
                count = int((~known).sum())
                entries[objective.name] = {
                    "what": what, "items": count, "of": len(known), "pairs": objective.of_pairs
                }  # fmt: skip
    return entries


def described_in(outcome: Outcome, objectives: Iterable[Objective]) -> Counts:
    """Return what was measured of some lists: objective -> how many of how many.

    Args:
        outcome: The lists.
        objectives: Those that read what some items lack.
    """
    counts = {objective.name: objective.described(outcome) for objective in objectives}
    return {name: count for name, count in counts.items() if count is not None}
