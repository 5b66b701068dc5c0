"""Points of a front, on scales that make objectives comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Points:
    """A front as the rules see it, in natural units.

    Attributes:
        ids: One id per point.
        names: Objectives; the first `searched` of them span the front, the rest were only measured.
        values: ``[points, objectives]``; NaN where a measured objective has no value.
        maximise: Direction of each objective.
        searched: Number of objectives that the rules weigh against each other.
        per_user: Objective -> values ``[points, users]``, NaN where it leaves a user out.
        linear: Objectives whose value under a randomised policy is the mean of its points' values.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    maximise: tuple[bool, ...]
    searched: int
    per_user: Mapping[str, Floats] = field(default_factory=dict)
    linear: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.names))
        if self.values.shape != shape or len(self.maximise) != len(self.names):
            raise ValueError(
                f"values must be [points, objectives] with one direction per objective: got "
                f"{self.values.shape} for {shape[0]} ids and {shape[1]} names"
            )
        if not 1 <= self.searched <= len(self.names):
            raise ValueError(f"searched must lie between 1 and {len(self.names)}: {self.searched}")
        if not np.isfinite(self.values[:, : self.searched]).all():
            raise ValueError("searched objectives must be finite")
        if not self.ids:
            raise BadRequestError("the front has no point, so there is none to pick")

    def column(self, name: str) -> int:
        """Return the column of an objective.

        Raises:
            BadRequestError: If nothing has that name; the nearest name is given.
        """
        if name not in self.names:
            raise unknown("objective", name, self.names)
        return self.names.index(name)

    def row(self, wanted: str) -> int:
        """Return the row of a point, by its id or the beginning of it.

        Raises:
            BadRequestError: If no point, or more than one, begins like that.
        """
        if wanted in self.ids:
            return self.ids.index(wanted)
        near = [
            row for row, point_id in enumerate(self.ids) if wanted and point_id.startswith(wanted)
        ]
        if len(near) > 1:
            some = ", ".join(self.ids[row] for row in near[:3])
            raise BadRequestError(
                f'{len(near)} points begin with "{wanted}": {some}; give more of the id'
            )
        if not near:
            raise BadRequestError(
                f'no point "{wanted}" is on the front; its {len(self.ids)} ids stand in front.csv'
            )
        return near[0]

    @cached_property
    def losses(self) -> Floats:
        """Searched objectives ``[points, searched]``: 0 the best value of the front, 1 the worst.

        The range is that of the whole front, not only of the points that keep the bounds, so that
        a bound never changes what a weight means. An objective that is the same everywhere is 0.
        """
        own = self.values[:, : self.searched]
        best = np.where(self.maximise[: self.searched], own.max(axis=0), own.min(axis=0))
        width = np.ptp(own, axis=0)
        return np.asarray(np.abs(own - best) / np.where(width > 0, width, 1.0))

    def objectives(self, row: int) -> dict[str, float]:
        """Return every value of a point that there is, by objective."""
        pairs = zip(self.names, self.values[row].tolist(), strict=True)
        return {name: value for name, value in pairs if np.isfinite(value)}
