"""Ranking objectives against `ranx`, an independent library, on random and on real rankings."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numba
import numpy as np
import pytest
from scipy import sparse

from pareto_rec.baselines import BASELINES
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.data import load
from pareto_rec.data.schema import Items, Users
from pareto_rec.data.split import split_per_user
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, UserObjective, parse

METRICS = ("ndcg", "recall", "mrr", "precision", "f1", "hit")
NAMES = {"tail_ndcg": "ndcg", "hit": "hit_rate"}  # where ranx calls it otherwise


@pytest.fixture(scope="module")
def ranx() -> Iterator[ModuleType]:
    # ranx compiles its metrics for 20 s and then runs for milliseconds; interpreted it needs 0.1 s
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)
        import ranx

        yield ranx


def outcome_of(lists: np.ndarray, truth: sparse.csr_array, popularity: np.ndarray) -> Outcome:
    n_users, n_items = truth.shape
    names = tuple(str(n) for n in range(n_items))
    items = Items(names, names, names, np.zeros((n_items, 0), np.float32), ())
    users = Users(tuple(str(n) for n in range(n_users)), {})
    scores = np.zeros(lists.shape, np.float32)
    held_out = {"watched": HeldOut(truth)}
    return Outcome(lists, scores, held_out, "watched", Catalogue(items, users, popularity))


def by_ranx(ranx: ModuleType, outcome: Outcome, metric: str, tail_only: bool = False) -> np.ndarray:
    """Per user; users without relevant items, whom ranx does not know, are NaN."""
    matrix = outcome.held_out["watched"].matrix
    head = outcome.catalogue.head
    truth = {}
    for user in range(matrix.shape[0]):
        found = matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]]
        kept = [int(item) for item in found if not (tail_only and head[item])]
        if kept:
            truth[str(user)] = {str(item): 1 for item in kept}
    run = {
        user: {str(item): 1.0 / (place + 1) for place, item in enumerate(outcome.lists[int(user)])}
        for user in truth
    }
    values = ranx.evaluate(ranx.Qrels(truth), ranx.Run(run), metric, return_mean=False)
    result = np.full(matrix.shape[0], np.nan)
    result[[int(user) for user in sorted(truth)]] = values
    return result


def random_outcome(seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    lists = np.argsort(rng.random((60, 50)), axis=1)[:, :20].astype(np.int64)
    truth = sparse.csr_array((rng.random((60, 50)) < rng.random((60, 1)) * 0.5).astype(np.float32))
    return outcome_of(lists, truth, rng.integers(0, 30, 50))


@pytest.fixture(scope="module")
def real_outcome() -> Outcome:
    try:
        data = load("movielens-100k", cache_dir())
    except BadRequestError as error:
        pytest.skip(f"MovieLens 100K is neither cached nor within reach: {error}")
    stage = split_per_user(data, validation=0.1, test=0.1, seed=0).validation
    scores = BASELINES["ease_recency"].scores(stage)
    scores[stage.history.user, stage.history.item] = -np.inf
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    return outcome_of(lists, stage.relevance("watched"), stage.popularity)


def assert_agrees(ranx: ModuleType, outcome: Outcome, family: str, k: int) -> None:
    objective = parse(f"{family}@{k}")
    assert isinstance(objective, UserObjective)
    tail = family == "tail_ndcg"
    expected = by_ranx(ranx, outcome, f"{NAMES.get(family, family)}@{k}", tail_only=tail)
    np.testing.assert_allclose(objective.per_user(outcome), expected, atol=1e-6, rtol=0)
    assert objective.value(outcome) == pytest.approx(np.nanmean(expected), abs=1e-6)
    assert np.nanmax(expected) > 0


@pytest.mark.parametrize("family", [*METRICS, "tail_ndcg"])
@pytest.mark.parametrize("k", [1, 5, 10, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_rankings(ranx: ModuleType, family: str, k: int, seed: int) -> None:
    assert_agrees(ranx, random_outcome(seed), family, k)


@pytest.mark.parametrize("family", [*METRICS, "tail_ndcg"])
@pytest.mark.parametrize("k", [5, 10])
def test_real_rankings(ranx: ModuleType, real_outcome: Outcome, family: str, k: int) -> None:
    assert_agrees(ranx, real_outcome, family, k)
