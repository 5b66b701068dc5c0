"""Lists with MMR and their metrics for all users: this package, a NumPy loop, LensKit.

Then lists of many serving settings: by the compiled loops, and by PyTorch's operators, which other
devices use; on the same scores, and on made-up scores of 100,000 items.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.suite.measure import Result, Row, in_turn, medians, rise_mb
from benchmarks.suite.task import Problem, problem
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.seeds import generator
from pareto_rec.core.threads import one_thread
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.objectives import parse
from pareto_rec.ranking import (
    HIDDEN,
    Scorers,
    ServingParams,
    Similarity,
    Ties,
    recommend,
    standardise,
)
from pareto_rec.ranking.compiled_lists import write_lists
from pareto_rec.ranking.lists import write_together

K = 10
SETTINGS = 48  # of one call
LEAST_EQUAL = 0.995  # share of lists; sums in another order may change near ties
LARGE_USERS = 24
LENSKIT = "PARETO_REC_LENSKIT"  # a Python that has LensKit, which needs an older pandas
METRICS = ("ndcg@10", "mrr@10", "ild@10")

Lists = NDArray[np.int64]
Floats = NDArray[np.float64]


def run(*, quick: bool, given: Problem | None = None, items: int = 100_000) -> Result:
    """Return all sides on the same scores.

    Args:
        quick: Fewer rounds.
        given: The experiment; None for the one of all benchmarks.
        items: Items of the large catalogue that is made up.
    """
    evaluator = (given or problem(cache_dir())).evaluator
    experts = list(evaluator.users.experts)[:2]
    weights = dict(zip(experts, (0.6, 0.4), strict=True))
    setting = ServingParams(weights, popularity_penalty=0.5, mmr=0.3, depth=50)
    rounds = 3 if quick else 9
    with one_thread():
        lists, ours = _ours(evaluator, setting)
        looped, theirs = _loop(evaluator, setting)
        checked = _check(lists, looped, ours, theirs)
        seconds = medians(
            in_turn(
                {
                    "this package": lambda: _ours(evaluator, setting),
                    "NumPy, a loop over users": lambda: _loop(evaluator, setting),
                },
                rounds,
                warm=0,
            )
        )
        metrics = medians(in_turn({"ours": lambda: _metrics(evaluator, lists)}, rounds))["ours"]
        lenskit = _lenskit(evaluator, lists, rounds)
        assert isinstance(evaluator.scorers, Scorers)
        many = [
            _many("the same users and items", evaluator.scorers, rounds),
            _many(
                f"{LARGE_USERS} made-up users, {items:,} items", made_up(items), 1 if quick else 3
            ),
        ]
    rows: list[Row] = [
        {"side": name, "what": "lists and metrics", "seconds": round(value, 4),
         "x": round(value / seconds["this package"], 1)}
        for name, value in seconds.items()
    ]  # fmt: skip
    rows.append(
        {"side": "this package", "what": "metrics alone", "seconds": round(metrics, 4), "x": 1.0}
    )
    rows += [row for found in many for row in found.rows]
    checked += "".join(f"; {found.said}" for found in many)
    notes = [
        f"{len(lists)} users, {evaluator.stage.shape[1]:,} items, one serving setting: two "
        "scorers, a penalty on popularity, MMR within 50 items, lists of 10; one thread.",
        f"Lists of many settings: {SETTINGS} settings in one call, every scorer weighed, a penalty "
        "on popularity, a boost of the tail where items are made up, MMR within 15 to 320 items; "
        "processor seconds a setting. PyTorch's operators are what other devices use.",
        *(found.peak for found in many),
    ]
    if lenskit is None:
        notes.append(f"LensKit is left out: set {LENSKIT} to a Python that has it.")
    else:
        for name in ("ndcg@10", "mrr@10"):
            if abs(lenskit[name] - ours[name]) > 1e-6:
                raise AssertionError(f"{name} is {lenskit[name]} in LensKit and {ours[name]} here")
        spent = lenskit["seconds"]
        rows.append(
            {"side": f"LensKit {lenskit['version']}", "what": "metrics alone",
             "seconds": round(spent, 4), "x": round(spent / metrics, 1)}
        )  # fmt: skip
        checked += "; NDCG and MRR are LensKit's to six digits"
    return Result("ranking", checked, rows, notes)


@dataclass(frozen=True)
class _Many:
    """Many settings on some scores: rows of the table, what was found equal, and memory."""

    rows: list[Row]
    said: str
    peak: str


def _many(name: str, scorers: Scorers, rounds: int) -> _Many:
    """Measure lists of many settings, compiled and by PyTorch's operators."""
    settings = settings_of(scorers, SETTINGS)
    sides = {"this package": write_lists, "PyTorch's operators": write_together}
    peaks, made = dict[str, float | None](), dict[str, Lists]()
    for side, write in sides.items():

        def call(side: str = side, write: Callable[..., None] = write) -> None:
            made[side] = lists_by(write, scorers, settings)

        peaks[side] = rise_mb(call)
    share = equal_share(*made.values())
    if share < LEAST_EQUAL:
        raise AssertionError(f"{share:.3%} of the lists of {name} are equal")
    spent = medians(
        in_turn(
            {side: partial(lists_by, write, scorers, settings) for side, write in sides.items()},
            rounds,
            warm=0,
            clock=time.process_time,
        )
    )
    rows: list[Row] = [
        {"side": side, "what": f"lists of a setting, {name}",
         "seconds": round(value / SETTINGS, 5), "x": round(value / spent["this package"], 1)}
        for side, value in spent.items()
    ]  # fmt: skip
    peak = ", ".join(
        f"{side}: {'not known here' if value is None else f'{value:.0f} MB'}"
        for side, value in peaks.items()
    )
    return _Many(
        rows,
        f"{share:.3%} of the lists of {SETTINGS} settings of {name} are equal",
        f"Memory while the lists are made, {name}: {peak}.",
    )


