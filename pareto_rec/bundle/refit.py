"""Refits of the chosen points on all data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pareto_rec.bundle.collect import log_of, merged
from pareto_rec.bundle.data import BundleData
from pareto_rec.bundle.source import Run
from pareto_rec.core.errors import RunFailedError
from pareto_rec.data.schema import Interactions, Stage
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.opening import opening_of, write_down
from pareto_rec.experiment.openings import OpeningLedger
from pareto_rec.runs.record import fit_ids
from pareto_rec.training.data import Fit
from pareto_rec.training.fitting import train_pack


def whole_stage(experiment: Experiment, ledger: OpeningLedger) -> tuple[Stage, str]:
    """A stage that learns from everything that may be looked at, and what that is.

    Test rows are among it only where ``confirm`` has opened them: else they stay unseen, so that
    the run can still be confirmed.
    """
    validation = experiment.split.validation
    test = experiment.open_test(ledger) if ledger.opened else None
    logs = [test.history, test.held_out] if test else [experiment.rows_before_test()]
    description = "train + validation" + (" + test" if test else "")
    rows, _ = merged([(log, np.zeros(len(log), dtype=np.int64)) for log in logs])
    empty = rows.take(np.zeros(0, dtype=np.int64))
    digest = hashlib.sha256(f"{validation.content_hash} refit {description}".encode()).hexdigest()
    stage = Stage("refit", rows, rows, empty, validation.items, validation.users, digest)
    shown = _shown(validation, test)
    return replace(stage, shown=shown, held_out_shown=None if shown is None else empty), description


def _shown(validation: Stage, test: Stage | None) -> Interactions | None:
    """Impressions beside those rows; None where every row is an interaction."""
    parts = [(validation.shown, validation.train), (validation.held_out_shown, validation.held_out)]
    parts += [(test.held_out_shown, test.held_out)] if test else []
    if all(shown is None for shown, _ in parts):
        return None
    logs = [plain if shown is None else shown for shown, plain in parts]
    return merged([(log, np.zeros(len(log), dtype=np.int64)) for log in logs])[0]


def refit(run: Run, parts: BundleData) -> tuple[BundleData, Evaluator]:
    """Train heads and experts on all data, with the same training variables and seeds.

    A head is trained as many steps as the one of the run that was kept, on the same schedule:
    there is nothing left to stop it by.

    Returns:
        The parts with everything that depends on rows replaced, and an evaluator of their lists.

    Raises:
        RunFailedError: If a fit fails, or the ledger of test data cannot be written.
    """
    ledger = OpeningLedger(run.path)
    if ledger.opened:
        write_down(opening_of(run.experiment, run.path, "export --refit all"))
    stage, description = whole_stage(run.experiment, ledger)
    evaluator = run.experiment.evaluator(stage)
    seeds = _seeds(run, parts)
    fits = {fit_id: _again(fit, seeds[fit_id], evaluator) for fit_id, fit in parts.fits.items()}
    known = evaluator.baselines
    models = {name: known[name].learn(stage) for name in parts.experts}
    rows, part = log_of(stage)
    before = f"Metrics are those of the point before it was trained again on {description}."
    about = parts.about.model_copy(update={"learned_from": description, "note": before})
    return replace(
        parts, about=about, interactions=rows, part=part, experts=models, fits=fits
    ), evaluator


def _seeds(run: Run, parts: BundleData) -> dict[str, int]:
    """Return the seed of every fit: of its own records, or of a point that fuses it."""
    fused = {fit_id: point.seed for point in parts.about.points for fit_id in fit_ids(point.fit)}
    own = {fit: seed for _, fit, seed in run.records() if len(fit_ids(fit)) == 1}
    return fused | own


def _again(fit: Fit, seed: int, evaluator: Evaluator) -> Fit:
    """Return the fit again on the evaluator's rows, kept after as many steps as before."""
    monitor = _until(fit.best_step // max(fit.spec.check_every, 1))
    refitted = train_pack([fit.spec], [seed], evaluator.data, monitor, pack_size=1)[0]
    if refitted.reason is not None:
        raise RunFailedError(f"training again on all data failed: {refitted.reason}")
    return refitted


def _until(looks: int) -> Callable[[object], float]:
    """Return a monitor that is happy until so many looks have been taken, and never after."""
    taken = 0

    def value(_: object) -> float:
        nonlocal taken
        taken += 1
        return float(taken if taken <= max(looks, 1) else -1)

    return value
