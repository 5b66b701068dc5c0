"""Small outcomes that objectives are measured on, and the same with users or items reordered."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.objectives import FAMILIES, Catalogue, HeldOut, Outcome, Predicted
from pareto_rec.objectives.cost import CostObjective

USERS, ITEMS, CATEGORIES, LENGTH = 14, 40, 6, 12
SIGNALS = ("watched", "liked")


def held_out(pairs: np.ndarray) -> HeldOut:
    """Which items each user wants ``[users, items]``, as outcomes hold it."""
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
    means = {name: 5 * rate - 1 for name, rate in rates.items()}
    users = Users(tuple(f"u{n}" for n in range(USERS)), {"gender": genders})
    popularity = rng.integers(0, 8, ITEMS)  # ties everywhere, also at the edge of the head
    history = rng.integers(0, 3, (USERS, ITEMS)) * (rng.random((USERS, ITEMS)) < 0.15)
    history[5] = 0
    scores = np.round(rng.random((USERS, ITEMS)), 1).astype(np.float32)  # ties here too
    scores[history > 0] = np.nan
    user, item = np.nonzero(watched | (rng.random((USERS, ITEMS)) < 0.1))
    rows = rng.permutation(len(user))
    predicted = rng.random((2, len(user)))
    drawn = rng.integers(0, [[USERS], [ITEMS], [9]], (3, 300))
    shown = Interactions(
        drawn[0],
        drawn[1],
        drawn[2],
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
            means.__getitem__,
        ),
        cost={family: 2.5 for family, kind in FAMILIES.items() if issubclass(kind, CostObjective)},
        all_scores=lambda part: scores[part],
        predictions={
            "watched": Predicted(user[rows], predicted[0], watched[user, item][rows].astype(float)),
            "liked": Predicted(user[rows], predicted[1], liked[user, item][rows].astype(float)),
        },
        shown=shown,
        chances={name: rng.random(lists.shape) for name in SIGNALS},
    )


def scores_of(outcome: Outcome) -> np.ndarray:
    """All scores ``[users, items]``."""
    assert outcome.all_scores is not None
    return outcome.all_scores(slice(None))


def shown_in(outcome: Outcome) -> Interactions:
    """What was shown to users."""
    assert outcome.shown is not None
    return outcome.shown


def history_of(outcome: Outcome) -> sparse.csr_array:
    """Who met what."""
    assert outcome.catalogue.history is not None
    return outcome.catalogue.history


def text_of(outcome: Outcome) -> np.ndarray:
    """Text vectors of the items."""
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
    rate, mean = outcome.catalogue.rate, outcome.catalogue.mean_signal
    assert rate is not None
    assert mean is not None
    catalogue = Catalogue(
        moved,
        outcome.catalogue.users,
        outcome.catalogue.popularity[order],
        sparse.csr_array(history_of(outcome)[:, order]),
        text_of(outcome)[order],
        lambda name: rate(name)[order],
        lambda name: mean(name)[order],
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


def assert_frozen_copy_unchanged(outcome: Outcome, before: Outcome) -> None:
    """An outcome is as it was drawn."""
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
