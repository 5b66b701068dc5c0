"""Expected earnings of lists, by the predictions of the network that made them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives.base import UserObjective
from pareto_rec.objectives.gains import weights_of_hits
from pareto_rec.objectives.outcome import Outcome
from pareto_rec.objectives.prediction import OnPredictions


class ExpectedRevenue(OnPredictions, UserObjective):
    """Money that a list is predicted to earn: probability times price, summed over its items.

    ``sum over the list of p(signal) * price``, per user, in the unit of the prices; an item whose
    price is not known counts 0. Nothing held out is looked at: ``revenue`` and ``value`` say what
    was earned. Name what is paid for: ``expected_revenue@10[clicked*bought]``.

    Misleads: it believes the model. Sorting by an estimate picks what is overestimated, so it
    exceeds what comes in; a network that says "surely" of everything wins. Report it beside
    ``calibration_error`` and ``revenue``, and search on those; an item whose price is missing earns
    nothing.

    Source: Agarwal, Chen and Elango, Click shaping to optimize multiple objectives, KDD 2011 (the
    goal); Smith and Winkler, The optimizer's curse, Management Science 2006 (why not to trust it).
    """

    family = "expected_revenue"
    maximise = True
    unit = "price"
    reference = (
        0.0  # prices have no common scale: give what your present lists are expected to earn
    )
    takes_k: ClassVar[bool] = True
    of_chances: ClassVar[bool] = True
    needs = frozenset({"chances", "price"})
    reads = frozenset({"price"})

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where probabilities or prices are not known."""
        prices, lists = weights_of_hits(outcome.catalogue, "price"), self.top(outcome)
        name = self.signal or outcome.relevance
        if outcome.chances and name not in outcome.chances:
            outcome.truth(name)  # refuses an unknown signal
        chances = outcome.chances.get(name)
        if prices is None or chances is None:
            return np.full(len(lists), np.nan)
        worth = np.where(lists >= 0, prices[lists], 0.0)
        return np.asarray((chances[:, : self.k] * worth).sum(axis=1), dtype=np.float64)
