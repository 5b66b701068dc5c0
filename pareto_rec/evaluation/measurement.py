"""Measurement of objectives: lists and held-out truth of a stage to objective values."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import Interactions
from pareto_rec.evaluation.members import NO_FITS, Fits, fit_shares
from pareto_rec.evaluation.outcome_inputs import OutcomeInputs
from pareto_rec.objectives import (
    Catalogue,
    GroupObjective,
    GroupValues,
    HeldOut,
    Objective,
    Outcome,
    SetObjective,
    UserObjective,
)
from pareto_rec.ranking import BlockwiseScorers, Scorers, ServingParams, recommend


@dataclass(frozen=True)
class ObjectiveValues:
    """Objective values of one setting, or why there are none, and the seconds it took."""

    objectives: Mapping[str, float]
    reason: str | None
    seconds: float


ValuesByUser = NDArray[np.float64] | GroupValues
"""Values ``[users]`` whose mean is the objective's value, or values by group."""


@dataclass(frozen=True)
class ObjectiveSet:
    """What is measured on every list.

    Attributes:
        searched: Objectives that the search sees.
        reported: Objectives that are only written down.
    """

    searched: tuple[Objective, ...]
    reported: tuple[Objective, ...]

    @property
    def all(self) -> tuple[Objective, ...]:
        """Both."""
        return (*self.searched, *self.reported)

    @property
    def k(self) -> int:
        """Length of the lists: the largest cut of any objective."""
        return max(objective.k for objective in self.all)


@dataclass(frozen=True)
class ObjectiveEvaluator:
    """Measures serving settings of any number of fits, or of experts alone.

    Attributes:
        measures: Objectives.
        catalogue: Items and users.
        held_out: Signal -> held-out items.
        relevance: What counts as relevant, a key of `held_out`.
        shown: Held-out rows that say what was shown; None without.
        supplies: What only some objectives ask for.
    """

    measures: ObjectiveSet
    catalogue: Catalogue
    held_out: Mapping[str, HeldOut]
    relevance: str
    shown: Interactions | None
    supplies: OutcomeInputs

    def outcome(
        self, lists: NDArray[np.int64], scores: NDArray[np.float32], seconds: float = 0.0
    ) -> Outcome:
        """Return lists and scores ``[users, k]`` with the truth of this stage beside them."""
        cost = {"train_seconds": seconds}
        return Outcome(lists, scores, self.held_out, self.relevance, self.catalogue, cost)

    def outcomes(
        self,
        scorers: Scorers | BlockwiseScorers,
        settings: Sequence[ServingParams],
        fits: Fits,
    ) -> Iterator[Outcome]:
        """Yield what every setting serves.

        Args:
            scorers: What is fused.
            settings: Serving variables.
            fits: The fits among the scorers, by their names in a fusion.
        """
        lists, scores = recommend(scorers, settings, k=self.measures.k)
        predictions = self.supplies.predictions(fits, settings)
        chances = self.supplies.chances(fits, settings, lists)
        for row, setting in enumerate(settings):
            seconds = sum(fits[name].seconds for name in fit_shares(fits, setting))
            outcome = self.outcome(lists[row], scores[row], seconds)
            yield replace(
                outcome,
                cost={**outcome.cost, **self.supplies.cost(fits, setting)},
                all_scores=self.supplies.scores(scorers, setting),
                predictions=predictions[row],
                shown=self.shown,
                chances=chances[row],
            )

    def values(
        self,
        scorers: Scorers | BlockwiseScorers,
        settings: Sequence[ServingParams],
        fits: Fits = NO_FITS,
    ) -> list[ObjectiveValues]:
        """Return objective values of every setting; arguments as in `outcomes`."""
        began = time.perf_counter()
        results = [self._of(outcome) for outcome in self.outcomes(scorers, settings, fits)]
        share = (time.perf_counter() - began) / len(settings)
        return [replace(result, seconds=share) for result in results]

    def searched(
        self, scorers: Scorers | BlockwiseScorers, settings: Sequence[ServingParams], fits: Fits
    ) -> list[list[float]]:
        """Return values ``[settings][searched objectives]``, natural units; may be NaN."""
        outcomes = self.outcomes(scorers, settings, fits)
        return [[goal.value(outcome) for goal in self.measures.searched] for outcome in outcomes]

    def per_user(
        self,
        scorers: Scorers | BlockwiseScorers,
        settings: Sequence[ServingParams],
        fits: Fits,
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Return values ``[users]`` of every per-user objective, for each setting."""
        wanted = [
            objective for objective in self.measures.all if isinstance(objective, UserObjective)
        ]
        return [
            {objective.name: objective.per_user(outcome) for objective in wanted}
            for outcome in self.outcomes(scorers, settings, fits)
        ]

    def by_user(
        self,
        scorers: Scorers | BlockwiseScorers,
        settings: Sequence[ServingParams],
        fits: Fits,
        objectives: Sequence[Objective],
    ) -> list[dict[str, ValuesByUser | float]]:
        """Return what users are resampled from, for each setting and objective.

        Of a set objective, its value plus the influence values of the users; one number where
        these are not known (`SetObjective.influence`).
        """
        return [
            {objective.name: by_user(objective, outcome) for objective in objectives}
            for outcome in self.outcomes(scorers, settings, fits)
        ]

    def _of(self, outcome: Outcome) -> ObjectiveValues:
        values = {objective.name: objective.value(outcome) for objective in self.measures.searched}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            return ObjectiveValues({}, f"{', '.join(bad)} could not be measured", 0.0)
        reported = {o.name: o.value(outcome) for o in self.measures.reported if o.recorded}
        values |= {name: value for name, value in reported.items() if math.isfinite(value)}
        return ObjectiveValues(values, None, 0.0)


def by_user(objective: Objective, outcome: Outcome) -> ValuesByUser | float:
    """Return what users are resampled from; see `ObjectiveEvaluator.by_user`."""
    if isinstance(objective, UserObjective):
        return objective.per_user(outcome)
    if isinstance(objective, GroupObjective):
        return objective.grouped(outcome)
    value = objective.value(outcome)
    influence = objective.influence(outcome) if isinstance(objective, SetObjective) else None
    return value if influence is None else value + influence
