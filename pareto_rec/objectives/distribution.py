"""How recommendations spread over categories and over the catalogue.

Random lists win coverage and Gini, so report or constrain those rather than search on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import Outcome, SetObjective, UserObjective, sum_over_places
from pareto_rec.objectives.ranking import discounts


class CategoryEntropy(UserObjective):
    """Entropy of the categories of one user's list, in nats.

    Each item spreads a weight of one evenly over its categories; items without categories count
    for nothing, and lists without any category are left out (NaN). At most ``log(categories)``.

    Misleads: it needs no relevance, so a list nobody wants may score high; it sees how
    many categories there are, not how far apart they are or whether the user cares for them.

    Source: Shannon, A mathematical theory of communication, 1948; as a diversity measure of lists
    Qin and Zhu, Promoting diversity in recommendation by entropy regularizer, IJCAI 2013.
    """

    family = "category_entropy"
    maximise = True
    unit = "nat"
    reference = 1.8  # random lists reach 1.78 on MovieLens 100K; exp(1.8) is six even categories
    bounds = (0.0, float("inf"))

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Values ``[users]``."""
        weight = sum_over_places(outcome.catalogue.category_shares, self.top(outcome))
        total = weight.sum(axis=1, keepdims=True)
        share = weight / np.where(total > 0, total, np.nan)
        terms = share * np.log(np.where(share > 0, share, 1.0))
        return np.asarray(np.maximum(-terms.sum(axis=1), 0.0))


class Coverage(SetObjective):
    """Share of the catalogue that is recommended to anybody.

    Misleads: one list is enough to cover an item; random lists cover everything; it grows with the
    number of users, so compare it only between runs on the same users.

    Source: Herlocker et al., Evaluating collaborative filtering recommender systems, TOIS 2004.
    """

    family = "coverage"
    maximise = True
    reference = 0.0

    def value(self, outcome: Outcome, /) -> float:
        """One number for all lists; NaN without items."""
        lists = self.top(outcome)
        size = len(outcome.catalogue.items)
        shown = np.bincount(lists[lists >= 0], minlength=size) > 0
        return float(shown.mean()) if size else float("nan")


class ExposureGini(SetObjective):
    """Gini coefficient of the exposure of items: 0 if all get the same, near 1 if one gets it all.

    A place gives exposure ``1 / log2(place + 1)``; items never shown count with 0.

    Misleads: equal exposure is not fair exposure, since it ignores what people want; random lists
    score best; with few users many items must stay at 0 whatever one does.

    Source: Gini, Variabilità e mutabilità, 1912; exposure by place as in Singh and Joachims,
    Fairness of exposure in rankings, KDD 2018.
    """

    family = "exposure_gini"
    maximise = False
    reference = 1.0

    def value(self, outcome: Outcome, /) -> float:
        """One number for all lists; NaN where nothing is shown."""
        lists = self.top(outcome)
        size = len(outcome.catalogue.items)
        weight = np.broadcast_to(discounts(self.k), lists.shape)[lists >= 0]
        exposure = np.sort(np.bincount(lists[lists >= 0], weights=weight, minlength=size))
        total = exposure.sum()
        if total == 0:
            return float("nan")
        ranks = 2.0 * np.arange(1, size + 1) - size - 1
        return float(np.clip(ranks @ exposure / (size * total), 0.0, 1.0))