def lists_by(write: Callable[..., None], scorers: Scorers, settings: list[ServingParams]) -> Lists:
    """Return lists ``[S, users, k]`` made by one of the two ways."""
    lists = np.full((len(settings), len(scorers.seen), K), -1, dtype=np.int64)
    write(scorers, settings, lists, np.full(lists.shape, HIDDEN, dtype=np.float32))
    return lists


def equal_share(some: Lists, other: Lists) -> float:
    """Return the share of equal lists."""
    return float((some == other).all(axis=-1).mean())


def settings_of(scorers: Scorers, count: int) -> list[ServingParams]:
    """Draw serving settings that weigh everything."""
    rng, names = generator(0, "many settings"), [*scorers.experts, *scorers.networks]
    return [
        ServingParams(
            dict(zip(names, rng.dirichlet(np.ones(len(names))).tolist(), strict=True)),
            popularity_penalty=float(rng.uniform(-0.2, 1.8)),
            mmr=float(rng.uniform(0, 0.9)),
            depth=int(np.exp(rng.uniform(np.log(15), np.log(320)))),
            boosts={name: float(rng.uniform(0, 1)) for name in scorers.boosts},
        )
        for _ in range(count)
    ]


def made_up(items: int) -> Scorers:
    """Draw correlated scores of four scorers, popularity with a long tail, 200 kinds of items."""
    rng = generator(0, "many items")
    seen = torch.from_numpy(rng.random((LARGE_USERS, items)) < 0.001)
    popularity = np.log1p(rng.zipf(1.3, items).clip(0, 100_000)).astype(np.float32)
    popularity = (popularity - popularity.mean()) / popularity.std()
    taste = rng.normal(size=seen.shape)

    def scores() -> Tensor:
        raw = 0.8 * taste + 0.6 * popularity + rng.standard_exponential(seen.shape)
        return standardise(torch.from_numpy(raw.astype(np.float32)), seen)

    kinds = (rng.random((200, 20)) < 0.15).astype(np.float32)
    kinds[:, 0] = 1
    vectors = (kinds / np.linalg.norm(kinds, axis=1, keepdims=True))[rng.integers(0, 200, items)]
    return Scorers(
        {name: scores() for name in "abcd"},
        seen,
        torch.from_numpy(popularity),
        Similarity.of(torch.from_numpy(vectors)),
        boosts={"tail": torch.from_numpy((popularity < 0).astype(np.float32) * 2 - 1)},
        ties=Ties.of(rng.permutation(items)),
    )


def _ours(evaluator: Evaluator, setting: ServingParams) -> tuple[Lists, dict[str, float]]:
    lists, _ = recommend(evaluator.scorers, [setting], k=K)
    return lists[0], _metrics(evaluator, lists[0])


