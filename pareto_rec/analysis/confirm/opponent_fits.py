"""Fits of opponents: trained for accuracy alone, as a search trains its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pareto_rec.analysis.confirm.opponents import MOST_FITS, Train
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import packs_of
from pareto_rec.search import Trial
from pareto_rec.search.space import Candidate


@dataclass(frozen=True)
class OwnFit:
    """A stored fit.

    Attributes:
        id: Of the fit.
        train: Its training variables.
        accuracy: What early stopping watched, at its best.
    """

    id: str
    train: Train
    accuracy: float


def trained(wanted: Sequence[Train], pool: Workers) -> list[OwnFit]:
    """Make fits with the seed of the run, or find them stored; those that fail are left out.

    Args:
        wanted: Training variables of each.
        pool: Trains.
    """
    evaluator = pool.evaluator
    trials = [Trial(0, n, n, (Candidate(train, {}),)) for n, train in enumerate(wanted)]
    for _ in pool.evaluate(packs_of(trials, evaluator, evaluator.train_settings.pack_size)):
        pass
    made = []
    for train, trial in zip(wanted, trials, strict=True):
        fit_id = evaluator.fit_id(trial)
        fit = evaluator.store.get(fit_id)
        if fit is not None and fit.reason is None:
            known = [value for _, value in fit.curve if not math.isnan(value)]
            made.append(OwnFit(fit_id, train, max(known, default=-math.inf)))
    return made


def most_accurate(fits: Sequence[OwnFit]) -> list[OwnFit]:
    """Return the most accurate fits, at most `MOST_FITS`, the best first."""
    return sorted(fits, key=lambda fit: (-fit.accuracy, fit.id))[:MOST_FITS]
