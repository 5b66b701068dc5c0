"""How often 95 % intervals hold the truth: synthetic fronts of every kind of objective.

    python -m benchmarks.intervals --fronts 500 --out results/evidence/intervals

A front is three points, as a search would find them, and three of an opponent; each point has
three seeds, and all points recommend to the same users. Users come in groups, like items by
popularity, by cluster and by themselves, and wait for a few items each. Every seed likes some items
more. What a confirmation would say of these lists is compared with what is true of all users and
seeds:

- of NDCG, and of its worst group, gap and ratio, what many users give, seeds averaged;
- of coverage, Gini and personalization, which depend on how many users there are, the mean over
  other fronts of as many users;
- of hypervolumes and their ratio, what they are at the true values.

Groups fare apart in one world; in the other they fare alike, where the smallest of their means is
biased most and the true gap is 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Interval
from pareto_rec.analysis.confirm import statistics
from pareto_rec.analysis.confirm.measure import Values
from pareto_rec.analysis.confirm.statistics import StageFigures
from pareto_rec.core.seeds import generator
from pareto_rec.data.schema import Items, Users
from pareto_rec.evaluation.measurement import by_user
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, SetObjective, UserObjective, parse
from pareto_rec.objectives.fairness import GroupObjective
from pareto_rec.search import Goal

Floats = NDArray[np.float64]

ITEMS, CLUSTERS, LENGTH, WAITED, SEEDS = 120, 5, 10, 5, 3
SHARES = (0.4, 0.3, 0.2, 0.1)  # of the groups among the users
POPULARITY = (0.0, 0.7, 1.6)  # how much a point adds of it: its place on the front
SKILL = (1.0, 0.7)  # how well the search and its opponent know users
POINTS = len(POPULARITY) * len(SKILL)
WORLDS: Mapping[str, tuple[float, ...]] = {
    "groups apart": (0.5, 0.9, 1.3, 1.7),  # how predictable the users of each group are
    "groups alike": (1.1, 1.1, 1.1, 1.1),
}
BASE = "ndcg@10"
NAMES = (
    BASE,
    *(f"{family}({BASE} by band)" for family in ("worst", "gap", "ratio")),
    *("coverage@10", "exposure_gini@10", "personalization@10"),
)
OBJECTIVES = {name: parse(name) for name in NAMES}
FRONTS = {  # objectives of a front, and what is worth nothing
    "front of users, worst group, set": {NAMES[0]: 0.02, NAMES[1]: 0.01, NAMES[6]: 0.3},
    "front of users, set": {NAMES[0]: 0.02, NAMES[4]: 0.1},
}


@dataclass(frozen=True)
class World:
    """Facts that all fronts share, and from which users and lists are drawn.

    Attributes:
        sharpness: How predictable users are, by group.
        popularity: ``[items]``.
        taste: Of the clusters ``[clusters, items]``.
    """

    sharpness: tuple[float, ...]
    popularity: Floats
    taste: Floats

    @classmethod
    def of(cls, name: str) -> World:
        """Return a world by its name."""
        rng = generator(0, "intervals", "world")
        taste = rng.normal(0.0, 1.0, (CLUSTERS, ITEMS))
        return cls(WORLDS[name], rng.normal(0.0, 1.0, ITEMS), taste)

    def outcomes(self, users: int, seeds: int, *labels: object) -> list[list[Outcome]]:
        """Draw users and the lists of every point under every seed ``[points][seeds]``."""
        rng = generator(0, "intervals", *map(str, labels))
        group = rng.choice(len(SHARES), size=users, p=SHARES)
        likes = self.taste[rng.integers(CLUSTERS, size=users)] + self.popularity
        likes = likes + rng.normal(0.0, 0.7, (users, ITEMS))
        wish = np.array(self.sharpness)[group][:, None] * likes + rng.gumbel(size=likes.shape)
        held_out = HeldOut(_marked(np.argsort(-wish, axis=1)[:, :WAITED]))
        known = self._outcome(group, held_out)
        by_seed = []
        for _ in range(seeds):
            chance = rng.normal(0.0, 0.25, ITEMS) + rng.normal(0.0, 0.5, likes.shape)
            by_seed.append(
                [
                    replace(known, lists=_top(skill * likes + more * self.popularity + chance))
                    for skill in SKILL
                    for more in POPULARITY
                ]
            )
        return [list(row) for row in zip(*by_seed, strict=True)]

    def _outcome(self, group: NDArray[np.int64], held_out: HeldOut) -> Outcome:
        text = tuple(map(str, range(ITEMS)))
        items = Items(text, text, text, np.zeros((ITEMS, 0), dtype=np.float32), ())
        ids = tuple(map(str, range(len(group))))
        users = Users(ids, {"band": tuple(map(str, group))})
        catalogue = Catalogue(items, users, np.ones(ITEMS, dtype=np.int64))
        nothing = np.zeros((len(group), LENGTH))
        return Outcome(
            nothing.astype(np.int64),
            nothing.astype(np.float32),
            {"waited": held_out},
            "waited",
            catalogue,
        )


def _marked(items: NDArray[np.int64]) -> sparse.csr_array:
    rows = np.repeat(np.arange(len(items)), items.shape[1])
    ones = np.ones(items.size, dtype=np.float32)
    return sparse.csr_array((ones, (rows, items.ravel())), shape=(len(items), ITEMS))


def _top(scores: Floats) -> NDArray[np.int64]:
    first = np.argpartition(-scores, LENGTH, axis=1)[:, :LENGTH]
    order = np.argsort(-np.take_along_axis(scores, first, axis=1), axis=1)
    return np.asarray(np.take_along_axis(first, order, axis=1), dtype=np.int64)


def truth(world: World, users: int, fronts: int, people: int) -> dict[str, Floats]:
    """Return the true value of every objective ``[points]``.

    Args:
        world: Which.
        users: Of one front.
        fronts: How many others are averaged for objectives that depend on the number of users.
        people: How many users stand for all of them in the others.
    """
    sets = [name for name, one in OBJECTIVES.items() if not isinstance(one, GroupObjective)]
    sets = [name for name in sets if isinstance(OBJECTIVES[name], SetObjective)]
    of_sets = {name: np.zeros(POINTS) for name in sets}
    for number in range(fronts):
        outcomes = world.outcomes(users, 1, "truth", number)
        for point, (outcome,) in enumerate(outcomes):
            for name in sets:
                of_sets[name][point] += OBJECTIVES[name].value(outcome) / fronts
    everybody = world.outcomes(people, 24, "everybody")
    ndcg = OBJECTIVES[BASE]
    assert isinstance(ndcg, UserObjective)
    per_user = [[ndcg.per_user(outcome) for outcome in row] for row in everybody]
    means = np.mean(per_user, axis=1)  # [points, users]
    codes = everybody[0][0].catalogue.groups("band")[1]
    by_group = np.stack(
        [means[:, codes == group].mean(axis=1) for group in range(len(SHARES))], axis=1
    )
    if len(set(world.sharpness)) == 1:
        by_group[:] = means.mean(axis=1, keepdims=True)  # alike, which finitely many are not
    found = {BASE: by_group @ np.array(SHARES)} | of_sets
    for name, one in OBJECTIVES.items():
        if isinstance(one, GroupObjective):
            found[name] = one.combine_all(by_group)
    return found


def _answers(world: World, users: int, number: int) -> dict[tuple[int, int], Values]:
    """Measure the points of a front under every seed."""
    return {
        (point, seed): {name: by_user(one, outcome) for name, one in OBJECTIVES.items()}
        for point, row in enumerate(world.outcomes(users, SEEDS, "front", number))
        for seed, outcome in enumerate(row)
    }


def _goals(references: Mapping[str, float]) -> list[Goal]:
    return [Goal(name, OBJECTIVES[name].maximise, bound) for name, bound in references.items()]


def _volumes(stage: StageFigures, goals: Sequence[Goal]) -> tuple[Interval, Interval]:
    """Return the hypervolume of the search and its ratio to the opponent's."""
    half = POINTS // len(SKILL)
    mine = statistics.front_figures(stage, range(half), goals)
    other = statistics.front_figures(stage, range(half, POINTS), goals)
    unknown = Interval(float("nan"), float("nan"), float("nan"))
    return mine.volume, statistics.paired(mine, other) or unknown


