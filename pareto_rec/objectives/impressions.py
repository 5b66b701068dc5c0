"""Prediction and ranking of the outcome of impressions: clicked or not, bought or not.

Three of them look at predicted probabilities, all rows together; one at the order of the scores
that lists are made from, within each user, so that experts and fusions can be measured too.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.auc import CHUNK_ELEMENTS, area
from pareto_rec.objectives.base import SetObjective, UserObjective
from pareto_rec.objectives.outcome import Outcome
from pareto_rec.objectives.prediction import OnPredictions, row_influence

BINS = 15
TINY = 1e-7  # float32 tells 1 from the next smaller number by 6e-8


class _OnChances(OnPredictions, SetObjective):
    of_chances: ClassVar[bool] = True

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all rows; NaN without predictions or held-out rows."""
        predictions = self.predicted(outcome)
        if predictions is None or not len(predictions.true):
            return float("nan")
        if self.family not in predictions.measured:  # it is the same for all serving settings
            chance = predictions.predicted.astype(np.float64)
            predictions.measured[self.family] = self.measure(chance, predictions.true > 0)
        return predictions.measured[self.family]

    def measure(self, chance: NDArray[np.float64], true: NDArray[np.bool_], /) -> float:
        """Compute one number from probabilities and answers ``[rows]``, at least one row."""
        raise NotImplementedError

    def moved(
        self, chance: NDArray[np.float64], true: NDArray[np.bool_], value: float, /
    ) -> NDArray[np.float64]:
        """Compute what each row moves the value by, per share of the rows ``[rows]``."""
        raise NotImplementedError

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute the derivative by the weight of each user, all of whose rows go together."""
        predictions, value = self.predicted(outcome), self.value(outcome)
        if predictions is None or math.isnan(value):
            return None
        chance = predictions.predicted.astype(np.float64)
        moved = self.moved(chance, predictions.true > 0, value)
        return row_influence(predictions, moved, len(outcome.lists))


class PooledAUC(_OnChances):
    """Probability that an answered impression is predicted above an unanswered one, ties half.

    Over all pairs of held-out rows of all users: the area under the ROC curve of the predicted
    probabilities, by the Mann-Whitney statistic. NaN where all rows are answered, or none is.

    Misleads: telling users who answer often from those who seldom do earns most of it, though that
    orders no list (``grouped_auc`` sees lists alone); it does not see wrong probabilities in
    the right order; rows whose signal is missing say nothing here.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982; on
    impressions as in McMahan et al., Ad click prediction: a view from the trenches, KDD 2013.
    """

    family = "pooled_auc"
    maximise = True
    reference = 0.5  # a constant
    bounds = (0.0, 1.0)

    def measure(self, chance: NDArray[np.float64], true: NDArray[np.bool_], /) -> float:
        """Compute the area under the ROC curve."""
        return area(np.sort(chance), chance[true])

    def moved(
        self, chance: NDArray[np.float64], true: NDArray[np.bool_], value: float, /
    ) -> NDArray[np.float64]:
        """Compute how often each row is on the right side of the others, less the mean.

        Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; rows in clusters Obuchowski,
        Biometrics 1997.
        """
        answered, unanswered = np.sort(chance[true]), np.sort(chance[~true])
        others = np.where(true, len(unanswered), len(answered))
        below = np.where(true, _below(unanswered, chance), others - _below(answered, chance))
        share = np.where(true, true.mean(), 1.0 - true.mean())
        return np.asarray((below / others - value) / share)


class LogLoss(_OnChances):
    """Mean of minus the logarithm of the probability that was given to what happened.

    ``-mean of (y log p + (1 - y) log(1 - p))`` over all held-out rows, natural logarithm, with p at
    least 1e-7 away from 0 and 1. Always saying the share of positive rows gives the entropy of that
    share.

    Misleads: it has no common scale: where one row in a hundred is positive, a constant reaches
    .056, so compare it with a constant on your data; rows that were not shown say nothing here;
    rows whose signal is missing neither.

    Source: Good, Rational decisions, Journal of the Royal Statistical Society B 1952; for clicks He
    et al., Practical lessons from predicting clicks on ads at Facebook, ADKDD 2014, section 2.
    """

    family = "log_loss"
    unit = "nat"
    reference = math.log(2)  # always one half; give what a constant reaches on your data

    def measure(self, chance: NDArray[np.float64], true: NDArray[np.bool_], /) -> float:
        """Average over the rows."""
        given = np.where(true, chance, 1 - chance)
        return float(-np.log(np.clip(given, TINY, 1.0)).mean())

    def moved(
        self, chance: NDArray[np.float64], true: NDArray[np.bool_], value: float, /
    ) -> NDArray[np.float64]:
        """Compute the loss of each row, less the mean."""
        given = np.where(true, chance, 1 - chance)
        return np.asarray(-np.log(np.clip(given, TINY, 1.0)) - value)


class CalibrationError(_OnChances):
    """How far predicted probabilities are from the shares that came true (ECE).

    The expected calibration error: held-out rows in order of their probability, in 15 bins of
    equally many rows; the mean over the rows of ``|mean probability - share of positive rows|``.
    Rows of equal probability stay together, in the bin of the first of them.

    Misleads: a constant at the right share has none; with few positive rows chance alone gives
    some, more with more bins; errors of opposite sign within a bin cancel; rows whose signal is
    missing say nothing here.

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
    binning, AAAI 2015 (the measure); equally many rows per bin as in Nguyen and O'Connor, Posterior
    calibration and exploratory analysis for natural language processing models, EMNLP 2015, section
    3; 15 bins as in Guo et al., On calibration of modern neural networks, ICML 2017.
    """

    family = "calibration_error"
    reference = 0.5  # always one half where nearly nothing, or nearly everything, is positive
    bounds = (0.0, 1.0)

    def measure(self, chance: NDArray[np.float64], true: NDArray[np.bool_], /) -> float:
        """Average over the bins, weighted."""
        gap = np.bincount(_bins(chance), weights=chance - true, minlength=BINS)
        return min(float(np.abs(gap).sum() / len(chance)), 1.0)

    def moved(
        self, chance: NDArray[np.float64], true: NDArray[np.bool_], value: float, /
    ) -> NDArray[np.float64]:
        """Compute the gap of each row in the direction of its bin's, less the mean; bins stay."""
        bins = _bins(chance)
        gap = np.bincount(bins, weights=chance - true, minlength=BINS)
        return np.asarray(np.sign(gap)[bins] * (chance - true) - value)


