"""Predicted probabilities at list positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pareto_rec.ranking import parts_of

Chances = Callable[[slice], NDArray[np.float32]]
"""Probabilities of every item for some users ``[slice, items]``."""


def chances_at(
    catalogue: Mapping[str, Chances], lists: NDArray[np.int64], shape: tuple[int, int]
) -> list[Mapping[str, NDArray[np.float32]]]:
    """Return the probability of every signal at every place, a part of the users at a time.

    Args:
        catalogue: Signal -> probabilities of every item.
        lists: Lists of S settings ``[S, users, k]``, -1 where there is no item.
        shape: Number of users and of items.

    Returns:
        For each of the lists, signal -> ``[users, k]``, 0 where there is no item.
    """
    results = [{name: np.zeros(one.shape, np.float32) for name in catalogue} for one in lists]
    for name, chances in catalogue.items():
        for users in parts_of(shape):
            part = chances(users)
            for one, filled in zip(lists, results, strict=True):
                places = one[users]
                taken = np.take_along_axis(part, np.maximum(places, 0), axis=1)
                filled[name][users] = np.where(places >= 0, taken, 0.0)
    return [dict(one) for one in results]