@dataclass
class Tally:
    """How often intervals held the truth.

    Attributes:
        held: How often.
        of: Of how many.
        width: Sum of their widths.
        off: Sum of what the values lay above the truth.
        bias: Sum of what was said of that.
    """

    held: int = 0
    of: int = 0
    width: float = 0.0
    off: float = 0.0
    bias: float = 0.0

    def add(self, interval: Interval, true: float, bias: float | None = None) -> None:
        """Count one interval; one without ends says that the value is sure."""
        low, high = (
            interval.value if np.isnan(end) else end for end in (interval.low, interval.high)
        )
        self.held += bool(low - 1e-9 <= true <= high + 1e-9)
        self.of += 1
        self.width += high - low
        self.off += interval.value - true
        self.bias += bias or 0.0

    def row(self, kind: str) -> dict[str, Any]:
        """Return what is shown of it."""
        return {
            "kind": kind,
            "held": round(self.held / self.of, 4),
            "intervals": self.of,
            "width": round(self.width / self.of, 5),
            "off": round(self.off / self.of, 5),
            "bias shown": round(self.bias / self.of, 5),
        }


def simulate(
    name: str, *, fronts: int, users: int, draws: int, others: int, people: int
) -> list[dict[str, Any]]:
    """Return how often the intervals of each kind of objective hold the truth in a world.

    Args:
        name: Of the world.
        fronts: How many.
        users: Of each front.
        draws: How often each is resampled.
        others: Fronts that the truth of set objectives is averaged over.
        people: Users that the truth of the others is measured on.
    """
    world = World.of(name)
    true = truth(world, users, others, people)
    tallies: dict[str, Tally] = {name: Tally() for name in NAMES}
    for number in range(fronts):
        answers = _answers(world, users, number)
        for front, references in FRONTS.items():
            goals = _goals(references)
            is_first = front == next(iter(FRONTS))
            stage = statistics.figures(
                answers,
                POINTS,
                SEEDS,
                names=list(NAMES if is_first else references),
                goals=goals,
                draws=draws,
                seed=number,
                objectives=OBJECTIVES,
            )
            if is_first:
                _count_points(stage, true, tallies)
            values = np.stack([true[goal.name] for goal in goals], axis=1)
            half = POINTS // len(SKILL)
            volumes = [_volume(values[:half], goals), _volume(values[half:], goals)]
            mine, ratio = _volumes(stage, goals)
            tallies.setdefault(f"hypervolume: {front}", Tally()).add(mine, volumes[0])
            of_ratio = tallies.setdefault(f"ratio of hypervolumes: {front}", Tally())
            of_ratio.add(ratio, volumes[0] / volumes[1])
    return [tally.row(kind) for kind, tally in tallies.items()]


