"""Evaluator: from trials to records."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Stage
from pareto_rec.data.ties import tie_ranks
from pareto_rec.evaluation.costs import Costs
from pareto_rec.evaluation.inputs import CandidateVariables, EvaluationData
from pareto_rec.evaluation.last_used import LastUsed
from pareto_rec.evaluation.measurement import ObjectiveEvaluator, ObjectiveSet, ObjectiveValues
from pareto_rec.evaluation.members import NO_FITS, Fits
from pareto_rec.evaluation.monitor import ValidationMonitor, watchable
from pareto_rec.evaluation.outcome_inputs import OutcomeInputs, met_before
from pareto_rec.evaluation.reference_policies import check as check_held
from pareto_rec.evaluation.reference_policies import of_experts, with_fits
from pareto_rec.evaluation.scorers import UserScorers
from pareto_rec.evaluation.training_data import training_data
from pareto_rec.objectives import Catalogue, HeldOut
from pareto_rec.objectives.gains import boosts_of
from pareto_rec.ranking import NETWORK, BlockwiseScorers, Network, Scorers, ServingParams
from pareto_rec.runs.record import EXPERTS_ALONE, Record
from pareto_rec.search import Trial
from pareto_rec.search.space import SearchSpace, Value
from pareto_rec.tasks import chain_of, product_name
from pareto_rec.training.data import Fit, Monitor
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.item_features import gains_of, item_facts
from pareto_rec.training.spec import TrainSpec, pack_key


class TrainSettings(Protocol):
    """How fits are computed; none of it changes what a fit is."""

    @property
    def pack_size(self) -> int:
        """Most candidates trained together."""

    @property
    def device(self) -> str:
        """``"auto"`` or a device of torch."""


def resolve_device(name: str) -> torch.device:
    """Return the device of a config: ``"auto"`` takes CUDA, then MPS, then the CPU.

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
        raise BadRequestError(
            f'train.device: "{name}" is not available on this machine: {reason}'
        ) from None


MOST_SCORES = 50_000_000  # of networks that are kept for the next settings (200 MB), tasks aside
KEPT = (4, 16)  # fewest and most networks that are kept
NO_NAMES: Mapping[str, str] = MappingProxyType({})


class Fused(NamedTuple):
    """Serving settings with what their lists are fused from, as `ObjectiveEvaluator` takes them.

    Attributes:
        scorers: Experts and fits.
        settings: Serving variables; their fusions name fits by id.
        fits: Fit id -> fit.
    """

    scorers: Scorers | BlockwiseScorers
    settings: Sequence[ServingParams]
    fits: Fits


