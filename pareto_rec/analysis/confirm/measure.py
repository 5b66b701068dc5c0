"""What worker processes do for a confirmation: train with a fresh seed, and measure on a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.measurement import ObjectiveSet, ValuesByUser
from pareto_rec.execution.workers.packs import Trouble, evaluate_pack
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.openings import OpeningLedger
from pareto_rec.objectives import Objective
from pareto_rec.search import Trial
from pareto_rec.search.space import Candidate, Value

Values = Mapping[str, ValuesByUser | float]
"""Objective -> what users are resampled from; one number where that is not known."""


@dataclass(frozen=True)
class Training:
    """A fit to make.

    Attributes:
        train: Training variables; those left out keep the config's fixed value, or the default.
        seed: Of the fit.
    """

    train: Mapping[str, Value]
    seed: int


@dataclass(frozen=True)
class Made:
    """A fit that was made, or the reason why not."""

    fit: str
    reason: str | None


@dataclass(frozen=True)
class OpenedTest:
    """The test stage of an experiment, opened.

    Attributes:
        config: Of the experiment, as JSON.
        ledger: Where the opening is written down.
    """

    config: str
    ledger: OpeningLedger


@dataclass(frozen=True)
class Question:
    """Serving settings to measure on the same fits.

    Attributes:
        key: Named by the answer.
        fits: Names of networks in the fusions -> ids of their fits; empty for experts alone.
        serve: Serving variables of each setting.
        test: The test stage to measure on; None for validation data.
    """

    key: object
    fits: Mapping[str, str]
    serve: Sequence[Mapping[str, Any]]  # values, or weights by name for a fusion
    test: OpenedTest | None = None


def recorded(measures: ObjectiveSet) -> list[Objective]:
    """The objectives that are written down, searched ones first."""
    reported = [one for one in measures.reported if one.recorded]
    found = {one.name: one for one in (*measures.searched, *reported)}
    return list(found.values())


def train(evaluator: Evaluator, job: Training, cache: Path) -> tuple[Training, Made]:
    """Make a fit, validation data being the tuning signal, or find it stored."""
    seeded = evaluator.with_(seed=job.seed)
    trial = Trial(0, 0, 0, (Candidate(job.train, {}),))
    found = evaluate_pack(seeded, [trial], cache)
    if isinstance(found, Trouble):
        return job, Made("", found.reason)
    stored = evaluator.store.get(found[0].fit) is not None
    return job, Made(found[0].fit, None if stored else found[0].reason or "it was not stored")


def measure(evaluator: Evaluator, job: Question, cache: Path) -> tuple[object, list[Values | str]]:
    """Values of every setting, or the reason why it could not be measured."""
    if job.test is not None:
        # Fits are those of the validation stage. What an architecture costs was measured once, on
        # an idle machine; it does not depend on the stage.
        evaluator = _test_evaluator(job.test, cache).with_(
            store=evaluator.store, costs=evaluator.measuring.supplies.costs
        )
    return job.key, _values(evaluator, job.fits, job.serve)


def truth_account(
    evaluator: Evaluator,  # noqa: ARG001 - every job is given the validation stage
    test: OpenedTest,
    cache: Path,
) -> dict[str, int]:
    """Count the test rows that are left out of the truth (`Stage.truth_account`)."""
    return _test_evaluator(test, cache).stage.truth_account


def _values(
    evaluator: Evaluator, names: Mapping[str, str], serve: Sequence[Mapping[str, Any]]
) -> list[Values | str]:
    try:
        scorers, fits = evaluator.scorers_of(names.values())
    except KeyError:
        return ["its fit is no longer stored"] * len(serve)
    settings = [evaluator.serving(one, names) for one in serve]
    single = evaluator.measuring.values(scorers, settings, fits)
    wanted = recorded(evaluator.measuring.measures)
    by_user = evaluator.measuring.by_user(scorers, settings, fits, wanted)
    return [
        values if one.reason is None else one.reason
        for values, one in zip(by_user, single, strict=True)
    ]


@lru_cache(maxsize=1)
def _test_evaluator(test: OpenedTest, cache: Path) -> Evaluator:
    """The evaluator of the test stage: histories are training and validation rows."""
    experiment = Experiment.for_worker(test.config, cache)
    return experiment.evaluator(experiment.open_test(test.ledger))
