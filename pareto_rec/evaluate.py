"""From trials to records: where training meets objectives."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.batches import People, Sequences, last_items
from pareto_rec.costs import Encoder
from pareto_rec.data.schema import Stage
from pareto_rec.errors import BadRequestError, construct
from pareto_rec.facts import Facts, item_facts, principal_components
from pareto_rec.fitstore import EXPERTS_ALONE, FitStore
from pareto_rec.losses import ItemFacts
from pareto_rec.models.scoring import catalogue_scores
from pareto_rec.objectives import Catalogue, HeldOut, Objective, Outcome, UserObjective
from pareto_rec.objectives.ranking import NDCG
from pareto_rec.policy import (
    HIDDEN,
    NETWORK,
    Scorers,
    Serving,
    Similarity,
    recommend,
    standardise,
    with_network,
)
from pareto_rec.records import Record
from pareto_rec.search import Trial
from pareto_rec.space import SearchSpace, Simplex, Value
from pareto_rec.spec import TrainSpec, pack_key, train_spec
from pareto_rec.supplies import Supplies, met_before
from pareto_rec.train import Fit, Monitor, TrainData, fit
from pareto_rec.variables import named_values

MOST_HISTORY = 200  # longest history that a model may read


class TrainSettings(Protocol):
    """How fits are computed; none of it changes what a fit is."""

    @property
    def pack_size(self) -> int:
        """Most candidates trained together."""

    @property
    def device(self) -> str:
        """``"auto"`` or a device of torch."""


@dataclass(frozen=True)
class Measured:
    """Objective values of one setting, or why there are none, and the seconds it took."""

    objectives: Mapping[str, float]
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class Measures:
    """What is measured on every list.

    Attributes:
        searched: Objectives that the search sees.
        reported: Objectives that are only written down.
    """

    searched: tuple[Objective, ...]
    reported: tuple[Objective, ...]

    @property
    def k(self) -> int:
        """Length of the lists: the largest cut of any objective."""
        return max(one.k for one in (*self.searched, *self.reported))


def resolve_device(name: str) -> torch.device:
    """The device of a config: ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises:
        BadRequestError: If there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadRequestError(f'train.device: "{name}" is not to be had here: {reason}') from None


