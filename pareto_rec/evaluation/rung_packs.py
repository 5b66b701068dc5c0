"""Packs that are trained in parts: up to a rung, measured there, and on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.ranking import NETWORK
from pareto_rec.runs.record import Record
from pareto_rec.search import Trial
from pareto_rec.search.space import SearchSpace, Simplex, Value
from pareto_rec.training.checkpoints import CheckpointStore, standing_key
from pareto_rec.training.data import Checkpoint, Fit
from pareto_rec.training.fitting import resume_pack


@dataclass(frozen=True)
class RungPack:
    """Trials that are trained together up to one rung, where fits are compared.

    Attributes:
        step: Steps made.
        company: Trials that are trained together until then.
    """

    step: int
    company: tuple[Trial, ...]


@dataclass(frozen=True)
class RungHistory(Sequence[Trial]):
    """A pack and the rungs that it has passed, or is trained up to now.

    Attributes:
        trials: The pack.
        way: Rungs from the lowest; the trials are in the company of every one.
        settings: Serving settings that are measured at the last of them.
    """

    trials: tuple[Trial, ...]
    way: tuple[RungPack, ...] = ()
    settings: tuple[Mapping[str, Value], ...] = ()

    def __len__(self) -> int:
        return len(self.trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...

    @overload
    def __getitem__(self, index: slice) -> RungHistory: ...

    def __getitem__(self, index: int | slice) -> Trial | RungHistory:
        """Return a trial, or a part of the pack that goes on alone."""
        if isinstance(index, int):
            return self.trials[index]
        return replace(self, trials=self.trials[index])

    def up_to(self, step: int, settings: tuple[Mapping[str, Value], ...]) -> RungHistory:
        """Return the same pack on its way to the next rung."""
        return replace(self, way=(*self.way, RungPack(step, self.trials)), settings=settings)

    def without(self, stopped: set[int]) -> RungHistory:
        """Return what is left of the pack without trials of these places in the generation."""
        return replace(self, trials=tuple(t for t in self.trials if t.index not in stopped))


@dataclass(frozen=True)
class Partial:
    """What a rung has shown of a trial.

    Attributes:
        index: Place of the trial in the generation.
        values: Objective values ``[settings][goals]``, natural units; empty where it failed.
        steps: Training steps made.
        running: Whether there is any training left.
        seconds: Training time so far.
        reason: Why it failed, or None.
    """

    index: int
    values: tuple[tuple[float, ...], ...]
    steps: int
    running: bool
    seconds: float
    reason: str | None = None


def measure_rung(evaluator: Evaluator, climb: RungHistory) -> list[Partial]:
    """Train a pack up to the last rung of its way, and measure what its fits are worth there."""
    reached = _reach(evaluator, climb.way, climb.trials)
    return [_partial(evaluator, trial, reached[trial.index], climb) for trial in climb]


def _partial(
    evaluator: Evaluator, trial: Trial, state: Checkpoint | Fit, climb: RungHistory
) -> Partial:
    fit = state.fit if isinstance(state, Checkpoint) else state
    if fit.reason is not None:
        return Partial(trial.index, (), fit.steps, False, fit.seconds, fit.reason)
    settings = [evaluator.serving(values) for values in climb.settings]
    fits = {NETWORK: fit}
    measured = evaluator.measuring.searched(evaluator.with_fits(fits), settings, fits)
    values = tuple(map(tuple, measured))
    running = isinstance(state, Checkpoint) and state.running
    return Partial(trial.index, values, fit.steps, running, fit.seconds)


def finish_climb(evaluator: Evaluator, climb: RungHistory) -> list[Record]:
    """Train a pack from the last rung of its way to the end, and measure it as any other."""

    def trained() -> list[Fit]:
        reached = _reach(evaluator, climb.way, climb.trials)
        here = [reached[trial.index] for trial in climb]
        standing = [one for one in here if isinstance(one, Checkpoint)]
        assert len(standing) == len(here), "what failed at a rung goes no further"
        specs = [evaluator.spec(trial) for trial in climb]
        seeds = [spec.seed(evaluator.seed) for spec in specs]
        ends = resume_pack(
            specs,
            seeds,
            evaluator.data,
            evaluator.monitor(),
            until=specs[0].steps,
            standings=standing,
        )
        return [one for one in ends if isinstance(one, Fit)]

    return evaluator.evaluate(climb.trials, trained if climb.way else None)


def keys_of(evaluator: Evaluator, climb: RungHistory) -> list[str]:
    """Names under which the company of the last rung of a way is stored."""
    return list(_keys(evaluator, climb.way).values())


def _keys(evaluator: Evaluator, way: Sequence[RungPack]) -> dict[int, str]:
    """Names of the company of the last rung, by place in the generation."""
    named = [(rung.step, [evaluator.fit_id(trial) for trial in rung.company]) for rung in way]
    return {
        trial.index: standing_key(fit_id, named)
        for trial, fit_id in zip(way[-1].company, named[-1][1], strict=True)
    }


def _reach(
    evaluator: Evaluator, way: Sequence[RungPack], trials: Sequence[Trial]
) -> dict[int, Checkpoint | Fit]:
    """Return where trials stand at the last rung, by place in the generation: found, or trained."""
    if not way:
        return {}
    *earlier, rung = way
    store = CheckpointStore(evaluator.store.folder)
    keys = _keys(evaluator, way)
    stored = {trial.index: store.get(keys[trial.index]) for trial in trials}
    known = {index: one for index, one in stored.items() if one is not None}
    if len(known) == len(trials):
        return dict(known)
    before = _reach(evaluator, earlier, rung.company)
    here = [one for t in rung.company if isinstance(one := before.get(t.index), Checkpoint)]
    assert len(here) in (0, len(rung.company)), "what failed at a rung goes no further"
    specs = [evaluator.spec(trial) for trial in rung.company]
    seeds = [spec.seed(evaluator.seed) for spec in specs]
    monitor = evaluator.monitor()
    reached = resume_pack(specs, seeds, evaluator.data, monitor, until=rung.step, standings=here)
    by_index = {trial.index: one for trial, one in zip(rung.company, reached, strict=True)}
    for index, one in by_index.items():
        if isinstance(one, Checkpoint):
            store.put(keys[index], one)
    return by_index


def panel(
    trials: Sequence[Trial], space: SearchSpace, count: int
) -> tuple[Mapping[str, Value], ...]:
    """Return serving settings at which the fits of a generation are compared.

    One of each trial's sweep by turns (from the second generation on, settings that stand on the
    front), with the network alone in place of a fusion: experts would hide what it has learnt.

    Args:
        trials: The trials of a generation.
        space: Says what a serving variable means.
        count: Most settings.
    """
    fusion = space.serve.get("fusion")
    alone: dict[str, Value] = {}
    if isinstance(fusion, Simplex) and NETWORK in fusion.names:
        alone["fusion"] = tuple(float(name == NETWORK) for name in fusion.names)
    most = max(len(trial.candidates) for trial in trials)
    settings: list[Mapping[str, Value]] = []
    for index in (*range(1, most), 0):
        for trial in trials:
            if index < len(trial.candidates) and len(settings) < count:
                values = {**trial.candidates[index].serve, **alone}
                if values not in settings:
                    settings.append(values)
    return tuple(settings)
