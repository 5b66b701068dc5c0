"""Coverage of item attributes that objectives read, in the catalogue and in the front's lists.

Missing values never make a list better (see each objective's "Misleads"), so a value that is low
may speak of the catalogue and not of the lists. The run says where that may be so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.objectives import Catalogue
from pareto_rec.runs.record import Record

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


def described_of(
    evaluator: Evaluator, records: Sequence[Record], _: Path
) -> list[tuple[str, Counts]]:
    """Return what was measured of the lists, by record id: objective -> how many of how many.

    Args:
        evaluator: Of the stage that the records were measured on.
        records: Records of the same fits.
    """
    own = evaluator.measuring
    wanted = [
        objective
        for objective in own.measures.all
        if objective.name in lacking(own.measures, own.catalogue)
    ]
    if not wanted:
        return [(record.id, {}) for record in records]
    described: list[tuple[str, Counts]] = []
    for record, outcome in zip(records, own.outcomes(*evaluator.fused(records)), strict=True):
        counts = {objective.name: objective.described(outcome) for objective in wanted}
        described.append((record.id, {name: n for name, n in counts.items() if n is not None}))
    return described
