"""Serving search: many settings of one pool of fits and baselines, no training.

Every member of the pool has a coordinate for its weight; a weight in the lowest quarter of its
range is 0, so that most lists fuse few members. The other serving variables have the coordinates
that a search space gives them. Points of the front so far come first, so a search goes on from
what is known; where it goes on from an earlier search, new members are mixed into that one's best.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.search import sweep
from pareto_rec.search.algorithms import ALGORITHMS, Bools, Task
from pareto_rec.search.constraints import constraints
from pareto_rec.search.space import Candidate, SearchSpace, Value, Variable
from pareto_rec.search.types import Goal
from pareto_rec.search.variables import Floats

FUSION = "fusion"
_NOTHING = 0.25  # coordinates up to which a member has no weight
_PRECISION = 7  # digits of a weight, so that ids survive printing and other machines


@dataclass(frozen=True)
class Slot:
    """What one weight belongs to: a baseline, a fit, or several fits averaged.

    Attributes:
        shares: Member of the fusion -> its share of the weight; shares sum to 1.
        fits: How many networks it takes; 0 for a baseline.
    """

    shares: Mapping[str, float]
    fits: int

    @classmethod
    def of(cls, name: str, *, fits: int) -> Slot:
        """A slot of one member."""
        return cls({name: 1.0}, fits)

    @classmethod
    def averaged(cls, names: Sequence[str]) -> Slot:
        """A slot of several fits with equal shares."""
        return cls(dict.fromkeys(names, 1.0 / len(names)), len(names))


@dataclass(frozen=True)
class ServingSpace:
    """The settings of a pool as points of the unit cube: weights first, then other variables.

    Attributes:
        slots: What may be fused.
        variables: Serving variables besides the fusion; those that depend on training variables
            are left out, and have their defaults.
        members: Most networks of one list.
    """

    slots: tuple[Slot, ...]
    variables: Mapping[str, Variable]
    members: int

    @cached_property
    def space(self) -> SearchSpace:
        """The variables besides the fusion, and what they depend on."""
        chosen = {name: one for name, one in self.variables.items() if name != FUSION}
        while left := [
            name for name, one in chosen.items() if not one.when.keys() <= chosen.keys()
        ]:
            chosen = {name: one for name, one in chosen.items() if name not in left}
        return SearchSpace({}, chosen)

    @property
    def dimension(self) -> int:
        """Coordinates."""
        return len(self.slots) + self.space.dimension

    @property
    def axes(self) -> sweep.Axes:
        """The discrete axes with their variables."""
        return [(axis + len(self.slots), kind) for axis, kind in self.space.discrete]

    def decode(self, point: Floats) -> Candidate:
        """Return the candidate at a point ``[dimension]``."""
        weights, rest = np.split(point, [len(self.slots)])
        others = self.space.decode(rest).serve if self.space.dimension else {}
        return Candidate({}, {FUSION: self._fusion(weights), **others})

    def encode(self, serve: Mapping[str, Value]) -> Floats | None:
        """Return the point ``[dimension]`` of a setting; None where it fuses what no slot has.

        Variables that a setting lacks, or holds beyond their bounds, are left in their middle.
        """
        fusion = serve.get(FUSION)
        if not isinstance(fusion, Mapping):
            return None
        used = {name: weight for name, weight in fusion.items() if weight > 0}
        single = {
            next(iter(one.shares)): i for i, one in enumerate(self.slots) if len(one.shares) == 1
        }
        if not used or not used.keys() <= single.keys():
            return None
        point = np.full(self.dimension, 0.5)
        point[: len(self.slots)] = 0.0
        highest = max(used.values())
        for name, weight in used.items():
            point[single[name]] = _NOTHING + (1 - _NOTHING) * weight / highest
        begin = len(self.slots)
        for name, variable in self.space.serve.items():
            if name in serve:
                with suppress(BadRequestError):
                    point[begin : begin + variable.size] = variable.to_cube(serve[name])
            begin += variable.size
        return point

    def with_member(self, point: Floats, slot: int, coordinate: float) -> Floats:
        """Return a point with one more member, in the place of the lightest networks if needed.

        Args:
            point: ``[dimension]``.
            slot: The member's place.
            coordinate: Of its weight.
        """
        changed = point.copy()
        changed[slot] = coordinate
        networks = [i for i, one in enumerate(self.slots) if one.fits and i != slot]
        networks = sorted((i for i in networks if point[i] > _NOTHING), key=lambda i: -point[i])
        room = self.members - self.slots[slot].fits
        for place in networks:
            room -= self.slots[place].fits
            if self.slots[slot].fits and room < 0:
                changed[place] = 0.0
        return changed

    def _fusion(self, coordinates: Floats) -> dict[str, float]:
        """Return member -> weight: of networks the heaviest that are allowed, summing to 1."""
        weights = np.maximum(coordinates - _NOTHING, 0.0)
        if not weights.any():
            weights[int(coordinates.argmax())] = 1.0
        fusion: dict[str, float] = {}
        networks: set[str] = set()
        for index in np.argsort(-weights, kind="stable").tolist():
            slot = self.slots[index]
            if weights[index] == 0.0:
                break
            more = networks | slot.shares.keys() if slot.fits else networks
            if len(more) > self.members:
                continue
            networks = set(more)
            for name, share in slot.shares.items():
                fusion[name] = fusion.get(name, 0.0) + float(weights[index]) * share
        total = sum(fusion.values())
        return {name: float(f"{fusion[name] / total:.{_PRECISION}g}") for name in sorted(fusion)}


class ServingSearcher:
    """Proposes settings of one pool and learns what they are worth.

    A setting that was asked for is never asked for again. The same space, initial points, seed and
    results give the same settings.
    """

    def __init__(
        self,
        space: ServingSpace,
        goals: Sequence[Goal],
        *,
        algorithm: str,
        population: int,
        seed: int,
        initial: Sequence[Mapping[str, Value]] = (),
        known: Sequence[tuple[Mapping[str, Value], Floats]] = (),
        exclusions: Collection[str] = (),
    ) -> None:
        """Start with the points that are known already.

        Args:
            space: The settings.
            goals: What is searched for.
            algorithm: A name of `ALGORITHMS`.
            population: Settings that survive, and that are proposed at a time.
            seed: Root of every random draw.
            initial: Serving variables of good settings, the best first; half a population of them
                is tried at first.
            known: Serving variables and objectives ``[goals]``, natural units, of settings that an
                earlier search measured, the best first; the search goes on from them.
            exclusions: Ids of candidates that were measured already, and are not asked for.
        """
        self.space, self._goals, self._population, self._seed = space, goals, population, seed
        self._maximise = [goal.maximise for goal in goals]
        self._asked: set[str] = set(exclusions)
        self._pending: list[tuple[Candidate, Floats]] = []
        self._rounds = 0
        points = [point for serve in initial if (point := space.encode(serve)) is not None]
        self._initial = points[: population // 2]
        self._algorithm = ALGORITHMS[algorithm](
            Task(
                dimension=space.dimension,
                objectives=len(goals),
                constraints=constraints(np.zeros((1, len(goals))), goals).shape[1],
                population=population,
                offspring=population,
                seed=child_seed(seed, "serving algorithm"),
                axes=space.axes,
            )
        )
        met = [(space.encode(serve), values) for serve, values in known]
        self._known = [point for point, _ in met if point is not None]
        if self._known:
            self._learn(
                np.stack(self._known), np.stack([v for point, v in met if point is not None])
            )

    def ask(self, count: int) -> list[Candidate]:
        """Propose settings, at most `count`; none where nothing new is found.

        Raises:
            RuntimeError: If the last ones were not told.
        """
        if self._pending:
            raise RuntimeError("tell the results of the last settings before asking")
        rng = generator(self._seed, "serving", self._rounds)
        own = self._algorithm.ask(self._fresh) if self._rounds else self._first(rng)
        sources = [own, rng.random((4 * self._population, self.space.dimension))]
        for points in sources:
            for point in points:
                candidate = self.space.decode(point)
                if len(self._pending) < min(count, self._population) and (
                    candidate.id not in self._asked
                ):
                    self._asked.add(candidate.id)
                    self._pending.append((candidate, point))
        self._rounds += 1
        return [candidate for candidate, _ in self._pending]

    def tell(self, values: Mapping[str, Floats]) -> None:
        """Learn objectives ``[goals]``, natural units, by candidate id; failed ones are left out.

        Raises:
            ValueError: For a candidate that was not asked for.
        """
        pending = {candidate.id: point for candidate, point in self._pending}
        if not values.keys() <= pending.keys():
            raise ValueError("the results told must be those of the settings asked for")
        self._pending = []
        if not values:
            return
        table = np.stack([values[key] for key in pending if key in values])
        points = np.stack([pending[key] for key in pending if key in values])
        self._learn(points, table)

    def _learn(self, points: Floats, values: Floats) -> None:
        minimised = np.where(self._maximise, -values, values)
        self._algorithm.tell(points, minimised, constraints(values, self._goals))

    def _first(self, rng: np.random.Generator) -> Floats:
        """Return what is tried first: near what is known, else each scorer alone and a covering."""
        if self._known:
            begun = [*self._initial, *self._introduced(rng)]
            children = self._algorithm.ask(self._fresh)
            return np.concatenate([*(point[None] for point in begun), children])
        dimension, slots = self.space.dimension, len(self.space.slots)
        covering = sweep.quasi_random(self._population, dimension, rng)
        alone = covering[:slots].copy()
        alone[:, :slots] = np.eye(slots)[: len(alone)]
        return np.concatenate([*(point[None] for point in self._initial), alone, covering])

    def _introduced(self, rng: np.random.Generator) -> list[Floats]:
        """Return half a population of known points, each with a member that none of them has."""
        idle = np.stack(self._known)[:, : len(self.space.slots)].max(axis=0) <= _NOTHING
        new = np.flatnonzero(idle & [bool(one.fits) for one in self.space.slots]).tolist()
        count = self._population // 2 if new else 0
        return [
            self.space.with_member(
                self._known[turn // len(new) % len(self._known)],
                new[turn % len(new)],
                rng.uniform(_NOTHING, 1.0),
            )
            for turn in range(count)
        ]

    def _fresh(self, points: Floats, earlier: Floats) -> Bools:
        """Mark the points that repeat neither what was asked nor each other."""
        taken = {self.space.decode(point).id for point in earlier}
        marks = []
        for point in points:
            key = self.space.decode(point).id
            marks.append(key not in self._asked and key not in taken)
            taken.add(key)
        return np.array(marks, dtype=np.bool_)
