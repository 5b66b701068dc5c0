"""Loops over rows of scores: top k selection and re-ranking by maximal marginal relevance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.kernels.compiled import compiled_exactly

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


CHUNK_ELEMENTS = 50_000  # scores at once: as keys they stay in a processor core's own cache
LOW = 32  # bits of a key that say where its score stands


def largest(
    scores: Floats, count: int, order: Integers, ranks: Integers
) -> tuple[Floats, Integers]:
    """Return the largest scores of each row and their positions, best first, ties in a given order.

    A score and its rank among equals make one integer, whose order is that of the scores: NumPy
    selects and sorts integers in lanes.

    Args:
        scores: ``[..., N]``.
        count: How many are wanted, N at most.
        order: Places, first of equals first ``[N]``.
        ranks: Where each place stands in `order` ``[N]``.

    Returns:
        ``[..., count]`` each.
    """
    rows = np.ascontiguousarray(scores).reshape(-1, scores.shape[-1])
    size = rows.shape[1]
    values = np.empty((len(rows), count), dtype=np.float32)
    positions = np.empty(values.shape, dtype=np.int64)
    step = max(1, CHUNK_ELEMENTS // max(1, size))
    buffer = np.empty((min(step, len(rows)), size), dtype=np.int64)
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        keys = buffer[: len(rows[part])]
        _to_keys(rows[part], ranks, keys)
        if count < size:
            keys.partition(size - count, axis=-1)
        top = np.sort(keys[:, size - count :], axis=-1)
        _from_keys(top, order, values[part], positions[part])
    shape = (*scores.shape[:-1], count)
    return values.reshape(shape), positions.reshape(shape)


def marginal(
    scores: Floats,
    kinds: Integers,
    similarity: Floats,
    weights: Floats,
    depths: Integers,
    count: int,
    least: tuple[float, float],
) -> Integers:
    """Select positions of the top for lists by maximal marginal relevance.

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
    lists = np.empty((*scores.shape[:2], count), dtype=np.int64)
    lowest, narrowest = (np.float32(limit) for limit in least)
    top = np.ascontiguousarray(scores)
    _marginal(top, kinds, similarity, weights, depths, lowest, narrowest, lists)
    return lists


def best(
    scores: Floats, hidden: NDArray[np.bool_], count: int, ranks: Integers
) -> tuple[Integers, Floats]:
    """Return positions and values of the largest visible scores, ``[rows, count]`` each.

    Best first, of equals that of the lower rank; -1 and minus infinity where fewer are left.

    Args:
        scores: ``[rows, N]``.
        hidden: ``[rows, N]``.
        count: How many are wanted.
        ranks: Of the positions among equals ``[N]``, all different.
    """
    positions = np.full((len(scores), count), -1, dtype=np.int64)
    values = np.full(positions.shape, -np.inf, dtype=np.float32)
    _best(scores, hidden, ranks, positions, values)
    return positions, values


@compiled_exactly
def _to_keys(scores: Floats, ranks: Integers, keys: Integers) -> None:
    size = scores.shape[1]
    for r in range(len(scores)):
        # the flip makes integers of the floats' order (negative floats have it reversed); the lower
        # half holds the rank, reversed, so that the first of equals is the largest key
        bits = scores[r].view(np.int32)
        for i in range(size):
            ordered = bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF))
            keys[r, i] = (np.int64(ordered) << LOW) | (size - 1 - ranks[i])


@compiled_exactly
def _from_keys(keys: Integers, order: Integers, values: Floats, positions: Integers) -> None:
    last, size = keys.shape[1] - 1, len(order)
    for r in range(len(keys)):
        bits = values[r].view(np.int32)
        for i in range(last + 1):
            key = keys[r, last - i]
            ordered = np.int32(key >> LOW)
            bits[i] = ordered ^ ((ordered >> np.int32(31)) & np.int32(0x7FFFFFFF))
            positions[r, i] = order[size - 1 - (key & ((1 << LOW) - 1))]


@compiled_exactly
def _marginal(
    scores: Floats,
    kinds: Integers,
    similarity: Floats,
    weights: Floats,
    depths: Integers,
    lowest: np.float32,
    narrowest: np.float32,
    lists: Integers,
) -> None:
    users, sets, depth = scores.shape
    left, closest = np.empty(depth, np.float32), np.empty(depth, np.float32)
    for user in range(users):
        for s in range(sets):
            top, kind, weight = scores[user, s], kinds[user, s], weights[s]
            inside = 0  # scores are in falling order, so what may be chosen is the beginning
            while inside < min(depths[s], depth) and top[inside] > lowest:
                inside += 1
            last = top[max(inside, 1) - 1]
            scale = max(top[0] - last, narrowest)
            for i in range(inside):
                left[i] = (np.float32(1) - weight) * ((top[i] - last) / scale)
                closest[i] = np.float32(0)
            for position in range(lists.shape[2]):
                if position >= inside:
                    lists[user, s, position] = position
                    continue
                chosen, highest = 0, np.float32(-np.inf)
                for i in range(inside):
                    worth = left[i] - weight * closest[i]
                    if worth > highest:
                        chosen, highest = i, worth
                lists[user, s, position] = chosen
                left[chosen] = np.float32(-np.inf)
                row = similarity[kind[chosen]]
                for i in range(inside):  # only the item just chosen can raise a maximum
                    closest[i] = max(closest[i], row[kind[i]])


@compiled_exactly
def _best(
    scores: Floats,
    hidden: NDArray[np.bool_],
    ranks: Integers,
    positions: Integers,
    values: NDArray[Any],
) -> None:
    count = positions.shape[1]
    for r in range(len(scores)):
        position, value = positions[r], values[r]
        for i in range(scores.shape[1]):
            score, at = scores[r, i], count
            # insertion into a short sorted list: nearly all scores fail this one comparison
            if score >= value[count - 1] and not hidden[r, i]:
                while at > 0 and (
                    score > value[at - 1]
                    or (score == value[at - 1] and ranks[i] < ranks[position[at - 1]])
                ):
                    if at < count:
                        position[at], value[at] = position[at - 1], value[at - 1]
                    at -= 1
            if at < count:
                position[at], value[at] = i, score
