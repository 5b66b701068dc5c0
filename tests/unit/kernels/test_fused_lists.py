"""Compiled lists against stable sorts of sums in float32, where the shortcuts could go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.kernels import fused_lists as loops

SIZE = 3 * loops.TILE + 100
USERS = 3


def plain(
    parts: list[NDArray[np.float32]],
    weights: NDArray[np.float32],
    seen: NDArray[np.bool_],
    ranks: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sums in the order of the parts, then a sort by score and rank; -1 where nothing is left."""
    lists = np.full((len(weights), len(seen), k), -1)
    scores = np.zeros(lists.shape, dtype=np.float32)
    for setting, weight in enumerate(weights):
        for user, hidden in enumerate(seen):
            fused = np.zeros(len(ranks), dtype=np.float32)
            for one, part in zip(weight, parts, strict=True):
                fused += one * part[min(user, len(part) - 1)]
            unseen = np.flatnonzero(~hidden)
            best = unseen[np.lexsort((ranks[unseen], -fused[unseen]))][:k]
            lists[setting, user, : len(best)], scores[setting, user, : len(best)] = (
                best,
                fused[best],
            )
    return lists, scores


def scores_from(parts: list[NDArray[np.float32]], seen: NDArray[np.bool_]) -> loops.Scores:
    """Parts of all users are those of one row, the last."""
    users, size = seen.shape
    empty = np.empty((users, 0, size), dtype=np.float32)
    own = [part[:, None] for part in parts if len(part) == users]
    shared = [part for part in parts if len(part) == 1]
    return loops.Scores(
        np.concatenate([empty, *own], axis=1),
        np.concatenate([empty[0], *shared]),
        np.nonzero(seen)[1],
        np.cumsum(seen.sum(axis=1)),
    )


def compiled(
    parts: list[NDArray[np.float32]],
    weights: NDArray[np.float32],
    seen: NDArray[np.bool_],
    ranks: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    count = len(weights)
    lists = np.full((count, len(seen), k), -1)
    scores = np.zeros(lists.shape, dtype=np.float32)
    none = np.zeros(len(ranks), dtype=np.int64)
    loops.fused_lists(
        scores_from(parts, seen),
        loops.Settings(
            weights[None],
            np.zeros(count, dtype=np.bool_),
            np.full(count, min(k, len(ranks))),
            np.zeros(count, dtype=np.float32),
            np.arange(count),
        ),
        loops.Items(np.argsort(ranks), ranks, none, np.ones((1, 1), dtype=np.float32)),
        lists,
        scores,
    )
    return lists, scores


def scores_of(kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Scores that a guess from a sample, or a fall of the threshold, has trouble with."""
    scores = rng.normal(size=(USERS, SIZE))
    if kind == "many equal":
        scores = scores.round(0)
    elif kind == "all equal":
        scores[:] = -3.0
    elif kind == "rising":  # every tile is better than all before it
        scores.sort(axis=1)
    elif kind == "the sample is better than the rest":
        scores[:, np.arange(loops.SAMPLE) * SIZE // loops.SAMPLE] += 100
    elif kind == "zeros of both signs":
        scores = np.where(rng.random(scores.shape) < 0.5, 0.0, -0.0)
    elif kind == "huge and tiny":
        scores *= 10.0 ** rng.integers(-30, 30, scores.shape)
    return scores.astype(np.float32)


@pytest.mark.parametrize("k", [1, 10, 400])
@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        "many equal",
        "all equal",
        "rising",
        "the sample is better than the rest",
        "zeros of both signs",
        "huge and tiny",
    ],
)
def test_lists_are_those_of_a_stable_sort(kind: str, k: int) -> None:
    rng = np.random.default_rng(k)
    parts = [scores_of(kind, rng)]
    seen, ranks = np.zeros((USERS, SIZE), dtype=np.bool_), rng.permutation(SIZE)
    seen[1] = rng.random(SIZE) < 0.3
    weights = np.array([[1.0], [0.3]], dtype=np.float32)
    for found, expected in zip(
        compiled(parts, weights, seen, ranks, k), plain(parts, weights, seen, ranks, k), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", range(6))
def test_sums_are_taken_in_the_order_of_the_parts(count: int) -> None:
    """Bit for bit, parts without weight left out; a part of one row is that of all users."""
    rng = np.random.default_rng(count)
    parts = [
        rng.normal(size=(USERS if place < 3 else 1, 900)).astype(np.float32)
        for place in range(count)
    ]
    weights = rng.normal(size=(40, count)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.3] = 0
    seen, ranks = rng.random((USERS, 900)) < 0.1, rng.permutation(900)
    for found, expected in zip(
        compiled(parts, weights, seen, ranks, 20),
        plain(parts, weights, seen, ranks, 20),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_lists_end_where_nothing_is_left(left: int) -> None:
    rng = np.random.default_rng(left)
    seen = np.ones((USERS, SIZE), dtype=np.bool_)
    for user in range(USERS):
        seen[user, rng.permutation(SIZE)[:left]] = False
    parts = [scores_of("normal", rng)]
    given = (parts, np.ones((1, 1), dtype=np.float32), seen, rng.permutation(SIZE), 7)
    lists, _ = compiled(*given)
    np.testing.assert_array_equal(lists, plain(*given)[0])
    assert (lists[..., left:] == -1).all()
