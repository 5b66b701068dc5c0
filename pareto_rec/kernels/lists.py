"""Loops over rows of scores: the best that are not hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.kernels.compiled import compiled_exactly

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


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