def _metrics(evaluator: Evaluator, lists: Lists) -> dict[str, float]:
    outcome = evaluator.measuring.outcome(lists, np.zeros(lists.shape, dtype=np.float32))
    return {name: parse(name).value(outcome) for name in METRICS}


def _check(lists: Lists, looped: Lists, ours: dict[str, float], theirs: dict[str, float]) -> str:
    same = float((lists == looped).all(1).mean())
    off = max(abs(ours[name] - theirs[name]) for name in METRICS)
    if same < 0.99 or off > 1e-3:  # scores that tie in float32 may change places
        raise AssertionError(f"{same:.1%} of the lists agree, metrics differ by {off:g}")
    return f"{same:.1%} of the lists are equal, metrics differ by {off:.0e} at most"


def _loop(evaluator: Evaluator, setting: ServingParams) -> tuple[Lists, dict[str, float]]:
    """Return the same, user by user."""
    scorers = evaluator.scorers
    assert isinstance(scorers, Scorers)
    truth = evaluator.measuring.held_out[evaluator.measuring.relevance].matrix
    unit = evaluator.measuring.catalogue.unit_categories
    experts = {name: scores.numpy() for name, scores in scorers.experts.items()}
    popularity, seen = scorers.popularity.numpy(), scorers.seen.numpy()
    assert scorers.ties is not None
    order = scorers.ties.order.numpy()
    lists = np.full((len(seen), K), -1)
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    for user in range(len(seen)):
        weighted = [np.float32(w) * experts[name][user] for name, w in setting.fusion.items()]
        fused = np.sum(weighted, axis=0) - np.float32(setting.popularity_penalty) * popularity
        fused[seen[user]] = HIDDEN
        top = order[np.argsort(-fused[order], kind="stable")[: setting.depth]]
        lists[user] = _mmr(top, fused[top], unit, setting.mmr)
        relevant = set(truth.indices[truth.indptr[user] : truth.indptr[user + 1]].tolist())
        chosen = lists[user].tolist()
        if relevant:
            values["ndcg@10"].append(_ndcg(chosen, relevant))
            places = [position for position, item in enumerate(chosen) if item in relevant]
            values["mrr@10"].append(1 / (places[0] + 1) if places else 0.0)
        cosines = _cosines(unit[chosen], unit[chosen])
        pairs = len(chosen) * (len(chosen) - 1)
        values["ild@10"].append(1 - (cosines.sum() - np.trace(cosines)) / pairs)
    return lists, {name: float(np.mean(per_user)) for name, per_user in values.items()}


def _cosines(first: Floats, second: Floats) -> Floats:
    """Compare category vectors ``[n, C]`` and ``[m, C]``; 1 where either has no category."""
    known = np.outer(first.any(1), second.any(1))
    return np.where(known, first @ second.T, 1.0)


def _mmr(items: Lists, scores: NDArray[np.float32], unit: Floats, weight: float) -> list[int]:
    """Select items by maximal marginal relevance, one position after the other."""
    relevance = (scores - scores.min()) / max(float(scores[0] - scores.min()), 1e-9)
    left, chosen = list(range(len(items))), list[int]()
    closest = np.zeros(len(items))
    while len(chosen) < K:
        best = max(left, key=lambda i: (1 - weight) * relevance[i] - weight * closest[i])
        chosen.append(best)
        left.remove(best)
        closest = np.maximum(closest, _cosines(unit[items], unit[items[best]][None])[:, 0])
    return [int(items[i]) for i in chosen]


def _ndcg(chosen: list[int], relevant: set[int]) -> float:
    gain = sum(
        1 / math.log2(position + 2) for position, item in enumerate(chosen) if item in relevant
    )
    return gain / sum(1 / math.log2(position + 2) for position in range(min(K, len(relevant))))


def _lenskit(evaluator: Evaluator, lists: Lists, rounds: int) -> dict[str, Any] | None:
    """Return LensKit's values and seconds for the same lists, from the Python that has it."""
    python = os.environ.get(LENSKIT)
    if not python:
        return None
    truth = evaluator.measuring.held_out[evaluator.measuring.relevance].matrix
    script = Path(__file__).with_name("lenskit_side.py")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lists.npz"
        np.savez(path, lists=lists, indptr=truth.indptr, indices=truth.indices)
        command = [python, str(script), str(path), str(rounds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
