"""UserKNN: what the people with the most similar histories met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.base import TAU, Baseline, ItemModel, presence
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.baselines.recency import history_matrix
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions

MAX_USERS = 200_000  # similarities of one user to all are held at once
BLOCK = 20_000_000  # similarities that are held at once
_DIGITS = 12  # similarities are compared to as many decimals


@dataclass(frozen=True)
class UserModel(ItemModel):
    """A fitted UserKNN. It is no item-item matrix: scores are not linear in the history.

    Attributes:
        met: 0/1 matrix of training rows ``[training users, items]`` float32.
        norm: Length of its rows ``[training users]``.
        neighbours: As `UserKNN.neighbours`.
        shrinkage: As `UserKNN.shrinkage`.
    """

    linear: ClassVar[bool] = False

    met: sparse.csr_array
    norm: NDArray[np.float32]
    neighbours: int
    shrinkage: float

    def score(self, starts: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score the whole catalogue for each history, as `ItemModel.score`."""
        histories = history_matrix(starts, items, len(self.bias), tau=self.tau, dtype=np.float32)
        step = max(1, BLOCK // max(self.met.shape[0], 1))
        scores = np.tile(self.bias, (len(starts) - 1, 1))
        for begin in range(0, len(scores), step):
            rows = sparse.csr_array(histories[begin : begin + step])
            scores[begin : begin + step] += (self._nearest(rows) @ self.met).toarray()
        return scores

    def _nearest(self, histories: sparse.csr_array) -> sparse.csr_array:
        """Return similarities of the nearest training users ``[rows, training users]``."""
        similar = sparse.csr_array(histories @ self.met.T)
        own = np.sqrt(np.asarray(histories.power(2).sum(axis=1)))
        row = np.repeat(np.arange(similar.shape[0]), np.diff(similar.indptr))
        value = similar.data / (own[row] * self.norm[similar.indices] + self.shrinkage)
        value = np.round(value.astype(np.float64), _DIGITS)
        for index in np.flatnonzero(np.diff(similar.indptr) > self.neighbours).tolist():
            part = value[similar.indptr[index] : similar.indptr[index + 1]]
            # all that are as near as the last one: the numbering of users has no say
            part[part < np.partition(part, -self.neighbours)[-self.neighbours]] = 0.0
        similar.data = value.astype(np.float32)
        similar.eliminate_zeros()
        return similar


@dataclass(frozen=True)
class UserKNN(Baseline):
    """Sum of the similarities of the nearest users who met an item.

    Similarity is the cosine of the history, weighed by recency, and a training user's items:
    ``h x / (|h| |x| + shrinkage)``. Of a user who was learnt from, the own row is one of the
    nearest; it scores nothing but items that are in the history.

    The model is all training rows, so a bundle cannot hold it and export refuses it; costs count
    it as a dense matrix of items.

    Source: Herlocker et al., An algorithmic framework for performing collaborative filtering,
    SIGIR 1999; shrinkage as in Bell and Koren, Improved neighborhood-based collaborative
    filtering, KDD Cup 2007.

    Attributes:
        neighbours: How many users have a say, and those as near as the last of them.
        shrinkage: Added to the denominator: similarities of short histories count for less.
        tau: Recency of the history (see `ItemModel.tau`); it does not enter the fit.
    """

    neighbours: int = 80
    shrinkage: float = 1.0
    tau: float | None = None

    method: ClassVar[str] = "user_knn"
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "neighbours": Parameter(5, 1000, log=True, whole=True, least=1),
            "shrinkage": Parameter(0.1, 100.0, log=True),
            "tau": TAU,
        }
    )
    only_scores: ClassVar[frozenset[str]] = frozenset({"neighbours", "shrinkage", "tau"})
    exported: ClassVar[bool] = False

    def fit(self, train: Interactions, shape: tuple[int, int], /) -> UserModel:
        """Keep the training rows.

        Raises:
            BadRequestError: If there are more than `MAX_USERS`.
        """
        if shape[0] > MAX_USERS:
            raise BadRequestError(
                f"expert user_knn compares a user with all others: {shape[0]:,} users are more "
                f"than the {MAX_USERS:,} that it takes; leave it out"
            )
        met = presence(train, shape).astype(np.float32)
        norm = np.sqrt(np.diff(met.indptr)).astype(np.float32)
        zero = np.zeros(shape[1], dtype=np.float32)
        return UserModel(None, zero, self.tau, met, norm, self.neighbours, self.shrinkage)
