"""EASE: the linear item-item model with a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pareto_rec.baselines.base import TAU, Baseline, ItemModel, presence
from pareto_rec.baselines.knn import ItemKNN
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions

MAX_ITEMS = 15_000  # two float64 matrices of 1.8 GB; above it, item-kNN stays sparse
NEIGHBOURS = 50  # of the item-kNN that stands in above it


@dataclass(frozen=True)
class EASE(Baseline):
    """Ridge regression of each item on all others, exact.

    Minimises ``|X - X B|^2 + l2 |B|^2`` with ``diag(B) = 0`` for the 0/1 matrix X
    ``[users, items]``. With ``P = (X'X + l2 I)^-1`` the solution is
    ``B[i, j] = -P[i, j] / P[j, j]`` off the diagonal.

    A catalogue of more than `MAX_ITEMS` gets item-kNN of the same recency instead, which stays
    sparse (:func:`pareto_rec.baselines.stand_ins` says so).

    Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019, equation 8.

    Attributes:
        l2: Strength of the penalty (lambda in the paper).
        tau: Recency of the history (see `ItemModel.tau`); it does not enter the fit.
    """

    l2: float = 100.0
    tau: float | None = None

    method: ClassVar[str] = "ease"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"l2": Parameter(10.0, 20_000.0, log=True, open_least=True), "tau": TAU}
    )
    only_scores: ClassVar[frozenset[str]] = frozenset({"tau"})

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Invert one matrix ``[items, items]`` in float64, or let item-kNN stand in."""
        if shape[1] > MAX_ITEMS:
            return ItemKNN(NEIGHBOURS, self.tau).fit(train, shape)
        met = presence(train, shape)
        precision = _inverse((met.T @ met).toarray(), self.l2)
        precision /= -np.diag(precision)
        np.fill_diagonal(precision, 0.0)
        zero = np.zeros(shape[1], dtype=np.float32)
        return ItemModel(precision.astype(np.float32), zero, self.tau)


def _inverse(gram: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """Invert the symmetric, positive definite ``gram + l2 I``; overwrites `gram`."""
    gram[np.diag_indices_from(gram)] += l2
    try:
        factor, _ = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        raise BadRequestError(f"expert ease needs a larger l2 than {l2:g} on this data") from None
    inverse, _ = linalg.lapack.dpotri(factor, overwrite_c=True)
    upper = np.triu(inverse)
    return np.asarray(upper + np.triu(inverse, 1).T)
