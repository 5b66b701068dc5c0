"""Cost per fit and per evaluated point: this package, a plain trainer, the backbone in the loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.suite import in_loop, plain
from benchmarks.suite.measure import Result, Row
from benchmarks.suite.task import Problem, problem
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.core.threads import one_thread
from pareto_rec.losses import LossInputs
from pareto_rec.models.base import Shape, item_table
from pareto_rec.models.scoring import relevance_states, user_states
from pareto_rec.runs.record import Record
from pareto_rec.search import Searcher, Trial
from pareto_rec.training.batches import draw
from pareto_rec.training.data import Fit
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.matmul_dtype import matmul_dtype_of
from pareto_rec.training.pack_tasks import TaskHeads, losses_of
from pareto_rec.training.spec import TrainSpec

ONE_THREAD, PLAIN = "this package, one thread", "plain PyTorch, cached features"
GENERATIONS = 8  # in full: the hypervolume of one varies by more than the differences between sides


def run(*, quick: bool, fits: int = 0, steps: int = 0, cache: Path | None = None) -> Result:
    """Train the same candidates on every side, and evaluate them alike.

    Args:
        quick: Few fits, one process.
        fits: Candidates of a generation; 0 for the usual.
        steps: Steps of each fit; 0 for the usual.
        cache: Root of the cache; None for the usual.
    """
    root = cache or cache_dir()
    count, generations = fits or (4 if quick else 16), 1 if quick else GENERATIONS
    given = problem(root, fixed={"steps": steps} if steps else {}, search={"population": count})
    sets = [_generation(given, count, number) for number in range(generations)]
    trials = sets[0]
    first = given.evaluator.spec(trials[0])
    checked = [_check_losses(given, first)]
    ours = [_ours(given, trials) for trials in sets]
    rival = [_plain(given, trials) for trials in sets]
    looped, encoded = _in_loop(given, trials, root, 2 if quick else 5)
    checked.append(encoded)
    points = sum(len(trial.candidates) for trial in trials) / count
    everything = [record for fits, _ in ours for records in fits for record in records]
    evaluate = float(np.mean([record.timing["serve_seconds"] for record in everything]))
    sides = {
        ONE_THREAD: _Side.of(given, ours, points),
        PLAIN: _Side.of(given, rival, 1.0),
        "backbone in the loop": _Side(looped, 1.0),
    }
    if not quick:
        both = replace(sides[ONE_THREAD], seconds=_two_workers(root, count, steps, generations))
        sides = {"this package, 2 workers": both, **sides}
    rows = _rows(sides, evaluate)
    notes = [
        f"{count} candidates of each of {generations} random generations, the same on every side, "
        "each with a seed of its own; `hypervolume` is x 1000 of all serving settings of a "
        "generation, alike for all: mean, smallest and largest."
        + _difference(sides[ONE_THREAD], sides[PLAIN]),
        f"Seconds per fit are those of training; evaluating a point takes {evaluate:.4f} s here "
        "and is added alike for all. Points per fit: the serving sweep is this package's; the "
        "others are counted with the one point that their search asks for.",
        "Products with all item vectors are computed in "
        f"{matmul_dtype_of(first.matmul_dtype, torch.device('cpu')) or 'torch.float32'} here and "
        "in torch.float32 there; `hypervolume` says what that costs.",
        "Backbone in the loop: every distinct item of a batch is encoded for each step, its "
        f"negatives are the items of the batch; measured on {2 if quick else 5} steps and "
        f"extrapolated to {first.steps}.",
        f"The others use PyTorch's default of {torch.get_num_threads()} threads.",
    ]
    return Result("fits", "; ".join(checked), rows, notes)


@dataclass(frozen=True)
class _Side:
    """Cost and hypervolume of a side.

    Attributes:
        seconds: Of training, per fit.
        points: Evaluated points per fit.
        volumes: Hypervolume x 1000 of each generation.
        singles: The same of each fit alone.
    """

    seconds: float
    points: float
    volumes: tuple[float, ...] = ()
    singles: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, given: Problem, generations: Sequence[tuple[list[list[Record]], float]], points: float
    ) -> _Side:
        """Create from the records of each fit, and the seconds, of each generation."""
        seconds = float(np.mean([spent for _, spent in generations]))
        volumes = [
            given.hypervolume([r for records in fits for r in records]) for fits, _ in generations
        ]
        singles = [given.hypervolume(records) for fits, _ in generations for records in fits]
        return cls(seconds, points, tuple(volumes), tuple(singles))

    @property
    def volume(self) -> str:
        """Mean, smallest and largest."""
        if not self.volumes:
            return ""
        return f"{np.mean(self.volumes):.3f} ({min(self.volumes):.3f}-{max(self.volumes):.3f})"


def _difference(ours: _Side, rival: _Side) -> str:
    """Return how far hypervolumes are apart, with standard errors, where there are several."""
    if len(ours.volumes) < 2:
        return ""
    texts = []
    for name, own, theirs in (
        ("generations", ours.volumes, rival.volumes),
        ("single fits", ours.singles, rival.singles),
    ):
        apart = np.array(own) - np.array(theirs)
        error = apart.std(ddof=1) / len(apart) ** 0.5
        texts.append(f"{apart.mean():+.3f} (standard error {error:.3f}) of {name}")
    return f" This package less plain PyTorch: {', '.join(texts)}."


def _generation(given: Problem, count: int, number: int) -> Sequence[Trial]:
    """The first generation of a search."""
    searcher = Searcher(
        given.experiment.space, given.goals, given.experiment.settings, seed=1 + number
    )
    return searcher.ask()[:count]


def _rows(sides: Mapping[str, _Side], evaluate: float) -> list[Row]:
    base = next(iter(sides.values()))
    point = base.seconds / base.points + evaluate
    return [
        {
            "side": name,
            "seconds per fit": round(side.seconds, 3),
            "x": round(side.seconds / base.seconds, 2),
            "seconds per point": round(side.seconds / side.points + evaluate, 4),
            "x per point": round((side.seconds / side.points + evaluate) / point, 1),
            "hypervolume": side.volume,
        }
        for name, side in sides.items()
    ]


def _ours(given: Problem, trials: Sequence[Trial]) -> tuple[list[list[Record]], float]:
    """Return records of each fit, and seconds of training per fit."""
    with one_thread():
        began = time.perf_counter()
        fits = _trained(given, trials)
        spent = time.perf_counter() - began
        records = [
            given.evaluator.records(trial, "ours", fit, None)
            for trial, fit in zip(trials, fits, strict=True)
        ]
    return records, spent / len(trials)


def _trained(given: Problem, trials: Sequence[Trial]) -> list[Fit]:
    """Return fits of some trials, each with a seed of its own."""
    evaluator = given.evaluator
    specs, seeds = [evaluator.spec(one) for one in trials], [_seed(one) for one in trials]
    size = given.experiment.config.train.pack_size
    return train_pack(specs, seeds, evaluator.data, evaluator.monitor(), pack_size=size)


def _seed(trial: Trial) -> int:
    """Return the seed of a fit: draws that all fits shared would share their luck."""
    return child_seed(0, "fit", trial.position)


def _initial(given: Problem, spec: TrainSpec, seed: int) -> tuple[Shape, dict[str, Tensor]]:
    """Return initial parameters as a fit has them."""
    [start] = train_pack(
        [replace(spec, steps=1, check_every=1, learning_rate=0.0)],
        [seed],
        given.evaluator.data,
        lambda _: 0.0,
        pack_size=1,
    )
    return start.shape, dict(start.params)


def _plain(given: Problem, trials: Sequence[Trial]) -> tuple[list[list[Record]], float]:
    """Return the same with the plain trainer; its parameters are evaluated here."""
    evaluator, spent = given.evaluator, []
    records: list[list[Record]] = []
    monitor = evaluator.monitor()
    for trial in trials:
        spec, seed = evaluator.spec(trial), _seed(trial)
        shape, params = _initial(given, spec, seed)
        began = time.perf_counter()
        trained = plain.train(params, evaluator.data, spec, seed, monitor)
        spent.append(time.perf_counter() - began)
        fit = Fit(spec, shape, trained, (), 0, spent[-1])
        records.append(evaluator.records(trial, "plain", fit, None))
    return records, float(np.mean(spent))


def _in_loop(given: Problem, trials: Sequence[Trial], cache: Path, steps: int) -> tuple[float, str]:
    """Return seconds per fit, extrapolated, and what was found equal first."""
    texts = given.evaluator.stage.items.texts
    features = given.experiment.features
    encoder = in_loop.Encoder(given, texts, features, cache)
    some = torch.arange(0, len(texts), max(1, len(texts) // 32))
    off = float((encoder(some) - given.evaluator.data.features[some]).abs().max())
    if off > 1e-3:
        raise AssertionError(f"features of the backbone in the loop differ by {off:g}")
    spec = given.evaluator.spec(trials[0])
    _, params = _initial(given, spec, 0)
    model = plain.Plain(params, given.evaluator.data, spec)
    each = in_loop.seconds_per_step(model, encoder, spec, steps)
    return each * spec.steps, f"features encoded in the loop differ from cached ones by {off:.0e}"


def _check_losses(given: Problem, spec: TrainSpec) -> str:
    """Check that both sides give the same losses for the same parameters, without dropout.

    Raises:
        AssertionError: If they do not.
    """
    data = given.evaluator.data
    shape, params = _initial(given, spec, 0)
    rng = generator(0, "check losses")
    params = {
        n: p + 0.1 * torch.from_numpy(rng.normal(size=p.shape)).float() for n, p in params.items()
    }
    batch = draw(
        data.sequences,
        rng,
        steps=1,
        batch=64,
        history=spec.history,
        positions=1,
        horizon=spec.horizon,
    )
    parts = {n: torch.from_numpy(getattr(batch, n)) for n in ("histories", "at", "targets")}
    tasks = TaskHeads(spec, data.labels)
    labels = {n: torch.from_numpy(of) for n, of in tasks.of_targets(batch.rows).items()}
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
            negatives=torch.zeros(1, 1, dtype=torch.long),
            items=data.facts,
            interactions=tasks.interactions(stacked, states, table, targets, labels),
        )
        ours = {loss.name: float(loss(inputs)[0]) for loss in losses_of(spec, data.labels)}
        model = plain.Plain(params, data, spec).eval()
        shown = (parts["histories"][0], targets[0], labels["met:liked"].reshape(ids.shape)[0])
        theirs = {name: float(value) for name, value in model.losses(shown).items()}
    off = max(abs(ours[name] - theirs[name]) / max(abs(ours[name]), 1e-3) for name in ours)
    if off > 1e-3:
        raise AssertionError(f"losses differ: {ours} and {theirs}")
    return f"losses of equal parameters and examples differ by {off:.0e} at most"


@lru_cache(maxsize=1)
def _worker_problem(cache: Path, count: int, steps: int) -> Problem:
    fixed = {"steps": steps} if steps else {}
    return problem(cache, fixed=fixed, search={"population": count})


def _work(cache: Path, count: int, steps: int, number: int, half: int) -> None:
    """Train every second fit of a generation, or none."""
    given = _worker_problem(cache, count, steps)
    with one_thread():
        _trained(given, _generation(given, count, number)[half::2] if half >= 0 else [])


def _two_workers(cache: Path, count: int, steps: int, generations: int) -> float:
    """Return seconds per fit where two one-thread processes share each generation's fits."""
    import joblib

    given = (cache, count, steps)
    with joblib.parallel_config("loky", inner_max_num_threads=1), joblib.Parallel(2) as both:
        both(joblib.delayed(_work)(*given, 0, -1) for _ in range(2))  # builds evaluators
        began = time.perf_counter()
        for number in range(generations):
            both(joblib.delayed(_work)(*given, number, half) for half in range(2))
        return (time.perf_counter() - began) / (count * generations)
