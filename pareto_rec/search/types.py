"""Frozen input and output types of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.search.algorithms import ALGORITHMS
from pareto_rec.search.space import Candidate, Value

SURROGATES = ("none", "gaussian_process")


@dataclass(frozen=True)
class Goal:
    """One objective to search on, in natural units.

    Attributes:
        name: Key of its value in the results.
        maximise: Whether more is better.
        reference: Worst value that counts for the hypervolume.
        at_least: Constraint from below.
        at_most: Constraint from above.
    """

    name: str
    maximise: bool
    reference: float
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        bounds = [b for b in (self.reference, self.at_least, self.at_most) if b is not None]
        if not np.isfinite(bounds).all():
            raise BadRequestError(f"goal {self.name}: reference and bounds must be finite numbers")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise BadRequestError(
                f"goal {self.name}: at_least = {self.at_least} is above at_most = {self.at_most}"
            )


@dataclass(frozen=True)
class Failure:
    """In place of objective values: the evaluation failed."""

    reason: str


@dataclass(frozen=True)
class Pruned(Failure):
    """In place of objective values: the fit was stopped early, and is worth nothing known."""


Result = Mapping[str, float] | Failure


@dataclass(frozen=True)
class Settings:
    """How to search.

    Attributes:
        algorithm: A name of :data:`ALGORITHMS`.
        population: Parents that survive a generation.
        offspring: Fits per generation; as many as `population` if not given.
        first: Fits of the first generation; as many as of any other if not given.
        sweep: Records per fit, the candidate's own serving variables included.
        start: First generation by Latin hypercube (``"lhs"``) or at random (``"random"``).
        corners: Start with the corners of the training simplexes, one fit for each name.
        initial: Candidates that take the first places of the first generation.
        copied: Share of a sweep that copies serving settings of the front so far.
        varied: Share of a sweep that varies them; the rest is quasi-random.
        surrogate: ``"gaussian_process"`` to choose fits among many proposals by what a model of all
            records so far expects of them; ``"none"`` not to.
    """

    algorithm: str = "nsga2"
    population: int = 40
    offspring: int | None = None
    first: int | None = None
    sweep: int = 24
    start: Literal["lhs", "random"] = "lhs"
    corners: bool = True
    initial: tuple[Candidate, ...] = ()
    copied: float = 0.25
    varied: float = 0.5
    surrogate: Literal["none", "gaussian_process"] = "none"

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise unknown("search algorithm", self.algorithm, ALGORITHMS)
        if self.start not in ("lhs", "random"):
            raise unknown("start", self.start, ("lhs", "random"))
        if self.surrogate not in SURROGATES:
            raise unknown("surrogate", self.surrogate, SURROGATES)
        for name, low in (("population", 2), ("offspring", 1), ("first", 1), ("sweep", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise BadRequestError(f"{name} must be at least {low}: {value}")
        if min(self.copied, self.varied) < 0.0 or self.copied + self.varied > 1.0:
            raise BadRequestError(
                f"copied and varied must be shares that sum to at most 1: "
                f"{self.copied} and {self.varied}"
            )


@dataclass(frozen=True)
class Trial:
    """One fit to make, and the candidates to evaluate on it.

    Attributes:
        generation: Generation, from 0.
        index: Place among the trials of the generation.
        position: Place of the first candidate among the candidates of the generation.
        candidates: They share their training variables; the search's own come first.
        own: How many are the search's own. More than one only where it ran out of training
            variables to try (a space with few or none) and offspring share them.
    """

    generation: int
    index: int
    position: int
    candidates: tuple[Candidate, ...]
    own: int = 1

    @property
    def train(self) -> Mapping[str, Value]:
        """Training variables of the fit."""
        return self.candidates[0].train

    @property
    def train_id(self) -> str:
        """Id of the training variables."""
        return self.candidates[0].train_id

    def origin(self, index: int) -> Literal["own", "sweep"]:
        """Return where the candidate at `index` comes from."""
        return "own" if index < self.own else "sweep"


@dataclass(frozen=True)
class Scored:
    """A candidate and its objective values by name, natural units."""

    candidate: Candidate
    objectives: Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """Where the search stands after a generation; counts are totals since its start."""

    generation: int
    fits: int
    evaluated: int
    failed: int
    front: int
    hypervolume: float
    pruned: int = 0
