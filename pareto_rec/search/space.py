"""Candidates, search spaces, and their encoding in the unit cube.

Every search algorithm sees a candidate as a point of ``[0, 1]^dimension``: training coordinates
first, then serving coordinates, each in the order of declaration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.search.variables import (
    IDLE,
    Choice,
    Floats,
    Integer,
    Real,
    Simplex,
    Value,
    Variable,
    plain,
)

__all__ = [
    "Candidate",
    "Choice",
    "Integer",
    "Real",
    "SearchSpace",
    "Simplex",
    "Value",
    "Variable",
]


@dataclass(frozen=True)
class Candidate:
    """One value for every active training and serving variable.

    Attributes:
        train: Training variables, natural values.
        serve: Serving variables, natural values.
    """

    train: Mapping[str, Value]
    serve: Mapping[str, Value]

    def __post_init__(self) -> None:
        for part in ("train", "serve"):
            values = {name: plain(value) for name, value in getattr(self, part).items()}
            object.__setattr__(self, part, values)

    def __hash__(self) -> int:
        return hash(self.id)

    @cached_property
    def id(self) -> str:
        """Twelve hex digits derived from the content alone."""
        return _digest({"serve": self.serve, "train": self.train})

    @cached_property
    def train_id(self) -> str:
        """The same for the training variables: candidates that share it share their fits."""
        return _digest({"train": self.train})


@dataclass(frozen=True)
class SearchSpace:
    """Training and serving variables, and the way between candidates and the unit cube.

    A variable with `when` is active only while each variable named there is active and has one
    of the values given. An inactive variable keeps its coordinates and is absent from the
    candidate, so that candidates of equal meaning have equal ids. Serving variables may depend on
    training variables, never the other way round.

    Attributes:
        train: Variables that need a fine-tune.
        serve: Variables that need none.

    Raises:
        BadRequestError: For a name used twice, an unknown or impossible `when`, or a circle.
    """

    train: Mapping[str, Variable]
    serve: Mapping[str, Variable]

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", dict(self.train))
        object.__setattr__(self, "serve", dict(self.serve))
        for name in self.train.keys() & self.serve.keys():
            raise BadRequestError(f"variable {name} is both a training and a serving variable")
        for name, variable in self._all.items():
            _check_when(name, variable, self.train if name in self.train else self._all)
        self._order  # noqa: B018  # refuses circles now rather than at the first decode

    @cached_property
    def train_dimension(self) -> int:
        """Coordinates of the training variables; they come first."""
        return sum(variable.size for variable in self.train.values())

    @cached_property
    def serve_dimension(self) -> int:
        """Coordinates of the serving variables; they come last."""
        return sum(variable.size for variable in self.serve.values())

    @property
    def dimension(self) -> int:
        """Coordinates in all."""
        return self.train_dimension + self.serve_dimension

    @cached_property
    def discrete(self) -> tuple[tuple[int, Integer | Choice], ...]:
        """Axes of the cube that stand for integers and choices, with their variables."""
        starts = accumulate((variable.size for variable in self._all.values()), initial=0)
        return tuple(
            (start, variable)
            for start, variable in zip(starts, self._all.values(), strict=False)
            if isinstance(variable, Integer | Choice)
        )

    @cached_property
    def train_corners(self) -> tuple[tuple[slice, list[float]], ...]:
        """Corners of the training simplexes: a place in the cube and the coordinates there."""
        return tuple(
            (self._places[name], variable.corner(weight))
            for name, variable in self.train.items()
            if isinstance(variable, Simplex)
            for weight in variable.names
        )

    def middle(self, corners: Mapping[str, str]) -> Candidate:
        """Return the candidate in the middle of every range, some simplexes in a corner.

        Args:
            corners: Simplex of the training variables -> name that has all of its weight.
        """
        cube = np.full(self.dimension, 0.5)
        for name, weight in corners.items():
            variable = self.train[name]
            assert isinstance(variable, Simplex)
            cube[self._places[name]] = variable.corner(weight)
        return self.decode(cube)

    def decode(self, x: ArrayLike) -> Candidate:
        """Return the candidate at a point ``[dimension]`` of the unit cube."""
        cube = self._point(x, self.dimension)
        train = self._decode_train(cube[: self.train_dimension])
        return Candidate(train, self._decode_serve(cube[self.train_dimension :], train))

    def decode_serve(self, x: ArrayLike, train: Mapping[str, Value]) -> dict[str, Value]:
        """Return serving values at ``[serve_dimension]`` coordinates, given the training values."""
        return self._decode_serve(self._point(x, self.serve_dimension), train)

    def encode(self, candidate: Candidate) -> Floats:
        """Return coordinates ``[dimension]``; ``decode(encode(c)) == c`` for decoded candidates.

        Raises:
            BadRequestError: If a variable is unknown, missing, inactive or out of range.
        """
        given = {**candidate.train, **candidate.serve}
        for part, variables in ((candidate.train, self.train), (candidate.serve, self.serve)):
            for name in part.keys() - variables.keys():
                raise unknown("variable", name, variables)
        cube: list[float] = []
        for name, variable in self._all.items():
            active = _is_active(variable, given)
            if active != (name in given):
                state = "active and has no value" if active else "not active and has a value"
                raise BadRequestError(f"variable {name} is {state} (when: {dict(variable.when)})")
            try:
                cube += variable.to_cube(given[name]) if active else [IDLE] * variable.size
            except BadRequestError as error:
                raise BadRequestError(f"variable {name}: {error}") from None
        return np.array(cube, dtype=np.float64)

    def candidate(self, train: Mapping[str, Value], serve: Mapping[str, Value]) -> Candidate:
        """Return the candidate from natural values: checked, and rounded as decoded values are.

        Raises:
            BadRequestError: If a variable is unknown, missing, inactive or out of range.
        """
        return self.decode(self.encode(Candidate(train, serve)))

    @cached_property
    def _all(self) -> dict[str, Variable]:
        return {**self.train, **self.serve}

    @cached_property
    def _order(self) -> tuple[str, ...]:
        graph = {name: set(variable.when) for name, variable in self._all.items()}
        try:
            return tuple(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise BadRequestError(f"`when` goes in a circle: {circle}; remove one") from None

    @cached_property
    def _places(self) -> dict[str, slice]:
        return {**_slices(self.train), **_slices(self.serve)}

    @cached_property
    def _train_plan(self) -> tuple[str, ...]:
        return tuple(name for name in self._order if name in self.train)

    @cached_property
    def _serve_plan(self) -> tuple[str, ...]:
        return tuple(name for name in self._order if name in self.serve)

    def _decode_train(self, cube: Floats) -> dict[str, Value]:
        return self._decode(self.train, self._train_plan, cube, {})

    def _decode_serve(self, cube: Floats, train: Mapping[str, Value]) -> dict[str, Value]:
        return self._decode(self.serve, self._serve_plan, cube, train)

    def _decode(
        self,
        variables: Mapping[str, Variable],
        plan: Sequence[str],
        cube: Floats,
        given: Mapping[str, Value],
    ) -> dict[str, Value]:
        known = dict(given)
        for name in plan:
            variable = variables[name]
            if not variable.when or _is_active(variable, known):
                known[name] = variable.from_cube(cube[self._places[name]])
        return {name: known[name] for name in variables if name in known}

    @staticmethod
    def _point(x: ArrayLike, size: int) -> Floats:
        cube = np.asarray(x, dtype=np.float64)
        if cube.shape != (size,) or not ((cube >= 0.0) & (cube <= 1.0)).all():
            raise ValueError(f"expected {size} coordinates in [0, 1], got {cube}")
        return cube


def _slices(variables: Mapping[str, Variable]) -> dict[str, slice]:
    ends = accumulate(variable.size for variable in variables.values())
    pairs = zip(variables.items(), ends, strict=True)
    return {name: slice(end - variable.size, end) for (name, variable), end in pairs}


def _is_active(variable: Variable, given: Mapping[str, Value]) -> bool:
    return all(name in given and given[name] in allowed for name, allowed in variable.when.items())


def _check_when(name: str, variable: Variable, visible: Mapping[str, Variable]) -> None:
    for other, allowed in variable.when.items():
        if other not in visible:
            raise BadRequestError(f"`when` of {name}: {unknown('variable', other, visible)}")
        on = visible[other]
        if not isinstance(on, Choice | Integer):
            raise BadRequestError(f"`when` of {name}: {other} is neither a choice nor an integer")
        if not allowed:
            raise BadRequestError(f"`when` of {name}: give at least one value of {other}")
        for value in allowed:
            try:
                on.to_cube(value)
            except BadRequestError as error:
                raise BadRequestError(f"`when` of {name}: {other}: {error}") from None


def _digest(content: Mapping[str, Mapping[str, Value]]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
