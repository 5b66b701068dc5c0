"""Generations of fits and rounds of settings by turns: what is asked when, and who decides."""
# ruff: noqa: ARG002  # a stage that is made up looks at few of its arguments

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pareto_rec.execution.fit_worth import by_fit
from pareto_rec.execution.serving_stage import ServingStage
from pareto_rec.execution.trial_runner import TrialRunner
from pareto_rec.execution.two_levels import Listeners, TwoLevels
from pareto_rec.experiment.config import SearchConfig
from pareto_rec.runs.record import Record
from pareto_rec.search import Goal, Progress, Result, Searcher, Settings, Trial
from pareto_rec.search.space import Real, SearchSpace, Simplex

GOALS = (Goal("a", True, 0.0), Goal("b", True, 0.0))
SPACE = SearchSpace({"t": Real(0.0, 1.0)}, {"s": Real(0.0, 1.0)})


class World:
    """A stage and a runner whose records are counted, and whose rounds take a second each."""

    def __init__(self, stored: Mapping[int, str] | None = None, gain: float = 1.0) -> None:
        self.stored, self.gain = dict(stored or {}), gain
        self.kinds: list[str] = []  # of each number
        self.sizes: list[int] = []
        self.taught: list[int] = []
        self.slots: tuple[str, ...] = ("ease",)

    # the runner
    def __call__(self, trials: Sequence[Trial]) -> Iterable[tuple[str, Result]]:
        assert {trial.generation for trial in trials} == {len(self.kinds)}
        self._came("own", sum(len(trial.candidates) for trial in trials))
        for trial in trials:
            for one in trial.candidates:
                s = one.serve["s"]
                assert isinstance(s, float)
                yield one.id, {"a": s, "b": 1.0 - s}

    def stored_origin(self, generation: int) -> str | None:
        return self.stored.get(generation)

    # the stage
    def replicas(self, generation: int) -> list[str]:
        return []

    def space(self, generation: int) -> SimpleNamespace:
        return SimpleNamespace(slots=self.slots)

    def searcher(self, space: object, generation: int) -> None:
        return None

    def round(self, searcher: None, generation: int, most: int) -> int:
        assert generation == len(self.kinds)
        self._came("serving", min(most, 10))
        return self.sizes[-1]

    def progress(self, generation: int) -> Progress:
        return Progress(generation, 0, 0, 0, 0, 0.0)

    # its history
    @property
    def history(self) -> World:
        return self

    def counted(self, begin: int, end: int) -> int:
        return sum(self.sizes[begin:end])

    def trained(self, begin: int, end: int) -> int:
        return 4

    def seconds(self, begin: int, end: int) -> float:
        return float(end - begin)

    def gained(self, begin: int, middle: int, end: int) -> tuple[float, float]:
        return 1.0, self.gain

    def worth_of_training(self, generation: int) -> dict[str, float]:
        self.taught.append(generation)
        return {}

    def _came(self, kind: str, size: int) -> None:
        self.kinds.append(kind)
        self.sizes.append(size)


def run(world: World, **serving: Any) -> list[int]:
    """Search; numbers of the generations and rounds that were told of, in their order."""
    config = SearchConfig.model_validate(
        {"generations": 3, "population": 4, "sweep": 2, "serving": {"population": 10, **serving}}
    )
    numbers: list[int] = []
    listeners = Listeners(lambda progress: numbers.append(progress.generation), lambda _: None)
    searcher = Searcher(SPACE, GOALS, Settings(population=4, sweep=2), seed=0)
    stage, answers = cast(ServingStage, world), cast(TrialRunner, world)
    TwoLevels(searcher, stage, answers, config, listeners).run()
    return numbers


def letters(world: World) -> str:
    """``f`` for fits and ``s`` for settings."""
    return "".join("f" if kind == "own" else "s" for kind in world.kinds)


def test_without_every_settings_come_at_the_end() -> None:
    world = World()
    assert run(world, settings=75) == list(range(11))
    assert letters(world) == "fff" + 8 * "s"
    assert world.sizes[-1] == 5
    assert world.taught == []


def test_half_of_the_settings_are_kept_for_the_end() -> None:
    world = World(gain=1.0)
    numbers = run(world, settings=100, every=1)
    assert numbers == list(range(len(world.kinds)))
    first, second = letters(world).split("f")[1:3]
    assert len(first) == 2  # 25 in whole rounds
    assert len(first) + len(second) <= 5
    assert sum(world.sizes) == 3 * 4 * 2 + 100
    assert len(world.taught) == 2


