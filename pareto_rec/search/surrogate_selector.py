"""Pre-selection of proposals by a surrogate.

Pre-selection by a surrogate (Jin, "Surrogate-assisted evolutionary computation", 2011): the
algorithm mates more children than are wanted, and those are trained whose expected records add
most to the hypervolume of the front. A fit is worth what the best of its sweep will be worth, so a
child is judged by its training variables at many serving settings, not only at its own. Where it is
known what the fits so far are worth beside all others, a second model learns that, and judges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pareto_rec.search import pareto as front
from pareto_rec.search import sweep
from pareto_rec.search.archive import Archive
from pareto_rec.search.constraints import violation
from pareto_rec.search.surrogate import Surrogate
from pareto_rec.search.types import Goal
from pareto_rec.search.variables import Floats

CHILDREN = 64  # proposals of the algorithm that fits are chosen from
NEIGHBOURS = 160  # variations of the front's training variables beside them
STRANGERS = 96  # and random proposals, so that no region is forgotten
_FRONT = 24  # settings of the front that children are judged at
_VARIED = 24  # and variations of them
_EXACT = 4  # objectives up to which a hypervolume is cheap; above, the front is thinned
_THINNED = 96  # to so many points


class SurrogateSelector:
    """What a search has learnt, for the choice of what it tries next."""

    def __init__(
        self, axes: sweep.Axes, train_dimension: int, goals: Sequence[Goal], archive: Archive
    ) -> None:
        """Start without records.

        Args:
            axes: The discrete axes of the cube with their variables.
            train_dimension: Its first axes, which belong to training variables.
            goals: What is searched for.
            archive: The front so far, kept by the caller.
        """
        self._goals, self._split, self._archive = tuple(goals), train_dimension, archive
        self._train_axes = [(axis, kind) for axis, kind in axes if axis < train_dimension]
        self._serve_axes = [
            (axis - train_dimension, kind) for axis, kind in axes if axis >= train_dimension
        ]
        self._maximise = [goal.maximise for goal in goals]
        self._reference = [goal.reference for goal in goals]
        self._surrogate = Surrogate(axes)
        self._cubes, self._values = archive.cubes, archive.values  # of all records
        self._fits: Floats = archive.cubes[:0, :train_dimension]  # whose worth was taught
        self._worth: Floats = np.zeros(0)
        self._by_training = Surrogate(self._train_axes)

    @property
    def _pool(self) -> Floats:
        """Serving settings of the front."""
        return np.unique(self._archive.cubes[:, self._split :], axis=0)

    def tell(self, cubes: Floats, values: Floats) -> None:
        """Remember records ``[records, dimension]`` and their objectives, natural units."""
        self._cubes = np.concatenate([self._cubes, cubes])
        self._values = np.concatenate([self._values, values])

    def teach(self, cubes: Floats, worth: Floats) -> None:
        """Judge fits by what fits like them are worth from now on, and look near the best.

        Args:
            cubes: A point of every fit so far ``[fits, dimension]``.
            worth: What each is worth ``[fits]``, at least 0.
        """
        self._fits, self._worth = cubes[:, : self._split], np.sqrt(worth)

    def learn(self, rng: np.random.Generator) -> None:
        """Learn from what was told; before the first choice of each generation."""
        order = self._by_weight(rng)
        self._surrogate.learn(self._cubes[order], self._values[order])

    def _by_weight(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Order rows by turns: the best by non-dominated sorting, and all at random.

        Near the front small differences count, and away from it only where it is not.
        """
        mixed = rng.permutation(len(self._values))
        ranks = front.ranks(self._values[mixed], maximise=self._maximise)
        best = mixed[np.argsort(ranks, kind="stable")]
        turns = np.stack([best, mixed], axis=1).ravel()
        _, first = np.unique(turns, return_index=True)
        return turns[np.sort(first)]

    def proposals(self, rng: np.random.Generator) -> Floats:
        """Return points ``[proposals, dimension]``: fits near those of the front, and anywhere."""
        strangers = rng.random((STRANGERS, self._cubes.shape[1]))
        members, pool = self._archive.cubes[:, : self._split], self._pool
        if self._worth.any():
            members = self._fits[self._worth > 0.0]
        if not len(pool) or not members.size:
            return strangers
        heads = sweep.vary(members, NEIGHBOURS, self._train_axes, rng)
        tails = pool[rng.integers(len(pool), size=NEIGHBOURS)]
        return np.concatenate([np.concatenate([heads, tails], axis=1), strangers])

    def fits(self, cubes: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Return the proposals whose fits promise most together, best first.

        Args:
            cubes: Proposals ``[proposals, dimension]``.
            count: How many are wanted.
            rng: Source of randomness.

        Returns:
            At most `count` of them: fewer where no other promises anything.
        """
        if not len(cubes):
            return cubes
        if self._worth.any() and self._split:
            return cubes[self._most_worth(cubes[:, : self._split], count)]
        heads, settings = cubes[:, : self._split], self._judged_at(rng)
        everywhere = [
            np.concatenate([heads, np.tile(setting, (len(heads), 1))], axis=1)
            for setting in settings
        ]
        expected = self._surrogate.predict(np.concatenate([cubes, *everywhere]))
        sets = expected.reshape(1 + len(settings), len(cubes), -1).swapaxes(0, 1)
        return cubes[self._best(list(sets), count, rng)]

    def _most_worth(self, heads: Floats, count: int) -> list[int]:
        """Choose training variables that promise the most worth, one after the other.

        By mean plus standard deviation; what was chosen is believed to be worth what is expected of
        it, so that the next one lies elsewhere (GP-BUCB; Desautels, Krause & Burdick, JMLR 2014).
        Roots of the worths are learnt, as few fits are worth much and most of them little.
        """
        known, worth = self._fits, self._worth
        self._by_training.learn(known, worth[:, None])
        chosen: list[int] = []
        for _ in range(min(count, len(heads))):
            mean, deviation = self._by_training.spread(heads)
            promise = mean + deviation
            promise[chosen] = -np.inf
            chosen.append(int(promise.argmax()))
            known = np.concatenate([known, heads[chosen[-1:]]])
            worth = np.append(worth, mean[chosen[-1]])
            self._by_training.believe(known, worth[:, None])
        return chosen

    def _judged_at(self, rng: np.random.Generator) -> Floats:
        """Return settings that all children are judged at: of the front, and near them."""
        pool = self._pool
        if not pool.size:
            return pool[:0]
        drawn = pool[rng.permutation(len(pool))[:_FRONT]]
        return np.concatenate([drawn, sweep.vary(pool, _VARIED, self._serve_axes, rng)])

    def _best(self, sets: Sequence[Floats], count: int, rng: np.random.Generator) -> list[int]:
        """Choose sets of expected records that add most to the front, the infeasible ones apart."""
        feasible = [points[violation(points, self._goals) == 0.0] for points in sets]
        given = self._archive.values
        if len(self._goals) > _EXACT:
            given = given[rng.permutation(len(given))[:_THINNED]]
        return front.select_sets(
            feasible, count, given=given, reference=self._reference, maximise=self._maximise
        )
