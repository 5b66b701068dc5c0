"""Accuracy of predicted values on held-out rows: for signals that the network predicts.

Nothing here looks at lists, so serving variables change none of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.objectives.base import Objective, SetObjective, UserObjective
from pareto_rec.objectives.outcome import Outcome, Predicted


class OnPredictions(Objective):
    """An objective on what a network predicts: its signal may also be a task, or a chain of them.

    Attributes:
        of_chances: Whether the predicted values must be probabilities.
    """

    takes_k: ClassVar[bool] = False
    takes_signal: ClassVar[bool] = True
    of_chances: ClassVar[bool] = False
    maximise = False
    bounds = (0.0, float("inf"))
    needs = frozenset({"predictions"})

    def check(
        self,
        *,
        signals: Collection[str],
        attributes: Collection[str],
        predicted: Collection[str] | None = None,
    ) -> None:
        """Refuse a signal that the data does not have, or that nothing predicts.

        Of a mapping of what is predicted the values say whether it is predicted as a probability.
        """
        known = {*signals, *(predicted or ())}
        super().check(signals=known, attributes=attributes, predicted=predicted)
        if predicted is None:
            return
        names = sorted(predicted)
        if self.of_chances and isinstance(predicted, Mapping):
            names = [name for name in names if predicted[name]]
        if self.signal not in names:
            kind = "probabilities of" if self.of_chances else "values of"
            form = self.name.partition("[")[0]
            advice = f'write "{form}[{names[0]}]"' if names else "leave it out"
            raise BadRequestError(
                f"objective {self.name} looks at predicted {kind} a signal or task, and this "
                f"experiment predicts {', '.join(names) or 'no signal'}: {advice}"
            )

    def predicted(self, outcome: Outcome) -> Predicted | None:
        """Return predicted values of the signal; None where it is not predicted.

        Raises:
            BadRequestError: If the data has no such signal.
        """
        name = self.signal or outcome.relevance
        if outcome.predictions and name not in outcome.predictions:
            outcome.truth(name)  # refuses an unknown signal
        return outcome.predictions.get(name)


def row_influence(
    predictions: Predicted, moved: NDArray[np.float64], users: int
) -> NDArray[np.float64]:
    """Sum what the rows move a mean over all rows by, for each user.

    Args:
        predictions: The rows.
        moved: Deviation of each row from the mean ``[rows]``.
        users: Number of users.

    Returns:
        Influence values ``[users]``; NaN for users without rows. Users are drawn with all their
        rows, since rows of one user are alike (Obuchowski, Biometrics 1997).
    """
    count = np.bincount(predictions.user, minlength=users)
    total = np.bincount(predictions.user, weights=moved, minlength=users)
    known = count > 0
    return np.where(known, total * known.sum() / max(len(moved), 1), np.nan)


class MSE(OnPredictions, UserObjective):
    """Mean squared error of predicted values, over the held-out rows of one user.

    ``mean of (predicted - true)^2``, then the mean over users, so that all users count alike. On a
    0/1 signal the prediction is a probability and this is the Brier score: at most 1, and 1/4 for
    always saying one half. Users without held-out rows are left out (NaN).

    Misleads: it is measured on rows that people chose to produce, not on what would be recommended,
    and says nothing about the order of lists; a constant guess at the mean does surprisingly well;
    rows whose signal is missing are not predicted at all, so that what is easy to know weighs more.

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather
    Review 1950; for ratings Herlocker et al., TOIS 2004, section 4.1.
    """

    family = "mse"
    unit = "signal^2"
    reference = 0.25  # a 0/1 signal always predicted as one half; give your own for ratings

    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute the values ``[users]``; all NaN where the signal is not predicted."""
        predictions, users = self.predicted(outcome), len(outcome.lists)
        if predictions is None:
            return np.full(users, np.nan)
        squared = np.square(predictions.predicted.astype(np.float64) - predictions.true)
        count = np.bincount(predictions.user, minlength=users)
        total = np.bincount(predictions.user, weights=squared, minlength=users)
        return np.asarray(total / np.where(count > 0, count, np.nan))


class RMSE(OnPredictions, SetObjective):
    """Root of the mean squared error of predicted values, over all held-out rows together.

    ``sqrt(mean of (predicted - true)^2)``, in the unit of the signal, as rating predictors are
    compared; people with many held-out rows count for more, so it is not the root of ``mse``.

    Misleads: as ``mse``; and a root has no per-user values, so groups are not available
    (take ``mse``); missing values as in ``mse``.

    Source: Bennett and Lanning, The Netflix Prize, KDD Cup and Workshop 2007.
    """

    family = "rmse"
    unit = "signal"
    reference = 0.5  # a 0/1 signal always predicted as one half; give your own for ratings

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all rows; NaN without predictions or held-out rows."""
        predictions = self.predicted(outcome)
        if predictions is None or not len(predictions.true):
            return float("nan")
        return math.sqrt(
            np.square(predictions.predicted.astype(np.float64) - predictions.true).mean()
        )

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute the derivative by the weight of each user, all of whose rows go together."""
        predictions = self.predicted(outcome)
        if predictions is None or not len(predictions.true):
            return None
        squared = np.square(predictions.predicted.astype(np.float64) - predictions.true)
        root = math.sqrt(squared.mean())
        moved = (squared - root**2) / (2.0 * root) if root > 0 else np.zeros(len(squared))
        return row_influence(predictions, moved, len(outcome.lists))
