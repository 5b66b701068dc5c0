"""Lists with MMR and their metrics for all users: this package, a NumPy loop, LensKit."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.measure import Result, Row, in_turn, medians
from benchmarks.suite.task import Problem, problem
from pareto_rec.core.paths import cache_dir
from pareto_rec.core.threads import one_thread
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.objectives import parse
from pareto_rec.ranking import HIDDEN, Scorers, ServingParams, recommend

K = 10
LENSKIT = "PARETO_REC_LENSKIT"  # a Python that has LensKit, which needs an older pandas
METRICS = ("ndcg@10", "mrr@10", "ild@10")

Lists = NDArray[np.int64]
Floats = NDArray[np.float64]


def run(*, quick: bool, given: Problem | None = None) -> Result:
    """Return all sides on the same scores.

    Args:
        quick: Fewer rounds.
        given: The experiment; None for the one of all benchmarks.
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
    rows: list[Row] = [
        {"side": name, "what": "lists and metrics", "seconds": round(value, 4),
         "x": round(value / seconds["this package"], 1)}
        for name, value in seconds.items()
    ]  # fmt: skip
    rows.append(
        {"side": "this package", "what": "metrics alone", "seconds": round(metrics, 4), "x": 1.0}
    )
    notes = [
        f"{len(lists)} users, {evaluator.stage.shape[1]:,} items, one serving setting: two "
        "scorers, a penalty on popularity, MMR within 50 items, lists of 10; one thread.",
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
