"""Calibration and personalisation: lists compared with a user's history and with others' lists."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.objectives.base import SetObjective, UserObjective
from pareto_rec.objectives.outcome import Outcome, sum_over_positions

ALPHA = 0.01  # share of the history mixed into the list's distribution, as in the paper


class Calibration(UserObjective):
    """How far the list's categories are from the user's own, in nats; 0 is perfect.

    ``KL(p || (1 - a) q + a p) = sum p log(p / ((1 - a) q + a p))`` with a = .01, where p are the
    shares of the categories in the user's history and q those in the list; each item spreads a
    weight of one evenly over its categories. At most ``-log a``. Items of the list without
    categories take their share of q and match nothing. Users without categories in their history,
    or with an empty list, are left out (NaN).

    Misleads: it rewards giving people more of what they had, against novelty and diversity; ten
    items cannot mirror many categories, so 0 is out of reach; it sees no relevance; listed items
    whose categories are missing raise it in any case; those of a history are left out.

    Source: Steck, Calibrated recommendations, RecSys 2018, equations 2 to 6 (all weights equal).
    """

    family = "calibration"
    maximise = False
    unit = "nat"
    reference = 1.1  # on MovieLens 100K experts .62 to .91, random lists 1.16
    bounds = (0.0, -math.log(ALPHA))
    needs = frozenset({"history"})
    reads = frozenset({"categories"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where histories are not known."""
        wanted, lists = outcome.catalogue.tastes, self.top(outcome)
        if wanted is None:
            return np.full(len(lists), np.nan)
        weight, shown = sum_over_positions(outcome.catalogue.category_shares, lists), lists >= 0
        count = shown.sum(axis=1, keepdims=True)
        given = (1 - ALPHA) * weight / np.where(count > 0, count, np.nan) + ALPHA * wanted
        ratio = np.where(wanted > 0, wanted / np.where(given > 0, given, 1.0), 1.0)
        divergence = (wanted * np.log(ratio)).sum(axis=1)
        known = (count[:, 0] > 0) & ~np.isnan(wanted).any(axis=1)
        bounded = np.clip(divergence, *self.bounds)  # rounding may leave -1e-17
        return np.where(known, bounded, np.nan)


class Personalization(SetObjective):
    """How little the lists of two users share: one minus their mean overlap.

    ``1 - mean over pairs of users of |A and B| / k``, exactly and without comparing pairs: an item
    in n lists is shared by ``n (n - 1) / 2`` pairs. Users with empty lists are left out.

    Misleads: random lists are perfectly personal; people of one taste should share items; missing
    places of short lists are shared with no list.

    Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems,
    PNAS 2010 (inter-list diversity).
    """

    family = "personalization"
    maximise = True
    reference = 0.6  # above what popularity reaches on MovieLens 100K (.56)

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all lists; NaN for fewer than two users with items."""
        lists = self.top(outcome)
        users = int((lists >= 0).any(axis=1).sum())
        if users < 2:
            return float("nan")
        shown = np.bincount(lists[lists >= 0]).astype(np.float64)
        return float(1.0 - (shown * (shown - 1)).sum() / (users * (users - 1) * self.k))

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute the jackknife's influence values of a U-statistic of pairs.

        No user is paired with a copy of the same user, as resampling with replacement would. What
        pairs add to the variance beyond the mean overlap of each user, the jackknife counts twice;
        one share is taken out, so that the variance is unbiased.

        Source: Arvesen, Jackknifing U-statistics, Annals of Mathematical Statistics 1969; the
        second-order term Efron and Stein, Annals of Statistics 1981, section 4.
        """
        lists = self.top(outcome)
        known = (lists >= 0).any(axis=1)
        users = int(known.sum())
        if users < 3:
            return None
        own, valid = lists[known], lists[known] >= 0
        rows = np.repeat(np.arange(users), valid.sum(axis=1))
        ones = np.ones(len(rows))
        shows = sparse.csr_array((ones, (rows, own[valid])), shape=(users, lists.max() + 1))
        times: NDArray[np.float64] = np.asarray(shows.sum(axis=0)).ravel()
        length = valid.sum(axis=1)
        overlap = (shows @ times - length) / ((users - 1) * self.k)  # with the others, on average
        middle = overlap.mean()
        influence = -2.0 * (users - 1) / (users - 2) * (overlap - middle)
        together = sparse.csr_array(shows.T @ shows).data  # [items, items]: same squares as users'
        pairs = users * (users - 1)
        squares = ((together**2).sum() - (length**2).sum()) / self.k**2
        spread = (overlap - middle) @ (overlap - middle)
        # sum over pairs of (o_uv - o_u - o_v + middle)^2, multiplied out
        beyond = squares - pairs * middle**2 - 2.0 * users * spread
        second = 2.0 * max(beyond, 0.0) / pairs**2
        jackknife = (influence @ influence) / (users * (users - 1))
        shrink = np.sqrt(max(1.0 - second / jackknife, 0.0)) if jackknife > 0 else 0.0
        values = np.full(len(lists), np.nan)
        values[known] = shrink * influence
        return values
