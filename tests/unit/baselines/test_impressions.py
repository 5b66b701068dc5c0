"""Baselines that learn from impressions: what they see, what they find, and what has no say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pareto_rec.baselines import BASELINES, ScoresOnDemand, check_impressions
from pareto_rec.baselines.impression_content import ItemContent, UserContent
from pareto_rec.baselines.impression_features import FOLDS, Past, folds_of
from pareto_rec.baselines.impressions import ImpressionModel, impressions_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Items, Stage, Users

NAMES = ("boosted_trees", "logistic_regression")
USERS, ITEMS, ROWS = 80, 40, 30
KINDS = ("cup", "jug", "tin", "pan")
OWN = {  # parameters for data this small
    "boosted_trees": {"trees": 60, "leaves": 8, "rate": 0.1, "least_rows": 20},
    "logistic_regression": {},
}


def rows_of(
    user: np.ndarray,
    item: np.ndarray,
    time: np.ndarray,
    taken: np.ndarray,
    position: np.ndarray | None = None,
) -> Interactions:
    """Rows sorted by user, time and item."""
    order = np.lexsort((item, time, user))
    signals = {"taken": taken[order].astype(np.float32)}
    place = None if position is None else position[order]
    return Interactions(user[order], item[order], time[order], signals, place)


def stage_of(
    shown: Interactions, *, people: dict[str, tuple[str, ...]], things: Items, users: int = USERS
) -> Stage:
    """A stage in which all impressions are of the training part."""
    train = shown.take(shown.positive())
    ids = tuple(f"u{n}" for n in range(users))
    known = things, Users(ids, people), "made up", shown, shown
    return Stage("validation", train, train, train, *known)


def catalogue(items: int = ITEMS, prices: bool = True) -> Items:
    """Items of four kinds in turns, with prices."""
    names = tuple(f"i{n}" for n in range(items))
    kinds = np.eye(4, dtype=np.float32)[np.arange(items) % 4]
    cost = np.linspace(1, 20, items).astype(np.float32) if prices else None
    makers = tuple(("ann", "bob", "")[n % 3] for n in range(items))
    return Items(names, names, names, kinds, KINDS, cost, {"maker": makers})


def world(seed: int = 0, *, timed: bool = True) -> Stage:
    """Young people take cups and jugs, old ones tins and pans, nine times in ten; else seldom."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(USERS), ROWS)
    item = np.concatenate([rng.permutation(ITEMS)[:ROWS] for _ in range(USERS)])
    time = np.tile(np.arange(ROWS), USERS) if timed else np.zeros(USERS * ROWS, dtype=np.int64)
    fits = (user % 2 == 0) == (item % 4 < 2)
    taken = rng.random(len(user)) < np.where(fits, 0.9, 0.05)
    ages = tuple(("young", "old")[n % 2] for n in range(USERS))
    return stage_of(rows_of(user, item, time, taken), people={"age": ages}, things=catalogue())


def renamed(stage: Stage, seed: int) -> tuple[Stage, np.ndarray, np.ndarray]:
    """The same stage with other ids and numbers, and the new numbers of users and items."""
    rng = np.random.default_rng(seed)
    assert stage.shown is not None
    users, items = rng.permutation(stage.shape[0]), rng.permutation(stage.shape[1])
    back, old = np.argsort(users), np.argsort(items)
    names = tuple(f"new{n}" for n in range(stage.shape[1]))
    things = replace(
        stage.items,
        ids=names,
        texts=names,
        titles=names,
        categories=stage.items.categories[old],
        prices=None if stage.items.prices is None else stage.items.prices[old],
        attributes={k: tuple(v[n] for n in old) for k, v in stage.items.attributes.items()},
    )
    people = {k: tuple(v[n] for n in back) for k, v in stage.users.attributes.items()}
    rows = stage.shown
    shown = rows_of(users[rows.user], items[rows.item], rows.time, rows.signals["taken"])
    return stage_of(shown, people=people, things=things), users, items


def model_of(name: str, stage: Stage) -> ImpressionModel:
    model = replace(BASELINES[name], **OWN[name]).learn(stage)  # type: ignore[type-var]
    assert isinstance(model, ImpressionModel)
    return model


def scores_of(name: str, stage: Stage) -> np.ndarray:
    return ScoresOnDemand.of(model_of(name, stage), stage)[:]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_rule_is_found(name: str, timed: bool) -> None:
    """Also for people without a history, by what is known of them."""
    stage = world(timed=timed)
    empty = replace(stage, history=stage.history.take(np.zeros(0, dtype=np.int64)))
    fits = (np.arange(USERS)[:, None] % 2 == 0) == (np.arange(ITEMS) % 4 < 2)
    # without times, no row that is learnt from has an empty history
    for of, least in ((stage, 0.95), *([(empty, 0.65)] if timed else [])):
        scores = ScoresOnDemand.of(model_of(name, stage), of)[:]
        right = scores[fits][:, None] > scores[~fits][None]
        assert right.mean() > least
    # of an unknown user nothing but the history tells what is taken
    alone = model_of(name, stage).score(stage.history_indptr, stage.history.item)
    assert (alone[fits].mean() - alone[~fits].mean()) > 0.5


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_neither_ids_nor_their_order_have_a_say(name: str, timed: bool) -> None:
    stage = world(1, timed=timed)
    plain = scores_of(name, stage)
    np.testing.assert_array_equal(plain, scores_of(name, world(1, timed=timed)))
    other, users, items = renamed(stage, 5)
    np.testing.assert_array_equal(scores_of(name, other)[users][:, items], plain)


