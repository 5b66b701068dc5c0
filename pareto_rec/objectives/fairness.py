"""Objectives over groups of users: any per-user objective, any attribute of users.

Written ``group(objective by attribute)``, for example ``worst(ndcg@10[liked] by gender)``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.errors import unknown
from pareto_rec.objectives.base import Catalogue, Outcome, SetObjective, UserObjective


class GroupObjective(SetObjective):
    """One number from the means of a per-user objective within groups of users.

    Users whose attribute is unknown, and groups in which nothing could be measured, are left out.

    Attributes:
        base: The per-user objective.
        attribute: The attribute of users that makes the groups.
    """

    takes_k: ClassVar[bool] = True

    def __init__(self, base: UserObjective, attribute: str) -> None:
        super().__init__(base.k, base.signal)
        self.base = base
        self.attribute = attribute
        self.name = f"{self.family}({base.name} by {attribute})"

    @abstractmethod
    def combine(self, means: NDArray[np.float64], /) -> float:
        """One number from the means of the groups ``[groups]``, at least one, none of them NaN."""

    def check(self, *, signals: Collection[str], attributes: Collection[str]) -> None:
        """Refuse a signal or an attribute that the data does not have."""
        self.base.check(signals=signals, attributes=attributes)
        if self.attribute not in attributes:
            raise unknown(f"user attribute in objective {self.name}:", self.attribute, attributes)

    def group_means(self, values: NDArray[np.float64], catalogue: Catalogue) -> dict[str, float]:
        """Mean of the given per-user values ``[users]`` in each group that has any.

        Raises:
            BadRequestError: If users have no such attribute.
        """
        names, codes = catalogue.groups(self.attribute)
        kept = (codes >= 0) & ~np.isnan(values)
        count = np.bincount(codes[kept], minlength=len(names))
        total = np.bincount(codes[kept], weights=values[kept], minlength=len(names))
        return {
            name: float(total[group] / count[group])
            for group, name in enumerate(names)
            if count[group]
        }

    def value(self, outcome: Outcome, /) -> float:
        """One number for all groups; NaN where none could be measured."""
        means = self.group_means(self.base.per_user(outcome), outcome.catalogue)
        return self.combine(np.array(list(means.values()))) if means else float("nan")


class WorstGroup(GroupObjective):
    """The mean of the group that fares worst; direction, unit and reference of the base objective.

    Misleads: a group of few users is worst or best by chance, so look at group sizes first; the
    other groups may lose without its noticing.

    Source: Rawls, A Theory of Justice, 1971 (the maximin rule); for learning, Sagawa et al.,
    Distributionally robust neural networks for group shifts, ICLR 2020.
    """

    family = "worst"

    def __init__(self, base: UserObjective, attribute: str) -> None:
        super().__init__(base, attribute)
        self.maximise = base.maximise
        self.unit = base.unit
        self.reference = base.reference
        self.bounds = base.bounds
        self.measured = base.measured

    def combine(self, means: NDArray[np.float64], /) -> float:
        """The smallest mean, or the largest where less is better."""
        return float(means.min() if self.maximise else means.max())
