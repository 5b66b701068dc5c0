"""A training step, lists and metrics against the time of their matrix products alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.suite.measure import Result, Row
from benchmarks.suite.products import Products, recorded
from benchmarks.suite.task import Problem, problem
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.seeds import generator
from pareto_rec.core.threads import one_thread
from pareto_rec.models import MODELS
from pareto_rec.objectives import parse
from pareto_rec.ranking import Scorers, ServingParams, recommend
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.spec import TrainSpec

PACKS = (1, 4)
LOSSES = {"softmax": 0.6, "liked": 0.1, "negative_entropy": 0.2, "popularity": 0.1}


def run(*, quick: bool, given: Problem | None = None, steps: int = 0) -> Result:
    """Return every model in packs of one and four, then 24 serving settings of one fit.

    Args:
        quick: Few steps.
        given: The experiment; None for the one of all benchmarks.
        steps: Steps of each fit; 0 for the usual.
    """
    given = given or problem(cache_dir())
    steps = steps or (8 if quick else 40)
    with one_thread():
        checked = _check(given)
        rows = [_training(given, name, pack, steps) for name in MODELS for pack in PACKS]
        rows += _serving(given)
    notes = [
        "Processor time of one thread. `products alone`: every matrix product that is called for, "
        "forward and backward, repeated by itself on dense random factors of the same sizes.",
        f"Steps: batches of {_spec(given, 'attention_pooling', steps).batch}, their assembly and "
        "the update of all parameters included; per candidate of the pack.",
        "Lists and metrics: all validation users, 24 serving settings of one fit; the product of "
        "metrics is that of the vectors of each list with each other (intra-list distance).",
    ]
    return Result("steps", checked, rows, notes)


def _spec(given: Problem, model: str, steps: int) -> TrainSpec:
    fixed = {**given.experiment.config.fixed, "model": model, "steps": steps, "check_every": steps}
    return replace(TrainSpec(**fixed), loss_weights=LOSSES, horizon=10)


def _training(given: Problem, model: str, pack: int, steps: int) -> Row:
    data, spec = given.evaluator.data, _spec(given, model, steps)

    def train(specs: Sequence[TrainSpec]) -> None:
        seeds = list(range(len(specs)))
        train_pack(specs, seeds, data, lambda _: 0.0, pack_size=len(specs))

    train([replace(spec, steps=2, check_every=2)] * pack)  # what is compiled or read once
    began = time.process_time()
    train([spec] * pack)
    seconds = time.process_time() - began
    alone = recorded(lambda: train([spec] * pack)).alone()
    return _row(f"step of {model}, pack of {pack}", seconds / steps / pack, alone / steps / pack)


def _row(what: str, seconds: float, alone: float) -> Row:
    return {
        "what": what,
        "ms": round(1000 * seconds, 2),
        "products alone ms": round(1000 * alone, 2),
        "share of the limit": f"{alone / seconds:.0%}",
    }


def settings(count: int, names: Sequence[str]) -> list[ServingParams]:
    """Draw serving settings at random."""
    rng = generator(0, "settings")
    return [
        ServingParams(
            dict(zip(names, rng.dirichlet(np.ones(len(names))).tolist(), strict=True)),
            exponents={"liked": float(rng.uniform(0, 2))},
            popularity_penalty=float(rng.uniform(0, 1.5)),
            mmr=float(rng.uniform(0, 0.9)),
            depth=int(rng.integers(15, 320)),
        )
        for _ in range(count)
    ]


def _serving(given: Problem) -> list[Row]:
    """Return lists and metrics of 24 settings."""
    evaluator = given.evaluator
    spec = _spec(given, "attention_pooling", 2)
    [fit] = train_pack([spec], [0], evaluator.data, lambda _: 0.0, pack_size=1)
    scorers = evaluator.with_fit(fit)
    chosen = settings(24, ["network", *evaluator.users.experts])
    k = evaluator.measuring.measures.k
    lists, scores = recommend(scorers, chosen, k=k)
    began = time.process_time()
    lists, scores = recommend(scorers, chosen, k=k)
    ranking = time.process_time() - began
    fusion = Products()  # the loop that sums scores is no product for torch: it is noted here
    assert isinstance(scorers, Scorers)
    users, items = scorers.seen.shape
    fusion.sizes[(torch.float32, users, len(chosen), _parts(scorers), items)] = 1
    began = time.process_time()
    for index in range(len(chosen)):
        outcome = evaluator.measuring.outcome(lists[index], scores[index])
        for objective in (
            *evaluator.measuring.measures.searched,
            parse("recall@10"),
            parse("mrr@10"),
        ):
            objective.value(outcome)
    metrics = time.process_time() - began
    categories = evaluator.measuring.catalogue.unit_categories.shape[1]
    own = Products()
    own.sizes[(torch.float32, lists.shape[1], k, categories, k)] = len(chosen)
    return [
        _row("lists of 24 settings", ranking, fusion.alone()),
        _row("five metrics of 24 settings", metrics, own.alone()),
    ]


def _parts(scorers: Scorers) -> int:
    """Count what is summed: experts, relevance and tasks of networks, popularity."""
    networks = scorers.networks.values()
    return len(scorers.experts) + sum(1 + len(network.tasks) for network in networks) + 1


def _check(given: Problem) -> str:
    """Return what is recorded is all that torch's own counter knows of.

    Raises:
        AssertionError: If it is not.
    """
    worst = 0.0
    for model in MODELS:
        spec = _spec(given, model, 2)

        def train(spec: TrainSpec = spec) -> None:
            train_pack([spec], [0], given.evaluator.data, lambda _: 0.0, pack_size=1)

        with FlopCounterMode(display=False) as counter:
            train()
        mine, theirs = recorded(train).flops, counter.get_total_flops()
        worst = max(worst, abs(mine / theirs - 1))
    if worst > 0.02:
        raise AssertionError(f"recorded products differ from torch's count by {worst:.0%}")
    return f"operations of the recorded products are torch's own count within {worst:.1%}"
