"""Ask, evaluate, tell on analytic problems."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import numpy as np
import pytest

from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.search import (
    ALGORITHMS,
    Failure,
    Goal,
    Searcher,
    Settings,
    run_search,
    sweep,
)
from pareto_rec.search.constraints import choose_parents, constraints, violation
from pareto_rec.search.parents import Parent, Parents
from pareto_rec.search.space import (
    Candidate,
    Choice,
    Integer,
    Real,
    SearchSpace,
)
from pareto_rec.testing.algorithms import GOALS, SPACE, answer, asked, candidates, measure

SMALL = Settings(population=8, sweep=6)


def evaluate(trials):
    yield from answer(trials).items()


# ---------------------------------------------------------------- determinism


def test_the_order_of_arrival_changes_nothing():
    def backwards(trials):
        yield from reversed(list(answer(trials).items()))

    runs = [Searcher(SPACE, GOALS, SMALL, seed=3) for _ in range(2)]
    assert run_search(runs[0], evaluate, 4) == run_search(runs[1], backwards, 4)
    assert runs[0].ask() == runs[1].ask()


def test_replay_of_stored_results_gives_identical_asks():
    store = {}

    def first(trials):
        store.update(answer(trials))
        yield from answer(trials).items()

    def replayed(trials):
        return ((c.id, store[c.id]) for c in candidates(trials))

    whole = Searcher(SPACE, GOALS, SMALL, seed=3)
    run_search(whole, first, 5)
    resumed = Searcher(SPACE, GOALS, SMALL, seed=3)
    run_search(resumed, replayed, 3)
    assert resumed.generation == 3
    run_search(resumed, replayed, 5)
    assert resumed.history == whole.history
    assert resumed.front() == whole.front()
    assert resumed.ask() == whole.ask()


def test_a_real_space_without_sweep_is_plain_nsga2():
    # pymoo 0.6.2's NSGA-II, driven by hand from the same start and the same seed
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.problems import get_problem
    from pymoo.termination import get_termination

    problem = get_problem("zdt1", n_var=8)
    space = SearchSpace({f"x{i}": Real(0.0, 1.0) for i in range(8)}, {})
    goals = [Goal("a", False, 1.1), Goal("b", False, 1.1)]
    searcher = Searcher(space, goals, Settings(population=20), seed=9)

    trials = searcher.ask()
    start = np.array([list(trial.train.values()) for trial in trials])
    plain = NSGA2(pop_size=20, sampling=start)
    plain.setup(problem, seed=child_seed(9, "algorithm"), termination=get_termination("n_gen", 99))
    for _ in range(12):
        children = plain.ask()
        ours = np.array([list(trial.train.values()) for trial in trials])
        np.testing.assert_allclose(ours, children.get("X"), atol=1e-5)
        values = problem.evaluate(ours)
        children.set("F", values)
        plain.tell(infills=children)
        searcher.tell(
            {
                trial.candidates[0].id: dict(zip("ab", row, strict=True))
                for trial, row in zip(trials, values, strict=True)
            }
        )
        trials = searcher.ask()


# ---------------------------------------------------------------- duplicates


def test_nothing_is_asked_for_twice():
    trials = list(itertools.chain(*asked(Searcher(SPACE, GOALS, SMALL, seed=4), 8)))
    ids = Counter(c.id for c in candidates(trials))
    fits = Counter(trial.train_id for trial in trials)
    assert set(ids.values()) == {1}
    assert set(fits.values()) == {1}  # new training variables as long as there are any
    assert len(trials) == 64


def test_trials_share_training_variables_and_know_their_place():
    for trials in asked(Searcher(SPACE, GOALS, SMALL, seed=4), 3):
        places = itertools.count()
        for index, trial in enumerate(trials):
            assert trial.index == index
            assert trial.position == next(places)
            assert {c.train_id for c in trial.candidates} == {trial.train_id}
            assert [trial.origin(i) for i in range(3)] == ["own", "sweep", "sweep"]
            for _ in trial.candidates[1:]:
                next(places)


def test_a_small_training_space_is_used_up_then_served_in_new_ways():
    space = SearchSpace({"model": Choice(("a", "b", "c"))}, {"mmr": Real(0.0, 1.0)})
    goals = [Goal("x", True, 0.0), Goal("y", True, 0.0)]

    def results(trials):
        return {c.id: {"x": c.serve["mmr"], "y": 1 - c.serve["mmr"]} for c in candidates(trials)}

    runs = asked(Searcher(space, goals, Settings(population=6, sweep=4), seed=1), 4, results)
    for trials in runs:
        fits = [trial.train_id for trial in trials]
        assert len(set(fits)) == len(fits) <= 3  # offspring that share a fit share a trial
        assert sum(trial.own for trial in trials) == 6
        assert all(len(trial.candidates) == 4 * trial.own for trial in trials)
    ids = [c.id for trials in runs for c in candidates(trials)]
    assert len(set(ids)) == len(ids)


def test_a_space_of_serving_variables_alone_is_one_trial_a_generation():
    space = SearchSpace({}, {"mmr": Real(0.0, 1.0), "penalty": Real(0.0, 1.0)})
    goals = [Goal("x", True, 0.0), Goal("y", True, 0.0)]

    def results(trials):
        return {
            c.id: {"x": c.serve["mmr"] * (1 - c.serve["penalty"]), "y": 1 - c.serve["mmr"]}
            for c in candidates(trials)
        }

    searcher = Searcher(space, goals, Settings(population=10, sweep=4), seed=1)
    runs = asked(searcher, 5, results)
    assert [[(t.own, len(t.candidates)) for t in trials] for trials in runs] == [[(10, 40)]] * 5
    # at penalty = 0 the front is x + y = 1 with hypervolume 1/2; random search ends at .44 to .452
    assert searcher.history[-1].hypervolume > 0.455
    assert searcher.history[-1].fits == 1


def test_an_exhausted_space_ends_the_search():
    space = SearchSpace({"a": Integer(1, 3)}, {"b": Choice(("x", "y"))})
    goals = [Goal("n", True, 0.0)]

    def results(trials):
        return ((c.id, {"n": float(c.train["a"])}) for c in candidates(trials))

    searcher = Searcher(space, goals, Settings(population=4, sweep=5), seed=1)
    assert run_search(searcher, results, 50)[-1].evaluated == 6
    assert searcher.ask() == []


# ---------------------------------------------------------------- the sweep


def test_the_first_sweeps_cover_the_serving_space():
    space = SearchSpace({"t": Real(0.0, 1.0)}, {"a": Real(0.0, 1.0), "b": Real(0.0, 1.0)})
    trials = Searcher(space, GOALS, Settings(population=4, sweep=17), seed=1).ask()
    for trial in trials:
        points = np.array([list(c.serve.values()) for c in trial.candidates[1:]])
        cells = Counter(map(tuple, (points * 2).astype(int)))
        assert len(points) == 16
        assert all(cells[cell] >= 2 for cell in itertools.product((0, 1), repeat=2))
    assert len({c.serve["a"] for c in candidates(trials)}) == 4 * 17


def test_later_sweeps_mix_copies_of_the_front_with_others():
    searcher = Searcher(SPACE, GOALS, Settings(population=8, sweep=13), seed=1)
    asked(searcher, 2)
    on_front = [scored.candidate.serve for scored in searcher.front()]
    for trial in searcher.ask():
        copies = [c for c in trial.candidates[1:] if c.serve in on_front]
        assert len(copies) == 3  # a quarter of twelve, copied exactly
        assert len({c.id for c in trial.candidates}) == 13


@pytest.mark.parametrize(("copied", "varied", "copies"), [(1.0, 0.0, 12), (0.0, 1.0, 0)])
def test_the_shares_of_a_sweep_are_settings(copied, varied, copies):
    settings = Settings(population=8, sweep=13, copied=copied, varied=varied)
    searcher = Searcher(SPACE, GOALS, settings, seed=1)
    asked(searcher, 2)
    on_front = [scored.candidate.serve for scored in searcher.front()]
    assert len(on_front) >= 12
    for trial in searcher.ask():
        assert sum(c.serve in on_front for c in trial.candidates[1:]) == copies


def test_without_serving_variables_or_sweep_a_trial_is_its_candidate():
    alone = SearchSpace(SPACE.train, {})
    for space, settings in ((alone, SMALL), (SPACE, Settings(population=8, sweep=1))):
        trials = Searcher(space, GOALS, settings, seed=1).ask()
        assert [len(trial.candidates) for trial in trials] == [1] * 8


def test_small_serving_spaces_shorten_the_sweep():
    space = SearchSpace({"t": Real(0.0, 1.0)}, {"s": Choice(("x", "y", "z"))})
    trials = Searcher(space, GOALS, SMALL, seed=1).ask()
    assert {len(trial.candidates) for trial in trials} == {3}


def test_variations_stay_in_the_cube_and_reach_every_value():
    axes = [(1, Choice(("a", "b", "c"))), (2, Integer(1, 4))]
    pool = np.array([[0.3, 0.5, 0.125], [0.6, 0.5, 0.125]])
    before = pool.copy()
    children = sweep.vary(pool, 300, axes, generator(1, "vary"))
    assert children.shape == (300, 3)
    assert ((children >= 0.0) & (children <= 1.0)).all()
    np.testing.assert_array_equal(pool, before)
    option = np.minimum(children[:, 1] * 3, 2).astype(int)
    whole = np.minimum(children[:, 2] * 4, 3).astype(int)
    unchanged = np.isin(children[:, 0], (0.3, 0.6)) & (option == 1) & (whole == 0)
    assert not unchanged.any()
    assert set(option) == {0, 1, 2}


def test_variations_can_stay_at_a_bound():
    pool = np.zeros((1, 4))  # no penalty, no re-ranking, ...
    children = sweep.vary(pool, 400, [], generator(1, "bound"))
    # half of the steps of a coordinate go outwards and are clipped
    assert 0.4 < (children.sum(axis=1) == 0.0).mean() + (children > 0.0).mean() < 0.8


def test_settling_moves_discrete_axes_to_another_value_and_leaves_the_rest():
    axes = [(1, Choice(("a", "b", "c"))), (2, Integer(1, 4))]
    before = np.tile([0.3, 0.5, 0.375], (200, 1))
    after = before + 0.01
    after[100:, 1:] = before[100:, 1:]
    settled = sweep.settle(before, after, axes, generator(1, "settle"))
    np.testing.assert_array_equal(settled[:, 0], after[:, 0])
    np.testing.assert_array_equal(settled[100:], after[100:])
    assert set(np.floor(settled[:100, 1] * 3)) == {0.0, 2.0}  # any other option
    assert set(np.floor(settled[:100, 2] * 4)) == {0.0, 2.0}  # the integers next to it


def test_a_generation_of_forty_sweeps_costs_little_after_five_thousand_records():
    searcher = Searcher(SPACE, GOALS, Settings(), seed=1)
    asked(searcher, 6)
    assert searcher.history[-1].evaluated == 6 * 40 * 24
    began = time.process_time()  # not of the other processes of a busy machine
    trials = searcher.ask()
    middle = time.process_time()
    results = answer(trials)
    resumed = time.process_time()
    searcher.tell(results)
    assert middle - began + time.process_time() - resumed < 1.0


# ---------------------------------------------------------------- first generation


def test_initial_candidates_and_corners_come_first():
    warm = SPACE.decode(np.full(SPACE.dimension, 0.3))
    settings = Settings(population=8, sweep=2, initial=(warm,))
    trials = Searcher(SPACE, GOALS, settings, seed=1).ask()
    assert len(trials) == 8
    assert trials[0].candidates[0] == warm
    corners = [trial.train["losses"] for trial in trials[1:4]]
    assert corners == [(1.0, 0.0, 0.0), (0.2, 0.8, 0.0), (0.2, 0.0, 0.8)]
    plain = Searcher(SPACE, GOALS, Settings(population=8, corners=False), seed=1).ask()
    assert all(min(trial.train["losses"]) > 0.0 for trial in plain)


def test_equal_initial_candidates_are_placed_once_and_foreign_ones_refused():
    warm = SPACE.decode(np.full(SPACE.dimension, 0.3))
    trials = Searcher(SPACE, GOALS, Settings(population=8, initial=(warm, warm)), seed=1).ask()
    assert sum(warm in trial.candidates for trial in trials) == 1
    with pytest.raises(BadRequestError, match="unknown variable"):
        Searcher(SPACE, GOALS, Settings(initial=(Candidate({"no": 1.0}, {}),)), seed=1)


def test_latin_hypercube_start_takes_every_stratum_once():
    space = SearchSpace({"a": Real(0.0, 1.0), "b": Real(0.0, 1.0)}, {})
    trials = Searcher(space, GOALS, Settings(population=10), seed=1).ask()
    for name in "ab":
        assert sorted(int(trial.train[name] * 10) for trial in trials) == list(range(10))
    trials = Searcher(space, GOALS, Settings(population=10, start="random"), seed=1).ask()
    assert sorted(int(trial.train["a"] * 10) for trial in trials) != list(range(10))


def test_offspring_may_differ_from_the_population():
    settings = Settings(population=12, offspring=5, sweep=2)
    assert [len(trials) for trials in asked(Searcher(SPACE, GOALS, settings, seed=1), 3)] == [5] * 3


# ---------------------------------------------------------------- parents


def told_of(searcher, results):
    """What reaches the algorithm when results are told."""
    told = []
    real = searcher._algorithm.tell
    searcher._algorithm.tell = lambda X, F, G: (told.append((X, F, G)), real(X, F, G))
    searcher.tell(results)
    return told[0]


def test_at_most_two_records_of_a_fit_become_parents():
    searcher = Searcher(SPACE, GOALS, SMALL, seed=1)
    for _ in range(3):
        trials = searcher.ask()
        X, F, G = told_of(searcher, answer(trials))
        fits = Counter(SPACE.decode(x).train_id for x in X)
        assert set(fits) == {trial.train_id for trial in trials}
        assert max(fits.values()) == 2
        for x, f, g in zip(X, F, G, strict=True):  # signs are flipped here, and only here
            values = measure(SPACE.decode(x))
            expected = [-values["accuracy"], -values["diversity"], values["cost"]]
            np.testing.assert_allclose(f, expected, rtol=1e-12)
            np.testing.assert_allclose(g, [(0.1 - values["accuracy"]) / 0.1], rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # goals: x up from 0, at least 2; y down from 10
        ([[1, 1], [4, 5], [3, 4], [5, 9]], [1, 2]),  # boxes 20, 18, 5; (3, 4) adds 3, (5, 9) 1
        ([[1, 1], [4, 5], [4, 5]], [1]),  # the second adds nothing
        ([[1, 1], [1.5, 9], [0, 0]], [1, 0]),  # none feasible: least violation first
        ([[3, 11], [2, 12], [4, 12]], [0, 2]),  # beyond the reference: the nearest non-dominated
        ([[0, 0]], [0]),
        (np.zeros((0, 2)), []),
    ],
)
def test_choice_of_parents_by_hand(values, expected):
    goals = (Goal("x", True, 0.0, at_least=2.0), Goal("y", False, 10.0))
    table = np.array(values, dtype=float)
    assert choose_parents(table, 2, goals).tolist() == expected


def test_constraints_by_hand():
    goals = (
        Goal("a", True, 0.0, at_least=0.1, at_most=0.4),
        Goal("b", False, 1.0),
        Goal("c", False, 1.0, at_most=0.0),
    )
    values = np.array([[0.05, 9.0, -1.0], [0.5, 9.0, 2.0]])
    expected = [[0.5, -0.875, -1.0], [-4.0, 0.25, 2.0]]  # in units of the bound, or natural at 0
    np.testing.assert_allclose(constraints(values, goals), expected)
    np.testing.assert_allclose(violation(values, goals), [0.5, 2.25])


def test_constraints_are_part_of_the_search():
    space = SearchSpace({"a": Real(0.0, 1.0), "b": Real(0.0, 1.0)}, {})
    goals = [Goal("x", True, 0.0, at_least=0.9), Goal("y", True, 0.0)]

    def results(trials):
        return {
            c.id: {"x": c.train["a"], "y": 1 - c.train["a"] * c.train["b"]}
            for c in candidates(trials)
        }

    searcher = Searcher(space, goals, Settings(population=12), seed=1)
    last = asked(searcher, 8, results)[-1]
    assert np.mean([trial.train["a"] >= 0.9 for trial in last]) > 0.7
    assert all(scored.objectives["x"] >= 0.9 for scored in searcher.front())
    assert searcher.history[-1].hypervolume > 0.9  # of 1, at a = 1 and b = 0


# ---------------------------------------------------------------- failures


def test_failures_are_counted_and_never_told():
    searcher = Searcher(SPACE, GOALS, SMALL, seed=1)

    def results(trials):
        whole = answer(trials)
        lost = {c.id for c in trials[0].candidates} | {trials[1].candidates[0].id}
        return {key: Failure("out of memory") if key in lost else whole[key] for key in whole}

    for generation in range(1, 4):
        trials = searcher.ask()
        X, F, _ = told_of(searcher, results(trials))
        assert np.isfinite(F).all()
        fits = {SPACE.decode(x).train_id for x in X}
        assert fits == {trial.train_id for trial in trials[1:]}
        ids = {SPACE.decode(x).id for x in X}
        assert trials[1].candidates[0].id not in ids
        progress = searcher.history[-1]
        assert progress.failed == 7 * generation
        assert progress.evaluated == 48 * generation
        assert progress.fits == 8 * generation


def test_a_generation_that_fails_as_a_whole_is_survived_unless_it_is_the_first():
    searcher = Searcher(SPACE, GOALS, SMALL, seed=1)
    trials = searcher.ask()
    reasons = {c.id: Failure("loss is NaN") for c in candidates(trials)}
    with pytest.raises(RunFailedError, match=r"all 48 .* first generation failed.*loss is NaN"):
        searcher.tell(reasons)

    searcher = Searcher(SPACE, GOALS, SMALL, seed=1)
    asked(searcher, 1)
    before = searcher.history[-1]
    trials = searcher.ask()
    after = searcher.tell({c.id: Failure("loss is NaN") for c in candidates(trials)})
    assert (after.front, after.hypervolume) == (before.front, before.hypervolume)
    assert len(searcher.ask()) == 8


def test_a_single_survivor_of_the_first_generation_is_enough():
    for algorithm in ALGORITHMS:
        searcher = Searcher(SPACE, GOALS, Settings(algorithm=algorithm, population=8), seed=1)
        trials = searcher.ask()
        results = {c.id: Failure("killed") for c in candidates(trials)}
        one = trials[3].candidates[2]
        searcher.tell(results | {one.id: measure(one)})
        assert len(asked(searcher, 2)[-1]) == 8


# ---------------------------------------------------------------- wrong use


def test_results_must_be_those_asked_for():
    searcher = Searcher(SPACE, GOALS, SMALL, seed=1)
    trials = searcher.ask()
    results = answer(trials)
    with pytest.raises(RuntimeError, match="tell the results of generation 0"):
        searcher.ask()
    first = next(iter(results))
    for wrong, words in [
        ({k: v for k, v in results.items() if k != first}, "must be those"),
        (results | {"ffffffffffff": results[first]}, "must be those"),
        (results | {first: {"accuracy": 0.1}}, "no value of diversity"),
        (results | {first: results[first] | {"cost": float("nan")}}, "tell a Failure"),
    ]:
        with pytest.raises(ValueError, match=words):
            searcher.tell(wrong)
    assert searcher.tell(results).generation == 0  # what was refused left no trace


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Settings(algorithm="nsga4"), 'unknown search algorithm "nsga4".*"nsga'),
        (lambda: Settings(start="grid"), 'unknown start "grid"'),
        (lambda: Settings(population=1), "population must be at least 2: 1"),
        (lambda: Settings(offspring=0), "offspring must be at least 1: 0"),
        (lambda: Settings(sweep=0), "sweep must be at least 1: 0"),
        (lambda: Settings(copied=0.7, varied=0.5), "sum to at most 1"),
        (lambda: Settings(copied=-0.1), "sum to at most 1"),
        (lambda: Goal("a", True, float("nan")), "must be finite"),
        (lambda: Goal("a", True, 0.0, at_least=2.0, at_most=1.0), "above at_most"),
        (lambda: Searcher(SPACE, [], SMALL, seed=1), "goals of different names"),
        (lambda: Searcher(SPACE, [GOALS[0]] * 2, SMALL, seed=1), "goals of different names"),
        (lambda: Searcher(SearchSpace({}, {}), GOALS, SMALL, seed=1), "nothing to vary"),
    ],
)
def test_bad_requests_are_refused(build, words):
    with pytest.raises(BadRequestError, match=words):
        build()


def test_on_generation_sees_every_generation():
    seen = []
    history = run_search(
        Searcher(SPACE, GOALS, SMALL, seed=1), evaluate, 3, on_generation=seen.append
    )
    assert tuple(seen) == history
    assert [progress.generation for progress in seen] == [0, 1, 2]
    volumes = [progress.hypervolume for progress in seen]
    assert volumes == sorted(volumes)


def test_inputs_are_not_mutated():
    goals = list(GOALS)
    searcher = Searcher(SPACE, goals, SMALL, seed=1)
    trials = searcher.ask()
    results = answer(trials)
    copy = {key: dict(value) for key, value in results.items()}
    searcher.tell(results)
    assert list(results) == list(copy)
    assert all(results[k].keys() == copy[k].keys() for k in copy)
    assert goals == list(GOALS)
    trials.clear()
    assert len(searcher.ask()) == 8


# ---------------------------------------------------------------- worth

LINE = SearchSpace(train={f"t{i}": Real(0.0, 1.0) for i in range(3)}, serve={"s": Real(0.0, 1.0)})


def alike(candidate):
    """Every fit alone does the same, so that its own records say nothing of it."""
    s = candidate.serve["s"]
    return {"a": s, "b": 1.0 - s}


def miss(train):
    """How far training variables are from the only ones that are worth something."""
    return float(np.sum((np.array(list(train.values())) - 0.8) ** 2))


def taught(seed, algorithm, surrogate, *, teaching):
    """The least miss of the last two generations."""
    settings = Settings(
        algorithm=algorithm, population=8, first=12, offspring=6, sweep=3, surrogate=surrogate
    )
    searcher, fits = Searcher(LINE, GOALS_AB, settings, seed=seed), {}

    def told(trials):
        fits.update({trial.train_id: trial.train for trial in trials})
        return [(c.id, alike(c)) for trial in trials for c in trial.candidates]

    def teach(_):
        if teaching:
            searcher.teach({key: max(1.0 - miss(train), 0.0) for key, train in fits.items()})

    run_search(searcher, told, 8, on_generation=teach)
    return np.mean(sorted(miss(train) for train in list(fits.values())[-12:])[:6])


GOALS_AB = (Goal("a", True, -1.0), Goal("b", True, -1.0))


@pytest.mark.parametrize("surrogate", ["none", "gaussian_process"])
def test_worth_leads_where_no_objective_does(surrogate):
    for seed in range(3):
        with_worth = taught(seed, "nsga2", surrogate, teaching=True)
        without = taught(seed, "nsga2", surrogate, teaching=False)
        print(with_worth, without)
        assert with_worth < 0.5 * without


def test_the_fits_that_are_worth_most_are_the_parents():
    parents = Parents(GOALS_AB)
    rows = {"x": (1, 0), "y": (0.2, 0.2), "z": (0, 1), "v": (0.6, 0.6), "w": (0.5, 0.5)}
    parents.add([Parent(fit, np.zeros(2), np.array(row)) for fit, row in rows.items()])
    parents.add([Parent("y", np.ones(2), np.array((0.1, 0.1)))])
    order = [one.fit for one in parents.by_worth({"w": 0.5, "y": 2.0})]
    assert order == ["y", "y", "w", "x", "z", "v"]
    assert [one.fit for one in Parents(GOALS_AB).by_worth({"w": 1.0})] == []


def test_of_fits_worth_nothing_those_that_break_a_bound_come_last():
    parents = Parents((Goal("a", True, 0.0, at_least=0.5), Goal("b", True, 0.0)))
    rows = {"x": (0.4, 9.0), "y": (0.6, 0.1), "z": (0.7, 0.2)}
    parents.add([Parent(fit, np.zeros(2), np.array(row)) for fit, row in rows.items()])
    assert [one.fit for one in parents.by_worth({})] == ["z", "y", "x"]


def test_teaching_waits_for_results():
    searcher = Searcher(SPACE, GOALS, SMALL, seed=3)
    searcher.teach({})
    trials = searcher.ask()
    with pytest.raises(RuntimeError, match="before teaching"):
        searcher.teach({})
    searcher.tell(answer(trials))
    searcher.teach({trials[0].train_id: 1.0})
    assert searcher.ask()
