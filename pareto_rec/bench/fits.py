"""Cost per fit and per evaluated point: this package, a plain trainer, the backbone in the loop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pareto_rec.bench import in_loop, plain
from pareto_rec.bench.measure import Result, Row
from pareto_rec.bench.task import Problem, problem
from pareto_rec.experiment import read_features
from pareto_rec.losses import LOSSES, LossInputs
from pareto_rec.models.base import Shape, item_table
from pareto_rec.models.scoring import relevance_states, task_logits, user_states
from pareto_rec.paths import cache_dir
from pareto_rec.records.record import Record
from pareto_rec.search import Searcher, Trial
from pareto_rec.seeds import generator
from pareto_rec.threads import one_thread
from pareto_rec.train.batches import draw
from pareto_rec.train.data import Fit
from pareto_rec.train.fitting import fit
from pareto_rec.train.products import products_of
from pareto_rec.train.spec import TrainSpec
from pareto_rec.workers.packs import packs_of


def run(*, quick: bool, fits: int = 0, steps: int = 0, cache: Path | None = None) -> Result:
    """Train the same candidates on every side, and evaluate them alike.

    Args:
        quick: Few fits, one process.
        fits: Candidates; 0 for the usual.
        steps: Steps of each fit; 0 for the usual.
        cache: Root of the cache; None for the usual.
    """
    root = cache or cache_dir()
    count = fits or (4 if quick else 16)
    changes = {"steps": steps} if steps else {}
    given = problem(root, fixed=changes, search={"population": count})
    trials = Searcher(given.made.space, given.goals, given.made.settings, seed=1).ask()[:count]
    first = given.evaluator.spec(trials[0])
    checked = [_check_losses(given, first)]
    ours, our_seconds = _ours(given, trials)
    rival, rival_seconds = _plain(given, trials)
    looped, encoded = _in_loop(given, trials, root, 2 if quick else 5)
    checked.append(encoded)
    points = sum(len(trial.candidates) for trial in trials) / count
    evaluate = float(np.mean([r.timing["serve_seconds"] for r in ours]))
    sides = {
        "this package, one thread": (our_seconds, given.hypervolume(ours), points),
        "plain PyTorch, cached features": (rival_seconds, given.hypervolume(rival), 1.0),
        "backbone in the loop": (looped, float("nan"), 1.0),
    }
    if not quick:
        both = _two_workers(root, count, steps)
        volume = given.hypervolume(ours)
        sides = {"this package, 2 workers": (both, volume, points), **sides}
    rows = _rows(sides, evaluate)
    notes = [
        f"{count} candidates of one generation, the same on every side; `hypervolume` is x 1000 of "
        "all their serving settings, alike for all.",
        f"Seconds per fit are those of training; evaluating a point takes {evaluate:.4f} s here "
        "and is added alike for all. Points per fit: the serving sweep is this package's; the "
        "others are counted with the one point that their search asks for.",
        "Products with all item vectors are computed in "
        f"{products_of(first.products, torch.device('cpu')) or 'torch.float32'} here and in "
        "torch.float32 there; `hypervolume` says what that costs.",
        "Backbone in the loop: every distinct item of a batch is encoded for each step, its "
        f"negatives are the items of the batch; measured on {2 if quick else 5} steps and "
        f"extrapolated to {first.steps}.",
        f"The others use PyTorch's default of {torch.get_num_threads()} threads.",
    ]
    return Result("fits", "; ".join(checked), rows, notes)


def _rows(sides: Mapping[str, tuple[float, float, float]], evaluate: float) -> list[Row]:
    base = next(iter(sides.values()))
    points = base[0] / base[2] + evaluate
    return [
        {
            "side": name,
            "seconds per fit": round(seconds, 3),
            "x": round(seconds / base[0], 1),
            "seconds per point": round(seconds / count + evaluate, 4),
            "x per point": round((seconds / count + evaluate) / points, 1),
            "hypervolume": "" if np.isnan(volume) else round(volume, 3),
        }
        for name, (seconds, volume, count) in sides.items()
    ]


def _ours(given: Problem, trials: Sequence[Trial]) -> tuple[list[Record], float]:
    """Records, and seconds of training per fit."""
    with tempfile.TemporaryDirectory() as folder, one_thread():
        evaluator = given.fresh(Path(folder))
        size = given.made.config.train.pack_size
        records = [
            r for pack in packs_of(trials, evaluator, size) for r in evaluator.evaluate(pack)
        ]
    by_fit = {record.fit: record.timing["train_seconds"] for record in records}
    return records, float(np.mean(list(by_fit.values())))


def _initial(given: Problem, spec: TrainSpec) -> tuple[Shape, dict[str, Tensor]]:
    """Initial parameters as a fit has them."""
    [start] = fit(
        [replace(spec, steps=1, check_every=1, learning_rate=0.0)],
        [given.evaluator.seed],
        given.evaluator.data,
        lambda _: 0.0,
        pack_size=1,
    )
    return start.shape, dict(start.params)


def _plain(given: Problem, trials: Sequence[Trial]) -> tuple[list[Record], float]:
    """The same with the plain trainer; its parameters are evaluated here."""
    evaluator, records, spent = given.evaluator, [], []
    monitor = evaluator.monitor()
    for trial in trials:
        spec = evaluator.spec(trial)
        shape, params = _initial(given, spec)
        began = time.perf_counter()
        kept = plain.train(params, evaluator.data, spec, evaluator.seed, monitor)
        spent.append(time.perf_counter() - began)
        made = Fit(spec, shape, kept, (), 0, spent[-1])
        records += evaluator.records(trial, "plain", made, None)
    return records, float(np.mean(spent))


def _in_loop(given: Problem, trials: Sequence[Trial], cache: Path, steps: int) -> tuple[float, str]:
    """Seconds per fit, extrapolated, and what was found equal first."""
    texts = given.evaluator.stage.items.texts
    features = read_features(given.made.config, texts, cache)
    encoder = in_loop.Encoder(given, texts, features, cache)
    some = torch.arange(0, len(texts), max(1, len(texts) // 32))
    off = float((encoder(some) - given.evaluator.data.features[some]).abs().max())
    if off > 1e-3:
        raise AssertionError(f"features of the backbone in the loop differ by {off:g}")
    spec = given.evaluator.spec(trials[0])
    _, params = _initial(given, spec)
    model = plain.Plain(params, given.evaluator.data, spec)
    each = in_loop.seconds_per_step(model, encoder, spec, steps)
    return each * spec.steps, f"features encoded in the loop differ from cached ones by {off:.0e}"


def _check_losses(given: Problem, spec: TrainSpec) -> str:
    """Both sides give the same losses for the same parameters and examples, without dropout.

    Raises:
        AssertionError: If they do not.
    """
    data = given.evaluator.data
    shape, params = _initial(given, spec)
    rng = generator(0, "check losses")
    params = {
        n: p + 0.1 * torch.from_numpy(rng.normal(size=p.shape)).float() for n, p in params.items()
    }
    batch = draw(
        data.sequences, rng, steps=1, batch=64, history=spec.history, places=1, horizon=spec.horizon
    )
    parts = {
        n: torch.from_numpy(getattr(batch, n)) for n in ("histories", "at", "targets", "liked")
    }
    stacked = {name: value.unsqueeze(0) for name, value in params.items()}
    temperature = torch.tensor([spec.temperature])
    with torch.no_grad():
        table = item_table(stacked, data.features, None)
        states = user_states(stacked, shape, table, parts["histories"], parts["at"])
        targets = parts["targets"].reshape(1, -1, spec.horizon)
        ids = targets.clamp(min=0)
        inputs = LossInputs(
            states=relevance_states(stacked, states, temperature),
            table=table,
            bias=stacked["relevance.item_bias"],
            targets=ids,
            mask=targets >= 0,
            liked=parts["liked"].reshape(ids.shape),
            negatives=torch.zeros(1, 1, dtype=torch.long),
            items=data.facts,
            liked_logits=task_logits(stacked, "liked", states, table, ids),
        )
        ours = {name: float(LOSSES[name](inputs)[0]) for name in spec.loss_weights}
        model = plain.Plain(params, data, spec).eval()
        shown = (parts["histories"][0], targets[0], inputs.liked[0])
        theirs = {name: float(value) for name, value in model.losses(shown).items()}
    off = max(abs(ours[name] - theirs[name]) / max(abs(ours[name]), 1e-3) for name in ours)
    if off > 1e-3:
        raise AssertionError(f"losses differ: {ours} and {theirs}")
    return f"losses of equal parameters and examples differ by {off:.0e} at most"


def _noise(rng: np.random.Generator, shape: torch.Size) -> Tensor:
    return 0.1 * torch.from_numpy(rng.normal(size=tuple(shape))).float()


@lru_cache(maxsize=1)
def _worker_problem(cache: Path, count: int, steps: int) -> Problem:
    fixed = {"steps": steps} if steps else {}
    return problem(cache, fixed=fixed, search={"population": count})


def _work(cache: Path, count: int, steps: int, half: int) -> float:
    """Seconds that a worker takes to train every second fit of the generation; -1: none."""
    given = _worker_problem(cache, count, steps)
    asked = Searcher(given.made.space, given.goals, given.made.settings, seed=1).ask()[:count]
    began = time.perf_counter()
    evaluator = given.evaluator
    with one_thread():
        specs = [evaluator.spec(trial) for trial in asked[half::2]] if half >= 0 else []
        size = given.made.config.train.pack_size
        seeds = [evaluator.seed] * len(specs)
        fit(specs, seeds, evaluator.data, evaluator.monitor(), pack_size=size)
    return time.perf_counter() - began


def _two_workers(cache: Path, count: int, steps: int) -> float:
    """Seconds per fit where two processes of one thread share the fits."""
    import joblib

    with joblib.parallel_config("loky", inner_max_num_threads=1), joblib.Parallel(2) as both:
        both(joblib.delayed(_work)(cache, count, steps, -1) for _ in range(2))  # builds evaluators
        began = time.perf_counter()
        both(joblib.delayed(_work)(cache, count, steps, half) for half in range(2))
        return (time.perf_counter() - began) / count
