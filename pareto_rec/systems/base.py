"""Systems: the contract of what shares one model, and what each contributes to its training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pareto_rec.core.errors import BadRequestError
from pareto_rec.models.base import Params
from pareto_rec.search.space import Value
from pareto_rec.systems.spec import Shared

AT = "@"  # between an objective and its system

Read = Callable[[Tensor | None], Tensor]
"""Vectors ``[n, D]`` of some of a system's texts, given their rows; None: of all of them."""


@dataclass(frozen=True)
class SystemObjective:
    """One objective of a system.

    Attributes:
        name: Its name, the system's behind it.
        maximise: Whether more is better.
        unit: Of its values.
        reference: Worst value that counts, where a config gives none.
        recorded: Whether its value is written down.
    """

    name: str
    maximise: bool
    unit: str
    reference: float
    recorded: bool = True


@dataclass(frozen=True)
class SystemsObjectives:
    """Objectives of an experiment.

    Attributes:
        searched: Those that the search sees.
        reported: Those that are only written down.
    """

    searched: tuple[SystemObjective, ...]
    reported: tuple[SystemObjective, ...]

    @property
    def all(self) -> tuple[SystemObjective, ...]:
        """Both."""
        return (*self.searched, *self.reported)


class Learner(ABC):
    """One system's part of a fit: its own parameters, its examples and its loss.

    Attributes:
        params: Its own parameters, stacked ``[1, ...]`` as those of a pack of one, leaves.
    """

    params: Params

    @abstractmethod
    def draw(self, first: int) -> None:
        """Draw the examples of the steps from `first` until the next look at validation."""

    @abstractmethod
    def loss(self, offset: int, read: Read) -> Tensor:
        """Compute the loss of a step, about 1 at the first one.

        Args:
            offset: Number of the step since the last `draw`.
            read: What the shared trunk makes of the system's texts.
        """

    @abstractmethod
    def watch(self, vectors: Tensor) -> float:
        """Compute what early stopping watches on validation data, in [0, 1].

        Args:
            vectors: Of all texts of the system ``[texts, D]``.
        """


class System(ABC):
    """One system: its data, and how a head on shared text vectors learns from them.

    Attributes:
        name: Its name.
        kind: What it does.
        variables: Dataclass of its own training variables, declared; None: as an experiment on it
            alone has them.
        serving: The same of its serving variables.
    """

    kind: ClassVar[str]
    variables: ClassVar[type | None] = None
    serving: ClassVar[type | None] = None
    name: str

    @property
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """All texts that the backbone reads for it; rows of its vectors are theirs."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What identifies its data, split and options."""

    @property
    @abstractmethod
    def account(self) -> Mapping[str, Any]:
        """Where the rows of its files went, and how they are split, ready for JSON."""

    @abstractmethod
    def objective(self, name: str) -> SystemObjective:
        """Return an objective by its name without the system.

        Raises:
            BadRequestError: If the kind of system has none of that name.
        """

    @abstractmethod
    def learner(self, shared: Shared, own: Mapping[str, Any], seed: int) -> Learner:
        """Begin a fit.

        Args:
            shared: What all systems of the fit have in common.
            own: Training variables of the system alone.
            seed: Of its draws.
        """

    @abstractmethod
    def measure(
        self,
        head: Params,
        shared: Shared,
        own: Mapping[str, Any],
        vectors: Tensor,
        serve: Sequence[Mapping[str, Value]],
        wanted: Sequence[str],
    ) -> list[dict[str, float]]:
        """Measure a fit on validation data.

        Args:
            head: Its own parameters, stacked ``[1, ...]``.
            shared: As it was learnt with.
            own: As it was learnt with.
            vectors: Of all its texts ``[texts, D]``.
            serve: Serving variables of the system, of each setting.
            wanted: Objectives, without the system's name.

        Returns:
            Values by objective, of each setting; absent, or not finite, where one cannot be
            measured.
        """

    @abstractmethod
    def baselines(self, wanted: Sequence[str]) -> dict[str, dict[str, float]]:
        """Measure simple opponents on validation data: name -> objective -> value."""


def initial(shapes: Mapping[str, tuple[int, ...]], seed: int, device: torch.device) -> Params:
    """Draw parameters of a pack of one: matrices of variance 1 / rows, zeros for all else.

    Args:
        shapes: Name -> shape; a matrix whose name ends in ``out`` starts at zero, so that what it
            is added to decides at first.
        seed: Of the draws.
        device: Where tensors live.
    """
    source = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, shape in shapes.items():
        if len(shape) > 1 and not name.endswith("out"):
            value = torch.randn(shape, generator=source) / math.sqrt(shape[0])
        else:
            value = torch.zeros(shape)
        drawn[name] = value.unsqueeze(0).to(device).requires_grad_()
    return drawn


def dropped(vectors: Tensor, share: float, noise: torch.Generator) -> Tensor:
    """Drop coordinates of vectors at random, the rest scaled up (inverted dropout).

    Args:
        vectors: Any shape.
        share: How many are dropped; 0: none, and nothing is drawn.
        noise: Source of the draws, on the CPU so that they do not depend on the device.
    """
    if not share:
        return vectors
    keep = torch.rand(vectors.shape, generator=noise) >= share
    return vectors * keep.to(vectors) / (1 - share)


def of_system(names: Iterable[str], system: str) -> list[str]:
    """Return the names of objectives that are of a system."""
    return [name for name in names if name.rpartition(AT)[2] == system]


def without_system(name: str) -> str:
    """Return the name of an objective as its system knows it."""
    return name.rpartition(AT)[0]


def refuse(system: str, what: str, name: str, known: Sequence[str]) -> BadRequestError:
    """Return the error of a name that a kind of system does not have."""
    return BadRequestError(
        f'system "{system}" has no {what} "{name}"; it has {", ".join(known) or "none"}'
    )
