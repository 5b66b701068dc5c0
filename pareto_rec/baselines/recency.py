"""Weights of the rows of a history, by their age."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

NEGLIGIBLE = 1e-8  # beside the newest row's weight of 1; float32 rounds sums at 6e-8


def history_ages(
    starts: NDArray[np.int64], items: NDArray[np.int64], n_items: int
) -> sparse.csr_array:
    """Count the rows of a history that came after the last one of each of its items.

    Args:
        starts: ``[users + 1]``; ``items[starts[u]:starts[u + 1]]`` is the history of user u.
        items: Item indices ``[rows]``, oldest first within a user.
        n_items: Size of the catalogue.

    Returns:
        ``[users, n_items]`` of float64 with sorted indices; an age of 0 is held like any other.
    """
    users = len(starts) - 1
    owner = np.repeat(np.arange(users), np.diff(starts))
    key = (owner * n_items + items)[::-1]
    order = np.argsort(key, kind="stable")  # backwards, so that an item's last row comes first
    key = key[order]
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[1:] != key[:-1]
    rows = (len(items) - 1 - order)[first]
    owner = owner[rows]
    # rows are in order and none is there twice: what scipy's way over coordinates would find out
    pointers = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=users))])
    age = (starts[1:][owner] - 1 - rows).astype(np.float64)
    return sparse.csr_array((age, items[rows], pointers), shape=(users, n_items))


def age_weights(
    ages: sparse.csr_array, tau: float | None, dtype: type[np.floating] = np.float64
) -> sparse.csr_array:
    """Weigh each item of a history by its age.

    Args:
        ages: What `history_ages` returns.
        tau: An item weighs ``exp(-age / tau)``, so the last ``tau`` rows carry about 63 % of a long
            history; None: every item weighs 1.
        dtype: Weights are computed in float64 and rounded to this.

    Returns:
        Weights, without those below `NEGLIGIBLE`: old rows of a long history, which would be most
        of the work.
    """
    if tau is None:
        weights = np.ones(ages.nnz, dtype=dtype)
        return sparse.csr_array((weights, ages.indices, ages.indptr), shape=ages.shape)
    weights = np.exp(-ages.data / tau)
    mask = weights >= NEGLIGIBLE
    pointers = np.concatenate([[0], np.cumsum(mask)])[ages.indptr]
    weights = weights[mask].astype(dtype)
    return sparse.csr_array((weights, ages.indices[mask], pointers), shape=ages.shape)


def history_matrix(
    starts: NDArray[np.int64],
    items: NDArray[np.int64],
    n_items: int,
    *,
    tau: float | None,
    dtype: type[np.floating] = np.float64,
) -> sparse.csr_array:
    """Turn histories into a sparse matrix of weights.

    Args:
        starts: As `history_ages` has it.
        items: As `history_ages` has it.
        n_items: Size of the catalogue.
        tau: As `age_weights` has it.
        dtype: As `age_weights` has it.

    Returns:
        ``[users, n_items]`` of `dtype` with sorted indices, without weights below `NEGLIGIBLE`. A
        repeated item has the weight of its last row.
    """
    return age_weights(history_ages(starts, items, n_items), tau, dtype)


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
