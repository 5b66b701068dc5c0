"""Arms: seven ways to make the networks that lists may fuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.decisive.cases import WEIGHTS, centre_of, losses_of, weights_at
from benchmarks.decisive.clock import Budget
from benchmarks.decisive.film import at_preference, train_conditioned
from benchmarks.decisive.soups import interpolated, own_id, preferences
from pareto_rec.analysis.confirm import opponents
from pareto_rec.analysis.confirm.opponent_fits import OwnFit, most_accurate, trained
from pareto_rec.analysis.confirm.opponents import Train
from pareto_rec.core.errors import RunFailedError
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.fit_worth import by_fit, chosen_fits
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.experiment.experiment import SOFTMAX, Experiment
from pareto_rec.runs.record import Record
from pareto_rec.search import Failure, Result, Searcher, Settings, Trial
from pareto_rec.search.serving import FUSION, Slot
from pareto_rec.search.space import Candidate, SearchSpace, Value, Variable
from pareto_rec.training.spec import TrainSpec

ALONE = "baselines alone"
PLAIN = "one plain fit"
ACCURATE = "best 4 accuracy-only fits"
FIXED = "search, loss weights fixed"
SEARCHED = "search, loss weights searched"
SOUP = "interpolated weights"
CONDITIONED = "preference-conditioned network"

ON, OFF = "on", "off"
MODES = (ON, OFF)  # of serving diversity

MEMBERS, POOL = 4, 8  # most networks of one list, and to choose from
SHARE = 0.6  # of the budget that goes on training networks one after the other, where an arm does
LONGER = 3  # times the steps and the patience of a plain fit, for a network of all preferences
_MANY = 200  # accuracy-only fits that could be trained; the budget ends before
_FIRST, _OFFSPRING, _SWEEP = 4, 2, 8


@dataclass(frozen=True)
class Context:
    """What an arm works with.

    Attributes:
        experiment: Of the data set and the search seed.
        pool: Trains and measures; its store of fits is the arm's own.
        variables: Serving variables of the mode besides the fusion.
        budget: Of the arm.
    """

    experiment: Experiment
    pool: Workers
    variables: Mapping[str, Variable]
    budget: Budget

    @property
    def evaluator(self) -> Evaluator:
        """Of the validation stage, with the arm's own store of fits."""
        return self.pool.evaluator

    @property
    def baselines(self) -> tuple[Slot, ...]:
        """Every arm's lists may fuse all of them."""
        return tuple(Slot.of(name, fits=0) for name in opponents.baselines_of(self.experiment))


@dataclass(frozen=True)
class Networks:
    """What an arm has made.

    Attributes:
        slots: What its lists may fuse, baselines first.
        trained: Networks that were trained.
        seconds: Processor seconds that this took.
        records: Settings that were measured on the way.
    """

    slots: tuple[Slot, ...]
    trained: int
    seconds: float = 0.0
    records: tuple[Record, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return what can be kept of networks that were made without measuring settings."""
        slots = [[dict(slot.shares), slot.fits] for slot in self.slots]
        return {"slots": slots, "trained": self.trained, "seconds": self.seconds}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Networks:
        """Return what :meth:`to_json` kept."""
        slots = tuple(Slot(shares, fits) for shares, fits in content["slots"])
        return cls(slots, content["trained"], content["seconds"])


Maker = Callable[[Context], Networks]


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        name: As tables show it.
        make: Makes its networks.
        by_mode: Whether they depend on the serving variables; else both modes share them, and each
            counts their seconds.
    """

    name: str
    make: Maker
    by_mode: bool = False


def baselines_alone(context: Context) -> Networks:
    """Make no network."""
    return Networks(context.baselines, 0)


def plain_fit(context: Context) -> Networks:
    """Train one network for accuracy alone, hyperparameters in the middle of their ranges."""
    fits = _trained(context, [opponents.middle(context.experiment.space)])
    return _with_fits(context, [fit.id for fit in fits], len(fits))


def best_accurate(context: Context) -> Networks:
    """Train for accuracy alone until the budget's share is spent; take the most accurate."""
    fits: list[OwnFit] = []
    for train in opponents.accuracy_only(context.experiment, _MANY):
        if fits and not _affords_another(context, len(fits)):
            break
        fits += _trained(context, [train])
    best = [fit.id for fit in most_accurate(fits)]
    networks = _with_fits(context, best, len(fits))
    if 1 < len(best) <= MEMBERS:
        networks = replace(networks, slots=(*networks.slots, Slot.averaged(best)))
    return networks


def search_fixed(context: Context) -> Networks:
    """Search hyperparameters, the loss weights in the centre of their simplex."""
    simplex = losses_of(context.experiment)
    return _search(context, {WEIGHTS: weights_at(simplex, centre_of(simplex))})


def search_weights(context: Context) -> Networks:
    """Search hyperparameters and loss weights."""
    return _search(context, {})


def soup(context: Context) -> Networks:
    """Train one network per corner of the loss weights from one start; interpolate parameters."""
    simplex, evaluator = losses_of(context.experiment), context.evaluator
    asked = preferences(len(simplex.names), POOL, context.experiment.config.seed)
    corners = asked[: len(simplex.names)]
    middle = opponents.middle(context.experiment.space)
    wanted = [{**middle, WEIGHTS: weights_at(simplex, shares)} for shares in corners]
    ids = [fit.id for fit in _trained(context, wanted)]
    if len(ids) < len(wanted):
        raise RunFailedError("a corner of the loss weights has no network: its training failed")
    fits = [evaluator.store.get(name) for name in ids]
    known = [fit for fit in fits if fit is not None]
    for shares in asked[len(corners) :]:
        ids.append(own_id("interpolated", ids[: len(corners)], shares))
        evaluator.store.put(ids[-1], interpolated(known, shares, weights_at(simplex, shares)))
    return _with_fits(context, ids, len(corners))


def conditioned(context: Context) -> Networks:
    """Train one network for all preferences, and ask it for some."""
    simplex, evaluator = losses_of(context.experiment), context.evaluator
    seed = context.experiment.config.seed
    plain = conditioned_spec(context.experiment)
    spec = replace(plain, steps=LONGER * plain.steps, patience=LONGER * plain.patience)
    begun, data = spec.seed(evaluator.seed), evaluator.data
    fit = train_conditioned(spec, begun, data, evaluator.monitor(), simplex)
    if fit.reason is not None:
        raise RunFailedError(f"the conditioned network failed: {fit.reason}")
    features, ids = data.item_features(fit.spec, fit.difference), []
    for shares in preferences(len(simplex.names), POOL, seed):
        ids.append(own_id("conditioned", [data_key(evaluator), str(begun)], shares))
        evaluator.store.put(ids[-1], at_preference(fit, simplex, shares, features))
    return _with_fits(context, ids, 1)


def conditioned_spec(experiment: Experiment) -> TrainSpec:
    """Return training variables of a network for all preferences, with the steps of a plain fit.

    Its loss weights are in the centre, so that what any of the losses needs is there.
    """
    simplex = losses_of(experiment)
    centre = weights_at(simplex, centre_of(simplex))
    return experiment.variables.spec({**opponents.middle(experiment.space), WEIGHTS: centre})


ARMS: Mapping[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(ALONE, baselines_alone),
        Arm(PLAIN, plain_fit),
        Arm(ACCURATE, best_accurate),
        Arm(FIXED, search_fixed, by_mode=True),
        Arm(SEARCHED, search_weights, by_mode=True),
        Arm(SOUP, soup),
        Arm(CONDITIONED, conditioned),
    )
}


