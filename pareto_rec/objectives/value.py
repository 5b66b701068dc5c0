"""Value of lists: money, graded gains of any signal, and the risk of a failed sale.

All but `Risk` reward hits alone, so that random lists earn next to nothing.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import UserObjective
from pareto_rec.objectives.gains import weights_of_hits
from pareto_rec.objectives.outcome import HeldOut, Outcome, sum_over_positions
from pareto_rec.objectives.ranking import discounts


def _nan_without_relevant(values: NDArray[np.float64], truth: HeldOut) -> NDArray[np.float64]:
    """Return values ``[users]``, NaN for users without a relevant held-out item."""
    return np.where(truth.counts > 0, values, np.nan)


def ideal_value_dcg(
    truth: HeldOut, k: int, prices: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Compute the largest possible DCG within k positions ``[users]``: most valuable items first.

    Args:
        truth: What is held out.
        k: Length of the lists.
        prices: What a hit is worth ``[items]``; None: the held-out value of the signal.

    Returns:
        NaN where no held-out item is worth anything.
    """
    matrix = truth.matrix
    worth = matrix.data.astype(np.float64) if prices is None else prices[matrix.indices]
    user = np.repeat(np.arange(matrix.shape[0]), truth.counts)
    order = np.lexsort((-worth, user))
    position = np.arange(len(user)) - matrix.indptr[:-1][user]
    first = position < k
    gain = worth[order][first] * discounts(k)[position[first]]
    total = np.bincount(user[first], weights=gain, minlength=matrix.shape[0])
    return np.where(total > 0, total, np.nan)


