"""Objectives over groups of users: any per-user objective, any attribute of users.

Written ``group(objective by attribute)``, for example ``worst(ndcg@10[liked] by gender)``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.errors import BadRequestError, unknown
from pareto_rec.objectives.base import SetObjective, UserObjective
from pareto_rec.objectives.outcome import Catalogue, Outcome


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
        self.needs, self.measured, self.replayed = base.needs, base.measured, base.replayed
        self.name = f"{self.family}({base.name} by {attribute})"

    @abstractmethod
    def combine(self, means: NDArray[np.float64], /) -> float:
        """One number from the means of the groups ``[groups]``, at least one, none of them NaN."""

    def check(
        self,
        *,
        signals: Collection[str],
        attributes: Collection[str],
        predicted: Collection[str] | None = None,
    ) -> None:
        """Refuse a signal or an attribute that the data or the experiment does not have."""
        self.base.check(signals=signals, attributes=attributes, predicted=predicted)
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

    def combine(self, means: NDArray[np.float64], /) -> float:
        """The smallest mean, or the largest where less is better."""
        return float(means.min() if self.maximise else means.max())


class Gap(GroupObjective):
    """Largest mean of any group less the smallest; 0 where all groups fare alike.

    In the unit of the base objective. NaN where fewer than two groups could be measured.

    Misleads: lists that are useless to everybody have no gap, so it needs the base objective beside
    it; the more groups and the smaller they are, the larger it is by chance alone.

    Source: Ekstrand et al., All the cool kids, how do they fit in?, FAT* 2018 (utility of a
    recommender by age and gender).
    """

    family = "gap"

    def __init__(self, base: UserObjective, attribute: str) -> None:
        super().__init__(base, attribute)
        low, high = base.bounds
        self.maximise = False
        self.unit = base.unit
        self.bounds = (0.0, high - low)
        # a tenth of the whole range; without an end to the range, the base's own yardstick
        self.reference = (high - low) / 10 if np.isfinite(high - low) else abs(base.reference)

    def combine(self, means: NDArray[np.float64], /) -> float:
        """Largest less smallest mean."""
        return float(means.max() - means.min()) if len(means) > 1 else float("nan")


class Ratio(GroupObjective):
    """Smallest mean of any group divided by the largest; 1 where all groups fare alike.

    Free of the unit of the base objective, whose values must not be negative. NaN where fewer than
    two groups could be measured, or all means are 0.

    Misleads: it says nothing about the level, only about proportion; small means make it jump; the
    four fifths that law takes as a yardstick are a convention, no test.

    Source: Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D, 1978; Feldman
    et al., Certifying and removing disparate impact, KDD 2015.
    """

    family = "ratio"

    def __init__(self, base: UserObjective, attribute: str) -> None:
        super().__init__(base, attribute)
        if base.bounds[0] < 0:
            raise BadRequestError(
                f"objective {self.name} divides by a value that may be negative: write "
                f'"gap({base.name} by {attribute})"'
            )
        self.maximise = True
        self.unit = "1"
        self.bounds = (0.0, 1.0)
        self.reference = 0.8  # the four-fifths rule

    def combine(self, means: NDArray[np.float64], /) -> float:
        """Smallest over largest mean."""
        if len(means) < 2 or means.max() <= 0:
            return float("nan")
        return float(means.min() / means.max())
