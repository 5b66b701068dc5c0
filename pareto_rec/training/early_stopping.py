"""Early stopping: validation history and best parameters of a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pareto_rec.models.base import Shape
from pareto_rec.training.data import Fit
from pareto_rec.training.spec import TrainSpec


@dataclass
class BestCheckpoint:
    """The best of a candidate in training.

    Attributes:
        params: Its best parameters (no leading dimension), at first the initial ones.
        patience: Looks without an improvement after which it stops.
        difference: What tuned layers had learnt by then.
        curve: ``(step, validation value)`` at every look.
        running: Whether it goes on.
        reason: Why it failed, or None.
        spent: Seconds before its pack was put together.
    """

    params: Mapping[str, Tensor]
    patience: int
    difference: Mapping[str, Tensor] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    running: bool = True
    reason: str | None = None
    spent: float = 0.0

    def fail(self, reason: str) -> None:
        """Stop for a reason, the first that is given."""
        self.reason, self.running = self.reason or reason, False

    def improved(self, step: int, value: float) -> bool:
        """Note a look: whether its value is the best so far. Stop where none was for long."""
        best = max((seen for _, seen in self.curve), default=float("-inf"))
        better = not self.curve or value > best
        self.curve.append((step, value))
        values = [seen for _, seen in self.curve]
        self.running = len(values) - 1 - values.index(max(values)) < self.patience
        return better

    def go_on(self, fit: Fit, *, running: bool) -> None:
        """Take over what an unfinished fit had, its parameters apart."""
        self.difference, self.curve = fit.difference, list(fit.curve)
        self.running, self.spent = running, fit.seconds

    def fit(self, spec: TrainSpec, shape: Shape, seconds: float) -> Fit:
        """Return the fit, after so many seconds of its pack."""
        best = max(self.curve, key=lambda look: look[1])[0] if self.curve else 0
        params = {} if self.reason else self.params
        difference = {} if self.reason else self.difference
        spent = self.spent + seconds
        return Fit(spec, shape, params, tuple(self.curve), best, spent, self.reason, difference)
