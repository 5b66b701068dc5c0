"""The inputs of a loss aggregation, and its contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
State = Mapping[str, Vector]


@dataclass(frozen=True)
class AggregationStep:
    """One training step of one candidate with ``M`` losses, in float64.

    Attributes:
        losses: ``[M]``, each divided by its unit (the size of its value at initialisation).
        preference: ``[M]`` weights of the candidate, none below 0 and not all 0.
        ideal: ``[M]`` smallest possible losses in the same unit. Losses may be negative (the
            negative entropy is); what is compared, or has its logarithm taken, is ``losses -
            ideal``, which is not.
        gramian: ``[M, M]`` inner products of the gradients of `losses` over all parameters; None
            where the way does not need it.
        primary: Place of the loss that is never traded away, the first one for accuracy.
        step: Number of the step, from 0.
        seed: Source of draws; the same for every step.
    """

    losses: Vector
    preference: Vector
    ideal: Vector
    gramian: Vector | None = None
    primary: int = 0
    step: int = 0
    seed: int = 0

    @property
    def gap(self) -> Vector:
        """``[M]`` distance of every loss from its ideal, not below 0."""
        return np.maximum(self.losses - self.ideal, 0.0)


class Aggregator(ABC):
    """Turns several losses into one direction: the step's gradient is ``sum_m w_m grad l_m``.

    A function of the moment and of the state alone; a loss of preference 0 gets weight 0.

    Attributes:
        name: Registered name.
        needs_gramian: Whether it looks at gradients, which costs one backward pass per loss.
        lands: What decides where a convex problem ends: ``"preference"`` (a closed form of it),
            or ``"start"`` (some Pareto-optimal point, which depends on the start as well).
    """

    name: ClassVar[str]
    needs_gramian: ClassVar[bool] = False
    lands: ClassVar[str] = "preference"

    def start(self, losses: int) -> State:  # noqa: ARG002 - most ways remember nothing
        """State before the first step of that many losses."""
        return {}

    @abstractmethod
    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """Weights ``[M]`` of the gradients, none below 0, and the state of the next step."""
