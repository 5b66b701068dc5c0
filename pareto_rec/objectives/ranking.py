"""Accuracy of the ranking: NDCG, precision, recall, F1, hit rate, MRR, and NDCG in the tail.

Gains are binary: a held-out item counts or does not. Users without a relevant held-out item are
left out (NaN).
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import UserObjective
from pareto_rec.objectives.gains import gain_of
from pareto_rec.objectives.outcome import Outcome


@cache
def discounts(k: int) -> NDArray[np.float64]:
    """Compute the weight of each position ``[k]``, ``1 / log2(position + 1)`` from 1."""
    values = 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))
    values.flags.writeable = False
    return values


@cache
def _ideal_table(k: int) -> NDArray[np.float64]:
    return np.concatenate([[np.nan], np.cumsum(discounts(k))])


def ideal_dcg(relevant: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Compute the largest possible binary DCG within k positions.

    Args:
        relevant: Number of relevant items per user ``[users]``.
        k: Length of the lists.

    Returns:
        ``[users]``; NaN where nothing is relevant.
    """
    return np.asarray(_ideal_table(k)[np.minimum(relevant, k)])


class NDCG(UserObjective):
    """Normalised discounted cumulative gain of held-out items, binary gains.

    ``sum over hits of 1 / log2(place + 1)``, divided by the same sum with every relevant item
    (at most k) in front.

    Misleads: where few items are held out per user it is noisy, and it rewards what people would
    have found anyway: popular items are over-represented among the held-out ones; a row whose
    signal is missing counts as not relevant.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002.
    """

    family = "ndcg"
    maximise = True
    reference = 0.10  # above what popularity reaches on MovieLens 100K (.067 / .083)
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        gain = self.top_hits(outcome) @ discounts(self.k)
        return np.asarray(gain / ideal_dcg(outcome.truth(self.signal).counts, self.k))


class TailNDCG(UserObjective):
    """NDCG that counts only held-out items outside the head.

    The head is the smallest set of most popular items that holds half of the training rows,
    together with those as popular as its last. Fairness to the items that popularity hides: a list
    of head items alone gets 0. Users without a relevant held-out item in the tail are left out
    (NaN).

    Misleads: it says nothing about head items pushed out of the lists, so it needs an accuracy
    objective beside it; the edge between head and tail is sharp; a row whose signal is missing
    counts as not relevant.

    Source: NDCG as in Järvelin and Kekäläinen, TOIS 2002, on the long tail of Abdollahpouri,
    Burke and Mobasher, Controlling popularity bias in learning-to-rank recommendation, RecSys 2017.
    """

    family = "tail_ndcg"
    maximise = True
    reference = 0.0
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        worth = gain_of(outcome.catalogue, "tail")
        # -1 looks up some item or other here, but is never a hit
        gain = (self.top_hits(outcome) * worth[self.top(outcome)]) @ discounts(self.k)
        matrix = outcome.truth(self.signal).matrix
        cumulated = np.concatenate([[0], np.cumsum(worth[matrix.indices] > 0)])
        return np.asarray(gain / ideal_dcg(np.diff(cumulated[matrix.indptr]), self.k))


class Recall(UserObjective):
    """Share of the user's relevant held-out items that are in the list.

    Misleads: with more than k relevant items 1 cannot be reached, and the order within the list
    does not count; a row whose signal is missing counts as not relevant.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, chapter 8.
    """

    family = "recall"
    maximise = True
    reference = 0.10  # above what popularity reaches on MovieLens 100K (.07)
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        relevant = outcome.truth(self.signal).counts
        hits = self.top_hits(outcome).sum(axis=1)
        return np.asarray(hits / np.where(relevant > 0, relevant, np.nan))


class Precision(UserObjective):
    """Share of the k places that hold a relevant item.

    ``hits / k``, also where a list is shorter than k.

    Misleads: users with fewer than k relevant items cannot reach 1, so its mean says as much about
    how many items are held out per user as about the lists; the order within the list does not
    count; a row whose signal is missing counts as not relevant.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, chapter 8.
    """

    family = "precision"
    maximise = True
    reference = 0.05  # above what popularity reaches on MovieLens 100K (.046)
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        share = self.top_hits(outcome).sum(axis=1) / self.k
        return np.where(outcome.truth(self.signal).counts > 0, share, np.nan)


class F1(UserObjective):
    """Harmonic mean of precision and recall of one user's list.

    ``2 P R / (P + R) = 2 hits / (k + relevant)``, 0 without a hit.

    Misleads: it inherits the ceilings of both parts, and which of the two limits it changes from
    user to user; its mean is not the harmonic mean of mean precision and mean recall; a row whose
    signal is missing counts as not relevant.

    Source: van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7 (1 - E).
    """

    family = "f1"
    maximise = True
    reference = 0.05  # above what popularity reaches on MovieLens 100K (.043)
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        relevant = outcome.truth(self.signal).counts
        value = 2 * self.top_hits(outcome).sum(axis=1) / (self.k + relevant)
        return np.where(relevant > 0, value, np.nan)


class Hit(UserObjective):
    """Whether the list holds any relevant item: 1 or 0. Its mean is the hit rate.

    Misleads: it grows with the number of items held out per user and is soon near 1 for long lists;
    one hit counts as much as ten, and the first place as much as the last; a row whose signal is
    missing counts as not relevant.

    Source: Deshpande and Karypis, Item-based top-N recommendation algorithms, TOIS 2004, section 6.
    """

    family = "hit"
    maximise = True
    reference = 0.35  # above what popularity reaches on MovieLens 100K (.32)
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        hit = self.top_hits(outcome).any(axis=1).astype(np.float64)
        return np.where(outcome.truth(self.signal).counts > 0, hit, np.nan)


class MRR(UserObjective):
    """Reciprocal rank: one over the place of the first hit, 0 without a hit.

    Misleads: everything after the first hit is ignored; the step from place 1 to place 2 weighs as
    much as all steps after it; a row whose signal is missing counts as not relevant.

    Source: Voorhees, The TREC-8 question answering track report, 1999.
    """

    family = "mrr"
    maximise = True
    reference = 0.20  # above what popularity reaches on MovieLens 100K (.13 / .16)
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        hits = self.top_hits(outcome)
        rank = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)
        return np.where(outcome.truth(self.signal).counts > 0, rank, np.nan)
