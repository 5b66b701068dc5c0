"""Random items gain nothing: filling the last slots of lists with them adds no hypervolume."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.evaluation.baselines import grid
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.ranking import recommend
from pareto_rec.search import pareto as front

pytestmark = pytest.mark.usefixtures("single_thread")

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
NAMES = (
    *("movielens_accuracy_diversity_fairness", "movielens_accuracy_diversity_novelty"),
    *("retail_value_diversity", "grocery_fairness_price", "coupon_ctr_cvr"),
)
SETTINGS = slice(None, None, 6)  # of the 279 of a sweep


@pytest.fixture(scope="module", params=NAMES)
def evaluator(request: pytest.FixtureRequest, sources: Path) -> Evaluator:
    config = load_config(EXPERIMENTS / request.param)
    if config.data.kind == "table" and not os.environ.get("PARETO_REC_DATA"):
        pytest.skip("PARETO_REC_DATA names no folder with the data of this experiment")
    if (prepare := EXPERIMENTS / request.param / "prepare.py").is_file():
        subprocess.run([sys.executable, str(prepare)], check=True, stdout=subprocess.DEVNULL)
    experiment = Experiment.of(config, sources)
    found = experiment.evaluator()
    measures = replace(found.measuring.measures, reported=())
    found = found.with_(objectives=measures)
    for objective, goal in zip(measures.searched, experiment.goals, strict=True):
        objective.reference = goal.reference  # the config's, which belong to its data
    return found


def volume(evaluator: Evaluator, lists: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """Hypervolume of lists ``[S, users, k]`` and their objective values ``[S, objectives]``."""
    objectives = evaluator.measuring.measures.searched
    scores = np.zeros(lists.shape[1:], dtype=np.float32)
    values = np.array(
        [[o.value(evaluator.measuring.outcome(one, scores)) for o in objectives] for one in lists]
    )
    reference = [o.reference for o in objectives]
    return (
        front.hypervolume(values, reference=reference, maximise=[o.maximise for o in objectives]),
        values,
    )


def filled(
    lists: NDArray[np.int64], seen: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The lists with random unseen items, not in the list already, in their last places."""
    result = lists.copy()
    for one in result:
        one[:, -count:] = others(one, seen, count, rng)
    return result


def others(
    lists: NDArray[np.int64], seen: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """So many random items for each user, unseen, in no list, all different.

    The first good ones of draws with repetition: ten times as fast as an order of the catalogue.
    """
    users, items = seen.shape
    assert int((~seen).sum(axis=1).min()) >= lists.shape[1] + count
    draws = np.empty((users, 0), dtype=np.int64)
    while True:
        draws = np.concatenate([draws, rng.integers(items, size=(users, 40))], axis=1)
        bad = np.take_along_axis(seen, draws, axis=1)
        bad |= (draws[:, :, None] == lists[:, None, :]).any(axis=2)
        earlier = np.tri(draws.shape[1], k=-1, dtype=bool)
        bad |= ((draws[:, :, None] == draws[:, None, :]) & earlier).any(axis=2)
        first = np.argsort(bad, axis=1, kind="stable")[:, :count]
        if not np.take_along_axis(bad, first, axis=1).any():
            return np.take_along_axis(draws, first, axis=1)


def test_random_items_add_no_hypervolume(evaluator: Evaluator) -> None:
    plain = grid("ease_recency")[SETTINGS]
    boosted = [
        replace(setting, boosts={gain: weight})
        for gain in evaluator.variables.boosts
        for weight in (0.3, 1.0)
        for setting in plain
    ]
    lists, _ = recommend(evaluator.scorers, [*plain, *boosted], k=10)
    before, values = volume(evaluator, lists)
    assert before > 0
    seen = evaluator.scorers.seen.cpu().numpy()
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 5, 7, 10):
        after, others = volume(evaluator, filled(lists, seen, count, rng))
        assert after <= 1.02 * before, f"{count} random items"
        objectives = evaluator.measuring.measures.searched
        together = front.hypervolume(
            np.concatenate([values, others]),
            reference=[o.reference for o in objectives],
            maximise=[o.maximise for o in objectives],
        )
        assert together <= 1.02 * before, f"{count} random items, both together"
