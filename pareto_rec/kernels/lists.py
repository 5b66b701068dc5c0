"""Loops over the places of a list: maximal marginal relevance, and the best of what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.kernels.compiled import compiled_exactly

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def marginal(
    scores: Floats,
    kinds: Integers,
    similarity: Floats,
    weights: Floats,
    depths: Integers,
    count: int,
    least: tuple[float, float],
) -> Integers:
    """Places in the top that maximal marginal relevance puts into lists.

    ``argmax (1 - m) s_i - m max_j cos(c_i, c_j)`` over the chosen j, with s scaled to [0, 1] within
    what may be chosen; the first of equals.

    Args:
        scores: ``[users, S, D]``, best first.
        kinds: What each item looks up its similarity by ``[users, S, D]``.
        similarity: Of each pair of kinds.
        weights: m of each setting ``[S]``.
        depths: So many of the top may be chosen, `count` at least ``[S]``.
        count: Length of the lists.
        least: Scores below the first may not be chosen; the second is the least range to scale by.

    Returns:
        ``[users, S, count]``; where fewer may be chosen, those that stand next follow.
    """
    found = np.empty((*scores.shape[:2], count), dtype=np.int64)
    lowest, narrowest = (np.float32(one) for one in least)
    top = np.ascontiguousarray(scores)
    _marginal(top, kinds, similarity, weights, depths, lowest, narrowest, found)
    return found


def best(scores: Floats, hidden: NDArray[np.bool_], count: int) -> tuple[Integers, Floats]:
    """Places of the largest scores that are not hidden, and these scores, ``[rows, count]`` each.

    Best first, the first of equals first; -1 and minus infinity where fewer are left.

    Args:
        scores: ``[rows, N]``.
        hidden: ``[rows, N]``.
        count: How many are wanted.
    """
    places = np.full((len(scores), count), -1, dtype=np.int64)
    values = np.full(places.shape, -np.inf, dtype=np.float32)
    _best(scores, hidden, places, values)
    return places, values


@compiled_exactly
def _marginal(
    scores: Floats,
    kinds: Integers,
    similarity: Floats,
    weights: Floats,
    depths: Integers,
    lowest: np.float32,
    narrowest: np.float32,
    found: Integers,
) -> None:
    users, sets, depth = scores.shape
    left, closest = np.empty(depth, np.float32), np.empty(depth, np.float32)
    for user in range(users):
        for s in range(sets):
            top, kind, weight = scores[user, s], kinds[user, s], weights[s]
            inside = 0
            while inside < min(depths[s], depth) and top[inside] > lowest:
                inside += 1
            last = top[max(inside, 1) - 1]
            scale = max(top[0] - last, narrowest)
            for i in range(inside):
                left[i] = (np.float32(1) - weight) * ((top[i] - last) / scale)
                closest[i] = np.float32(0)
            for place in range(found.shape[2]):
                if place >= inside:
                    found[user, s, place] = place
                    continue
                chosen, highest = 0, np.float32(-np.inf)
                for i in range(inside):
                    worth = left[i] - weight * closest[i]
                    if worth > highest:
                        chosen, highest = i, worth
                found[user, s, place] = chosen
                left[chosen] = np.float32(-np.inf)
                row = similarity[kind[chosen]]
                for i in range(inside):
                    closest[i] = max(closest[i], row[kind[i]])


@compiled_exactly
def _best(
    scores: Floats, hidden: NDArray[np.bool_], places: Integers, values: NDArray[Any]
) -> None:
    count = places.shape[1]
    for r in range(len(scores)):
        place, value = places[r], values[r]
        for i in range(scores.shape[1]):
            if scores[r, i] > value[count - 1] and not hidden[r, i]:
                at = count - 1
                while at > 0 and scores[r, i] > value[at - 1]:
                    place[at], value[at] = place[at - 1], value[at - 1]
                    at -= 1
                place[at], value[at] = i, scores[r, i]
