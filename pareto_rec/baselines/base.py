"""Contract of an expert: fitted once on training rows, then it scores any histories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.parameters import Parameter
from pareto_rec.baselines.recency import history_matrix
from pareto_rec.core.errors import unknown
from pareto_rec.data.schema import Interactions, Stage, Users

Weights = NDArray[np.float32] | sparse.csr_array

TAU = Parameter(0.5, 200.0, log=True, open_least=True)
"""Range of the recency of a history (see `ItemModel.tau`), in rows."""


def row_starts(user: NDArray[np.int64], n_users: int) -> NDArray[np.int64]:
    """Return ``[n_users + 1]``: user u owns rows ``start[u]:start[u + 1]`` of a sorted log."""
    return np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))]).astype(np.int64)


@dataclass(frozen=True)
class ItemModel:
    """A fitted expert; scores are linear in the history: ``history @ weights + bias``.

    It needs nothing else to score users that it was not fitted on.

    Attributes:
        weights: What an item in the history says about each item ``[items, items]``, dense or
            sparse float32; None where the history says nothing.
        bias: Score of each item for any history ``[items]`` float32.
        tau: History weights are ``exp(-rank from the end / tau)``; None: all are 1.
        linear: Whether scores are what the weights say; False only of subclasses.
    """

    linear: ClassVar[bool] = True

    weights: Weights | None
    bias: NDArray[np.float32]
    tau: float | None

    def score(self, starts: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score the whole catalogue for each history.

        Args:
            starts: ``[users + 1]``; ``items[starts[u]:starts[u + 1]]`` is the history of user u.
            items: Item indices, oldest first within a user.

        Returns:
            Scores ``[users, items]``; nothing is masked. An empty history gets the bias alone.
        """
        shape = len(starts) - 1, len(self.bias)
        if self.weights is None:
            return np.tile(self.bias, (shape[0], 1))
        history = history_matrix(starts, items, shape[1], tau=self.tau, dtype=np.float32)
        product = history @ self.weights
        dense = product.toarray() if sparse.issparse(product) else product
        dense += self.bias
        return np.asarray(dense, dtype=np.float32)

    def for_users(self, users: Users, chosen: NDArray[np.int64]) -> ItemModel:  # noqa: ARG002
        """Return the model that knows whose histories it will score; by default, the same one.

        Args:
            users: All users of a stage.
            chosen: Numbers of those whose histories will be scored, in their order.
        """
        return self


class Baseline(ABC):
    """A non-neural scorer. Subclasses are frozen dataclasses; their fields are its parameters.

    Attributes:
        method: Name of the method; part of the key of cached scores.
        tunable: Parameters that are tuned on validation data, with their ranges; one whose value
            is None is switched off and stays so.
        only_scores: Parameters that do not enter the fit, fields of `ItemModel`: trying another
            value needs no second fit.
        exported: Whether a bundle can hold the fitted model.
        needs_impressions: Whether it learns from what was shown and not taken, too.
        most_settings: Most settings that tuning tries, where a fit is dear; None: as many as the
            config says.
    """

    method: ClassVar[str]
    tunable: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})
    only_scores: ClassVar[frozenset[str]] = frozenset()
    exported: ClassVar[bool] = True
    needs_impressions: ClassVar[bool] = False
    most_settings: ClassVar[int | None] = None

    @abstractmethod
    def fit(self, train: Interactions, shape: tuple[int, int], /) -> ItemModel:
        """Learn from training rows.

        Args:
            train: Rows sorted by user, then time.
            shape: Number of users and of items.

        Raises:
            BadRequestError: If the catalogue is too large for the method.
        """

    def learn(self, stage: Stage, /) -> ItemModel:
        """Learn from a stage; by default from its training rows alone, with :meth:`fit`.

        Raises:
            BadRequestError: As :meth:`fit`, or if the data lacks what the method needs.
        """
        return self.fit(stage.train, stage.shape)

    def parameters(self) -> dict[str, float | int | None]:
        """Return its parameters by name."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # a dataclass, see above

    def active(self) -> dict[str, Parameter]:
        """Return the parameters that can be tuned: those that are not switched off."""
        values = self.parameters()
        return {name: of for name, of in self.tunable.items() if values.get(name) is not None}

    def with_parameters(self, values: Mapping[str, object], where: str) -> Self:
        """Return the method with other values of some of its parameters.

        Args:
            values: Parameter -> value.
            where: Key of the config that they come from, for messages.

        Raises:
            BadRequestError: If a parameter is not known, or a value is out of bounds.
        """
        known = self.active()
        checked = {}
        for name, value in values.items():
            if name not in known:
                raise unknown(f"parameter in {where}", name, known)
            checked[name] = known[name].check(value, f"{where}.{name}")
        return replace(self, **checked)  # type: ignore[type-var]  # a dataclass, see above

    def most_weights(self, n_items: int) -> int:
        """Return how many numbers the fitted model keeps at most; by default a dense matrix."""
        return n_items * n_items

    def score_flops(self, n_items: int, history: int) -> int:
        """Return operations of one user's scores: two per number kept of each history item."""
        return 2 * history * self.most_weights(n_items) // max(n_items, 1)

    def scores(self, stage: Stage, /) -> NDArray[np.float32]:
        """Learn from a stage, score every user from ``stage.history``: ``[users, items]``."""
        model = self.learn(stage).for_users(stage.users, np.arange(stage.shape[0]))
        return model.score(stage.history_indptr, stage.history.item)


def presence(train: Interactions, shape: tuple[int, int]) -> sparse.csr_array:
    """Build the 0/1 matrix of interactions ``[users, items]`` float64, without signals."""
    return history_matrix(row_starts(train.user, shape[0]), train.item, shape[1], tau=None)
