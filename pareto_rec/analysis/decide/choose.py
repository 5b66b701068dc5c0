"""Choice of one point from a front: a rule under bounds, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pareto_rec.analysis.decide.bounds import Bound, kept
from pareto_rec.analysis.decide.pickers import ByHand, Picker
from pareto_rec.analysis.decide.points import Bools, Points
from pareto_rec.analysis.decide.tradeoff import Exchange, exchanges
from pareto_rec.core.errors import BadRequestError

TIE = 1e-12  # relative; badness nearer than this differs by rounding alone


@dataclass(frozen=True)
class Pick:
    """The chosen point.

    Attributes:
        rule: Registered name of the rule.
        id: The point.
        row: Its row on the front.
        objectives: Its values, natural units.
        reason: Why it, in a sentence.
        allowed: Number of points that kept the bounds.
        tied: Ids of the other points that the rule cannot tell from it.
        steps: What each searched objective costs in the others.
    """

    rule: str
    id: str
    row: int
    objectives: dict[str, float]
    reason: str
    allowed: int
    tied: tuple[str, ...]
    steps: tuple[Exchange, ...]


def choose(points: Points, picker: Picker, bounds: Sequence[Bound] = ()) -> Pick:
    """Return the least bad point among those that keep the bounds.

    Of points that the rule cannot tell apart, the one with the smallest sum of losses on the
    front's ranges is taken, then the first.

    Args:
        points: The front; not altered.
        picker: The rule.
        bounds: What the point has to keep.

    Raises:
        BadRequestError: If no point keeps the bounds, or the rule can judge none that does.
    """
    allowed = kept(points, bounds)
    badness = np.where(allowed, picker.badness(points), np.inf)
    least = float(badness.min())
    if not np.isfinite(least):
        raise BadRequestError(_none(picker, points, bounds))
    tied = np.flatnonzero(badness <= least + TIE * max(abs(least), 1.0))
    total = points.losses[tied].sum(axis=1)
    row = int(tied[np.argmin(np.round(total, 12))])
    others = tuple(points.ids[other] for other in tied if other != row)
    return Pick(
        picker.name,
        points.ids[row],
        row,
        points.objectives(row),
        _reason(points, picker, bounds, row, allowed, others),
        int(allowed.sum()),
        others,
        tuple(exchanges(points, row)),
    )


def _none(picker: Picker, points: Points, bounds: Sequence[Bound]) -> str:
    conditions = " and ".join(str(bound) for bound in bounds)
    if isinstance(picker, ByHand):
        row = points.row(picker.id)
        broken = next(b for b in bounds if not b.kept(points.values[row])[points.column(b.name)])
        value = points.values[row, points.column(broken.name)]
        return f"point {points.ids[row]} has {broken.name} = {value:.6g}, not {broken}"
    if bounds:
        return (
            f"the rule can judge no point that has {conditions}; relax a bound or take another rule"
        )
    return f'the rule "{picker.name}" can judge no point of this front; take another rule'


def _reason(
    points: Points,
    picker: Picker,
    bounds: Sequence[Bound],
    row: int,
    allowed: Bools,
    tied: Sequence[str],
) -> str:
    among = f"of {len(points.ids)} points"
    if bounds:
        conditions = " and ".join(str(bound) for bound in bounds)
        among = f"of the {int(allowed.sum())} {among} with {conditions}"
    text = f"{among}, it {picker.says(points, row)}"
    if tied:
        count = len(tied) + 1
        text += f"; {count} points tie, and the one that loses least in all objectives was taken"
    return text
