"""What every search algorithm promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from pareto_rec.search import ALGORITHMS, Goal, Searcher, Settings
from pareto_rec.search import pareto as front
from pareto_rec.search.algorithms import Bools, Task
from pareto_rec.search.space import Candidate, Choice, Integer, Real, SearchSpace, Simplex
from pareto_rec.search.types import Result, Trial
from pareto_rec.search.variables import Floats
from pareto_rec.testing.contract import Contract

SPACE = SearchSpace(
    train={
        "losses": Simplex(("accuracy", "diversity", "tail"), floor={"accuracy": 0.2}),
        "model": Choice(("pooling", "attention")),
        "layers": Integer(1, 3, when={"model": ("attention",)}),
        "rate": Real(1e-4, 1e-1, log=True),
    },
    serve={
        "fusion": Simplex(("network", "ease", "knn")),
        "mmr": Real(0.0, 1.0),
        "depth": Integer(10, 200, log=True),
        "precision": Choice(("float32", "bfloat16")),
    },
)
GOALS = (
    Goal("accuracy", True, 0.05, at_least=0.1),
    Goal("diversity", True, 0.5),
    Goal("cost", False, 12.0),
)


def measure(candidate: Candidate) -> dict[str, float]:
    """A made-up trade-off with one optimum of the rate and a serving optimum that depends on it."""
    train: Mapping[str, Any] = candidate.train
    serve: Mapping[str, Any] = candidate.serve
    near = 1.0 - (np.log10(train["rate"]) + 2.5) ** 2 / 8
    fused = 1.0 - (serve["fusion"][0] - 0.7 * near) ** 2
    deep = 1.1 if train.get("layers", 0) >= 2 else 1.0
    return {
        "accuracy": 0.2 * near * fused * deep * (1.0 - 0.5 * serve["mmr"]) * train["losses"][0],
        "diversity": 0.5 + 0.3 * serve["mmr"] + 0.2 * train["losses"][1],
        "cost": 10.0 * deep + serve["depth"] / 100 - train["losses"][2],
        "reported only": float("nan"),
    }


def answer(trials: Sequence[Trial]) -> dict[str, Result]:
    """Results of all candidates of some trials."""
    return {c.id: measure(c) for trial in trials for c in trial.candidates}


def asked(
    searcher: Searcher,
    generations: int,
    results: Callable[[Sequence[Trial]], Mapping[str, Result]] = answer,
) -> list[list[Trial]]:
    """All trials of some generations."""
    trials = []
    for _ in range(generations):
        trials.append(searcher.ask())
        searcher.tell(results(trials[-1]))
    return trials


def candidates(trials: Sequence[Trial]) -> list[Candidate]:
    """All candidates of some trials."""
    return [c for trial in trials for c in trial.candidates]


def told(algorithm: str, seed: int, generations: int) -> list[Floats]:
    """Points that an algorithm proposes while it is told some values of them.

    Args:
        algorithm: Its name.
        seed: Of its task.
        generations: How often it is asked.
    """
    task = Task(
        dimension=SPACE.dimension,
        objectives=2,
        constraints=1,
        population=8,
        offspring=6,
        seed=seed,
        axes=SPACE.discrete,
    )
    proposer = ALGORITHMS[algorithm](task)
    known = np.random.default_rng(seed).random((8, SPACE.dimension))
    proposed: list[Floats] = []

    def fresh(points: Floats, accepted: Floats) -> Bools:
        """The first half of the cube is taken."""
        assert accepted.shape[1:] == points.shape[1:]
        return np.asarray(points[:, 0] >= 0.5)

    for _ in range(generations):
        values = np.stack([known[:, 0], 1 - known[:, 0] * known[:, 1]], axis=1)
        parts = known, values, known[:, :1] - 0.9
        for part in parts:
            part.flags.writeable = False
        proposer.tell(*parts)
        known = np.array(proposer.ask(fresh))
        proposed.append(known)
    return proposed


class AlgorithmContract(Contract):
    """Tests of search algorithms: `subjects` are registered names."""

    argument = "algorithm"

    def cases(self) -> list[str]:
        """The names.

        Raises:
            LookupError: If one is not registered.
        """
        missing = set(self.subjects) - set(ALGORITHMS)
        if missing:
            raise LookupError(f'register("{min(missing)}", algorithm=...) first')
        return list(self.subjects)

    def test_points_are_fresh_and_in_the_cube(self, algorithm: str) -> None:
        """What it is told may be read, not written to."""
        for points in told(algorithm, 3, 3):
            assert points.ndim == 2
            assert points.shape[1] == SPACE.dimension
            assert len(points) <= 6
            assert ((points >= 0) & (points <= 1)).all()
            assert (points[:, 0] >= 0.5).all(), "a point that is not fresh"

    def test_same_seed_same_asks_also_when_interleaved(self, algorithm: str) -> None:
        settings = Settings(algorithm=algorithm, population=8, sweep=4)
        alone = asked(Searcher(SPACE, GOALS, settings, seed=5), 4)
        first, second = (Searcher(SPACE, GOALS, settings, seed=5) for _ in range(2))
        other = Searcher(SPACE, GOALS, settings, seed=6)
        for generation in range(4):
            for searcher in (first, other, second):
                trials = searcher.ask()
                assert (trials == alone[generation]) == (searcher is not other)
                searcher.tell(answer(trials))
        assert first.history == second.history
        assert first.history != other.history

    def test_ties_and_constraints_that_nothing_meets_are_broken_by_the_seed(
        self, algorithm: str
    ) -> None:
        goals = (Goal("a", True, 0.0, at_least=5.0), Goal("b", True, 0.0))

        def flat(trials: Sequence[Trial]) -> dict[str, Result]:
            return {c.id: {"a": 1.0, "b": 1.0} for c in candidates(trials)}

        settings = Settings(algorithm=algorithm, population=10, sweep=3)
        runs = [asked(Searcher(SPACE, goals, settings, seed=1), 5, flat) for _ in range(3)]
        assert runs[0] == runs[1] == runs[2]

    def test_global_random_state_is_neither_used_nor_changed(self, algorithm: str) -> None:
        settings = Settings(algorithm=algorithm, population=8, sweep=4)
        state = np.random.get_state(legacy=False)  # noqa: NPY002
        before = asked(Searcher(SPACE, GOALS, settings, seed=5), 2)
        after = np.random.get_state(legacy=False)  # noqa: NPY002
        np.testing.assert_array_equal(state["state"]["key"], after["state"]["key"])
        assert state["state"]["pos"] == after["state"]["pos"]
        np.random.seed(11)  # noqa: NPY002
        try:
            assert asked(Searcher(SPACE, GOALS, settings, seed=5), 2) == before
        finally:
            np.random.set_state(state)  # noqa: NPY002

    def test_the_front_is_the_feasible_front_of_everything_told(self, algorithm: str) -> None:
        searcher = Searcher(SPACE, GOALS, Settings(algorithm=algorithm, population=8), seed=2)
        seen = [c for trials in asked(searcher, 3) for c in candidates(trials)]
        rows = np.array([[measure(c)[g.name] for g in GOALS] for c in seen])
        feasible = rows[:, 0] >= 0.1
        up = [g.maximise for g in GOALS]
        keep = front.non_dominated(rows[feasible], maximise=up)
        meeting = [c for c, ok in zip(seen, feasible, strict=True) if ok]
        expected = {c.id for c, stays in zip(meeting, keep, strict=True) if stays}
        assert {scored.candidate.id for scored in searcher.front()} == expected
        volume = front.hypervolume(
            rows[feasible], reference=[g.reference for g in GOALS], maximise=up
        )
        assert searcher.history[-1].hypervolume == pytest.approx(volume, rel=1e-12)