def _share_of_ideal(
    gain: NDArray[np.float64], truth: HeldOut, k: int, worth: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Divide the DCG of lists ``[users]`` by the largest possible one, see `ideal_value_dcg`."""
    return np.minimum(gain / ideal_value_dcg(truth, k, worth), 1.0)  # rounding may leave 1 + 1e-16


class Revenue(UserObjective):
    """Money made from a list: the prices of its hits, summed.

    ``sum over hits of price``, per user, in the unit of the prices; an item whose price is not
    known counts 0. With the share of users who come back as they did in the held-out time, this is
    the expected revenue of one list. Users without a relevant held-out item are left out (NaN).

    Misleads: few expensive hits carry it, so its error is large; one of each item is counted,
    for any quantity that was bought; what would have been bought anyway counts as won; a hit
    whose price is missing earns nothing.

    Source: Jannach and Adomavicius, Price and profit awareness in recommender systems, 2017
    (arXiv:1707.08029), section 3.
    """

    family = "revenue"
    maximise = True
    unit = "price"
    reference = 0.0  # prices have no common scale: give what popularity earns on your data
    bounds = (0.0, float("inf"))
    takes_signal: ClassVar[bool] = True
    needs = frozenset({"price"})
    reads = frozenset({"price"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where prices are not known."""
        prices, lists = weights_of_hits(outcome.catalogue, "price"), self.top(outcome)
        if prices is None:
            return np.full(len(lists), np.nan)
        earned = (self.top_hits(outcome) * prices[lists]).sum(axis=1)
        return _nan_without_relevant(earned, outcome.truth(self.signal))


class PriceNDCG(UserObjective):
    """NDCG in which a hit gains its price: expensive relevant items belong in front.

    ``sum over hits of price / log2(place + 1)``, divided by the same sum with the user's most
    expensive relevant items (at most k) in front. An item whose price is not known gains 0. Users
    without a relevant held-out item of known price are left out (NaN).

    Misleads: within one user alone does price count, so a list that serves big spenders badly and
    small ones well looks as good as the reverse (``revenue`` sees that); it rises by ranking dear
    items up even where the cheap ones are bought more surely; a relevant item whose price is
    missing gains nothing and is not asked for.

    Source: Järvelin and Kekäläinen, TOIS 2002 (graded gains), with prices as gains as in Louca
    et al., Joint optimization of profit and relevance for recommendation systems in e-commerce,
    RMSE workshop at RecSys 2019.
    """

    family = "price_ndcg"
    maximise = True
    reference = 0.0  # above 0 only by hits; give what popularity reaches on your data
    takes_signal: ClassVar[bool] = True
    needs = frozenset({"price"})
    reads = frozenset({"price"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where prices are not known."""
        prices, lists = weights_of_hits(outcome.catalogue, "price"), self.top(outcome)
        if prices is None:
            return np.full(len(lists), np.nan)
        gain = (self.top_hits(outcome) * prices[lists]) @ discounts(self.k)
        return _share_of_ideal(gain, outcome.truth(self.signal), self.k, prices)


class SignalNDCG(UserObjective):
    """NDCG in which a hit gains what a signal says of its item: well-rated items in front.

    ``sum over hits of gain / log2(place + 1)``, divided by the same sum with the user's relevant
    items of the largest gains (at most k) in front. The gain of an item is the mean value of the
    signal in its training rows, shrunk to that of all rows by ten rows; below 0 it counts 0. An
    item is relevant where the held-out value of the signal is above 0. Name the signal, for example
    ``signal_ndcg@10[rating]``. Users without a relevant held-out item of a gain above 0 are left
    out (NaN).

    Misleads: the gain is the same for all users (``value_ndcg`` takes each user's own held-out
    value); where gains differ little, as mean ratings do, it is little but NDCG; a row whose signal
    is missing counts as not relevant, and an item with no others gains the overall mean.

    Source: Järvelin and Kekäläinen, TOIS 2002 (graded gains); the shrunk mean as in Gelman et al.,
    Bayesian Data Analysis, 3rd edition, 2013, section 5.4.
    """

    family = "signal_ndcg"
    maximise = True
    reference = 0.0  # above 0 only by hits; give what popularity reaches on your data
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where the values of signals are not known."""
        truth, lists = outcome.truth(self.signal), self.top(outcome)
        name = f"signal={self.signal or outcome.relevance}"
        worth = weights_of_hits(outcome.catalogue, name)
        if worth is None:
            return np.full(len(lists), np.nan)
        worth = np.maximum(worth, 0.0)
        gain = (self.top_hits(outcome) * worth[lists]) @ discounts(self.k)
        return _share_of_ideal(gain, truth, self.k, worth)


class Value(UserObjective):
    """What the hits of a list were worth in a signal that is a value: spend, savings, minutes.

    ``sum over hits of the held-out value``, in the unit of the signal; for a 0/1 signal the number
    of hits. Of several held-out rows of one user and item the largest counts. Users without a
    held-out value above 0 are left out (NaN).

    Misleads: a few large values carry it; the value was observed with the lists shown then, and
    a recommendation may not bring it again; a missing value counts as 0.

    Source: Jannach and Jugovac, Measuring the business value of recommender systems, TMIS 2019,
    section 3.
    """

    family = "value"
    maximise = True
    unit = "signal"
    reference = 0.0  # signals have no common scale: give what popularity earns on your data
    bounds = (0.0, float("inf"))
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        truth = outcome.truth(self.signal)
        return _nan_without_relevant(truth.gains(self.top(outcome)).sum(axis=1), truth)


class ValueNDCG(UserObjective):
    """NDCG with the held-out values of a signal as gains: what was worth most belongs in front.

    ``sum over hits of value / log2(place + 1)``, divided by the same sum with the user's most
    valuable held-out items (at most k) in front. Users without a held-out value above 0 are left
    out (NaN). For a 0/1 signal it is NDCG.

    Misleads: gains are linear, so one large value of a user hides all others; users count alike,
    however much they spend (``value`` sees that); a missing value counts as 0.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002.
    """

    family = "value_ndcg"
    maximise = True
    reference = 0.0  # above 0 only by hits; give what popularity reaches on your data
    takes_signal: ClassVar[bool] = True

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``."""
        truth = outcome.truth(self.signal)
        gain = truth.gains(self.top(outcome)) @ discounts(self.k)
        return _share_of_ideal(gain, truth, self.k, None)


class Risk(UserObjective):
    """How often what is recommended goes wrong: mean rate of a signal over the items of a list.

    An item's rate is the share of its training rows in which the signal (cancelled, returned,
    complained) is positive, smoothed by ten rows at the rate of all items. Empty lists are left out
    (NaN). Name the signal: ``risk@10[cancelled]``.

    Misleads: it needs no relevance, and items without buyers are never returned, so constrain or
    report it, or search on it beside accuracy only where random lists do not lower it; rates of
    rare items are mostly the overall rate; rows whose signal is missing do not count, and an item
    with no others has the overall rate.

    Source: Beta-binomial shrinkage as in Gelman et al., Bayesian Data Analysis, 3rd edition, 2013,
    section 2.4; returns as a goal of recommenders in Jannach and Adomavicius, 2017.
    """

    family = "risk"
    maximise = False
    reference = 0.1  # rates differ by trade: give what popularity has on your data
    takes_signal: ClassVar[bool] = True
    needs = frozenset({"rate"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where rates are not known."""
        name, lists = self.signal or outcome.relevance, self.top(outcome)
        outcome.truth(name)  # refuses an unknown signal
        if outcome.catalogue.rate is None:
            return np.full(len(lists), np.nan)
        shown = (lists >= 0).sum(axis=1)
        total = sum_over_positions(outcome.catalogue.rate(name)[:, None], lists)[:, 0]
        return np.asarray(total / np.where(shown > 0, shown, np.nan))
