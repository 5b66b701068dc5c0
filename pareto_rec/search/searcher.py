"""State of a search, and the loop around it.

Everything is in natural units here; signs are flipped where values are handed to the algorithm.
What a search asks is a function of the space, the goals, the settings, the seed and the results
told so far, and of nothing else: feeding stored results into a new searcher repeats the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np

from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.search import sweep
from pareto_rec.search.algorithms import ALGORITHMS, Algorithm, Bools, Fresh, Task
from pareto_rec.search.archive import Archive
from pareto_rec.search.constraints import choose_parents, constraints
from pareto_rec.search.parents import Parent, Parents
from pareto_rec.search.space import Candidate, SearchSpace
from pareto_rec.search.surrogate_selector import CHILDREN, SurrogateSelector
from pareto_rec.search.types import (
    Failure,
    Goal,
    Progress,
    Pruned,
    Result,
    Scored,
    Settings,
    Trial,
)
from pareto_rec.search.variables import Floats

PARENTS_PER_OWN = 2  # records of one fit that may become parents: siblings must not flood
_DRAWS = 20  # random draws per missing candidate before the space counts as exhausted
_SPARES = 8  # proposals per place of a sweep before it is left shorter


class Searcher:
    """Proposes trials, takes their results, and keeps the front so far.

    Duplicates: a candidate that was asked for is never asked for again, and the trials of one
    generation have different training variables. Children that repeat the training variables of
    an earlier fit are mated again, since a new fit teaches more; they are accepted, with new
    serving variables, once mating and random draws find nothing else. Children that then share
    their training variables within the generation are merged into one trial.

    Args:
        space: What to search.
        goals: What to search for.
        settings: How.
        seed: Root of every random draw.

    Raises:
        BadRequestError: If there is no goal, two share a name, the space is empty, or an initial
            candidate does not fit the space.
    """

    def __init__(
        self, space: SearchSpace, goals: Sequence[Goal], settings: Settings, *, seed: int
    ) -> None:
        names = [goal.name for goal in goals]
        if not names or len(set(names)) < len(names):
            raise BadRequestError(f"a search needs goals of different names: {names}")
        if space.dimension == 0:
            raise BadRequestError("the search space has nothing to vary; add a variable")
        self._space, self._goals, self._settings, self._seed = space, tuple(goals), settings, seed
        self._initial = [space.encode(candidate) for candidate in settings.initial]
        self._maximise = [goal.maximise for goal in goals]
        self._offspring = settings.offspring or settings.population
        self._archive = Archive(goals, space.dimension)
        self._guide: SurrogateSelector | None = None
        if settings.surrogate == "gaussian_process":
            self._guide = SurrogateSelector(
                space.discrete, space.train_dimension, goals, self._archive
            )
        self._algorithm = self._begun(child_seed(seed, "algorithm"))
        self._parents = Parents(goals)
        serve = ((axis - space.train_dimension, kind) for axis, kind in space.discrete)
        self._serve_axes = [(axis, kind) for axis, kind in serve if axis >= 0]
        self._asked: set[str] = set()
        self._trained: set[str] = set()
        self._cubes: dict[str, Floats] = {}  # of pending candidates
        self._decoded: dict[bytes, Candidate] = {}  # of this generation's proposals
        self._pending: list[Trial] = []

    @property
    def generation(self) -> int:
        """The generation that is pending or asked for next."""
        return len(self._archive.history)

    @property
    def history(self) -> tuple[Progress, ...]:
        """One entry per told generation."""
        return tuple(self._archive.history)

    def front(self) -> list[Scored]:
        """Return non-dominated feasible candidates so far."""
        return self._archive.scored()

    def ask(self) -> list[Trial]:
        """Propose the next generation.

        Returns:
            Trials with different training variables; none if every candidate was asked for.

        Raises:
            RuntimeError: If the last generation was not told.
        """
        if self._pending:
            raise RuntimeError(f"tell the results of generation {self.generation} before asking")
        self._decoded = {}
        grouped: dict[str, list[Floats]] = {}
        for cube in self._own_cubes():
            grouped.setdefault(self._decode(cube).train_id, []).append(cube)
        self._pending = self._trials(list(grouped.values()))
        for trial in self._pending:
            self._trained.add(trial.train_id)
            self._asked.update(candidate.id for candidate in trial.candidates)
        return list(self._pending)

    def tell(self, results: Mapping[str, Result]) -> Progress:
        """Learn the results of the generation asked for last.

        Args:
            results: For every candidate id asked for, objective values by name (names that are
                not goals are ignored) or a failure. Their order does not matter.

        Returns:
            Where the search stands now.

        Raises:
            ValueError: If ids or goals are missing, unknown, or a value is not finite.
            RunFailedError: If nothing of the first generation succeeded.
        """
        pending = {c.id: c for trial in self._pending for c in trial.candidates}
        if results.keys() != pending.keys():
            raise ValueError("the results told must be those of the candidates asked for")
        values, failed, pruned = self._sorted_out(pending, results)
        parents = [
            Parent(trial.train_id, self._cubes[candidate.id], row)
            for trial in self._pending
            for candidate, row in self._best_of(trial, values)
        ]
        self._parents.add(parents)
        self._let_compete(parents)
        trials = [pending[key] for key in values]
        shape = (len(trials), self._space.dimension)
        cubes = np.array([self._cubes[key] for key in values]).reshape(shape)
        table = np.array(list(values.values())).reshape(len(trials), len(self._goals))
        if self._guide is not None:
            self._guide.tell(cubes, table)
        self._pending, self._cubes = [], {}
        return self._archive.add(
            trials, cubes, table,
            fits=len(self._trained), failed=failed, pruned=pruned,
        )  # fmt: skip

    def teach(self, worth: Mapping[str, float]) -> None:
        """Make the fits that are worth most the parents of what comes next.

        Args:
            worth: By id of the training variables (`Trial.train_id`), what a fit is worth beside
                all others; a fit that is not named is worth nothing. Of fits worth the same those
                come first whose own records have the better rank.

        Raises:
            RuntimeError: If the last generation was not told.
        """
        if self._pending:
            raise RuntimeError(f"tell the results of generation {self.generation} before teaching")
        parents = self._parents.by_worth(worth)
        self._algorithm = self._begun(child_seed(self._seed, "algorithm", self.generation))
        self._let_compete(parents[: self._settings.population])
        if self._guide is not None and parents:
            fits = {one.fit: one.cube for one in parents}
            known = np.array([worth.get(fit, 0.0) for fit in fits])
            self._guide.teach(np.stack(list(fits.values())), known)

    def _begun(self, seed: int) -> Algorithm:
        """Return the algorithm without a population."""
        goals, offspring = len(self._goals), self._offspring
        return ALGORITHMS[self._settings.algorithm](
            Task(
                dimension=self._space.dimension,
                objectives=goals,
                constraints=constraints(np.zeros((1, goals)), self._goals).shape[1],
                population=self._settings.population,
                offspring=offspring if self._guide is None else offspring + CHILDREN,
                seed=seed,
                axes=self._space.discrete,
            )
        )

    def _let_compete(self, parents: Sequence[Parent]) -> None:
        """Let records compete with the population."""
        if parents:
            values = np.stack([one.values for one in parents])
            points = np.stack([one.cube for one in parents])
            minimised = np.where(self._maximise, -values, values)
            self._algorithm.tell(points, minimised, constraints(values, self._goals))

    def _sorted_out(
        self, pending: Mapping[str, Candidate], results: Mapping[str, Result]
    ) -> tuple[dict[str, Floats], int, int]:
        """Sort out objectives by candidate id, and count failed and pruned candidates."""
        values: dict[str, Floats] = {}
        reasons: Counter[str] = Counter()
        pruned = 0
        for key, candidate in pending.items():
            result = results[key]
            if isinstance(result, Pruned):
                pruned += 1
            elif isinstance(result, Failure):
                reasons[result.reason] += 1
            else:
                values[key] = self._values(candidate, result)
        if not values and not self._archive.succeeded:
            reason, count = next(iter(reasons.most_common(1)), ("stopped early", pruned))
            raise RunFailedError(
                f"all {len(pending) - pruned} evaluations of the first generation failed, "
                f"{count} of them with: {reason}"
            )
        return values, sum(reasons.values()), pruned

    def _own_cubes(self) -> list[Floats]:
        """Return the search's own points of a generation, none of them asked for before."""
        count = self._offspring if self.generation else self._settings.first or self._offspring
        rng = generator(self._seed, "own", self.generation)
        guided = partial(self._children if self._archive.succeeded else self._start, rng, count)
        shape = (_DRAWS * count, self._space.dimension)
        cubes: list[Floats] = []

        def anywhere(_: Fresh) -> Floats:
            return rng.random(shape)

        for by_training in (True, False) if self._space.train_dimension else (False,):
            fresh = partial(self._fresh, cubes, by_training)
            for source in (guided, anywhere):
                if len(cubes) < count:
                    points = source(fresh)
                    new = points[fresh(points, points[:0])]
                    cubes.extend(new[: count - len(cubes)])
        return cubes

    def _children(self, rng: np.random.Generator, count: int, fresh: Fresh) -> Floats:
        """Return children of the algorithm; a surrogate, if any, chooses the first ones."""
        children = self._algorithm.ask(fresh)
        if self._guide is None:
            return children
        self._guide.learn(rng)
        proposals = np.concatenate([children, self._guide.proposals(rng)])
        proposals = proposals[fresh(proposals, proposals[:0])]
        return np.concatenate([self._guide.fits(proposals, count, rng), children])

    def _start(self, rng: np.random.Generator, count: int, _: Fresh) -> Floats:
        """Return the first generation: initial candidates, simplex corners, then a covering."""
        shape = (count, self._space.dimension)
        cubes = rng.random(shape)
        if self._settings.start == "lhs":
            strata = np.tile(np.arange(len(cubes))[:, None], shape[1])
            cubes = (rng.permuted(strata, axis=0) + cubes) / len(cubes)
        if self._settings.corners:
            for row, (place, corner) in zip(cubes, self._space.train_corners, strict=False):
                row[place] = corner
        if self._guide is not None:
            cubes[-1] = 0.5  # where a model of the second order learns most beside the corners
        return np.concatenate([*[cube[None] for cube in self._initial], cubes])

    def _fresh(
        self, accepted: Sequence[Floats], by_training: bool, points: Floats, earlier: Floats
    ) -> Bools:
        """Mark the points that repeat neither what was asked, nor the batch, nor each other."""
        seen = self._trained if by_training else self._asked
        batch: set[str] = set()
        marks = []
        for index, cube in enumerate((*accepted, *earlier, *points)):
            candidate = self._decode(cube)
            key = candidate.train_id if by_training else candidate.id
            if index >= len(accepted) + len(earlier):
                marks.append(key not in seen and key not in batch)
            batch.add(key)
        return np.array(marks, dtype=np.bool_)

    def _decode(self, cube: Floats) -> Candidate:
        key = cube.tobytes()
        if key not in self._decoded:
            self._decoded[key] = self._space.decode(cube)
        return self._decoded[key]

    def _trials(self, groups: Sequence[Sequence[Floats]]) -> list[Trial]:
        """Return one trial for each group of own points that share their training variables."""
        split = self._space.train_dimension
        width = self._space.serve_dimension
        pool = np.unique(self._archive.cubes[:, split:], axis=0)
        more = self._settings.sweep - 1 if width else 0
        quasi = sweep.quasi_random(
            more * sum(map(len, groups)),
            width,
            generator(self._seed, "quasi-random", self.generation),
        )
        trials: list[Trial] = []
        position = 0
        for index, own in enumerate(groups):
            block, quasi = np.split(quasi, [more * len(own)])
            candidates = [self._decode(cube) for cube in own]
            self._cubes.update((c.id, cube) for c, cube in zip(candidates, own, strict=True))
            candidates += self._sweep(index, np.stack(own), block, pool)
            trials.append(Trial(self.generation, index, position, tuple(candidates), len(own)))
            position += len(candidates)
        return trials

    def _sweep(self, index: int, own: Floats, quasi: Floats, pool: Floats) -> Iterator[Candidate]:
        """Yield candidates that share a fit with the own points, all different, `quasi` of them."""
        train_cube, serve = np.split(own, [self._space.train_dimension], axis=1)
        train = self._decode(own[0]).train
        taken = {self._decode(cube).id for cube in own}
        points = sweep.proposals(
            quasi,
            serve,
            pool,
            copied=self._settings.copied,
            varied=self._settings.varied,
            axes=self._serve_axes,
            rng=generator(self._seed, "sweep", self.generation, index),
        )
        for point in islice(points, _SPARES * len(quasi)):
            candidate = Candidate(train, self._space.decode_serve(point, train))
            if candidate.id not in taken and candidate.id not in self._asked:
                taken.add(candidate.id)
                self._cubes[candidate.id] = np.concatenate([train_cube[0], point])
                yield candidate
            if len(taken) == len(own) + len(quasi):
                return

    def _best_of(
        self, trial: Trial, values: Mapping[str, Floats]
    ) -> list[tuple[Candidate, Floats]]:
        """Return the records of one fit that may become parents."""
        scored = [(c, values[c.id]) for c in trial.candidates if c.id in values]
        if not scored:
            return []
        table = np.stack([row for _, row in scored])
        best = choose_parents(table, PARENTS_PER_OWN * trial.own, self._goals)
        return [scored[i] for i in best]

    def _values(self, candidate: Candidate, result: Mapping[str, float]) -> Floats:
        missing = [goal.name for goal in self._goals if goal.name not in result]
        if missing:
            raise ValueError(f"candidate {candidate.id} has no value of {missing[0]}")
        row = np.array([result[goal.name] for goal in self._goals], dtype=np.float64)
        if not np.isfinite(row).all():
            raise ValueError(f"candidate {candidate.id}: tell a Failure instead of {row}")
        return row


def run_search(
    searcher: Searcher,
    evaluate: Callable[[Sequence[Trial]], Iterable[tuple[str, Result]]],
    generations: int,
    *,
    on_generation: Callable[[Progress], None] | None = None,
) -> tuple[Progress, ...]:
    """Ask, evaluate and tell until a number of generations is told or the space is exhausted.

    Args:
        searcher: Where to start; one that was told generations before goes on from there.
        evaluate: Takes the trials of a generation and yields (candidate id, result) for each of
            their candidates as they finish. The order in which they finish changes nothing.
        generations: Total number of generations, the ones told before included.
        on_generation: Called after each generation.

    Returns:
        The history of the search.
    """
    while searcher.generation < generations:
        trials = searcher.ask()
        if not trials:
            break
        progress = searcher.tell(dict(evaluate(trials)))
        if on_generation is not None:
            on_generation(progress)
    return searcher.history
