"""Pre-selection by a model of the objectives: what it learns, chooses, and leaves as it was."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from threadpoolctl import threadpool_info

from pareto_rec.core.errors import BadRequestError
from pareto_rec.search import Failure, Goal, Searcher, Settings, run_search
from pareto_rec.search import pareto as front
from pareto_rec.search.archive import Archive
from pareto_rec.search.space import (
    Candidate,
    Choice,
    Integer,
    Real,
    SearchSpace,
)
from pareto_rec.search.surrogate import Surrogate
from pareto_rec.search.surrogate_selector import SurrogateSelector

GOALS = (Goal("a", True, 0.0), Goal("b", True, 0.0))
SPACE = SearchSpace(
    {**{f"t{i}": Real(0.0, 1.0) for i in range(5)}, "kind": Choice(("x", "y", "z"))},
    {"s": Real(0.0, 1.0), "mix": Real(0.0, 1.0), "depth": Integer(1, 9)},
)
GUIDED = Settings(population=8, first=8, offspring=2, sweep=8, surrogate="gaussian_process")
PLAIN = Settings(population=8, first=8, offspring=2, sweep=8)


def measured(candidate):
    """The better the training variables the more of both; `mix` trades one for the other."""
    train, serve = candidate.train, candidate.serve
    miss = sum((train[f"t{i}"] - 0.2 - 0.15 * i) ** 2 for i in range(5))
    good = np.exp(-3 * miss) * {"x": 0.6, "y": 1.0, "z": 0.7}[train["kind"]]
    good *= 1 - (serve["s"] - 0.7) ** 2 - 0.02 * abs(serve["depth"] - 5)
    mix = serve["mix"]
    return {"a": float(good * np.sqrt(1 - mix**2)), "b": float(good * mix)}


def answered(trials):
    return {c.id: measured(c) for trial in trials for c in trial.candidates}


def searched(settings, seed, generations, evaluate=answered):
    searcher = Searcher(SPACE, GOALS, settings, seed=seed)
    run_search(searcher, lambda trials: evaluate(trials).items(), generations)
    return searcher


def test_it_predicts_what_it_has_not_seen():
    rng = np.random.default_rng(0)
    cubes = rng.random((400, SPACE.dimension))
    values = np.array([list(measured(SPACE.decode(cube)).values()) for cube in cubes])
    surrogate = Surrogate(SPACE.discrete)
    surrogate.learn(cubes[:250], values[:250])
    miss = surrogate.predict(cubes[250:]) - values[250:]
    assert (miss.var(axis=0) < 0.2 * values[250:].var(axis=0)).all()


def test_of_many_records_the_first_are_learnt(monkeypatch):
    monkeypatch.setattr("pareto_rec.search.surrogate._KNOWN", 50)
    cubes = np.random.default_rng(0).random((200, 3))
    surrogate = Surrogate(())
    surrogate.learn(cubes, cubes[:, :1] ** 2)
    np.testing.assert_array_equal(surrogate._model.X_train_, cubes[:50])


def test_of_two_records_one_is_of_the_best_and_one_is_any():
    guide, rng = told_guide(300)
    order = guide._by_weight(rng)
    assert sorted(order) == list(range(300))
    ranks = front.ranks(guide._values, maximise=[True, True])
    assert ranks[order[:60]].mean() < 0.7 * ranks.mean()
    assert ranks[order[:60]].max() > np.median(ranks)


def test_the_order_of_options_means_nothing():
    space = SearchSpace({"kind": Choice(tuple("abcde"))}, {})
    cubes = (np.arange(40)[:, None] % 5 + 0.5) / 5
    worth = {0: 1.0, 1: 5.0, 2: 0.0, 3: 4.0, 4: 2.0}
    values = np.array([[worth[int(row[0] * 5)]] for row in cubes])
    surrogate = Surrogate(space.discrete)
    surrogate.learn(cubes, values)
    anywhere = np.array([[0.01], [0.39], [0.41], [0.79], [1.0]])  # ends of the bins
    found = surrogate.predict(anywhere)[:, 0]
    np.testing.assert_allclose(found, list(worth.values()), atol=0.3)


def told_guide(count, goals=GOALS, seed=0):
    rng = np.random.default_rng(seed)
    cubes = rng.random((count, SPACE.dimension))
    values = np.array([list(measured(SPACE.decode(cube)).values()) for cube in cubes])
    archive = Archive(goals, SPACE.dimension)
    guide = SurrogateSelector(SPACE.discrete, SPACE.train_dimension, goals, archive)
    guide.tell(cubes, values)
    archive.add([SPACE.decode(cube) for cube in cubes], cubes, values, fits=0, failed=0, pruned=0)
    guide.learn(rng)
    return guide, rng


def test_the_fits_that_promise_most_are_chosen():
    guide, rng = told_guide(300)
    proposals = rng.random((100, SPACE.dimension))
    chosen = guide.fits(proposals, 5, rng)
    assert len({row.tobytes() for row in chosen}) == len(chosen) <= 5
    assert {row.tobytes() for row in chosen} <= {row.tobytes() for row in proposals}

    def worth(cubes):  # of a fit at its best serving settings
        best = {"s": 0.7, "depth": 5, "mix": 0.7}
        heads = [SPACE.decode(cube) for cube in cubes]
        return [measured(type(one)(one.train, best))["a"] for one in heads]

    assert np.mean(worth(chosen)) > np.quantile(worth(proposals), 0.9)


def test_what_breaks_a_bound_promises_nothing():
    goals = (Goal("a", True, 0.0, at_least=0.7), Goal("b", True, 0.0))
    guide, rng = told_guide(300, goals)
    proposals = rng.random((100, SPACE.dimension))
    best = Candidate(SPACE.decode(proposals[0]).train, {"s": 0.7, "mix": 0.0, "depth": 5})
    for cube in guide.fits(proposals, 3, rng):
        assert measured(Candidate(SPACE.decode(cube).train, best.serve))["a"] > 0.6
    nothing = (Goal("a", True, 0.0, at_least=50.0), GOALS[1])
    guide, rng = told_guide(50, nothing)
    assert len(guide.fits(rng.random((20, SPACE.dimension)), 3, rng)) == 0


def test_it_reaches_more_with_the_same_fits():
    reached = {}
    for name, settings in (("plain", PLAIN), ("guided", GUIDED)):
        runs = [searched(settings, seed, 11) for seed in range(5)]
        assert {run.history[-1].fits for run in runs} == {28}
        assert {run.history[-1].evaluated for run in runs} == {28 * 8}
        reached[name] = np.median([run.history[-1].hypervolume for run in runs])
    print(reached)
    assert reached["guided"] > 1.1 * reached["plain"]


def test_it_asks_the_same_whatever_the_order_of_results():
    def backwards(trials):
        return dict(reversed(answered(trials).items()))

    one, other = searched(GUIDED, 3, 5), searched(GUIDED, 3, 5, backwards)
    assert one.history == other.history
    assert [c.id for t in one.ask() for c in t.candidates] == [
        c.id for t in other.ask() for c in t.candidates
    ]


def test_no_candidate_twice_and_no_fit_twice():
    searcher, ids, fits = Searcher(SPACE, GOALS, GUIDED, seed=1), [], []
    for generation in range(5):
        trials = searcher.ask()
        assert [trial.generation for trial in trials] == [generation] * len(trials)
        ids += [c.id for trial in trials for c in trial.candidates]
        fits += [trial.train_id for trial in trials]
        assert {len(trial.candidates) for trial in trials} == {8}
        searcher.tell(answered(trials))
    assert len(set(ids)) == len(ids) == 16 * 8
    assert len(set(fits)) == len(fits) == 16


def test_failures_and_infeasible_records_do_not_stop_it():
    def half(trials):
        found = answered(trials)
        for trial in trials[::2]:
            found |= {c.id: Failure("bad luck") for c in trial.candidates}
        return found

    assert searched(GUIDED, 0, 6, half).history[-1].hypervolume > 0
    goals = (Goal("a", True, 0.0, at_least=50.0), GOALS[1])  # never met
    searcher = Searcher(SPACE, goals, GUIDED, seed=0)
    last = run_search(searcher, lambda trials: answered(trials).items(), 4)[-1]
    assert (last.fits, last.front) == (14, 0)


@pytest.mark.parametrize("part", ["train", "serve"])
def test_spaces_of_one_kind_of_variable(part):
    variables = {"s": Real(0.0, 1.0), "mix": Real(0.0, 1.0)}
    given = {"train": {}, "serve": {}, part: variables}
    space = SearchSpace(given["train"], given["serve"])

    def value(candidate):
        row = getattr(candidate, part)
        return {"a": 1 - (row["s"] - 0.3) ** 2 - row["mix"], "b": row["mix"]}

    searcher = Searcher(space, GOALS, GUIDED, seed=0)
    run_search(searcher, lambda ts: [(c.id, value(c)) for t in ts for c in t.candidates], 6)
    assert searcher.history[-1].hypervolume > 0.4


def test_it_says_nothing_of_scales_at_their_bounds():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told_guide(40)


def test_an_unknown_surrogate_is_refused():
    with pytest.raises(BadRequestError, match="surrogate"):
        Settings(surrogate="forest")  # type: ignore[arg-type]


def test_sets_are_chosen_by_what_they_add():
    given, up = np.array([[0.5, 0.5]]), [True, True]
    sets = [
        np.array([[0.4, 0.4]]),
        np.array([[0.9, 0.2], [0.2, 0.9]]),
        np.zeros((0, 2)),
        np.array([[0.9, 0.25]]),
        np.array([[0.6, 0.6]]),
    ]
    options = {"reference": [0.0, 0.0], "maximise": up}
    assert front.select_sets(sets, 9, given=given, **options) == [1, 4, 3]
    assert front.select_sets(sets, 1, given=given[:0], **options) == [4]
    assert front.select_sets(sets, 0, given=given, **options) == []
    with pytest.raises(ValueError, match="negative"):
        front.select_sets(sets, -1, given=given, **options)


def test_sets_of_one_point_are_chosen_as_points_are():
    points = np.random.default_rng(0).random((40, 3))
    options = {"reference": [0.0] * 3, "maximise": [True, False, True]}
    options["reference"][1] = 1.0
    chosen = front.select_sets([p[None] for p in points], 6, given=points[:0], **options)
    assert chosen == front.select(points, 6, **options).tolist()


def test_it_goes_on_from_a_single_record_and_from_objectives_that_never_change():
    one = Settings(population=2, first=1, offspring=1, sweep=1, surrogate="gaussian_process")
    assert searched(one, 0, 5).history[-1].fits == 5

    def constant(trials):
        return {key: {"a": 0.5, "b": 0.5} for key in answered(trials)}

    assert searched(GUIDED, 0, 4, constant).history[-1].fits == 14


def test_a_space_that_runs_out_ends_the_search():
    space = SearchSpace({"kind": Choice(("x", "y", "z"))}, {"depth": Integer(1, 3)})
    settings = Settings(
        population=4, first=2, offspring=2, sweep=1, surrogate="gaussian_process", corners=False
    )

    def value(candidate):
        depth = candidate.serve["depth"]
        return {"a": depth / 4, "b": (1 - depth / 4) * (candidate.train["kind"] == "y")}

    searcher = Searcher(space, GOALS, settings, seed=0)
    run_search(searcher, lambda ts: [(c.id, value(c)) for t in ts for c in t.candidates], 9)
    assert searcher.history[-1].evaluated == 9  # everything there is
    assert searcher.ask() == []


def test_many_objectives_are_judged_on_a_part_of_the_front(monkeypatch):
    goals = tuple(Goal(f"o{i}", True, 0.0) for i in range(6))
    space = SearchSpace({f"t{i}": Real(0.0, 1.0) for i in range(6)}, {"s": Real(0.0, 1.0)})
    sizes, real = [], front.hypervolume

    def counted(values, **options):
        sizes.append(len(values))
        return real(values, **options)

    def value(candidate):
        row = np.array([*candidate.train.values()]) + 0.1
        row = row / np.linalg.norm(row) * (1 - 0.1 * candidate.serve["s"])
        return dict(zip((goal.name for goal in goals), row.tolist(), strict=True))

    monkeypatch.setattr("pareto_rec.search.surrogate_selector._THINNED", 10)
    settings = Settings(population=8, offspring=4, sweep=4, surrogate="gaussian_process")
    searcher = Searcher(space, goals, settings, seed=0)
    run_search(searcher, lambda ts: [(c.id, value(c)) for t in ts for c in t.candidates], 4)
    monkeypatch.setattr(front, "hypervolume", counted)
    assert searcher.history[-1].front > 14
    assert len(searcher.ask()) == 4
    assert sizes[0] == 10  # of the front alone, before any set is added


def test_it_learns_and_predicts_in_one_thread_and_leaves_the_setting_alone(monkeypatch):
    threads = []

    def noted(method):
        def call(self, *args, **options):
            threads.append(max(one["num_threads"] for one in threadpool_info()))
            return method(self, *args, **options)

        return call

    for name in ("fit", "predict"):
        real = getattr(GaussianProcessRegressor, name)
        monkeypatch.setattr(GaussianProcessRegressor, name, noted(real))
    before = [one["num_threads"] for one in threadpool_info()]
    guide, rng = told_guide(60)
    guide.fits(rng.random((10, SPACE.dimension)), 2, rng)
    assert len(threads) > 2
    assert set(threads) == {1}
    assert [one["num_threads"] for one in threadpool_info()][: len(before)] == before
