"""Statistics of points: how they stand among each other, beside what their draws say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Bools, Floats
from pareto_rec.analysis.confirm.reported_front import Point
from pareto_rec.analysis.front_draws import (
    Answers,
    FrontFigures,
    StageFigures,
    Summary,
    feasible,
    figures,
    front_figures,
    p_of_ratio,
    paired,
)
from pareto_rec.search import Goal

__all__ = [
    "Answers",
    "DominanceProbabilities",
    "FrontFigures",
    "StageFigures",
    "Summary",
    "feasible",
    "figures",
    "front_figures",
    "p_of_ratio",
    "paired",
    "standing",
]


@dataclass(frozen=True)
class DominanceProbabilities:
    """Probabilities of dominance between the points on one stage, each ``[points]``.

    Attributes:
        share_own: Probability of being non-dominated among the points of the same front.
        share_all: The same among all points.
        by_own: Dominated by a point of the same front, by means.
        by_any: Dominated by any point.
        feasible: Keeps every bound, by means.
    """

    share_own: Floats
    share_all: Floats
    by_own: Bools
    by_any: Bools
    feasible: Bools


def standing(
    stage: StageFigures, points: Sequence[Point], goals: Sequence[Goal]
) -> DominanceProbabilities:
    """Compare all points with each other.

    Args:
        stage: What is known of all points.
        points: They know their fronts.
        goals: The searched objectives.
    """
    up = [goal.maximise for goal in goals]
    own, by_own = np.full(len(points), np.nan), np.zeros(len(points), dtype=bool)
    for name in dict.fromkeys(point.front for point in points):
        places = [index for index, point in enumerate(points) if point.front == name]
        own[places] = bootstrap.non_dominated_share(stage.draws[:, places], maximise=up)
        by_own[places] = bootstrap.dominated(stage.means[None, places], maximise=up)[0]
    return DominanceProbabilities(
        own,
        bootstrap.non_dominated_share(stage.draws, maximise=up),
        by_own,
        bootstrap.dominated(stage.means[None], maximise=up)[0],
        feasible(stage.means, goals),
    )