def data_key(evaluator: Evaluator) -> str:
    """Return what names the data that an evaluator's fits are learnt from."""
    return evaluator.store.data_key


def _trained(context: Context, wanted: Sequence[Train]) -> list[OwnFit]:
    fits = trained(wanted, context.pool)
    if not fits:
        raise RunFailedError(f"every one of {len(wanted)} fits failed")
    return fits


def _with_fits(context: Context, ids: Sequence[str], count: int) -> Networks:
    slots = (*context.baselines, *(Slot.of(name, fits=1) for name in dict.fromkeys(ids)))
    return Networks(slots, count)


def _affords_another(context: Context, done: int) -> bool:
    """Return whether half of one more network still fits into the share of the budget."""
    spent = context.budget.spent
    return spent + 0.5 * spent / done <= SHARE * context.budget.seconds


def _search(context: Context, given: Mapping[str, Value]) -> Networks:
    """Search training variables by NSGA-II until the budget's share is spent.

    Every network is judged by a few settings of its own; of all of them those are taken whose
    settings together keep the most hypervolume, as in the serving stage of a search.

    Args:
        context: Of the arm.
        given: Training variables that are not searched.
    """
    evaluator, searcher = context.evaluator, _searcher(context, given)
    records: list[Record] = []
    trained_fits = 0
    while True:
        results: dict[str, Result] = {}
        for trial in searcher.ask():
            if trained_fits and not _affords_another(context, trained_fits):
                return _pooled(context, records, trained_fits)
            candidates = tuple(
                Candidate({**one.train, **given}, one.serve) for one in trial.candidates
            )
            measured = evaluator.evaluate([replace(trial, candidates=candidates)])
            trained_fits += 1
            records += measured
            results |= _results(trial, measured)
        if not results:
            return _pooled(context, records, trained_fits)
        searcher.tell(results)


def _searcher(context: Context, given: Mapping[str, Value]) -> Searcher:
    experiment = context.experiment
    train = {name: one for name, one in experiment.space.train.items() if name not in given}
    serve = {FUSION: experiment.space.serve[FUSION], **context.variables}
    space = SearchSpace(train, serve)
    corners = {} if WEIGHTS in given else {WEIGHTS: SOFTMAX}
    settings = Settings(
        population=_FIRST,
        first=_FIRST,
        offspring=_OFFSPRING,
        sweep=_SWEEP,
        initial=(space.middle(corners),),
    )
    return Searcher(space, experiment.goals, settings, seed=experiment.config.seed)


def _results(trial: Trial, records: Sequence[Record]) -> dict[str, Result]:
    return {
        candidate.id: record.objectives
        if record.status == "ok"
        else Failure(record.reason or "it failed")
        for candidate, record in zip(trial.candidates, records, strict=True)
    }


def _pooled(context: Context, records: Sequence[Record], count: int) -> Networks:
    goals = context.experiment.goals
    chosen = chosen_fits(by_fit(records, goals), POOL, goals)
    return replace(_with_fits(context, chosen, count), records=tuple(records))
