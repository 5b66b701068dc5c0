"""Declarations of parameters that are tuned: where a search looks, and what a value may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pareto_rec.core.errors import BadRequestError, plain_number

Value = float | int
MOST = 1e12  # beyond it, sums of squares no longer hold in float64


@dataclass(frozen=True)
class Parameter:
    """Range of a parameter.

    Attributes:
        low: Smallest value that tuning tries.
        high: Largest value that tuning tries.
        log: Values are spread evenly in the logarithm.
        whole: Values are whole numbers.
        least: Smallest value that a config may give.
        open_least: `least` itself is not allowed.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    least: float = 0.0
    open_least: bool = False

    def at(self, share: float) -> Value:
        """Return the value at a share of the range, 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        if self.log:
            ends = math.log(self.low), math.log(self.high)
            value = math.exp(ends[0] + share * (ends[1] - ends[0]))
        else:
            value = self.low + share * (self.high - self.low)
        # four digits: what is written down is what was tried
        return round(value) if self.whole else float(f"{value:.4g}")

    def share(self, value: Value) -> float:
        """Return where a value lies within the range, 0 to 1; the nearest end outside it."""
        value = min(max(float(value), self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def check(self, value: object, where: str) -> Value:
        """Return a value of a config as the method reads it.

        Args:
            value: What the config says.
            where: Key of the config, for messages.

        Raises:
            BadRequestError: If it is no number, not whole where it has to be, or out of bounds.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequestError(f"{where}: it must be a number, not {value!r}")
        if self.whole and value != int(value):
            raise BadRequestError(f"{where}: it must be a whole number, not {value}")
        low = value <= self.least if self.open_least else value < self.least
        if low or not value <= MOST:
            bound = "above" if self.open_least else "at least"
            raise BadRequestError(
                f"{where}: it must be {bound} {plain_number(self.least)} and at most "
                f"{plain_number(MOST)}, not {value}"
            )
        return int(value) if self.whole else float(value)
