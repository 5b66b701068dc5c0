"""Novelty: of the hits, of all that is shown, and against what the user knows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import UserObjective
from pareto_rec.objectives.gains import gain_of
from pareto_rec.objectives.outcome import Outcome, sum_over_positions
from pareto_rec.objectives.ranking import discounts, ideal_dcg


class EPC(UserObjective):
    """Expected popularity complement: how unpopular the hits are.

    ``sum over hits of novelty / log2(place + 1)``, divided by the ideal DCG of binary gains, where
    an item's novelty is ``1 - log1p(count) / log1p(largest count)`` over training rows. At most
    NDCG, and equal to it only if the hits have no training row. Users without a relevant held-out
    item are left out (NaN).

    Misleads: the logarithm makes most of the catalogue look novel on small data; a gain may come
    from better hits or from rarer ones, so read it beside NDCG; a row whose signal is missing
    counts as not relevant.

    Source: Vargas and Castells, Rank and relevance in novelty and diversity metrics for
    recommender systems, RecSys 2011 (there with counts on a linear scale).
    """

    family = "epc"
    maximise = True
    reference = 0.0
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        novelty = gain_of(outcome.catalogue, "novelty")[self.top(outcome)]
        gain = (self.top_hits(outcome) * novelty) @ discounts(self.k)
        return np.asarray(gain / ideal_dcg(outcome.truth(self.signal).counts, self.k))


class Novelty(UserObjective):
    """Mean self-information of the items of the list, in bits: how surprising they are to any user.

    ``mean of -log2 p(i)`` with ``p(i) = (count + 1) / (rows + items)`` over training rows; the one
    that is added keeps items without rows finite. Empty lists are left out (NaN).

    Misleads: it needs no relevance, and random lists win, so report or constrain it (EPC counts
    hits alone); rare is not the same as unknown to this user, nor as worth knowing; an item that is
    missing in training is the most novel of all.

    Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems,
    PNAS 2010 (there with shares of users).
    """

    family = "novelty"
    maximise = True
    unit = "bit"
    reference = 8.0  # on MovieLens 100K popularity 7.7, other experts 8.7 to 8.9, random lists 12.3
    bounds = (0.0, float("inf"))

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        lists = self.top(outcome)
        shown = (lists >= 0).sum(axis=1)
        bits = sum_over_positions(outcome.catalogue.self_information[:, None], lists)[:, 0]
        return np.asarray(bits / np.where(shown > 0, shown, np.nan))


class ProfileDistance(UserObjective):
    """Mean cosine distance of the list's items from the items of the user's own history.

    ``mean of 1 - cos(c_i, c_j)`` over categories, i in the list, j a row of the history that has
    categories: novelty to this user. An item of the list without categories is at distance 0.
    Users without categories in their history, or with an empty list, are left out (NaN).

    Misleads: a list far from all that a user ever chose is novel and mostly unwanted; random lists
    score high; long and varied histories are far from everything; listed items whose categories are
    missing lower it, those of a history are left out.

    Source: Vargas and Castells, Rank and relevance in novelty and diversity metrics for
    recommender systems, RecSys 2011 (expected profile distance, here without rank and relevance).
    """

    family = "profile_distance"
    maximise = True
    reference = 0.7  # experts on MovieLens 100K .74 to .78, random lists .77
    needs = frozenset({"history"})
    reads = frozenset({"categories"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where histories are not known."""
        lists, unit = self.top(outcome), outcome.catalogue.unit_categories
        centre = outcome.catalogue.profile
        if centre is None:
            return np.full(len(lists), np.nan)
        has_any: NDArray[np.bool_] = (unit != 0).any(axis=1)
        shown = (lists >= 0).sum(axis=1)
        described = ((lists >= 0) & has_any[lists]).sum(axis=1)
        cosines = np.einsum("uc,uc->u", sum_over_positions(unit, lists), centre)
        distance = (described - cosines) / np.where(shown > 0, shown, np.nan)
        return np.asarray(np.clip(distance, 0.0, 1.0))  # rounding may leave -1e-16
