"""Cost and ranking quality of a fit of each user encoder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.suite.measure import Result, Row
from benchmarks.suite.task import Problem, problem
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.threads import one_thread
from pareto_rec.ranking import NETWORK, ServingParams
from pareto_rec.training.data import Fit
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.spec import TrainSpec

COMMON: Mapping[str, Any] = {"learning_rate": 0.015, "horizon": 10}
SPECS: Mapping[str, Mapping[str, Any]] = {
    "attention_pooling": {},
    # one block, asked at two places of each of half as many histories, which are shorter
    "self_attention": {"batch": 128, "positions": 2, "history": 20, "layers": 1},
}


def run(*, quick: bool, given: Problem | None = None, steps: int = 0) -> Result:
    """Return fits on the softmax loss alone.

    Args:
        quick: One seed.
        given: The experiment; None for the one of all benchmarks.
        steps: Steps of each fit; 0 for the usual.
    """
    given = given or problem(cache_dir())
    seeds = range(1 if quick else 5)
    changes = {"steps": steps} if steps else {}
    specs = {
        name: TrainSpec(
            **{**given.experiment.config.fixed, **COMMON, **own, "model": name, **changes},
            loss_weights={"softmax": 1.0},
        )
        for name, own in SPECS.items()
    }
    with one_thread():
        fits = {
            name: [_trained(given, spec, seed) for seed in seeds] for name, spec in specs.items()
        }
        checked = [_check(given, trained[0][0]) for trained in fits.values()]
    base = next(iter(fits.values()))
    rows = [_row(name, specs[name], trained, base) for name, trained in fits.items()]
    notes = [
        "Processor time of one thread, one fit at a time, what early stopping looks at included.",
        "NDCG@10 of the network alone on validation: mean, smallest and largest over seeds. The "
        "settings were chosen on it, with two seeds.",
    ]
    return Result("encoders", f"NDCG@10 is the objective's to {max(checked):.0e}", rows, notes)


def _trained(given: Problem, spec: TrainSpec, seed: int) -> tuple[Fit, float]:
    """Return a fit, and its seconds."""
    evaluator, began = given.evaluator, time.process_time()
    [fit] = train_pack([spec], [seed], evaluator.data, evaluator.monitor(), pack_size=1)
    return fit, time.process_time() - began


def _reached(fit: Fit) -> float:
    return max(value for _, value in fit.curve)


def _check(given: Problem, fit: Fit) -> float:
    """Check that early stopping watched the objective of the network's lists; the difference.

    Raises:
        AssertionError: If they differ.
    """
    evaluator = given.evaluator
    [measured] = evaluator.measuring.values(
        evaluator.with_fit(fit), [ServingParams()], {NETWORK: fit}
    )
    off = abs(measured.objectives["ndcg@10"] - _reached(fit))
    if off > 1e-6:
        raise AssertionError(f"NDCG@10 differs by {off:g}")
    return off


def _row(
    name: str,
    spec: TrainSpec,
    fits: list[tuple[Fit, float]],
    base: list[tuple[Fit, float]],
) -> Row:
    values = [_reached(fit) for fit, _ in fits]
    seconds, least = (float(np.median([s for _, s in some])) for some in (fits, base))
    return {
        "model": name,
        "batch, positions, history": f"{spec.batch}, {spec.positions}, {spec.history}",
        "seconds per fit": round(seconds, 2),
        "x": round(seconds / least, 2),
        "NDCG@10": f"{np.mean(values):.4f} ({min(values):.4f}-{max(values):.4f})",
    }
