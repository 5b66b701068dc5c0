"""Objectives over groups: any per-user objective, any attribute of users or of items.

Written ``group(objective by attribute)``, for example ``worst(ndcg@10[liked] by gender)``, and
``worst(ndcg@10 by item.brand)`` for an attribute of items.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.objectives.base import SetObjective, UserObjective
from pareto_rec.objectives.catalogue import OF_ITEMS, Catalogue
from pareto_rec.objectives.outcome import HeldOut, Outcome


@dataclass(frozen=True)
class GroupValues:
    """Values of a per-user objective by group: what the groups' means are resampled from.

    Attributes:
        values: One per entry ``[entries]``, NaN where it was not measured.
        user: Whose entry it is ``[entries]``; of groups of items a user has one in each group.
        group: Of each entry ``[entries]``, from 0.
        groups: How many groups there are.
        minimum: Groups with fewer measured entries are left out.
    """

    values: NDArray[np.float64]
    user: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: int
    minimum: int

    def means(self) -> NDArray[np.float64]:
        """Average each group ``[groups]``; NaN where it is left out."""
        known = ~np.isnan(self.values)
        count = np.bincount(self.group[known], minlength=self.groups)
        total = np.bincount(self.group[known], weights=self.values[known], minlength=self.groups)
        return np.where(count >= max(self.minimum, 1), total / np.maximum(count, 1), np.nan)


_NOT_HELD_OUT = {"predictions", "chances", "shown", "rate"}  # they look at other things than that


class GroupObjective(SetObjective):
    """One number from the means of a per-user objective within groups.

    A group of users is all users with the same value of an attribute. A group of items is measured
    by counting its held-out items alone as relevant. Users and items whose attribute is unknown are
    left out, and so are groups with fewer measured users than the data says (`Users.min_group`;
    without a word one user is enough).

    Attributes:
        base: The per-user objective.
        attribute: The attribute that makes the groups; ``item.`` before it for one of items.
    """

    takes_k: ClassVar[bool] = True

    def __init__(self, base: UserObjective, attribute: str) -> None:
        super().__init__(base.k, base.signal)
        self.base = base
        self.attribute = attribute
        if self.of_items and (not base.takes_signal or base.needs & _NOT_HELD_OUT):
            raise BadRequestError(
                f'objective "{self.family}({base.name} by {attribute})" compares groups of items '
                f"by their held-out items, and {base.name} looks at none: take one that does, such "
                "as ndcg@10"
            )
        self.needs, self.measured, self.replayed = base.needs, base.measured, base.replayed
        self.reads, self.of_pairs = base.reads, base.of_pairs
        self.name = f"{self.family}({base.name} by {attribute})"

    @abstractmethod
    def combine(self, means: NDArray[np.float64], /) -> float:
        """Compute one number from the groups' means ``[groups]``, one or more, none NaN."""

    def combine_all(self, means: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Compute one number of each row of means ``[..., groups]``; NaN marks absent groups.

        Returns:
            ``[...]``; NaN where no group is there. Resampling calls this thousands of times:
            override it where whole arrays can be combined at once.
        """

        def of_row(row: NDArray[np.float64]) -> float:
            known = row[~np.isnan(row)]
            return self.combine(known) if len(known) else float("nan")

        return np.asarray(np.apply_along_axis(of_row, -1, means), dtype=np.float64)

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
            raise unknown(f"attribute in objective {self.name}:", self.attribute, attributes)

    @property
    def of_items(self) -> bool:
        """Whether the groups are groups of items."""
        return self.attribute.startswith(OF_ITEMS)

    def group_means(self, values: NDArray[np.float64], catalogue: Catalogue) -> dict[str, float]:
        """Average per-user values ``[users]`` in each group of enough measured users.

        Raises:
            BadRequestError: If users have no such attribute.
        """
        names, codes = catalogue.groups(self.attribute)
        mask = (codes >= 0) & ~np.isnan(values)
        count = np.bincount(codes[mask], minlength=len(names))
        total = np.bincount(codes[mask], weights=values[mask], minlength=len(names))
        return {
            name: float(total[group] / count[group])
            for group, name in enumerate(names)
            if count[group] >= max(catalogue.users.min_group, 1)
        }

    def _item_means(self, outcome: Outcome) -> dict[str, float]:
        """Average for groups of items: each with its own held-out items as the only truth."""
        names, codes = outcome.catalogue.item_groups(self.attribute.removeprefix(OF_ITEMS))
        signal = self.base.signal or outcome.relevance
        truth, means = outcome.truth(signal), {}
        for group, name in enumerate(names):
            held_out = {**outcome.held_out, signal: truth.within(codes == group)}
            values = self.base.per_user(replace(outcome, held_out=held_out))
            measured = values[~np.isnan(values)]
            if len(measured) >= max(outcome.catalogue.users.min_group, 1):
                means[name] = float(measured.mean())
        return means

    def grouped(self, outcome: Outcome) -> GroupValues:
        """Return the base objective's values by group, to resample users with.

        Raises:
            BadRequestError: If users or items have no such attribute.
        """
        catalogue = outcome.catalogue
        minimum = catalogue.users.min_group
        if not self.of_items:
            names, codes = catalogue.groups(self.attribute)
            user = np.flatnonzero(codes >= 0)
            values = self.base.per_user(outcome)[user]
            return GroupValues(values, user, codes[user], len(names), minimum)
        names, codes = catalogue.item_groups(self.attribute.removeprefix(OF_ITEMS))
        signal = self.base.signal or outcome.relevance
        truth, parts, users = outcome.truth(signal), [], []
        for group in range(len(names)):
            within = truth.within(codes == group)
            outcome_of_group = replace(outcome, held_out={**outcome.held_out, signal: within})
            users.append(np.flatnonzero(within.counts > 0))
            parts.append(self.base.per_user(outcome_of_group)[users[-1]])
        group_of = np.repeat(np.arange(len(names)), [len(user) for user in users])
        nobody = np.zeros(0, dtype=np.int64)
        user, values = np.concatenate([nobody, *users]), np.concatenate([np.zeros(0), *parts])
        return GroupValues(values, user, group_of, len(names), minimum)

    def means(self, outcome: Outcome) -> dict[str, float]:
        """Average the base objective in each group of enough measured users."""
        if self.of_items:
            return self._item_means(outcome)
        return self.group_means(self.base.per_user(outcome), outcome.catalogue)

    def value(self, outcome: Outcome, /) -> float:
        """Compute one number for all groups; NaN where none could be measured."""
        means = self.means(outcome)
        return self.combine(np.array(list(means.values()))) if means else float("nan")

    def sizes(self, catalogue: Catalogue, truth: HeldOut) -> Mapping[str, int]:
        """Count the measurable users of each group, so that small groups can be seen.

        Args:
            catalogue: Users, items and their attributes.
            truth: Held-out values of the base objective's signal.
        """
        if self.of_items:
            names, codes = catalogue.item_groups(self.attribute.removeprefix(OF_ITEMS))
            return {
                name: int((truth.within(codes == group).counts > 0).sum())
                for group, name in enumerate(names)
            }
        names, codes = catalogue.groups(self.attribute)
        measurable = truth.counts > 0 if self.base.takes_signal else np.ones(len(codes), dtype=bool)
        count = np.bincount(codes[measurable & (codes >= 0)], minlength=len(names))
        return dict(zip(names, count.tolist(), strict=True))


class WorstGroup(GroupObjective):
    """The mean of the group that fares worst; direction, unit and reference of the base objective.

    Misleads: a group of few users is worst or best by chance, so look at group sizes first; the
    other groups may lose without its noticing; users and items whose attribute is missing are in no
    group, and how they fare is not seen.

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
        """Return the smallest mean, or the largest where less is better."""
        return float(means.min() if self.maximise else means.max())

    def combine_all(self, means: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the worst mean of each row ``[..., groups]``."""
        return _least(means) if self.maximise else _most(means)


class Gap(GroupObjective):
    """Largest mean of any group less the smallest; 0 where all groups fare alike.

    In the unit of the base objective. NaN where fewer than two groups could be measured.

    Misleads: lists that are useless to all users have no gap, so it needs the base objective beside
    it; the more groups and the smaller they are, the larger it is by chance alone; users and items
    whose attribute is missing are in no group.

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
        """Subtract the smallest mean from the largest."""
        return float(means.max() - means.min()) if len(means) > 1 else float("nan")

    def combine_all(self, means: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Subtract the smallest mean from the largest in each row ``[..., groups]``."""
        several = (~np.isnan(means)).sum(axis=-1) > 1
        return np.where(several, _most(means) - _least(means), np.nan)


class Ratio(GroupObjective):
    """Smallest mean of any group divided by the largest; 1 where all groups fare alike.

    Free of the unit of the base objective, whose values must not be negative. NaN where fewer than
    two groups could be measured, or all means are 0.

    Misleads: it says nothing about the level, only about proportion; small means make it jump; the
    four fifths that law takes as a yardstick are a convention, not a test; users and items whose
    attribute is missing are in no group.

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
        """Divide the smallest mean by the largest."""
        if len(means) < 2 or means.max() <= 0:
            return float("nan")
        return float(means.min() / means.max())

    def combine_all(self, means: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Divide the smallest mean by the largest in each row ``[..., groups]``."""
        most, several = _most(means), (~np.isnan(means)).sum(axis=-1) > 1
        known = several & (most > 0)
        return np.where(known, _least(means) / np.where(most > 0, most, 1.0), np.nan)


class GroupMean(GroupObjective):
    """The mean of one group, ``mean(ndcg@10 by history_length=short)``, or of all groups alike.

    With ``attribute=value`` the mean over the users who have that value; with an attribute alone
    the mean of the groups' means, each group counting once. Direction, unit and
    reference of the base objective. NaN where the group could not be measured. `history_length` is
    there in all data: `none`, `short`, `medium` or `long` (no rows, then thirds of the users).

    Misleads: one group says nothing about the others, and a small group is noisy; users and items
    whose attribute is missing are in no group.

    Source: groups of users by activity as in Li et al., User-oriented fairness in recommendation,
    WWW 2021; macro averages as in Manning et al., Introduction to Information Retrieval, 2008,
    section 13.6.
    """

    family = "mean"

    def __init__(self, base: UserObjective, attribute: str) -> None:
        super().__init__(base, attribute)
        self.attribute, _, self.group = attribute.partition("=")
        self.maximise = base.maximise
        self.unit = base.unit
        self.reference = base.reference
        self.bounds = base.bounds

    def check(
        self,
        *,
        signals: Collection[str],
        attributes: Collection[str],
        predicted: Collection[str] | None = None,
    ) -> None:
        """Refuse a signal, an attribute or a group that the data does not have."""
        super().check(signals=signals, attributes=attributes, predicted=predicted)
        if self.group and isinstance(attributes, Mapping):
            known = set(attributes[self.attribute]) - {""}
            if self.group not in known:
                raise unknown(f"{self.attribute} in objective {self.name}:", self.group, known)

    def value(self, outcome: Outcome, /) -> float:
        """Return the mean of the group, or of all groups; NaN where none could be measured."""
        if not self.group:
            return super().value(outcome)
        means = self.means(outcome)
        return means.get(self.group, float("nan"))

    def combine(self, means: NDArray[np.float64], /) -> float:
        """Average the groups' means."""
        return float(means.mean())

    def combine_all(self, means: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Average the groups' means in each row ``[..., groups]``."""
        known = ~np.isnan(means)
        total = np.where(known, means, 0.0).sum(axis=-1)
        return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)

    def grouped(self, outcome: Outcome) -> GroupValues:
        """Return the values by group; those of the one group where one is named."""
        values = super().grouped(outcome)
        if not self.group:
            return values
        catalogue = outcome.catalogue
        names, _ = (
            catalogue.item_groups(self.attribute.removeprefix(OF_ITEMS))
            if self.of_items
            else catalogue.groups(self.attribute)
        )
        number = names.index(self.group) if self.group in names else -1
        own = values.group == number
        zero = np.zeros(int(own.sum()), dtype=np.int64)
        return GroupValues(values.values[own], values.user[own], zero, 1, values.minimum)


def _least(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest of each row that is not NaN; NaN where all are."""
    least = np.where(np.isnan(means), np.inf, means).min(axis=-1)
    return np.where(np.isinf(least), np.nan, least)


def _most(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest of each row that is not NaN; NaN where all are."""
    return -_least(-means)
