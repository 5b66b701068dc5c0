"""iALS: matrix factorisation of implicit feedback by alternating least squares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from pareto_rec.baselines.base import TAU, Baseline, ItemModel, presence
from pareto_rec.baselines.ease import MAX_ITEMS, NEIGHBOURS
from pareto_rec.baselines.knn import ItemKNN
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.data.schema import Interactions

SWEEPS = 3  # over users and items; eight are no better from a start this good
BLOCK = 250_000  # numbers of the equations that are solved at once, what a cache holds (2 MB)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class IALS(Baseline):
    """Weighted matrix factorisation; a history is folded in by one linear map.

    Minimises ``sum over met pairs of (1 - x_u y_i)^2 + unobserved * sum over all pairs of
    (x_u y_i)^2 + l2 * (sum of r_u |x_u|^2 + sum of r_i |y_i|^2)``, where ``r_u = rows(u) +
    unobserved * items`` and ``r_i`` likewise. It starts at the truncated singular value
    decomposition instead of at random: the numbering of items has no say, and there is no seed.

    The factor of a new history h is ``(Y' (diag(share) + unobserved I) Y + l2 r I)^-1 Y' h``: the
    exact one but for the matrix, which is that of the average user (``share``: share of the users
    that have met an item; r: mean of r_u). So the model is an item-item matrix like the others,
    with which bundles serve, update and explain. It is close to the exact one where `unobserved` is
    not small, and tuning measures this map.

    A catalogue of more than 15,000 items gets item-kNN of the same recency instead, as for `EASE`.

    Source: Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets, ICDM
    2008; weights and penalty as in Rendle et al., Revisiting the performance of iALS on item
    recommendation benchmarks, RecSys 2022, equations 3 to 5 with an exponent of 1.

    Attributes:
        factors: Length of the factors.
        unobserved: Weight of pairs that have not been met.
        l2: Strength of the penalty.
        tau: Recency of the history (see `ItemModel.tau`); it does not enter the fit.
    """

    factors: int = 64
    unobserved: float = 1.0
    l2: float = 0.005
    tau: float | None = None

    method: ClassVar[str] = "ials"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "factors": Parameter(8, 128, log=True, whole=True, least=1),
            "unobserved": Parameter(0.03, 10.0, log=True, open_least=True),
            "l2": Parameter(0.0005, 0.1, log=True, open_least=True),
            "tau": TAU,
        }
    )
    only_scores: ClassVar[frozenset[str]] = frozenset({"tau"})

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Alternate between users and items in float64, or let item-kNN stand in."""
        if shape[1] > MAX_ITEMS:
            return ItemKNN(NEIGHBOURS, self.tau).fit(train, shape)
        met = presence(train, shape)
        of_items = _start(met, self.factors)
        transposed = sparse.csr_array(met.T)
        for _ in range(SWEEPS):
            of_users = _solved(met, of_items, self.unobserved, self.l2)
            of_items = _solved(transposed, of_users, self.unobserved, self.l2)
        weights = of_items @ self._fold_in(met, of_items)
        zero = np.zeros(shape[1], dtype=np.float32)
        return ItemModel(weights.astype(np.float32), zero, self.tau)

    def _fold_in(self, met: sparse.csr_array, of_items: Array) -> Array:
        """Return the map from the sum of a history's factors to scores ``[factors, items]``."""
        lengths = np.asarray(met.sum(axis=1))
        users = max(int((lengths > 0).sum()), 1)
        share = np.asarray(met.sum(axis=0)) / users
        rows = lengths.sum() / users + self.unobserved * len(of_items)
        matrix = (of_items.T * (share + self.unobserved)) @ of_items
        matrix += self.l2 * rows * np.eye(len(matrix))
        return np.asarray(np.linalg.solve(matrix, of_items.T))


def _start(met: sparse.csr_array, factors: int) -> Array:
    """Return item factors of the truncated singular value decomposition ``[items, factors]``."""
    rank = min(factors, min(met.shape) - 1)
    if rank < 1 or not met.nnz:
        return np.zeros((met.shape[1], 1))
    # a start of ones is the same vector whatever the order of users and items
    ones = np.ones(min(met.shape))
    _, values, right = linalg.svds(met, k=rank, v0=ones)
    return np.asarray(right.T * np.sqrt(np.maximum(values, 0.0)))


def _solved(met: sparse.csr_array, fixed: Array, unobserved: float, l2: float) -> Array:
    """Solve for the factors of each row of `met`, those of its columns given.

    Args:
        met: 0/1 matrix ``[rows, columns]``.
        fixed: Factors of the columns ``[columns, factors]``.
        unobserved: As `IALS.unobserved`.
        l2: As `IALS.l2`.

    Returns:
        ``[rows, factors]``.
    """
    rows, size = met.shape[0], fixed.shape[1]
    lengths = np.diff(met.indptr)
    common = unobserved * (fixed.T @ fixed)
    penalty = l2 * (lengths + unobserved * len(fixed))
    wanted, solved = met @ fixed, np.zeros((rows, size))
    diagonal = np.arange(size)
    step = max(1, BLOCK // size**2)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        matrices = np.repeat(common[None], end - begin, axis=0)
        for index in range(begin, end):
            own = fixed[met.indices[met.indptr[index] : met.indptr[index + 1]]]
            matrices[index - begin] += own.T @ own
        matrices[:, diagonal, diagonal] += np.maximum(penalty[begin:end], 1e-12)[:, None]
        solved[begin:end] = np.linalg.solve(matrices, wanted[begin:end, :, None])[..., 0]
    return solved
