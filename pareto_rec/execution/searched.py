"""What a run directory is written of: an experiment on one system or on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pareto_rec.search import Goal
from pareto_rec.search.space import SearchSpace


class SearchedObjective(Protocol):
    """An objective as run.json names it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def maximise(self) -> bool:
        """Whether more is better."""

    @property
    def unit(self) -> str:
        """Of its values."""

    @property
    def recorded(self) -> bool:
        """Whether its value is written down."""


class SearchedObjectives(Protocol):
    """The objectives of an experiment."""

    @property
    def searched(self) -> Sequence[SearchedObjective]:
        """Those that the search sees."""

    @property
    def reported(self) -> Sequence[SearchedObjective]:
        """Those that are only written down."""

    @property
    def all(self) -> Sequence[SearchedObjective]:
        """Both."""


class SearchedConfig(Protocol):
    """What run.json says of a config."""

    @property
    def name(self) -> str:
        """Of the experiment."""

    @property
    def question(self) -> str:
        """One sentence."""

    @property
    def seed(self) -> int:
        """Root of every seed."""

    @property
    def baselines(self) -> Sequence[str]:
        """Names of what stands beside the front."""


class SearchedExperiment(Protocol):
    """An experiment that is searched."""

    @property
    def config(self) -> SearchedConfig:
        """What it was made from."""

    @property
    def space(self) -> SearchSpace:
        """Decision variables."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What the search is told about its objectives."""

    @property
    def objectives(self) -> SearchedObjectives:
        """Objectives, searched and reported."""
