"""Split of a serving search's budget between its parts, by what fits and settings gained so far.

Amounts are settings or seconds; nothing here depends on which.
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 0.5  # of the budget, for the search after the last generation
_BOUND = 2.0  # how much larger or smaller than even a part may be


@dataclass(frozen=True)
class Gain:
    """What some fits, and the search of settings after them, added to the hypervolume.

    Attributes:
        fits: Hypervolume that would be lost without these fits, natural units.
        settings: What the hypervolume grew by besides.
        fit_cost: What the fits cost, in shares of what is planned, or seconds.
        setting_cost: What the settings cost, in the same unit.
    """

    fits: float
    settings: float
    fit_cost: float
    setting_cost: float

    @property
    def tilt(self) -> float:
        """How many times as much settings gained for their cost as fits, within the bounds."""
        by_settings = self.settings * self.fit_cost
        by_fits = self.fits * self.setting_cost
        if by_settings <= 0.0 and by_fits <= 0.0:
            return 1.0
        if by_settings >= _BOUND * by_fits:
            return _BOUND
        return max(by_settings / by_fits, 1.0 / _BOUND)


def part(left: float, searches: int, last: Gain | None) -> float:
    """Return what the next search between generations may cost.

    Args:
        left: Amount for all of them that is left.
        searches: How many are to come, the next one included.
        last: What was gained last; None where nothing is known.
    """
    tilt = 1.0 if last is None else last.tilt
    return min(max(left, 0.0), max(left, 0.0) / searches * tilt)


def whole_rounds(amount: float, left: float, size: int) -> int:
    """Return a number of settings in whole rounds, near an amount; at least one round if it fits.

    Args:
        amount: Settings that are wanted.
        left: Settings that are left at most.
        size: Of a round.
    """
    rounds = min(max(round(amount / size), 1), int(left // size))
    return rounds * size
