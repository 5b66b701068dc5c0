"""Pickers: each rule gives every point a badness, and the least bad is picked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from pareto_rec.analysis.decide.points import Floats, Points
from pareto_rec.analysis.decide.tradeoff import tradeoffs
from pareto_rec.core.errors import BadRequestError

MOST_TIMES = 1000  # beyond it a ratio is not shown as a number


class Picker(ABC):
    """A rule. It sees the whole front; bounds are applied to what it says, not before.

    Attributes:
        name: Registered name.
    """

    name: ClassVar[str]

    @abstractmethod
    def badness(self, points: Points, /) -> Floats:
        """Return a number per point ``[points]``, the smaller the better; inf to exclude it.

        Raises:
            BadRequestError: If the front does not have what the rule asks for.
        """

    @abstractmethod
    def says(self, points: Points, row: int, /) -> str:
        """Return why this point, in a few words that follow "because it"."""


@dataclass(frozen=True)
class Best(Picker):
    """The best value of one objective; the usual goal beside bounds on the others.

    Source: the epsilon-constraint method (Haimes, Lasdon and Wismer, 1971).
    """

    name: ClassVar[str] = "best"
    objective: str

    def badness(self, points: Points, /) -> Floats:
        """Return the objective, negated where larger is better."""
        column = points.column(self.objective)
        values = points.values[:, column]
        signed = -values if points.maximise[column] else values
        return np.where(np.isfinite(values), signed, np.inf)

    def says(self, points: Points, row: int, /) -> str:
        """Return the value."""
        column = points.column(self.objective)
        word = "highest" if points.maximise[column] else "lowest"
        return f"has the {word} {self.objective}, {points.values[row, column]:.6g}"


@dataclass(frozen=True)
class _Weighted(Picker):
    """Base of rules with weights, which need not sum to 1; 0 for objectives not named."""

    weights: Mapping[str, float]

    def shares(self, points: Points) -> Floats:
        """Return weights ``[searched]`` that sum to 1.

        Raises:
            BadRequestError: If an objective was not searched, or no weight is above 0.
        """
        searched = points.names[: points.searched]
        for name, weight in self.weights.items():
            if points.column(name) >= points.searched:
                raise BadRequestError(
                    f'objective "{name}" was measured and not searched, so it takes no weight; '
                    f"give it a bound, or weigh {', '.join(searched)}"
                )
            if not (np.isfinite(weight) and weight >= 0):
                raise BadRequestError(f"the weight of {name} must not be negative: {weight:g}")
        weights = np.array([self.weights.get(name, 0.0) for name in searched])
        if weights.sum() <= 0:
            raise BadRequestError("at least one weight must be above 0")
        return np.asarray(weights / weights.sum())

    def _named(self, points: Points) -> str:
        pairs = zip(points.names, self.shares(points).tolist(), strict=False)
        return ", ".join(f"{name} {share:.3g}" for name, share in pairs)


@dataclass(frozen=True)
class AchievementScalarizing(_Weighted):
    """The smallest largest weighted loss: no objective is given up for the others.

    Losses are on the front's range (:attr:`Points.losses`), so the goal is the best value of each.

    Source: Wierzbicki (1980), the achievement scalarizing function, without its augmentation; ties
    are broken as everywhere.
    """

    name: ClassVar[str] = "asf"

    def badness(self, points: Points, /) -> Floats:
        """Return ``max_m weight_m * loss_m``."""
        return np.asarray((points.losses * self.shares(points)).max(axis=1))

    def says(self, points: Points, row: int, /) -> str:
        """Return the largest weighted loss and its objective."""
        weighted = points.losses[row] * self.shares(points)
        worst = int(weighted.argmax())
        return (
            f"has the smallest largest weighted loss ({self._named(points)}): {weighted[worst]:.4g}"
            f" of the range, in {points.names[worst]}"
        )


@dataclass(frozen=True)
class PseudoWeights(_Weighted):
    """The point whose own position on the front comes nearest to the weights.

    The pseudo-weight of an objective is a point's distance from the worst value in it, as a share
    of the sum over objectives; a weight says where on the front to look, not what a loss is worth.

    Source: Deb (2001), Multi-Objective Optimization using Evolutionary Algorithms, chapter 8; the
    distance is the sum of absolute differences.
    """

    name: ClassVar[str] = "pseudo"

    def own(self, points: Points) -> Floats:
        """Return pseudo-weights ``[points, searched]``; equal for a point that is worst in all."""
        gained = 1.0 - points.losses
        total = gained.sum(axis=1, keepdims=True)
        equal = np.full_like(gained, 1.0 / points.searched)
        return np.asarray(np.divide(gained, total, out=equal, where=total > 0))

    def badness(self, points: Points, /) -> Floats:
        """Sum of absolute differences from the weights."""
        return np.asarray(np.abs(self.own(points) - self.shares(points)).sum(axis=1))

    def says(self, points: Points, row: int, /) -> str:
        """Return its own pseudo-weights."""
        own = zip(points.names, self.own(points)[row].tolist(), strict=False)
        text = ", ".join(f"{name} {share:.3g}" for name, share in own)
        return f"has the pseudo-weights ({text}) nearest to ({self._named(points)})"


@dataclass(frozen=True)
class Utopia(Picker):
    """The smallest Euclidean distance to the point that is best in every objective at once.

    Source: compromise programming (Zeleny, 1973) with exponent 2 and equal weights, on the front's
    range (:attr:`Points.losses`).
    """

    name: ClassVar[str] = "utopia"

    def badness(self, points: Points, /) -> Floats:
        """Return distances, 0 to the root of the number of objectives."""
        return np.asarray(np.sqrt((points.losses**2).sum(axis=1)))

    def says(self, points: Points, row: int, /) -> str:
        """Return its distance."""
        return (
            f"comes nearest to the best of every objective at once, at a distance of "
            f"{self.badness(points)[row]:.4g} of the ranges"
        )


def _times(ratio: float) -> str:
    """Format a ratio: beyond `MOST_TIMES` neither the gain nor its digits mean much."""
    if ratio > MOST_TIMES:
        return f"more than {MOST_TIMES:,} times"
    return f"at least {ratio:.4g} times"


@dataclass(frozen=True)
class Knee(Picker):
    """The point to leave which costs the most: where a small gain needs a large sacrifice.

    Source: Rachmawati and Srinivasan (2009) as :func:`tradeoffs` computes it.
    """

    name: ClassVar[str] = "knee"

    def badness(self, points: Points, /) -> Floats:
        """Return the trade-off, negated; inf for a point that no neighbour improves on anywhere."""
        rates = tradeoffs(points.losses)
        if not np.isfinite(rates).any():
            raise BadRequestError(
                "the front has no knee: no point gains on any other; pick it with --point"
            )
        return np.where(np.isfinite(rates), -rates, np.inf)

    def says(self, points: Points, row: int, /) -> str:
        """Return the trade-off."""
        return (
            "is the knee: a step to any neighbour loses "
            f"{_times(float(tradeoffs(points.losses)[row]))} what it gains, both as shares of the "
            "objectives' ranges"
        )


@dataclass(frozen=True)
class PerUser(Picker):
    """The smallest mean, over users, of the distance to that user's own utopia.

    A user's utopia is the best value that any point of the front has for them in each objective.
    Values are divided by the range over all users and points, so that each objective counts alike
    and each user counts with what is at stake for them. Objectives without a value per user have no
    say, and neither has an objective for a user that it leaves out at some point.

    Source: Paparella, Anelli, Nardini, Perego and Di Noia (CIKM 2023), "Post-hoc Selection of
    Pareto-Optimal Solutions in Search and Recommendation": population distance from utopia with a
    utopia per user; the mean in place of the sum.
    """

    name: ClassVar[str] = "per_user"

    def badness(self, points: Points, /) -> Floats:
        """Return the mean distances."""
        names = self.heard(points)
        if not names:
            raise BadRequestError(
                "no searched objective has values per user here (per_user/front.parquet); pick "
                "with --utopia, which compares means"
            )
        squares: Floats | None = None
        for name in names:
            part = self._losses(points, name) ** 2
            squares = part if squares is None else squares + part
        assert squares is not None
        return np.asarray(np.sqrt(squares).mean(axis=1))

    @staticmethod
    def heard(points: Points) -> list[str]:
        """Return the searched objectives that have values per user."""
        return [name for name in points.names[: points.searched] if name in points.per_user]

    @staticmethod
    def _losses(points: Points, name: str) -> Floats:
        """Return distances from each user's best ``[points, users]``, on the range over them."""
        values = points.per_user[name]
        values = values if points.maximise[points.column(name)] else -values
        known = np.isfinite(values).all(axis=0)
        values = np.where(known, values, 0.0)
        width = float(np.ptp(values[:, known])) if known.any() else 0.0
        return np.asarray((values.max(axis=0) - values) / (width if width > 0 else 1.0))

    def says(self, points: Points, row: int, /) -> str:
        """Return its mean distance and the objectives that were left out."""
        names = self.heard(points)
        deaf = [name for name in points.names[: points.searched] if name not in names]
        text = (
            f"is nearest to what each user could have at best in {', '.join(names)}, at a mean "
            f"distance of {self.badness(points)[row]:.4g} of the ranges"
        )
        return text + (f"; {', '.join(deaf)}, without values per user, had no say" if deaf else "")


@dataclass(frozen=True)
class ByHand(Picker):
    """The point that a person names, by its id or the beginning of it."""

    name: ClassVar[str] = "point"
    id: str

    def badness(self, points: Points, /) -> Floats:
        """Return 0 for the point, inf for all others."""
        values = np.full(len(points.ids), np.inf)
        values[points.row(self.id)] = 0.0
        return values

    def says(self, _: Points, __: int, /) -> str:
        """Return that a person chose it."""
        return "was asked for by its id"


_PICKERS: tuple[type[Picker], ...] = (
    Best,
    AchievementScalarizing,
    PseudoWeights,
    Utopia,
    Knee,
    PerUser,
    ByHand,
)
PICKERS: Mapping[str, type[Picker]] = MappingProxyType({picker.name: picker for picker in _PICKERS})
"""Registered name -> rule."""
