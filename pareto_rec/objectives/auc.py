"""Accuracy of the complete ranking, not only of its first positions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import UserObjective
from pareto_rec.objectives.outcome import Outcome

CHUNK_ELEMENTS = 500_000  # most scores sorted at once


class AUC(UserObjective):
    """Probability that a relevant held-out item scores above an irrelevant one, ties half.

    Over all pairs of a relevant and an irrelevant item of the catalogue, both outside the user's
    history: ``(sum of mid-ranks of the relevant - P (P + 1) / 2) / (P N)`` with P relevant and N
    irrelevant items (the Mann-Whitney statistic). The scores are those that the lists are made
    from, before re-ranking (MMR changes it not). Users without a relevant item are left out (NaN).

    Misleads: nearly all pairs lie far below the places that users see, so popularity alone comes
    close to 1 and a better AUC may mean worse lists; unknown counts as irrelevant; a row whose
    signal is missing counts as not relevant.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982;
    per user as in Rendle et al., BPR, UAI 2009, section 4.1.1.
    """

    family = "auc"
    maximise = True
    reference = 0.85  # above what popularity reaches on MovieLens 100K (.82)
    takes_k: ClassVar[bool] = False
    takes_signal: ClassVar[bool] = True
    needs = frozenset({"scores"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where the outcome holds no scores."""
        matrix = outcome.truth(self.signal).matrix
        users, n_items = matrix.shape
        values = np.full(users, np.nan)
        if outcome.all_scores is None:
            return values
        step = max(1, CHUNK_ELEMENTS // max(n_items, 1))
        for begin in range(0, users, step):
            scores = outcome.all_scores(slice(begin, begin + step))
            ranked = np.sort(scores, axis=1)  # NaN, what was seen, goes last
            unseen = n_items - np.isnan(scores).sum(axis=1)
            for row, (sorted_, count) in enumerate(zip(ranked, unseen.tolist(), strict=True)):
                start, end = matrix.indptr[begin + row : begin + row + 2]
                relevant = scores[row, matrix.indices[start:end]]
                values[begin + row] = area(sorted_[:count], relevant[~np.isnan(relevant)])
        return values


def area(ordered: NDArray[np.floating[Any]], positive: NDArray[np.floating[Any]]) -> float:
    """Compute the area under the ROC curve, ties half.

    Args:
        ordered: All scores, rising ``[rows]``.
        positive: Those of the positive rows, in any order ``[positives]``.

    Returns:
        NaN where all rows are positive, or none is.
    """
    positives, negatives = len(positive), len(ordered) - len(positive)
    if not positives or not negatives:
        return float("nan")
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    mid_ranks = int((below + up_to + 1).sum()) / 2
    return (mid_ranks - positives * (positives + 1) / 2) / (positives * negatives)