@pytest.mark.parametrize(("gain", "second"), [(100.0, 13), (0.0, 6)])  # of 130 that are left
def test_more_settings_come_where_they_gained_more_than_fits(gain: float, second: int) -> None:
    world = World(gain=gain)
    run(world, settings=500, every=1)
    parts = letters(world).split("f")
    assert [len(parts[1]), len(parts[2])] == [12, second]


def test_every_second_generation() -> None:
    world = World()
    run(world, settings=100, every=2)
    assert letters(world) == "ff" + 5 * "s" + "f" + 5 * "s"


def test_seconds_end_a_part_by_the_stamps_of_the_records() -> None:
    world = World(gain=0.25)  # four seconds for a part of 4, as the fits: half as much next
    run(world, seconds=16.0, every=1)
    assert letters(world) == "f" + 4 * "s" + "f" + 2 * "s" + "f" + 10 * "s"


def test_what_is_stored_was_decided_already() -> None:
    kinds = ["own", *3 * ["serving"], "own", *6 * ["serving"], "own", *2 * ["serving"]]
    world = World(stored=dict(enumerate(kinds)), gain=0.25)
    run(world, seconds=16.0, every=1)
    assert world.kinds[: len(kinds)] == kinds
    assert world.kinds[len(kinds) :] == 5 * ["serving"]  # until 16 seconds are over


def test_without_anything_to_fuse_no_settings_are_searched() -> None:
    world = World()
    world.slots = ()
    run(world, settings=100, every=1)
    assert letters(world) == "fff"


def record(fits: str, values: tuple[float, float], generation: int, at: float) -> Record:
    """A record of fits that are named by letters, at some second of the search."""
    several = "+" in fits
    return Record(
        id=f"{fits}{values}",
        fit=fits,
        members={},
        seed=0,
        generation=generation,
        position=0,
        origin="serving" if several else "own",
        train={} if several else {"t": fits},
        serve={},
        status="ok",
        objectives=dict(zip(("a", "b"), values, strict=True)),
        timing={"elapsed_s": at},
    )


@pytest.fixture
def stage() -> ServingStage:
    records = [
        record("x", (2.0, 1.0), 0, 1.0),
        record("y", (1.0, 2.0), 1, 4.0),
        record("x+y", (2.0, 2.0), 2, 6.0),
        record("experts", (1.0, 3.0), 2, 6.5),
        record("z", (0.5, 0.5), 3, 9.0),
    ]
    config = SearchConfig.model_validate({"serving": {"pool": 2}})
    experiment = SimpleNamespace(
        config=SimpleNamespace(search=config, seed=0),
        goals=GOALS,
        space=SearchSpace({}, {"fusion": Simplex(("network", "ease"))}),
        experts=("ease",),
    )
    journal: Any = SimpleNamespace(records=records)
    nobody: Any = None
    return ServingStage(cast(Any, experiment), nobody, journal, nobody)


def test_settings_of_one_fit_are_no_records_of_its_own(stage: ServingStage) -> None:
    rows = list(stage.history.journal.records)
    rows.append(replace(record("y", (9.0, 9.0), 4, 9.0), id="s", origin="serving", train={}))
    found = {one.fit: len(one.records) for one in by_fit(rows, GOALS)}
    assert found == {"x": 1, "y": 1, "z": 1}


def test_worth_is_what_removal_costs(stage: ServingStage) -> None:
    history = stage.history
    # the front is (2, 2) and (1, 3), of volume 5; without x or y, (1, 3) and what is left below
    assert history.worth(4) == {"x": 5.0 - 3.0, "y": 5.0 - 4.0}
    assert history.worth(2) == {"x": 1.0, "y": 1.0}
    by_training = history.worth_of_training(4)
    assert sorted(by_training.values()) == [1.0, 2.0]


def test_gain_is_parted_between_new_fits_and_settings(stage: ServingStage) -> None:
    history = stage.history
    # before y there is (2, 1); without y there are (2, 1) and (1, 3) after the settings
    assert history.gained(1, 2, 3) == (5.0 - 4.0, 4.0 - 2.0)
    assert history.gained(0, 2, 3) == (5.0 - 3.0, 3.0)
    assert history.counted(2, 3) == 2
    assert (history.trained(0, 2), history.trained(1, 2), history.trained(3, 4)) == (2, 1, 1)
    assert history.seconds(2, 3) == pytest.approx(2.5)


def test_new_fits_take_up_to_half_of_the_pool_and_the_worthiest_the_rest(
    stage: ServingStage,
) -> None:
    assert [tuple(one.shares) for one in stage.space(2).slots] == [("ease",), ("x",), ("y",)]
    assert [tuple(one.shares) for one in stage.space(4).slots] == [("ease",), ("x",), ("z",)]
