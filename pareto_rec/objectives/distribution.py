"""Spread of recommendations over categories, over the catalogue, and over groups of items.

Random lists win coverage, Gini and tail exposure, so report or constrain those rather than search
on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import SetObjective, UserObjective
from pareto_rec.objectives.outcome import Outcome, sum_over_positions
from pareto_rec.objectives.ranking import discounts


def exposure(lists: NDArray[np.int64], n_items: int) -> NDArray[np.float64]:
    """Compute exposure per item ``[items]``: the discounts of its positions in ``[users, k]``."""
    weight = np.broadcast_to(discounts(lists.shape[1]), lists.shape)[lists >= 0]
    return np.bincount(lists[lists >= 0], weights=weight, minlength=n_items).astype(np.float64)


class CategoryEntropy(UserObjective):
    """Entropy of the categories of one user's list, in nats.

    Each item spreads a weight of one evenly over its categories. The entropy is that of the items
    that have any, times their share of the list, so that items without categories never raise it.
    Empty lists are left out (NaN). At most ``log(categories)``.

    Misleads: it needs no relevance, so an unwanted list may score high; it sees how many
    categories there are, not how far apart they are or whether the user cares for them; items whose
    categories are missing lower it in any case.

    Source: Shannon, A mathematical theory of communication, 1948; as a diversity measure of lists
    Qin and Zhu, Promoting diversity in recommendation by entropy regularizer, IJCAI 2013.
    """

    family = "category_entropy"
    maximise = True
    unit = "nat"
    reads = frozenset({"categories"})
    reference = 1.8  # random lists reach 1.78 on MovieLens 100K; exp(1.8) is six even categories
    bounds = (0.0, float("inf"))

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        lists = self.top(outcome)
        if not outcome.catalogue.known("categories").any():
            return np.full(len(lists), np.nan)
        weight = sum_over_positions(outcome.catalogue.category_shares, lists)
        total, shown = weight.sum(axis=1, keepdims=True), (lists >= 0).sum(axis=1)
        share = weight / np.where(total > 0, total, 1.0)
        terms = share * np.log(np.where(share > 0, share, 1.0))
        described = total[:, 0] / np.where(shown > 0, shown, np.nan)
        return np.asarray(np.maximum(-terms.sum(axis=1), 0.0) * described)


class Coverage(SetObjective):
    """Share of the catalogue that is recommended to any user.

    Misleads: one list is enough to cover an item; random lists cover everything; it grows with the
    number of users, so compare it only between runs on the same users; nothing that may be missing
    of an item is read.

    Source: Herlocker et al., Evaluating collaborative filtering recommender systems, TOIS 2004.
    """

    family = "coverage"
    maximise = True
    reference = 0.0

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all lists; NaN without items."""
        lists = self.top(outcome)
        size = len(outcome.catalogue.items)
        shown = np.bincount(lists[lists >= 0], minlength=size) > 0
        return float(shown.mean()) if size else float("nan")

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute the jackknife's influence values from the items that one list alone shows.

        A resample with replacement shows fewer items than new users would, so users are left out
        instead: without one user the items go that were in that list alone (f1 of them in all).
        The variance of that is too large, by terms that alternate and begin with the f2 items of
        two lists; f1 - f2 + ... is summed as f1 / (1 + f2 / f1).

        Source: bias of the jackknife variance and its second-order term, Efron and Stein, Annals
        of Statistics 1981, section 4; f1 and f2 as in Good and Toulmin, Biometrika 1956.
        """
        lists = self.top(outcome)
        users, size = len(lists), len(outcome.catalogue.items)
        if users < 2 or not size:
            return None
        times = np.bincount(lists[lists >= 0], minlength=size)
        alone = ((times[lists] == 1) & (lists >= 0)).sum(axis=1) / size
        once, twice = int((times == 1).sum()), int((times == 2).sum())
        shrink = np.sqrt(once / (once + twice)) if once else 0.0
        return np.asarray(shrink * (users - 1) * (alone - alone.mean()))


class ExposureGini(SetObjective):
    """Gini coefficient of the exposure of items: 0 if all get the same, near 1 if one gets it all.

    A place gives exposure ``1 / log2(place + 1)``; items never shown count with 0.

    Misleads: equal exposure is not fair exposure, since it ignores what people want; random lists
    score best; with few users many items must stay at 0 in any case; nothing that may be
    missing of an item is read.

    Source: Gini, Variabilità e mutabilità, 1912; exposure by place as in Singh and Joachims,
    Fairness of exposure in rankings, KDD 2018.
    """

    family = "exposure_gini"
    maximise = False
    reference = 1.0

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all lists; NaN where nothing is shown."""
        lists = self.top(outcome)
        size = len(outcome.catalogue.items)
        rising = np.sort(exposure(lists, size))
        total = rising.sum()
        if total == 0:
            return float("nan")
        ranks = 2.0 * np.arange(1, size + 1) - size - 1
        return float(np.clip(ranks @ rising / (size * total), 0.0, 1.0))

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute the derivative by the weight of each user; items of equal exposure share ranks.

        Source: infinitesimal jackknife, Jaeckel, Bell Laboratories MM 72-1215-11, 1972; of the
        Gini coefficient Langel and Tillé, Journal of the Royal Statistical Society A 2013.
        """
        lists = self.top(outcome)
        size = len(outcome.catalogue.items)
        shown = exposure(lists, size)
        total = shown.sum()
        if not total:
            return None
        _, level, many = np.unique(shown, return_inverse=True, return_counts=True)
        last = np.cumsum(many)  # ranks first .. last of a level
        rank = (2.0 * last - many + 1 - size - 1)[level]
        gini = rank @ shown / (size * total)
        discount = np.where(lists >= 0, discounts(lists.shape[1]), 0.0)
        moved = (rank[lists] * discount).sum(axis=1) - gini * size * discount.sum(axis=1)
        return np.asarray(len(lists) * moved / (size * total))


class TailExposure(UserObjective):
    """Share of the exposure of one user's list that goes to items outside the head.

    A place gives exposure ``1 / log2(place + 1)``; the head is the smallest set of most popular
    items with half of the training rows, so .5 gives the tail what it had in training. Empty lists
    are left out (NaN).

    Misleads: it needs no relevance, and random lists win: the tail holds most of the catalogue.
    Report or constrain it, and search on ``tail_ndcg``, which counts hits; nothing that may be
    missing of an item is read, and items missing in training are in the tail.

    Source: Singh and Joachims, Fairness of exposure in rankings, KDD 2018; head and tail as in
    Abdollahpouri, Burke and Mobasher, RecSys 2017.
    """

    family = "tail_exposure"
    maximise = True
    reference = 0.0

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        lists = self.top(outcome)
        shown = lists >= 0
        total = shown @ discounts(self.k)
        tail = (shown & ~outcome.catalogue.head[lists]) @ discounts(self.k)
        return np.asarray(tail / np.where(total > 0, total, np.nan))


class CategoryExposure(SetObjective):
    """How far the exposure of the categories is from their share of training rows; 0 is equal.

    Total variation ``1 - sum over categories min(share of exposure, share of training rows)``: the
    share of exposure that would have to move. Items spread what they have evenly over their
    categories. Shares are of all exposure and of all rows: what goes to items without categories
    is never in its place, so that the value is at least the share of rows of such items.

    Misleads: what was popular in training is not what is fair or wanted now; small categories count
    for little; lists that are wrong for all users may add up to the right shares; rows and exposure
    of items whose categories are missing only raise it, so 0 is out of reach by the share of such
    rows.

    Source: Singh and Joachims, Fairness of exposure in rankings, KDD 2018 (disparate treatment,
    with training rows as merit).
    """

    family = "category_exposure"
    maximise = False
    reads = frozenset({"categories"})
    reference = 0.2  # on MovieLens 100K popularity .23, other experts .11 to .14, random lists .14

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all lists; NaN if nothing is shown or training has no category."""
        catalogue, lists = outcome.catalogue, self.top(outcome)
        shown = exposure(lists, len(catalogue.items))
        merited = catalogue.popularity @ catalogue.category_shares
        if not shown.sum() or not merited.sum():
            return float("nan")
        given = shown @ catalogue.category_shares / shown.sum()
        right = np.minimum(given, merited / catalogue.popularity.sum()).sum()
        return float(np.clip(1.0 - right, 0.0, 1.0))  # rounding may leave -1e-16

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute the derivative by the weight of each user.

        Source: infinitesimal jackknife, Jaeckel, Bell Laboratories MM 72-1215-11, 1972.
        """
        catalogue, lists = outcome.catalogue, self.top(outcome)
        shown = exposure(lists, len(catalogue.items))
        merited = catalogue.popularity @ catalogue.category_shares
        if not shown.sum() or not merited.sum():
            return None
        given = shown @ catalogue.category_shares / shown.sum()
        short = given < merited / catalogue.popularity.sum()  # more of these would help
        useful = catalogue.category_shares @ short.astype(np.float64)
        discount = np.where(lists >= 0, discounts(lists.shape[1]), 0.0)
        moved = (useful[lists] * discount).sum(axis=1) - given @ short * discount.sum(axis=1)
        return np.asarray(-len(lists) * moved / shown.sum())
