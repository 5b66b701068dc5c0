"""What an evaluation reads of its data, and what the values of its candidates mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.baselines import BASELINES, Baseline
from pareto_rec.core.errors import construct
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.costs import Encoders
from pareto_rec.evaluation.scorers import ExpertScores
from pareto_rec.losses import CHOSEN, LOSSES
from pareto_rec.objectives.gains import boosted, with_boosts
from pareto_rec.ranking import NETWORK, ServingParams
from pareto_rec.search.space import Choice, SearchSpace, Simplex, Value
from pareto_rec.search.variables import named_values
from pareto_rec.tasks import Task, with_exponents
from pareto_rec.training.data import Fit
from pareto_rec.training.item_features import principal_components
from pareto_rec.training.spec import TrainSpec, train_spec
from pareto_rec.training.tuned.source import TextSource


@dataclass(frozen=True)
class EvaluationData:
    """One stage with everything that fits and lists of it are computed from.

    Attributes:
        stage: What is predicted for whom.
        features: Backbone features of the items ``[N, F]``.
        experts: Expert name -> scores ``[users, N]``, or what makes rows of them.
        relevance: Signal that counts as relevant.
        learn: The stage with everybody's rows, where `stage` has only a sample of its users; None:
            `stage` itself is learnt from.
        components: Principal components of the features that models read; 0 for all.
        vectors: What models read in place of the features, as it was computed before ``[N, D]``.
        texts: Features of other depths and of tuned layers; None where no text is read.
        references: Fits that others may be kept to, by name.
        encoders: The backbone, where texts are encoded while a request waits; else None.
        baselines: Every baseline with its parameters.
    """

    stage: Stage
    features: NDArray[np.floating[Any]]
    experts: Mapping[str, ExpertScores]
    relevance: str
    learn: Stage | None = None
    components: int = 0
    vectors: NDArray[np.floating[Any]] | None = None
    texts: TextSource | None = None
    references: Mapping[str, Fit] = field(default_factory=lambda: MappingProxyType({}))
    encoders: Encoders | None = None
    baselines: Mapping[str, Baseline] = field(default_factory=lambda: BASELINES)

    @property
    def learnt_from(self) -> Stage:
        """The stage whose rows are learnt from."""
        return self.learn or self.stage

    @property
    def read_by_models(self) -> NDArray[np.floating[Any]]:
        """What models read of the items ``[N, D]``: components of the features, or as given."""
        if self.vectors is not None:
            return self.vectors
        return principal_components(self.features, self.components)


@dataclass(frozen=True)
class CandidateVariables:
    """Searched variables, fixed ones and tasks: what the values of a candidate mean.

    Attributes:
        space: Variables that are searched.
        fixed: Training variables that are not.
        serving_fixed: Serving variables that are not.
        tasks: Tasks of the config.
    """

    space: SearchSpace
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    serving_fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    tasks: tuple[Task, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether a network has any say; without one there is nothing to fit."""
        fusion = self.space.serve.get("fusion")
        names = fusion.names if isinstance(fusion, Simplex) else self.serving({}).fusion
        return NETWORK in names

    def spec(self, values: Mapping[str, Value]) -> TrainSpec:
        """All training variables, those of a candidate over the fixed ones.

        Raises:
            BadRequestError: If a variable, or the model, loss or way to combine, is not known.
        """
        return train_spec(self.fixed, named_values(self.space.train, values))

    def serving(self, values: Mapping[str, Value]) -> ServingParams:
        """All serving variables, those of a candidate over the fixed ones.

        Raises:
            BadRequestError: If a variable is not known.
        """
        values = {**self.serving_fixed, **named_values(self.space.serve, values)}
        values = with_boosts(with_exponents(values, self.tasks))
        return construct("serving variable", ServingParams, values)

    @property
    def gains(self) -> tuple[str, ...]:
        """Gains that any fit may weigh targets by."""
        weights = self.space.train.get("loss_weights", self.fixed.get("loss_weights", {}))
        names = weights.names if isinstance(weights, Simplex) else tuple(weights)
        own = [LOSSES[name].gain for name in names if name in LOSSES]
        if CHOSEN in own:
            searched = self.space.train.get("gain")
            options = searched.options if isinstance(searched, Choice) else ()
            own += [str(gain) for gain in (self.fixed.get("gain", ""), *options)]
        return tuple(gain for gain in dict.fromkeys(own) if gain and gain != CHOSEN)

    @property
    def boosts(self) -> tuple[str, ...]:
        """Gains that any setting may weigh."""
        fixed = self.serving_fixed.get("boosts") or {}
        return tuple(dict.fromkeys([*fixed, *boosted([*self.serving_fixed, *self.space.serve])]))
