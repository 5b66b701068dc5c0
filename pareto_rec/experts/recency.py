"""How much each row of a history counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def ranks_from_end(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[rows]``: place of each row counted from the end of its user's history (last row: 0)."""
    return np.repeat(starts[1:], np.diff(starts)) - 1 - np.arange(starts[-1])


def history_matrix(
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    n_items: int,
    *,
    tau: float | None,
    dtype: type[np.floating] = np.float64,
) -> sparse.csr_array:
    """Histories as a sparse matrix of weights.

    Args:
        starts: ``[users + 1]``; ``items[starts[u]:starts[u + 1]]`` is the history of user u.
        items: Item indices ``[rows]``, oldest first within a user.
        n_items: Size of the catalogue.
        tau: A row weighs ``exp(-rank from the end / tau)``, so the last ``tau`` rows carry about
            63 % of a long history; None: every row weighs 1.
        dtype: Weights are computed in float64 and rounded to this.

    Returns:
        ``[users, n_items]`` of `dtype` with sorted indices. A repeated item has the weight of its
        last row.
    """
    shape = len(starts) - 1, n_items
    age = ranks_from_end(starts)
    user = np.repeat(np.arange(shape[0]), np.diff(starts))
    order = np.lexsort((age, items, user))
    user, items, age = user[order], items[order], age[order]
    first = np.ones(len(user), dtype=bool)
    first[1:] = (user[1:] != user[:-1]) | (items[1:] != items[:-1])
    user, items, age = user[first], items[first], age[first]
    weight = np.ones(len(age)) if tau is None else np.exp(-age / tau)
    # rows are in order and none is there twice: what scipy's way over coordinates would find out
    pointers = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=shape[0]))])
    return sparse.csr_array((weight.astype(dtype), items, pointers), shape=shape)


def late_weights(time: NDArray[np.int64], *, tau: float) -> NDArray[np.float64]:
    """Weigh the rows of a whole log by how recent they are.

    Args:
        time: Time of each row ``[rows]``.
        tau: A row weighs ``exp(-age / tau)``, its age being the share of rows strictly later than
            it (newest: 0, oldest: almost 1). Free of the unit of time and of the log's length.

    Returns:
        Weights ``[rows]``; rows of one time weigh the same.
    """
    ordered = np.sort(time)
    later = len(time) - np.searchsorted(ordered, time, side="right")
    return np.asarray(np.exp(-later / (tau * max(len(time), 1))))
