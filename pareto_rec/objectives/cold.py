"""Accuracy on cold items: without a training row, only their texts can tell them apart."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import UserObjective
from pareto_rec.objectives.gains import gain_of
from pareto_rec.objectives.outcome import Outcome
from pareto_rec.objectives.ranking import discounts, ideal_dcg

CHUNK_ELEMENTS = 4_000_000  # most comparisons held at once


class ColdNDCG(UserObjective):
    """NDCG among items without a training row, all others left out of ranking and truth alike.

    Items are ranked by the scores that the lists are made from, before re-ranking. Items of equal
    score share the worth of their places, which is the mean over all orders of them: a model that
    knows nothing of new items gets exactly what a random order gets. Users without a relevant
    held-out item among them are left out (NaN).

    Misleads: lists show new items only where they also beat the known ones, which it does not see;
    on a split by time few items are cold and few users meet them, so it is noisy there: the split
    `cold_items` is made for it; a row whose signal is missing counts as not relevant.

    Source: NDCG as in Järvelin and Kekäläinen, TOIS 2002; ties as in McSherry and Najork, Computing
    information retrieval performance measures efficiently in the presence of tied scores, ECIR
    2008; cold items as in Schein et al., SIGIR 2002.
    """

    family = "cold_ndcg"
    maximise = True
    reference = 0.1  # above what a random order reaches on MovieLens 100K
    takes_signal: ClassVar[bool] = True
    needs = frozenset({"scores"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN without scores or without cold items."""
        self.top(outcome)  # lists of k are what it speaks of
        matrix = outcome.truth(self.signal).matrix
        values = np.full(matrix.shape[0], np.nan)
        cold = np.flatnonzero(gain_of(outcome.catalogue, "cold"))
        if outcome.all_scores is None or not len(cold):
            return values
        relevant = matrix[:, cold].tocsr()
        step = max(1, CHUNK_ELEMENTS // matrix.shape[1])
        for begin in range(0, len(values), step):
            if relevant.indptr[min(begin + step, len(values))] == relevant.indptr[begin]:
                continue
            scores = outcome.all_scores(slice(begin, begin + step))[:, cold]
            for row, own in enumerate(scores):
                start, end = relevant.indptr[begin + row : begin + row + 2]
                values[begin + row] = self._value(own, relevant.indices[start:end])
        return values

    def _value(self, scores: NDArray[np.float32], relevant: NDArray[np.integer]) -> float:
        """Compute one user's NDCG from the scores of all cold items, NaN for the history."""
        relevant_scores = scores[relevant]
        relevant_scores = relevant_scores[~np.isnan(relevant_scores)]
        ordered = np.sort(-scores[~np.isnan(scores)])
        first = np.searchsorted(ordered, -relevant_scores, side="left")
        last = np.searchsorted(ordered, -relevant_scores, side="right")
        worth = np.concatenate([[0.0], np.cumsum(discounts(self.k))])
        shared = (worth[np.minimum(last, self.k)] - worth[np.minimum(first, self.k)]) / np.maximum(
            last - first, 1
        )
        return float(shared.sum() / ideal_dcg(np.array([len(relevant_scores)]), self.k)[0])
