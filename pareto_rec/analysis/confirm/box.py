"""Box of the compared hypervolumes: from the reference to the best value of any compared point.

A hypervolume has the product of all units for a unit, so 9.6e7 of one experiment and .0033 of
another say nothing by themselves. Its share of the box is between 0 and 1 (but for noise) and
leaves ratios as they are, since all fronts of a confirmation share one box.

Source: normalisation by reference and ideal point as in Knowles, Thiele and Zitzler, A tutorial on
the performance assessment of stochastic multiobjective optimizers, TIK report 214, 2006, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis.bootstrap import Floats
from pareto_rec.search import Goal


@dataclass(frozen=True)
class Box:
    """Corners of the box, one number per objective.

    Attributes:
        reference: Worth nothing.
        ideal: The best value of any compared point; the reference where none is better.
    """

    reference: tuple[float, ...]
    ideal: tuple[float, ...]

    @property
    def volume(self) -> float:
        """Volume of the box; 0 where no point is better than the reference in some objective."""
        return float(np.abs(np.subtract(self.ideal, self.reference)).prod())


def box_of(values: Sequence[Floats], goals: Sequence[Goal]) -> Box:
    """Return the box of some points.

    Args:
        values: Arrays ``[points, objectives]``, natural units; NaN does not count.
        goals: The searched objectives.
    """
    rows = np.concatenate(list(values))
    ideal = []
    for column, goal in zip(rows.T, goals, strict=True):
        known = [*column[np.isfinite(column)].tolist(), goal.reference]
        ideal.append(max(known) if goal.maximise else min(known))
    return Box(tuple(goal.reference for goal in goals), tuple(ideal))