class Evaluator:
    """Everything that evaluating a candidate reads; it holds one stage and no other data."""

    def __init__(
        self,
        stage: Stage,
        features: NDArray[np.floating[Any]],
        experts: Mapping[str, NDArray[np.float32]],
        space: SearchSpace,
        fixed: Mapping[str, Any],
        measures: Measures,
        *,
        signals: tuple[str, str | None],
        train: TrainSettings,
        store: FitStore,
        seed: int,
        components: int = 0,
        serving_fixed: Mapping[str, Any] = MappingProxyType({}),
        encoder: Encoder | None = None,
    ) -> None:
        """Prepare one stage.

        Args:
            stage: What is learnt from and what is predicted.
            features: Backbone features of the items ``[N, F]``.
            experts: Expert name -> scores ``[users, N]``.
            space: Names of simplexes.
            fixed: Training variables that are not searched.
            measures: Objectives.
            signals: What counts as relevant, and the signal of the second task (or None).
            train: How fits are computed.
            store: Where fits are kept.
            seed: Seed of the fits.
            components: Principal components of the features that models read; 0 for all.
            serving_fixed: Serving variables that are not searched.
            encoder: The backbone, where texts are encoded while a request waits; else None.
        """
        self.stage, self.space, self.measures = stage, space, measures
        self.train_settings, self.store, self.seed = train, store, seed
        self.device = resolve_device(train.device)
        self.fixed, self.serving_fixed = fixed, serving_fixed
        relevance, liked = signals
        objectives = (*measures.searched, *measures.reported)
        self.catalogue = Catalogue(
            stage.items, stage.users, stage.popularity, met_before(stage), features
        )
        wanted = {relevance, *(one.signal for one in objectives if one.signal)}
        self.held_out = {name: HeldOut(stage.relevance(name)) for name in sorted(wanted)}
        self.relevance = relevance
        seen = np.zeros(stage.shape, dtype=bool)
        seen[stage.history.user, stage.history.item] = True
        facts = item_facts(self.catalogue)
        self.scorers = self._scorers(experts, self._tensor(seen), facts)
        self.data = TrainData(
            Sequences.of(stage.train, liked),
            self._tensor(principal_components(features, components)),
            ItemFacts(*(self._tensor(part) for part in facts)),
            self._tensor(last_items(stage, MOST_HISTORY)),
            self.device,
            People.of(stage),
            self._references(experts),
        )
        self.supplies = Supplies.of(
            objectives,
            stage,
            self.data,
            self.scorers,
            k=measures.k,
            liked=liked,
            folder=store.folder.parent / "latency",
            encoder=encoder,
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)

    def _references(self, experts: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
        """Policies that fits may be kept to: softmax of expert scores of deviation 1 per user."""
        variable = self.space.train.get("reference")
        named = {self.fixed.get("reference"), *getattr(variable, "options", ())}
        found = {}
        for name in sorted(named & set(experts)):
            scores = self._tensor(experts[name])
            deviation = scores.std(1, correction=0, keepdim=True).clamp(min=1e-6)
            found[name] = torch.log_softmax(scores / deviation, dim=-1)
        return found

    def _scorers(
        self, experts: Mapping[str, NDArray[np.float32]], seen: Tensor, facts: Facts
    ) -> Scorers:
        categories, log_popularity, _ = facts
        popularity = (log_popularity - log_popularity.mean()) / max(log_popularity.std(), 1e-9)
        return Scorers(
            {name: standardise(self._tensor(one), seen) for name, one in experts.items()},
            None,
            None,
            None,
            seen,
            self._tensor(popularity),
            Similarity.of(self._tensor(categories)),
        )

    def spec(self, trial: Trial) -> TrainSpec:
        """All training variables of a trial.

        Raises:
            BadRequestError: If a variable, or the model, loss or way to combine, is not known.
        """
        return train_spec(self.fixed, named_values(self.space.train, trial.train))

    def pack_key(self, trial: Trial) -> tuple[object, ...]:
        """Trials of equal keys can share a pack."""
        return pack_key(self.spec(trial))

    def fit_id(self, trial: Trial) -> str:
        """Id of the fit that a trial asks for; the same for all where experts serve alone."""
        return self.store.id(self.spec(trial), self.seed) if self.trains else EXPERTS_ALONE

    @cached_property
    def trains(self) -> bool:
        """Whether a network has any say; without one there is nothing to fit."""
        fusion = self.space.serve.get("fusion")
        names = fusion.names if isinstance(fusion, Simplex) else self.serving({}).fusion
        return NETWORK in names

    def serving(self, values: Mapping[str, Value]) -> Serving:
        """All serving variables, those of a candidate over the fixed ones.

        Raises:
            BadRequestError: If a variable is not known.
        """
        values = {**self.serving_fixed, **named_values(self.space.serve, values)}
        return construct("serving variable", Serving, values)

    def evaluate(self, pack: Sequence[Trial]) -> list[Record]:
        """Records of every candidate of a pack, in the order of the pack."""
        if not self.trains:
            return [r for trial in pack for r in self.records(trial, EXPERTS_ALONE, None, None)]
        specs = [self.spec(trial) for trial in pack]
        ids = [self.store.id(spec, self.seed) for spec in specs]
        fits = [self.store.get(one) for one in ids]
        missing = [index for index, one in enumerate(fits) if one is None]
        if missing:
            new = fit(
                [specs[index] for index in missing],
                [self.seed] * len(missing),
                self.data,
                self._monitor(),
                pack_size=self.train_settings.pack_size,
            )
            for index, made in zip(missing, new, strict=True):
                fits[index] = made
                self.store.put(ids[index], made)
        records: list[Record] = []
        for trial, fit_id, one in zip(pack, ids, fits, strict=True):
            records += self.records(trial, fit_id, one, one.reason if one else "no fit")
        return records

    def _monitor(self) -> Monitor:
        """NDCG@10 of relevance scores, what early stopping watches."""
        watch = NDCG(10)

        def value(scores: Tensor) -> float:
            top = torch.topk(scores.masked_fill(self.scorers.seen, HIDDEN), 10)
            return watch.value(self.outcome(top.indices.cpu().numpy(), top.values.cpu().numpy()))

        return value

    def outcome(
        self, lists: NDArray[np.int64], scores: NDArray[np.float32], seconds: float = 0.0
    ) -> Outcome:
        """Lists and scores ``[users, k]`` with the truth of this stage beside them."""
        cost = {"train_seconds": seconds}
        return Outcome(lists, scores, self.held_out, self.relevance, self.catalogue, cost)

    def with_fit(self, one: Fit) -> Scorers:
        """The scorers together with a fit's scores."""
        temperature = torch.tensor([one.spec.temperature], device=self.device)
        params = {name: value.unsqueeze(0).to(self.device) for name, value in one.params.items()}
        histories = self.data.histories[:, -one.spec.history :]
        with torch.no_grad():
            relevance, liked = catalogue_scores(
                params, one.shape, self.data.features, histories, temperature
            )
        assert liked is not None
        return with_network(self.scorers, relevance[0], liked[0])

    def records(
        self, trial: Trial, fit_id: str, one: Fit | None, reason: str | None
    ) -> list[Record]:
        """Records of every candidate of a trial, measured on its fit or failed for a reason."""
        if reason is not None:
            results = [Measured({}, reason, 0.0)] * len(trial.candidates)
        else:
            settings = [self.serving(candidate.serve) for candidate in trial.candidates]
            scorers = self.with_fit(one) if one else self.scorers
            results = self.measure(scorers, settings, one.seconds if one else 0.0, one)
        return [
            Record(
                id=candidate.id,
                fit=fit_id,
                seed=self.seed,
                generation=trial.generation,
                position=trial.position + index,
                origin=trial.origin(index),
                train=candidate.train,
                serve=candidate.serve,
                status="ok" if result.reason is None else "failed",
                objectives=result.objectives,
                reason=result.reason,
                timing={
                    "train_seconds": one.seconds if one else 0.0,
                    "serve_seconds": result.seconds,
                },
            )
            for index, (candidate, result) in enumerate(zip(trial.candidates, results, strict=True))
        ]

    def measure(
        self,
        scorers: Scorers,
        settings: Sequence[Serving],
        train_seconds: float = 0.0,
        one: Fit | None = None,
    ) -> list[Measured]:
        """Objective values of every serving setting; `one` is the fit, None for experts alone."""
        began = time.perf_counter()
        outcomes = self._outcomes(scorers, settings, train_seconds, one)
        results = [self._values(outcome) for outcome in outcomes]
        share = (time.perf_counter() - began) / len(settings)
        return [replace(result, seconds=share) for result in results]

    def per_user(
        self, fit_id: str, records: Sequence[Record]
    ) -> list[tuple[str, dict[str, NDArray[np.float64]]]]:
        """Values ``[users]`` of every per-user objective of records of one fit, by record id.

        Raises:
            KeyError: If the fit is no longer stored.
        """
        one = self.store.get(fit_id)
        if one is None and fit_id != EXPERTS_ALONE:
            raise KeyError(fit_id)
        settings = [self.serving(record.serve) for record in records]
        scorers = self.with_fit(one) if one else self.scorers
        wanted = [
            objective
            for objective in (*self.measures.searched, *self.measures.reported)
            if isinstance(objective, UserObjective)
        ]
        return [
            (record.id, {objective.name: objective.per_user(outcome) for objective in wanted})
            for record, outcome in zip(
                records, self._outcomes(scorers, settings, 0.0, one), strict=True
            )
        ]

    def _outcomes(
        self, scorers: Scorers, settings: Sequence[Serving], train_seconds: float, one: Fit | None
    ) -> Iterator[Outcome]:
        lists, scores = recommend(scorers, settings, k=self.measures.k)
        predictions = self.supplies.predictions(one)
        for setting, chosen, values in zip(settings, lists, scores, strict=True):
            outcome = self.outcome(chosen, values, train_seconds)
            yield replace(
                outcome,
                cost={**outcome.cost, **self.supplies.cost(one, setting)},
                all_scores=self.supplies.scores(scorers, setting),
                predictions=predictions,
            )

    def _values(self, outcome: Outcome) -> Measured:
        found = {one.name: one.value(outcome) for one in self.measures.searched}
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        if bad:
            return Measured({}, f"{', '.join(bad)} could not be measured", 0.0)
        reported = {o.name: o.value(outcome) for o in self.measures.reported if o.recorded}
        found |= {name: value for name, value in reported.items() if math.isfinite(value)}
        return Measured(found, None, 0.0)


def failed(evaluator: Evaluator, trial: Trial, reason: str) -> list[Record]:
    """Failed records of every candidate of a trial."""
    return evaluator.records(trial, evaluator.fit_id(trial), None, reason)
