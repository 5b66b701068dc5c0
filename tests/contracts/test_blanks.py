"""No list gains by items of which less is known: for every registered objective.

Attributes (categories, text, price, groups) are blanked in two ways. In one, every item has a twin
that is the same in all (who wants it, how popular it is, how it scores) but of which nothing is
known, and lists take twins instead. In the other, what is known of listed items is taken away.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from test_objectives import CATEGORIES, FAMILIES, GROUPS, NAMES, SIGNALS, USERS, CostObjective

from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.objectives import (
    Catalogue,
    GroupObjective,
    HeldOut,
    Objective,
    Outcome,
    Predicted,
    UserObjective,
    parse,
)

OWN, LENGTH = 24, 10
EXAMPLES = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
BRANDED = ["worst(price_ndcg@10 by item.brand)", "mean(revenue@10 by item.brand=own)"]
ALL = [*NAMES, *BRANDED]


def doubled(table: np.ndarray) -> np.ndarray:
    """The columns of all items, then those of their twins."""
    return np.concatenate([table, table], axis=-1)


def world(seed: int, *, apart: bool) -> Outcome:
    """A catalogue with a twin of each item; lists of the items themselves.

    Args:
        seed: Draws it.
        apart: Whether nobody wants or has met any of the first items, half of the catalogue.
    """
    rng = np.random.default_rng(seed)
    lists = np.argsort(rng.random((USERS, OWN)), axis=1)[:, :LENGTH].astype(np.int64)
    watched = rng.random((USERS, OWN)) < 0.25
    liked = watched & (rng.random((USERS, OWN)) < 0.6)
    history = rng.integers(0, 3, (USERS, OWN)) * (rng.random((USERS, OWN)) < 0.3)
    if apart:
        for table in (watched, liked, history):
            table[:, : OWN // 2] = 0
    categories = (rng.random((OWN, CATEGORIES)) < 0.4).astype(np.float32)
    ids = tuple(f"i{n}" for n in range(2 * OWN))
    items = Items(
        ids,
        ids,
        (*(f"text {n}" for n in range(OWN)), *[""] * OWN),
        np.concatenate([categories, np.zeros_like(categories)]),
        tuple(f"c{n}" for n in range(CATEGORIES)),
        np.append(rng.random(OWN) * 9, np.full(OWN, np.nan)).astype(np.float32),
        {"brand": (*rng.choice(["own", "other"], OWN).tolist(), *[""] * OWN)},
    )
    users = Users(
        tuple(f"u{n}" for n in range(USERS)), {"gender": tuple(rng.choice(["F", "M"], USERS))}
    )
    text = rng.normal(size=(OWN, 7)).astype(np.float32)
    popularity, scores = rng.integers(0, 8, OWN), rng.random((USERS, OWN)).astype(np.float32)
    rates = {name: doubled(rng.random(OWN)) for name in SIGNALS}
    known = np.concatenate([history, np.zeros_like(history)], axis=1)
    user, item = np.nonzero(doubled(watched))
    guesses = rng.random(len(user))
    truth = {"watched": doubled(watched), "liked": doubled(liked)}
    return Outcome(
        lists=lists,
        scores=-np.sort(-rng.random(lists.shape).astype(np.float32), axis=1),
        held_out={
            name: HeldOut(sparse.csr_array(of.astype(np.float32))) for name, of in truth.items()
        },
        relevance="watched",
        catalogue=Catalogue(
            items,
            users,
            doubled(popularity),
            sparse.csr_array(known),
            np.concatenate([text, text]),
            rates.__getitem__,
        ),
        cost={family: 2.5 for family, kind in FAMILIES.items() if issubclass(kind, CostObjective)},
        all_scores=lambda part: doubled(scores)[part],
        predictions={
            name: Predicted(user, guesses, of[user, item].astype(np.float32))
            for name, of in truth.items()
        },
        shown=Interactions(
            *rng.integers(0, [[USERS], [OWN], [9]], (3, 200)),
            {name: rng.choice([0, 1], 200).astype(np.float32) for name in SIGNALS},
        ),
        chances={name: rng.random(lists.shape) for name in SIGNALS},
    )


def with_twins(outcome: Outcome, which: np.ndarray) -> Outcome:
    """Some of the items replaced by their twins in all lists."""
    return dataclasses.replace(outcome, lists=outcome.lists + OWN * which[outcome.lists])


def blanked(outcome: Outcome, which: np.ndarray) -> Outcome:
    """The same lists; nothing is known of some of the items any more."""
    old, gone = outcome.catalogue.items, np.concatenate([which, np.zeros(OWN, dtype=bool)])
    assert old.prices is not None

    def without(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("" if blank else one for one, blank in zip(values, gone, strict=True))

    items = dataclasses.replace(
        old,
        texts=without(old.texts),
        categories=np.where(gone[:, None], 0, old.categories).astype(np.float32),
        prices=np.where(gone, np.nan, old.prices).astype(np.float32),
        attributes={"brand": without(old.attributes["brand"])},
    )
    return dataclasses.replace(
        outcome, catalogue=dataclasses.replace(outcome.catalogue, items=items)
    )


def assert_no_gain(objective: Objective, before: Outcome, after: Outcome) -> None:
    """No value is better afterwards, and nobody is left out who was measured."""
    sign = 1.0 if objective.maximise else -1.0
    if isinstance(objective, GroupObjective):
        # what compares groups with each other may gain by worse lists: no group itself may
        sign = 1.0 if objective.base.maximise else -1.0
        old, new = objective.means(before), objective.means(after)
        assert old.keys() == new.keys()
        assert all(sign * new[name] <= sign * old[name] + 1e-9 for name in old)
        return
    values = objective.per_user if isinstance(objective, UserObjective) else objective.value
    was, now = np.atleast_1d(values(before)), np.atleast_1d(values(after))
    np.testing.assert_array_equal(np.isnan(was), np.isnan(now))
    known = ~np.isnan(was)
    assert (sign * now[known] <= sign * was[known] + 1e-9).all()


@pytest.mark.parametrize("name", ALL)
@given(seed=SEEDS)
@EXAMPLES
def test_no_list_gains_by_items_of_which_nothing_is_known(name: str, seed: int) -> None:
    before, which = world(seed, apart=False), np.random.default_rng(seed + 1).random(OWN) < 0.4
    assert_no_gain(parse(name), before, with_twins(before, which))


@pytest.mark.parametrize("name", ALL)
def test_nor_by_such_items_alone(name: str) -> None:
    before = world(5, apart=False)
    assert_no_gain(parse(name), before, with_twins(before, np.ones(OWN, dtype=bool)))


@pytest.mark.parametrize("name", [name for name in ALL if "item." not in name])
@given(seed=SEEDS)
@EXAMPLES
def test_no_list_gains_by_what_is_taken_away_of_its_items(name: str, seed: int) -> None:
    """Of items that nobody wanted: what is wanted is no matter of lists (say in "Misleads")."""
    before, which = world(seed, apart=True), np.random.default_rng(seed + 1).random(OWN) < 0.4
    which[OWN // 2 :] = False
    assert_no_gain(parse(name), before, blanked(before, which))


READING = [name for name in ALL if parse(name).reads]


@pytest.mark.parametrize("name", READING)
def test_it_counts_what_was_measured(name: str) -> None:
    objective, before = parse(name), world(2, apart=False)
    some = np.arange(OWN) % 2 == 0
    described = ~some[before.lists[:, : objective.k]]
    per_list = described.sum(axis=1)
    whole = np.full(USERS, objective.k)
    if objective.of_pairs:
        per_list, whole = (count * (count - 1) // 2 for count in (per_list, whole))
    categories = before.catalogue.known("categories")[:OWN]  # some have none by chance
    if "categories" not in objective.reads or categories.all():
        expected = int(per_list.sum()), int(whole.sum())
        assert objective.described(with_twins(before, some)) == expected
    nothing = objective.described(with_twins(before, np.ones(OWN, dtype=bool)))
    assert nothing == (0, int(whole.sum()))


def test_what_reads_nothing_counts_nothing() -> None:
    assert parse("ndcg@10").described(world(2, apart=False)) is None
    assert READING


@pytest.mark.parametrize("kind", [*FAMILIES.values(), *GROUPS.values()], ids=lambda c: c.family)
def test_it_says_what_missing_values_do(kind: type) -> None:
    doc = kind.__doc__ or ""
    assert "issing" in doc.partition("Misleads:")[2].split("\n\n")[0]
