"""Novelty that is relevant."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import Outcome, UserObjective
from pareto_rec.objectives.ranking import discounts, ideal_dcg


class EPC(UserObjective):
    """Expected popularity complement: how unpopular the hits are.

    ``sum over hits of novelty / log2(place + 1)``, divided by the ideal DCG of binary gains, where
    an item's novelty is ``1 - log1p(count) / log1p(largest count)`` over training rows. At most
    NDCG, and equal to it only if nobody knows the hits. Users without a relevant held-out item are
    left out (NaN).

    Misleads: the logarithm makes most of the catalogue look novel on small data; a gain may come
    from better hits or from rarer ones, so read it beside NDCG.

    Source: Vargas and Castells, Rank and relevance in novelty and diversity metrics for
    recommender systems, RecSys 2011 (there with counts on a linear scale).
    """

    family = "epc"
    maximise = True
    reference = 0.0
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Values ``[users]``."""
        novelty = outcome.catalogue.novelty[self.top(outcome)]
        gain = (self.top_hits(outcome) * novelty) @ discounts(self.k)
        return np.asarray(gain / ideal_dcg(outcome.truth(self.signal).counts, self.k))
