"""Cache of scorers of known users, within a memory limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import torch

from pareto_rec.bundle.scoring import Engine, Needs
from pareto_rec.ranking import Scorers, ServingParams
from pareto_rec.ranking.backends import UserHistory

FLOAT, FLAG = 4, 1  # bytes
AROUND = 8000  # bytes that surround the arrays of one person


class ScorerCache:
    """Cache of scorers of known users, least recently used ones dropped first.

    It depends on nothing but the bundle, which never changes, so that a list made from it is the
    list that would be made again. Threads may share it.
    """

    def __init__(self, engine: Engine, people: Sequence[UserHistory], room: int) -> None:
        """Create an empty cache.

        Args:
            engine: Makes the scorers.
            people: Known people.
            room: Bytes to fill; each person takes about `bytes_each`.
        """
        self.engine, self.people, self.room = engine, people, room
        self.capacity = room // bytes_each(engine)
        # not of this object: a circle would keep replaced bundles in memory until it is found
        self._scorers = lru_cache(maxsize=self.capacity)(partial(_scorers, engine, people))

    def of_point(self, index: int, point: str) -> tuple[Scorers, ServingParams]:
        """As `Engine.of_point`, for one known person; points of one fit share what they can."""
        needs = self.engine.needs(point)
        return self._scorers(index, needs), self.engine.parts.serving(point)

    def fill(self, point: str, seconds: float) -> int:
        """Prepare those with the longest histories, as many as there is room and time for.

        Returns:
            How many people are prepared.
        """
        ends = time.monotonic() + seconds
        order = np.argsort([-len(user.items) for user in self.people], kind="stable")
        with torch.inference_mode():
            for index in order[: self.capacity].tolist():
                if not len(self.people[index].items) or time.monotonic() >= ends:
                    break
                self.of_point(index, point)
        return self._scorers.cache_info().currsize


def _scorers(engine: Engine, people: Sequence[UserHistory], index: int, needs: Needs) -> Scorers:
    names, fits = needs
    return engine.scorers([people[index]], names, dict(fits))


def bytes_each(engine: Engine) -> int:
    """Return the memory that the scorers of one person take, at the point that needs most."""
    needed = map(engine.needs, (point.id for point in engine.parts.about.points))
    rows = [len(names) + sum(1 + len(tasks) for _, tasks in fits) for names, fits in needed]
    return engine.n_items * (FLOAT * max(rows) + FLAG) + AROUND
