"""What every registered objective promises; new families are found by themselves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.objectives import (
    FAMILIES,
    GROUPS,
    Catalogue,
    HeldOut,
    Outcome,
    Predicted,
    SetObjective,
    UserObjective,
    parse,
)
from pareto_rec.objectives.cost import CostObjective

USERS, ITEMS, CATEGORIES, LENGTH = 14, 40, 6, 12
SIGNALS = ("watched", "liked")


def form(family: str, k: int, signal: str | None = None) -> str:
    cut = f"@{k}" if FAMILIES[family].takes_k else ""
    return f"{family}{cut}" + (f"[{signal}]" if signal else "")


PLAIN = [form(family, 10) for family in FAMILIES]
SIGNALLED = [form(family, 5, "liked") for family, kind in FAMILIES.items() if kind.takes_signal]
PER_USER = [name for name in PLAIN if isinstance(parse(name), UserObjective)]
GROUPED = [f"{group}({name} by gender)" for group in GROUPS for name in PER_USER + SIGNALLED[:1]]
GROUPED += [f"{group}({name} by item.brand)" for group in GROUPS for name in ("ndcg@10", "auc")]
NAMES = [*PLAIN, *SIGNALLED, *GROUPED]
EXAMPLES = settings(max_examples=12, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
ATTRIBUTES = ("gender", "item.brand")
PREDICTED = {"predictions", "chances"}
EVERYTHING = {"signals": SIGNALS, "attributes": ATTRIBUTES, "predicted": SIGNALS}


def looks_at_lists(name: str) -> bool:
    objective = parse(name)
    return getattr(objective, "base", objective).takes_k


def looks_at_truth(name: str) -> bool:
    """Whether an objective needs held-out items (not: answers to impressions, or predictions)."""
    objective = parse(name)
    return objective.takes_signal and not objective.needs & {*PREDICTED, "shown", "rate"}


LISTED = [name for name in NAMES if looks_at_lists(name)]
CHECKED = [name for name in NAMES if parse(name).signal or not parse(name).needs & PREDICTED]
TRUE = [name for name in PLAIN + SIGNALLED if looks_at_truth(name)]


def held_out(pairs: np.ndarray) -> HeldOut:
    return HeldOut(sparse.csr_array(pairs.astype(np.float32)))


def world(seed: int, length: int = LENGTH) -> Outcome:
    """Lists with padding, items without categories, users without truth or without a gender."""
    rng = np.random.default_rng(seed)
    lists = np.argsort(rng.random((USERS, ITEMS)), axis=1)[:, :length].astype(np.int64)
    filled = rng.integers(0, length + 1, USERS)
    filled[: USERS // 2] = length
    lists[np.arange(length) >= filled[:, None]] = -1
    watched = rng.random((USERS, ITEMS)) < 0.2
    watched[3] = False
    liked = watched & (rng.random((USERS, ITEMS)) < 0.5)
    liked[4] = False
    categories = (rng.random((ITEMS, CATEGORIES)) < 0.3).astype(np.float32)
    categories[:4] = 0
    genders = tuple(rng.choice(["F", "M", ""], USERS).tolist())
    items = Items(
        tuple(f"i{n}" for n in range(ITEMS)),
        tuple(f"Title {n}" for n in range(ITEMS)),
        tuple(f"text {n}" for n in range(ITEMS)),
        categories,
        tuple(f"c{n}" for n in range(CATEGORIES)),
        np.where(rng.random(ITEMS) < 0.1, np.nan, rng.random(ITEMS) * 9).astype(np.float32),
        {"brand": tuple(rng.choice(["own", "other", ""], ITEMS).tolist())},
    )
    rates = {name: rng.random(ITEMS) for name in SIGNALS}
    users = Users(tuple(f"u{n}" for n in range(USERS)), {"gender": genders})
    popularity = rng.integers(0, 8, ITEMS)  # ties everywhere, also at the edge of the head
    history = rng.integers(0, 3, (USERS, ITEMS)) * (rng.random((USERS, ITEMS)) < 0.15)
    history[5] = 0
    scores = np.round(rng.random((USERS, ITEMS)), 1).astype(np.float32)  # ties here too
    scores[history > 0] = np.nan
    user, item = np.nonzero(watched | (rng.random((USERS, ITEMS)) < 0.1))
    rows = rng.permutation(len(user))
    predicted = rng.random((2, len(user)))
    shown = Interactions(
        *rng.integers(0, [[USERS], [ITEMS], [9]], (3, 300)),
        {name: rng.choice([0, 0, 1, np.nan], 300).astype(np.float32) for name in SIGNALS},
    )
    return Outcome(
        lists=lists,
        scores=-np.sort(-rng.random(lists.shape).astype(np.float32), axis=1),
        held_out={"watched": held_out(watched), "liked": held_out(liked)},
        relevance="watched",
        catalogue=Catalogue(
            items,
            users,
            popularity,
            sparse.csr_array(history),
            rng.normal(size=(ITEMS, 7)).astype(np.float32),
            rates.__getitem__,
        ),
        cost={family: 2.5 for family, kind in FAMILIES.items() if issubclass(kind, CostObjective)},
        all_scores=lambda part: scores[part],
        predictions={
            "watched": Predicted(user[rows], predicted[0], watched[user, item][rows]),
            "liked": Predicted(user[rows], predicted[1], liked[user, item][rows]),
        },
        shown=shown,
        chances={name: rng.random(lists.shape) for name in SIGNALS},
    )


def scores_of(outcome: Outcome) -> np.ndarray:
    assert outcome.all_scores is not None
    return outcome.all_scores(slice(None))


def shown_in(outcome: Outcome) -> Interactions:
    assert outcome.shown is not None
    return outcome.shown


def history_of(outcome: Outcome) -> sparse.csr_array:
    assert outcome.catalogue.history is not None
    return outcome.catalogue.history


def text_of(outcome: Outcome) -> np.ndarray:
    assert outcome.catalogue.text is not None
    return outcome.catalogue.text


def reorder_users(outcome: Outcome, order: np.ndarray) -> Outcome:
    """Row n of the new outcome is row ``order[n]`` of the old one."""
    users = outcome.catalogue.users
    moved = Users(
        tuple(users.ids[n] for n in order),
        {name: tuple(values[n] for n in order) for name, values in users.attributes.items()},
    )
    place, scores = np.argsort(order), scores_of(outcome)[order]
    history = sparse.csr_array(history_of(outcome)[order])
    return dataclasses.replace(
        outcome,
        lists=outcome.lists[order],
        scores=outcome.scores[order],
        held_out={
            name: HeldOut(sparse.csr_array(held.matrix[order]))
            for name, held in outcome.held_out.items()
        },
        catalogue=dataclasses.replace(outcome.catalogue, users=moved, history=history),
        all_scores=lambda part: scores[part],
        predictions={
            name: Predicted(place[one.user][::-1], one.predicted[::-1], one.true[::-1])
            for name, one in outcome.predictions.items()
        },
        shown=dataclasses.replace(shown_in(outcome), user=place[shown_in(outcome).user]),
        chances={name: one[order] for name, one in outcome.chances.items()},
    )


def reorder_items(outcome: Outcome, order: np.ndarray) -> Outcome:
    """Item n of the new outcome is item ``order[n]`` of the old one, under another id."""
    new_index = np.empty_like(order)
    new_index[order] = np.arange(len(order))
    items = outcome.catalogue.items
    moved = dataclasses.replace(
        items,
        ids=tuple(f"renamed {n}" for n in range(len(order))),
        titles=tuple(items.titles[n] for n in order),
        texts=tuple(items.texts[n] for n in order),
        categories=items.categories[order],
        prices=None if items.prices is None else items.prices[order],
        attributes={
            name: tuple(values[n] for n in order) for name, values in items.attributes.items()
        },
    )
    rate = outcome.catalogue.rate
    assert rate is not None
    catalogue = Catalogue(
        moved,
        outcome.catalogue.users,
        outcome.catalogue.popularity[order],
        sparse.csr_array(history_of(outcome)[:, order]),
        text_of(outcome)[order],
        lambda name: rate(name)[order],
    )
    scores = scores_of(outcome)[:, order]
    return dataclasses.replace(
        outcome,
        lists=np.where(outcome.lists >= 0, new_index[outcome.lists], -1),
        held_out={
            name: HeldOut(sparse.csr_array(held.matrix[:, order]))
            for name, held in outcome.held_out.items()
        },
        catalogue=catalogue,
        all_scores=lambda part: scores[part],
        shown=dataclasses.replace(shown_in(outcome), item=new_index[shown_in(outcome).item]),
    )


def same(left: float, right: float) -> bool:
    return (math.isnan(left) and math.isnan(right)) or left == pytest.approx(right, abs=1e-12)


def assert_frozen_copy_unchanged(outcome: Outcome, before: Outcome) -> None:
    np.testing.assert_array_equal(outcome.lists, before.lists)
    np.testing.assert_array_equal(outcome.scores, before.scores)
    np.testing.assert_array_equal(outcome.catalogue.popularity, before.catalogue.popularity)
    np.testing.assert_array_equal(
        outcome.catalogue.items.categories, before.catalogue.items.categories
    )
    for name in SIGNALS:
        np.testing.assert_array_equal(
            outcome.held_out[name].matrix.toarray(), before.held_out[name].matrix.toarray()
        )
        for part in ("user", "predicted", "true"):
            np.testing.assert_array_equal(
                getattr(outcome.predictions[name], part), getattr(before.predictions[name], part)
            )
        np.testing.assert_array_equal(outcome.chances[name], before.chances[name])
        np.testing.assert_array_equal(
            shown_in(outcome).signals[name], shown_in(before).signals[name]
        )
    np.testing.assert_array_equal(shown_in(outcome).user, shown_in(before).user)
    np.testing.assert_array_equal(history_of(outcome).toarray(), history_of(before).toarray())
    np.testing.assert_array_equal(text_of(outcome), text_of(before))
    np.testing.assert_array_equal(scores_of(outcome), scores_of(before))
    assert dict(outcome.cost) == dict(before.cost)


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_read_back(name: str) -> None:
    assert parse(name).name == name
    assert parse(f"  {name} ").name == name


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_a_search_must_know(name: str) -> None:
    objective = parse(name)
    low, high = objective.bounds
    assert objective.maximise in (True, False)
    assert objective.unit
    assert low <= objective.reference <= high
    assert math.isfinite(objective.reference)
    assert isinstance(objective, UserObjective | SetObjective)


@pytest.mark.parametrize("kind", [*FAMILIES.values(), *GROUPS.values()], ids=lambda c: c.family)
def test_it_is_documented(kind: type) -> None:
    doc = kind.__doc__ or ""
    summary = doc.splitlines()[0]
    assert summary.endswith(".")
    for section in ("Misleads:", "Source:"):
        assert len(doc.partition(section)[2].split("\n\n")[0].split()) >= 4, section


@pytest.mark.parametrize(("registry"), [FAMILIES, GROUPS])
def test_the_registry_key_is_the_family(registry: dict[str, type]) -> None:
    assert all(kind.family == family for family, kind in registry.items())


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@EXAMPLES
def test_the_order_of_users_does_not_matter(name: str, seed: int) -> None:
    outcome, objective = world(seed), parse(name)
    order = np.random.default_rng(seed + 1).permutation(USERS)
    moved = reorder_users(outcome, order)
    assert same(objective.value(outcome), objective.value(moved))
    if isinstance(objective, UserObjective):
        np.testing.assert_allclose(
            objective.per_user(moved), objective.per_user(outcome)[order], atol=1e-12
        )


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@EXAMPLES
def test_the_order_and_the_names_of_items_do_not_matter(name: str, seed: int) -> None:
    outcome, objective = world(seed), parse(name)
    order = np.random.default_rng(seed + 1).permutation(ITEMS)
    assert same(objective.value(outcome), objective.value(reorder_items(outcome, order)))


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@EXAMPLES
def test_values_stay_within_bounds(name: str, seed: int) -> None:
    outcome, objective = world(seed), parse(name)
    low, high = objective.bounds
    value = objective.value(outcome)
    assert math.isnan(value) or low <= value <= high
    if isinstance(objective, UserObjective):
        values = objective.per_user(outcome)
        assert values.shape == (USERS,)
        assert values.dtype == np.float64
        known = values[~np.isnan(values)]
        assert ((low <= known) & (known <= high)).all()


@pytest.mark.parametrize("name", LISTED)
def test_only_the_first_k_places_count(name: str) -> None:
    outcome, objective = world(3), parse(name)
    cut = dataclasses.replace(
        outcome, lists=outcome.lists[:, : objective.k], scores=outcome.scores[:, : objective.k]
    )
    assert same(objective.value(outcome), objective.value(cut))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_not_mutated(name: str) -> None:
    outcome = world(5)
    outcome.lists.flags.writeable = False
    outcome.catalogue.popularity.flags.writeable = False
    outcome.catalogue.items.categories.flags.writeable = False
    objective = parse(name)
    first = objective.value(outcome)
    assert_frozen_copy_unchanged(outcome, world(5))
    assert same(first, objective.value(outcome))


@pytest.mark.parametrize("name", LISTED)
def test_lists_of_padding_alone_earn_nothing(name: str) -> None:
    """-1 must not stand for the last item, even where everybody waits for that one."""
    outcome, objective = world(7), parse(name)
    everybody = np.zeros((USERS, ITEMS))
    everybody[:, -1] = 1
    empty = dataclasses.replace(
        outcome,
        lists=np.full_like(outcome.lists, -1),
        held_out=dict.fromkeys(SIGNALS, held_out(everybody)),
    )
    value = objective.value(empty)
    assert math.isnan(value) or value == 0.0


@pytest.mark.parametrize("name", TRUE)
def test_users_without_truth_are_left_out(name: str) -> None:
    outcome, objective = world(9), parse(name)
    assert isinstance(objective, UserObjective)
    values = objective.per_user(outcome)
    assert np.isnan(values[4 if objective.signal == "liked" else 3])
    assert same(objective.value(outcome), float(np.nanmean(values)))
    nothing = dict.fromkeys(SIGNALS, held_out(np.zeros((USERS, ITEMS))))
    bare = dataclasses.replace(outcome, held_out=nothing)
    assert np.isnan(objective.per_user(bare)).all()
    assert math.isnan(objective.value(bare))


@pytest.mark.parametrize("name", [name for name in PLAIN + SIGNALLED if parse(name).takes_signal])
def test_the_signal_chooses_the_truth(name: str) -> None:
    outcome = world(11)
    family, k = parse(name).family, parse(name).k
    by_default = dataclasses.replace(outcome, relevance="liked")
    named = parse(form(family, k, "liked"))
    assert same(parse(form(family, k)).value(by_default), named.value(outcome))
    with pytest.raises(BadRequestError, match=r'unknown signal "likd".*did you mean "liked"'):
        parse(form(family, k, "likd")).value(outcome)


@pytest.mark.parametrize("name", LISTED)
def test_lists_shorter_than_k_are_refused(name: str) -> None:
    outcome, objective = world(13, length=4), parse(name)
    with pytest.raises(BadRequestError, match=r"needs lists of \d+ items and these have 4"):
        objective.value(outcome)


@pytest.mark.parametrize("name", CHECKED)
def test_check_refuses_what_the_data_does_not_have(name: str) -> None:
    objective = parse(name)
    objective.check(**EVERYTHING)
    objective.check(signals=SIGNALS, attributes=ATTRIBUTES)  # what is predicted is not known yet
    if objective.signal:
        with pytest.raises(BadRequestError, match=r'"liked".*; known: clicked'):
            objective.check(signals=("clicked",), attributes=ATTRIBUTES)
    if objective.family in GROUPS:
        with pytest.raises(BadRequestError, match=r'"(gender|item\.brand)"; known: country'):
            objective.check(signals=SIGNALS, attributes=("country",))


@pytest.mark.parametrize("name", [name for name in NAMES if parse(name).needs & PREDICTED])
def test_check_refuses_what_nothing_predicts(name: str) -> None:
    objective, signals = parse(name), {"signals": SIGNALS, "attributes": ("gender",)}
    with pytest.raises(BadRequestError, match="this experiment predicts no signal: leave it out"):
        objective.check(**signals, predicted=())
    with pytest.raises(BadRequestError, match=r'predicts rating: write "[\w@]+\[rating\]"'):
        objective.check(**signals, predicted=("rating",))
    task = parse(objective.name.replace("liked", "clicked*bought") if objective.signal else name)
    if task.signal:  # a task, or a chain of them, is no signal of the data
        task.check(**signals, predicted=("clicked*bought",))


@pytest.mark.parametrize("name", [name for name in SIGNALLED if parse(name).needs & PREDICTED])
def test_what_looks_at_probabilities_refuses_other_predictions(name: str) -> None:
    objective, signals = parse(name), {"signals": SIGNALS, "attributes": ATTRIBUTES}
    objective.check(**signals, predicted={"liked": True})
    if getattr(objective, "of_chances", False):
        with pytest.raises(BadRequestError, match=r'predicts bought: write "[\w@]+\[bought\]"'):
            objective.check(**signals, predicted={"liked": False, "bought": True})
    else:
        objective.check(**signals, predicted={"liked": False})


@pytest.mark.parametrize("name", [name for name in NAMES if parse(name).needs])
def test_without_what_it_needs_nothing_is_measured(name: str) -> None:
    outcome = world(15)
    bare = dataclasses.replace(
        outcome,
        catalogue=dataclasses.replace(
            outcome.catalogue,
            items=dataclasses.replace(outcome.catalogue.items, prices=None),
            history=None,
            text=None,
            rate=None,
        ),
        cost={},
        all_scores=None,
        predictions={},
        shown=None,
        chances={},
    )
    assert math.isnan(parse(name).value(bare))
    assert not math.isnan(parse(name).value(outcome))


@pytest.mark.parametrize("name", [name for name in NAMES if not parse(name).needs])
def test_only_what_an_objective_asks_for_is_looked_at(name: str) -> None:
    def refuse(_: slice) -> np.ndarray:
        raise AssertionError("scores were asked for")

    parse(name).value(dataclasses.replace(world(17), all_scores=refuse))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ndgc@10", r'unknown objective "ndgc@10" \(did you mean "ndcg@10"\?\); known: .*ild@10'),
        ("worst_ndcg@20", r"known: .*worst\(ndcg@20 by ATTRIBUTE\)"),
        ("ndcg", 'lacks the list length: write "ndcg@10"'),
        ("train_seconds@10", 'takes no list length: write "train_seconds"'),
        ("ild@10[liked]", r'takes no \[signal\]: write "ild@10"'),
        ("ndcg@0", "cannot be read: write for example"),
        ("ndcg@10[", "cannot be read"),
        ("ndcg@10[]", "cannot be read"),
        ("", "cannot be read"),
        ("wurst(ndcg@10 by gender)", r'"wurst" \(did you mean "worst"\?\)'),
        ("worst(coverage@10 by gender)", '"coverage@10" is one number for all lists'),
        ("worst(worst(ndcg@10 by age) by gender)", "is one number for all lists"),
        ("worst(ndcg@10)", "cannot be read"),
        ("worst(ndcg by gender)", "lacks the list length"),
        ("auc@10", 'takes no list length: write "auc"'),
        ("gap(rmse[liked] by gender)", r'"rmse\[liked\]" is one number for all lists'),
    ],
)
def test_a_wrong_name_gets_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