class Evaluator:
    """Everything that evaluating a candidate reads; it holds one stage and no other data."""

    def __init__(
        self,
        data: EvaluationData,
        variables: CandidateVariables,
        objectives: ObjectiveSet,
        *,
        train: TrainSettings,
        store: FitStore,
        seed: int,
    ) -> None:
        """Prepare one stage.

        Args:
            data: The stage, and what is computed from.
            variables: What the values of candidates mean.
            objectives: Objectives.
            train: How fits are computed.
            store: Where fits are kept.
            seed: Seed of the fits.
        """
        stage, learn, features = data.stage, data.learnt_from, data.features
        self.stage, self.variables = stage, variables
        self.train_settings, self.store, self.seed = train, store, seed
        self.baselines = data.baselines
        self.device = resolve_device(train.device)
        met = met_before(stage)
        facts_of_rows = learn.popularity, met, features, learn.rate, learn.mean_signal
        catalogue = Catalogue(stage.items, stage.users, *facts_of_rows)
        facts = item_facts(catalogue)
        ties = tie_ranks(learn.items, learn.train)
        self.watched = watchable(stage, catalogue, data.relevance, variables.tasks)
        boosts = boosts_of(catalogue, variables.boosts)
        self.users = UserScorers(met, data.experts, facts, ties, self.device, boosts=boosts)
        self.scorers = self.users.all()
        self._networks: LastUsed[tuple[Fit, Network]] = LastUsed(self._kept)
        kept_to = self._kept_to({*data.experts, *data.references}, learn)
        without = training_data(
            stage,
            learn,
            data.read_by_models,
            facts,
            gains=gains_of(catalogue, variables.gains),
            tasks=variables.tasks,
            texts=data.texts,
            device=self.device,
        )
        without = replace(without, references=of_experts(kept_to, data.experts, self.device))
        self.data = with_fits(kept_to, data.references, without)
        supplies = OutcomeInputs.of(
            objectives.all,
            stage,
            self.data,
            self.users.builder,
            learn=learn,
            k=objectives.k,
            folder=store.folder.parent / "latency",
            encoders=data.encoders,
            tasks=variables.tasks,
            baselines=data.baselines,
        )
        held_out = {
            name: HeldOut(stage.relevance(name))
            for name in self._signals(objectives, data.relevance)
        }
        self.measuring = ObjectiveEvaluator(
            objectives, catalogue, held_out, data.relevance, stage.held_out_shown, supplies
        )

    def with_(
        self,
        *,
        store: FitStore | None = None,
        seed: int | None = None,
        objectives: ObjectiveSet | None = None,
        costs: Costs | None = None,
    ) -> Self:
        """An evaluator that differs in what is given and shares everything else with this one.

        Args:
            store: Where fits are kept.
            seed: Seed of the fits.
            objectives: Objectives, which need nothing that this evaluator does not have.
            costs: Costs of serving, as another evaluator measures them.
        """
        changed, measuring = copy.copy(self), self.measuring
        if objectives is not None:
            measuring = replace(measuring, measures=objectives)
        if costs is not None:
            measuring = replace(measuring, supplies=replace(measuring.supplies, costs=costs))
        changed.measuring = measuring
        changed._networks = LastUsed(self._kept)  # fits of another store have ids of their own
        changed.store = self.store if store is None else store
        changed.seed = self.seed if seed is None else seed
        return changed

    @property
    def space(self) -> SearchSpace:
        """Variables that are searched."""
        return self.variables.space

    @property
    def trains(self) -> bool:
        """Whether a network has any say."""
        return self.variables.trains

    def _signals(self, measures: ObjectiveSet, relevance: str) -> list[str]:
        """Signals that the objectives need, without names of tasks that are not in the log."""
        tasks = self.variables.tasks
        chains = {product_name(chain_of(tasks, task.name)) for task in tasks}
        outputs = {task.output for task in tasks} | chains
        wanted = {relevance, *(one.signal for one in measures.all if one.signal)}
        return sorted(wanted - (outputs - self.stage.held_out.signals.keys()))

    def _kept_to(self, known: Collection[str], learn: Stage) -> set[str]:
        """Find which of the known policies the training variable ``reference`` may take."""
        variable = self.space.train.get("reference")
        fixed = self.variables.fixed.get("reference")
        named = {fixed, *getattr(variable, "options", ())} & set(known)
        all_scores = learn is self.stage and isinstance(self.scorers, Scorers)
        check_held(named, users=len(learn.users), items=len(learn.items), all_scores=all_scores)
        return named

    def spec(self, trial: Trial) -> TrainSpec:
        """Return all training variables of a trial.

        Raises:
            BadRequestError: If a variable, or the model, loss or aggregation, is not known.
        """
        return self.variables.spec(trial.train)

    def pack_key(self, trial: Trial) -> tuple[object, ...]:
        """Return what trials must have in common to share a pack."""
        return pack_key(self.spec(trial))

    def fit_id(self, trial: Trial) -> str:
        """Return the id of a trial's fit; the same for all trials where experts serve alone."""
        return self.store.id(self.spec(trial), self.seed) if self.trains else EXPERTS_ALONE

    def serving(
        self, values: Mapping[str, Value], fits: Mapping[str, str] = NO_NAMES
    ) -> ServingParams:
        """Return all serving variables, those of a candidate over the fixed ones.

        Args:
            values: Serving variables of a candidate.
            fits: Names in its fusion -> ids of fits to put in their place; two names of one fit
                add their weights.

        Raises:
            BadRequestError: If a variable is not known.
        """
        serving = self.variables.serving(values)
        if not fits.keys() & serving.fusion.keys():
            return serving
        fusion: dict[str, float] = {}
        for name, weight in serving.fusion.items():
            member = fits.get(name, name)
            fusion[member] = fusion[member] + weight if member in fusion else weight
        return replace(serving, fusion=fusion)

    def members(self, values: Mapping[str, Value], fit_id: str) -> dict[str, float]:
        """Return what a candidate's lists fuse, and with which weight: fits by id, and experts.

        Args:
            values: Its serving variables.
            fit_id: Id of its one fit, if its fusion names ``"network"``.
        """
        fusion = self.serving(values, {NETWORK: fit_id}).fusion
        return {name: float(weight) for name, weight in fusion.items() if weight > 0}

    def evaluate(
        self, pack: Sequence[Trial], trained: Callable[[], list[Fit]] | None = None
    ) -> list[Record]:
        """Return records of every candidate of a pack, in the order of the pack.

        Args:
            pack: Trials of equal shape.
            trained: Trains the fits of the pack, where it is not done in one go.
        """
        if not self.trains:
            return [r for trial in pack for r in self.records(trial, EXPERTS_ALONE, None, None)]
        specs = [self.spec(trial) for trial in pack]
        ids = [self.store.id(spec, self.seed) for spec in specs]
        fits = [self.store.get(one) for one in ids]
        if None in fits:  # the whole pack: floating-point results depend on its composition
            new = trained() if trained else self._train(specs)
            # what was there goes first: once none is lacking, all are of this training
            for index in sorted(range(len(pack)), key=lambda index: fits[index] is None):
                self.store.put(ids[index], new[index])
            fits = list(new)
        records: list[Record] = []
        for trial, fit_id, one in zip(pack, ids, fits, strict=True):
            records += self.records(trial, fit_id, one, one.reason if one else "no fit")
        return records

    def _train(self, specs: Sequence[TrainSpec]) -> list[Fit]:
        """Return fits of one pack, trained in one go."""
        seeds, size = [spec.seed(self.seed) for spec in specs], self.train_settings.pack_size
        return train_pack(specs, seeds, self.data, self.monitor(), pack_size=size)

    def monitor(self) -> Monitor:
        """Return what early stopping watches: NDCG@10 of relevance, of the tail or of a task."""
        catalogue, ties = self.measuring.catalogue, self.users.ties
        return ValidationMonitor(self._seen, catalogue, self.watched, ties)

    def _seen(self, users: slice) -> Tensor:
        """Find which items are in the histories of some users ``[rows, N]``."""
        if isinstance(self.scorers, Scorers):
            return self.scorers.seen[users]
        return self.users.seen(users)

    def with_fit(self, fit: Fit) -> Scorers | BlockwiseScorers:
        """Return the scorers together with a fit's scores, the one network of a fusion."""
        return self.with_fits({NETWORK: fit})

    def with_fits(self, fits: Mapping[str, Fit]) -> Scorers | BlockwiseScorers:
        """Return the scorers together with those of some fits, by their names in a fusion."""
        return self.users.with_fits(self.scorers, fits, self.data)

    def scorers_of(self, members: Iterable[str]) -> tuple[Scorers | BlockwiseScorers, Fits]:
        """Return what some members are fused from, and those of them that are fits, by id.

        Args:
            members: Ids of stored fits, and names of experts, which are always there.

        Raises:
            KeyError: If a fit is no longer stored.
        """
        named = [name for name in dict.fromkeys(members) if name not in self.users.experts]
        if isinstance(self.scorers, BlockwiseScorers):
            fits = {name: self._stored(name) for name in named}
            return (self.with_fits(fits) if fits else self.scorers), fits
        scored = {name: self._networks.get(name, self._scored) for name in named}
        networks = {name: network for name, (_, network) in scored.items()}
        return replace(self.scorers, networks=networks), {n: fit for n, (fit, _) in scored.items()}

    @property
    def _kept(self) -> int:
        """How many networks are kept for the next settings."""
        users, items = self.users.shape
        return min(max(MOST_SCORES // max(1, users * items), KEPT[0]), KEPT[1])

    def _stored(self, fit_id: str) -> Fit:
        fit = self.store.get(fit_id)
        if fit is None:
            raise KeyError(f"fit {fit_id} is no longer stored")
        return fit

    def _scored(self, fit_id: str) -> tuple[Fit, Network]:
        fit = self._stored(fit_id)
        scorers = self.with_fits({fit_id: fit})
        assert isinstance(scorers, Scorers)
        return fit, scorers.networks[fit_id]

    def fused(self, records: Sequence[Record]) -> Fused:
        """Return what the lists of some records are fused from, for their objectives or lists.

        Args:
            records: Records of any fits; the scores of all of their fits are held together.

        Raises:
            KeyError: If a fit is no longer stored.
        """
        names = [name for one in records for name in (*one.fit_ids, *one.members)]
        scorers, fits = self.scorers_of(names)
        settings = [self.serving(record.serve, {NETWORK: record.fit}) for record in records]
        return Fused(scorers, settings, fits)

    def records(
        self, trial: Trial, fit_id: str, fit: Fit | None, reason: str | None
    ) -> list[Record]:
        """Return a record for every candidate of a trial: measured, or failed for a reason."""
        if reason is not None:
            results = [ObjectiveValues({}, reason, 0.0)] * len(trial.candidates)
        else:
            settings = [self.serving(candidate.serve) for candidate in trial.candidates]
            fits = {NETWORK: fit} if fit else NO_FITS
            scorers = self.with_fits(fits) if fits else self.scorers
            results = self.measuring.values(scorers, settings, fits)
        return [
            Record(
                id=candidate.id,
                fit=fit_id,
                members=self.members(candidate.serve, fit_id),
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
                    "train_seconds": fit.seconds if fit else 0.0,
                    "serve_seconds": result.seconds,
                    "train_steps": fit.steps if fit else 0,
                },
            )
            for index, (candidate, result) in enumerate(zip(trial.candidates, results, strict=True))
        ]