def test_rows_that_come_later_change_no_feature() -> None:
    stage = world(2)
    content, shown = ItemContent.of(stage.items), stage.shown
    assert shown is not None
    early = shown.take(shown.time < 12)
    rng = np.random.default_rng(0)
    late = np.flatnonzero(shown.time >= 12)
    item, taken = shown.item.copy(), shown.signals["taken"].copy()
    item[late], taken[late] = rng.permutation(item[late]), rng.permutation(taken[late])
    shuffled = rows_of(shown.user, item, shown.time, taken)
    found = [
        np.concatenate(
            [
                past.of_items(early.item, early.time),
                past.at_rows(early.user, early.item, early.time),
            ],
            axis=1,
        )
        for rows in (shown, shuffled, early)
        for past in [Past(rows.take(rows.positive()), rows, content)]
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    whole = Past(stage.train, shown, content).of_items(early.item, None)
    assert (whole != found[0][:, : whole.shape[1]]).any()  # what comes later would be seen else


def test_features_are_those_of_a_calculation_by_hand() -> None:
    """One user, three items; item 0 is shown at 1, 2 and 4 and taken at 1, item 1 taken at 2."""
    shown = rows_of(
        np.zeros(4, dtype=np.int64),
        np.array([0, 0, 1, 0]),
        np.array([1, 2, 2, 4]),
        np.array([1, 0, 1, 0]),
    )
    things = replace(catalogue(3), attributes={})
    past = Past(shown.take(shown.positive()), shown, ItemContent.of(things))
    of_items = past.of_items(np.array([0, 1, 2]), np.array([4, 4, 4]))
    # before moment 4: two answers, three impressions; a third of the answers would be .67
    np.testing.assert_allclose(of_items[0, 1], np.log(2 / (2 / 3 + 1)))  # popularity
    np.testing.assert_allclose(of_items[0, 2], np.log(1 / (1 / 3 + 1)))  # of the last answer
    np.testing.assert_allclose(of_items[0, 3], np.log(3 / 2))  # exposure
    np.testing.assert_allclose(of_items[0, 4], np.log(3 / (2 * 3 / 5 + 2)))  # rate
    np.testing.assert_allclose(of_items[0, 5], np.log(3 / 4))  # two answers ago
    np.testing.assert_allclose(of_items[0, 6], 3 / 4)  # all impressions ago
    assert of_items[:, 0].tolist() == [0, 0, 1]
    assert np.isnan(of_items[2, 1:]).all()
    user = past.at_rows(np.array([0, 0]), np.array([0, 2]), np.array([2, 4]))
    # length; share of the category, of late; of the item, of late; price, beside the usual one
    logs = np.log1p(np.linspace(1, 20, 3))
    np.testing.assert_allclose(user[0], [np.log(2), 1, 1, 1, 1, logs[0], 0], atol=1e-6)
    expected = [np.log(3), 0, 0, 0, 0, logs[2], logs[2] - logs[:2].mean()]
    np.testing.assert_allclose(user[1], expected, atol=1e-6)


@pytest.mark.parametrize("prices", [True, False])
def test_lists_are_made_from_the_features_that_were_learnt_from(prices: bool) -> None:
    stage = world(3)
    stage = replace(stage, items=replace(catalogue(prices=prices)))
    model = model_of("logistic_regression", stage)
    codes = np.zeros((USERS, 1), dtype=np.int64)
    table = model._table(stage.history_indptr, stage.history.item, codes)
    assert stage.shown is not None
    past = Past(stage.train, stage.shown, ItemContent.of(stage.items))
    user, item = np.repeat(np.arange(USERS), ITEMS), np.tile(np.arange(ITEMS), USERS)
    beside = past.at_rows(user, item, None)
    expected = np.concatenate([past.of_items(item, None), beside], axis=1)
    np.testing.assert_array_equal(table.numbers, expected.astype(np.float32))
    assert len(table.trends) == table.numbers.shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_scores_in_blocks_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = world(4)
    model = model_of(name, stage)
    plain = ScoresOnDemand.of(model, stage)
    some = np.array([7, 3, 50])
    np.testing.assert_array_equal(plain[:][some], plain[some])
    monkeypatch.setattr("pareto_rec.baselines.impressions.BLOCK", 1)
    np.testing.assert_array_equal(plain[some], ScoresOnDemand.of(model, stage)[some])


@pytest.mark.parametrize("name", NAMES)
def test_items_at_the_top_are_not_better_for_it(name: str) -> None:
    """Cups stand first and are taken as often as what stands there is; jugs stand last."""
    rng = np.random.default_rng(6)
    user = np.repeat(np.arange(USERS), ROWS)
    item = np.concatenate([rng.permutation(ITEMS)[:ROWS] for _ in range(USERS)])
    first = np.where(item % 4 == 0, rng.random(len(user)) < 0.8, rng.random(len(user)) < 0.2)
    position = np.where(first, 1, 8)
    taken = rng.random(len(user)) < np.where(first, 0.6, 0.1)
    time = np.tile(np.arange(ROWS), USERS)
    gaps = []
    for known in (position, None):
        stage = stage_of(
            rows_of(user, item, time, taken, known), people={}, things=catalogue(prices=False)
        )
        scores = scores_of(name, stage)
        cups = np.arange(ITEMS) % 4 == 0
        gaps.append(scores[:, cups].mean() - scores[:, ~cups].mean())
    assert abs(gaps[0]) < 0.5 * gaps[1]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_too_much_to_learn_from_is_thinned_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, weights = world(7), []
    of = type(BASELINES[name])
    fit = of.fit_table  # type: ignore[attr-defined]

    def spy(self, table, taken, weight):  # type: ignore[no-untyped-def]
        weights.append((weight[taken].sum(), weight[~taken].sum(), len(weight)))
        return fit(self, table, taken, weight)

    monkeypatch.setattr(of, "fit_table", spy)
    monkeypatch.setattr("pareto_rec.baselines.impressions.MOST_OF_A_KIND", 200)
    scores = scores_of(name, stage)
    _, taken = impressions_of(stage, name)
    np.testing.assert_allclose(weights[0][:2], [taken.sum(), (~taken).sum()])
    assert weights[0][2] == 400
    other, users, items = renamed(stage, 8)
    np.testing.assert_array_equal(scores_of(name, other)[users][:, items], scores)


def test_rows_without_times_are_dealt_by_what_is_known_of_them() -> None:
    stage = world(9, timed=False)
    other, users, items = renamed(stage, 10)
    assert stage.shown is not None
    assert other.shown is not None
    folds = folds_of(stage.shown.user, stage.shown.item, stage.items, stage.shown)
    assert set(folds.tolist()) == set(range(FOLDS))
    assert np.bincount(folds).min() > 0.5 * len(folds) / FOLDS
    moved = folds_of(users[stage.shown.user], items[stage.shown.item], other.items, other.shown)
    np.testing.assert_array_equal(moved, folds)


def test_values_of_users_are_known_or_not() -> None:
    users = Users(("a", "b", "c", "d"), {"age": ("young", "old", "", "old"), "x": ("1",) * 4})
    content = UserContent.of(replace(users, attributes={**users.attributes}))
    assert dict(content.values) == {"age": {"old": 0, "young": 1}}  # x tells nobody apart
    np.testing.assert_array_equal(content.codes(users, np.array([3, 2, 0])), [[0], [-1], [1]])
    other = Users(("e",), {"age": ("older",)})
    np.testing.assert_array_equal(content.codes(other, np.array([0])), [[-1]])
    np.testing.assert_array_equal(content.indicators(np.array([[0], [-1]])), [[1, 0], [0, 0]])


@pytest.mark.parametrize("name", NAMES)
def test_data_without_impressions_is_refused_in_one_line(name: str) -> None:
    stage = world(11)
    plain = replace(stage, shown=None)
    nothing = replace(stage, shown=stage.train)
    for of in (plain, nothing):
        for refuse in (
            lambda of=of: BASELINES[name].learn(of),
            lambda of=of: check_impressions(["popularity", name], BASELINES, of),
        ):
            with pytest.raises(BadRequestError, match=f'"{name}" learns from impressions') as told:
                refuse()
            assert "\n" not in str(told.value)
    with pytest.raises(BadRequestError, match="learns from impressions"):
        BASELINES[name].fit(stage.train, stage.shape)
    check_impressions(["popularity"], BASELINES, plain)
    check_impressions([name], BASELINES, stage)


@pytest.mark.parametrize("name", NAMES)
def test_costs_count_what_was_fitted(name: str) -> None:
    small, large = BASELINES[name], BASELINES[name]
    if name == "boosted_trees":
        small, large = replace(small, trees=10), replace(large, trees=20)  # type: ignore[type-var]
        assert 2 * small.most_weights(9) == large.most_weights(9)
        assert 2 * small.score_flops(9, 5) == large.score_flops(9, 5)
    else:
        fitted = vars(model_of(name, world(12)).predictor)
        kept = sum(np.size(fitted[part]) for part in ("numbers", "items", "users", "pairs"))
        assert kept <= small.most_weights(ITEMS)
    assert small.most_weights(100) == small.most_weights(9) > 0
    assert small.score_flops(100, 5) > small.score_flops(9, 5) > 0
