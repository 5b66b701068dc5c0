"""What a candidate costs, as measured on the machine that ran it."""

from __future__ import annotations

from typing import ClassVar

from pareto_rec.objectives.base import Outcome, SetObjective


class CostObjective(SetObjective):
    """A measured cost, read from `Outcome.cost` under the name of the family."""

    takes_k: ClassVar[bool] = False
    maximise = False
    bounds = (0.0, float("inf"))
    measured = True

    def value(self, outcome: Outcome, /) -> float:
        """The cost; NaN where it was not measured."""
        return float(outcome.cost.get(self.family, float("nan")))


class TrainSeconds(CostObjective):
    """Wall-clock seconds of the fine-tune that the lists came from.

    Misleads: it depends on the machine and on what else ran there, and differs between two runs;
    candidates that share a fit share its seconds.

    Source: measured by the training loop, from the first batch to the chosen weights.
    """

    family = "train_seconds"
    unit = "s"
    reference = 60.0  # a fit that takes a minute is no longer a short fine-tune
