"""Objectives: the two kinds and their contracts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.objectives.outcome import Outcome


class Objective(ABC):
    """An objective, measured and searched on. Values are in natural units.

    The docstring of a family says what it measures, then under ``Misleads:`` when not to trust it
    and under ``Source:`` where the definition comes from.

    Attributes:
        family: Registered name without ``@k`` and ``[signal]``.
        maximise: Whether larger is better.
        unit: Unit of the value, ``"1"`` for a share or a gain.
        reference: Default reference value for the hypervolume: worth nothing there or beyond.
        bounds: Smallest and largest possible value.
        measured: Whether the value is a cost measured on this machine, and so differs by run.
        replayed: Whether a measured value is stored and replayed, and so stays the same here.
        takes_k: Whether it looks at the first k places (``@k``).
        takes_signal: Whether it looks at what is held out (``[signal]``).
        needs: What an outcome must hold besides lists and truth: ``"scores"``, ``"predictions"``,
            ``"chances"``, ``"shown"``, ``"text"``, ``"history"``, or a key of ``cost``. Given only
            to objectives that need it.
        reads: What it reads of the listed items and some may lack: ``"categories"``, ``"text"``,
            ``"price"``. No list gains by items that lack it.
        of_pairs: Whether it reads that of pairs of items.
        name: As written in a config, for example ``"ndcg@10[liked]"``.
    """

    family: ClassVar[str]
    takes_k: ClassVar[bool] = True
    takes_signal: ClassVar[bool] = False
    maximise: bool
    unit: str = "1"
    reference: float
    bounds: tuple[float, float] = (0.0, 1.0)
    measured: bool = False
    replayed: bool = False
    needs: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    of_pairs: bool = False

    def __init__(self, k: int = 10, signal: str | None = None) -> None:
        self.k = k
        self.signal = signal
        cut = f"@{k}" if self.takes_k else ""
        self.name = f"{self.family}{cut}" + (f"[{signal}]" if signal else "")

    @property
    def recorded(self) -> bool:
        """Whether it is written down where it is only reported: the same in every run here."""
        return self.replayed or not self.measured

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def check(
        self,
        *,
        signals: Collection[str],
        attributes: Collection[str],
        predicted: Collection[str] | None = None,
    ) -> None:
        """Refuse, before any work is done, what the data or the experiment cannot answer.

        Args:
            signals: Signals of the interactions.
            attributes: Attributes of the users.
            predicted: Signals and tasks whose values the experiment predicts; None where that is
                not known yet, and so not looked at.

        Raises:
            BadRequestError: If the objective names a signal or an attribute that is not there, or
                measures the prediction of a signal that nothing predicts.
        """
        del attributes, predicted  # used by objectives over groups and on predictions
        if self.signal is not None and self.signal not in signals:
            raise unknown(f"signal in objective {self.name}:", self.signal, signals)

    def top(self, outcome: Outcome) -> NDArray[np.int64]:
        """Return the first k positions of the lists ``[users, k]``.

        Raises:
            BadRequestError: If the lists are shorter than k.
        """
        length = outcome.lists.shape[1]
        if length < self.k:
            raise BadRequestError(
                f"objective {self.name} needs lists of {self.k} items and these have {length}: "
                "make the lists longer or lower the number behind the @"
            )
        return outcome.lists[:, : self.k]

    def top_hits(self, outcome: Outcome) -> NDArray[np.bool_]:
        """Return which of the first k positions hold a relevant item ``[users, k]``.

        Raises:
            BadRequestError: If the lists are shorter than k, or the signal is not in the data.
        """
        return outcome.hits(self.signal)[:, : self.top(outcome).shape[1]]

    def described(self, outcome: Outcome) -> tuple[int, int] | None:
        """Count the listed items, or their pairs, that have what it `reads`, and all of them.

        Returns:
            None where it reads nothing that items may lack.
        """
        if not self.reads:
            return None
        lists = self.top(outcome)
        known = np.all([outcome.catalogue.known(what) for what in sorted(self.reads)], axis=0)
        counts = [((lists >= 0) & mask[lists]).sum(axis=1) for mask in (known, known | True)]
        if self.of_pairs:
            counts = [count * (count - 1) // 2 for count in counts]
        return int(counts[0].sum()), int(counts[1].sum())

    @abstractmethod
    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for the outcome; NaN where nothing could be measured."""


class UserObjective(Objective):
    """An objective with one value per user; its value is their mean."""

    @abstractmethod
    def per_user(self, outcome: Outcome, /) -> NDArray[np.float64]:
        """Compute values ``[users]``; NaN for users that are left out."""

    def value(self, outcome: Outcome, /) -> float:
        """Average over the users that are not left out."""
        values = self.per_user(outcome)
        measured = values[~np.isnan(values)]
        return float(measured.mean()) if len(measured) else float("nan")


class SetObjective(Objective):
    """An objective over all lists together, without a value per user.

    Attributes:
        of_users: Whether the value depends on who the users are; a cost does not.
    """

    of_users: ClassVar[bool] = True

    def influence(self, outcome: Outcome, /) -> NDArray[np.float64] | None:
        """Compute what each user moves the value by, for intervals over users.

        Returns:
            Influence values ``[users]`` with mean 0: the value plus their mean over a resample of
            users is the value of that resample, to first order. NaN for users that are left out.
            None, the default, where that is not known: intervals cover seeds alone then.

        Source: jackknife influence values, Efron and Stein, The jackknife estimate of variance,
        Annals of Statistics 1981; Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
        chapter 11.
        """
        del outcome  # read by those that know it
        return None