def _count_points(
    stage: StageFigures, true: Mapping[str, Floats], tallies: Mapping[str, Tally]
) -> None:
    for name, summaries in stage.summaries.items():
        for place, one in enumerate(summaries):
            interval = Interval(one.mean, one.low, one.high)
            tallies[name].add(interval, float(true[name][place]), one.bias)


def _volume(values: Floats, goals: Sequence[Goal]) -> float:
    return float(
        bootstrap.hypervolumes(
            values[None],
            np.ones((1, len(values)), dtype=bool),
            reference=[goal.reference for goal in goals],
            maximise=[goal.maximise for goal in goals],
        )[0]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate both worlds, print a table and write intervals.json."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--fronts", type=int, default=500)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    began, content = time.process_time(), {}
    for name in WORLDS:
        rows = simulate(
            name,
            fronts=options.fronts,
            users=options.users,
            draws=options.draws,
            others=options.fronts,
            people=8000,
        )
        content[name] = rows
        print(name, flush=True)
        for row in rows:
            print(
                f"  {row['kind']:<60} {row['held']:.3f} of {row['intervals']:,}, "
                f"width {row['width']:.4f}, off {row['off']:+.4f}, shown {row['bias shown']:+.4f}",
                flush=True,
            )
    seconds = round(time.process_time() - began, 1)
    print(f"{options.fronts} fronts of {options.users} users each: {seconds} processor seconds")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"worlds": content, "seconds": seconds}, indent=2) + "\n"
        (options.out / "intervals.json").write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