def _bins(chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each row, by its rank or that of the first of its equals."""
    rank = np.searchsorted(np.sort(chance), chance, side="left")
    return np.asarray(rank * BINS // len(chance), dtype=np.int64)


def _below(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count the ordered numbers below each value, equal ones half."""
    sides = [np.searchsorted(ordered, values, side=side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / 2.0)


class GroupedAUC(UserObjective):
    """Probability that an answered impression of a user scores above an unanswered one, ties half.

    Over all pairs of a positive and a negative held-out row of the same user, both of items outside
    the user's history; then the mean over users, who count alike. The scores are those that the
    lists are made from, before re-ranking. Users without such a pair are left out (NaN).

    Misleads: it orders what a former system chose to show, not the catalogue; a user with two rows
    counts as much as one with two thousand; the places at which items were shown are not corrected
    for; rows whose signal is missing are left out.

    Source: Zhu et al., Optimized cost per click in Taobao display advertising, KDD 2017, section
    4.2 (grouped AUC, there weighted by impressions).
    """

    family = "grouped_auc"
    maximise = True
    reference = 0.5  # a constant
    takes_k: ClassVar[bool] = False
    takes_signal: ClassVar[bool] = True
    needs = frozenset({"scores", "shown"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN without scores, or impressions without answer."""
        signal = self.signal or outcome.relevance
        if signal not in outcome.areas:  # groups of users are means of the same values
            values = _by_user(outcome, signal)
            values.flags.writeable = False
            outcome.areas[signal] = values
        return outcome.areas[signal]


def _by_user(outcome: Outcome, signal: str) -> NDArray[np.float64]:
    """Compute the area of every user's impressions ``[users]``, a block of users at a time."""
    n_items = outcome.truth(signal).matrix.shape[1]
    users, rows = len(outcome.lists), outcome.shown
    values = np.full(users, np.nan)
    if rows is None or outcome.all_scores is None:
        return values
    answer = rows.signals[signal]
    step = max(1, CHUNK_ELEMENTS // max(n_items, 1))
    for begin in range(0, users, step):
        scores = outcome.all_scores(slice(begin, begin + step))
        own = (rows.user >= begin) & (rows.user < begin + step) & ~np.isnan(answer)
        user, yes = rows.user[own] - begin, answer[own] > 0
        values[begin : begin + step] = _areas(user, scores[user, rows.item[own]], yes, len(scores))
    return values


def _areas(
    user: NDArray[np.int64], score: NDArray[np.float32], yes: NDArray[np.bool_], users: int
) -> NDArray[np.float64]:
    """Compute the area of each user's rows ``[users]``; rows without a score do not count."""
    if (user[1:] < user[:-1]).any():
        order = np.argsort(user, kind="stable")
        user, score, yes = user[order], score[order], yes[order]
    ends = np.searchsorted(user, np.arange(users + 1))
    known = np.bincount(user[~np.isnan(score)], minlength=users)
    areas = np.full(users, np.nan)
    for index in np.unique(user[yes]).tolist():
        rows = slice(ends[index], ends[index + 1])
        mine, positive = score[rows], score[rows][yes[rows]]
        areas[index] = area(
            np.sort(mine)[: known[index]], positive[~np.isnan(positive)]
        )  # NaN is last
    return areas
