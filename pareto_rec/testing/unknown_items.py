"""No list gains by items of which less is known.

Attributes (categories, text, price, groups) are blanked in two ways. In one, every item has a twin
that is the same in all (who wants it, how popular it is, how it scores) but of which nothing is
known, and lists take twins instead. In the other, what is known of listed items is taken away.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.objectives import (
    FAMILIES,
    GROUPS,
    Catalogue,
    GroupObjective,
    HeldOut,
    Objective,
    Outcome,
    Predicted,
    UserObjective,
    parse,
)
from pareto_rec.objectives.cost import CostObjective
from pareto_rec.testing.contract import Contract, examples, only
from pareto_rec.testing.outcomes import CATEGORIES, SIGNALS, USERS

OWN, LENGTH = 24, 10
SEEDS = st.integers(0, 2**32 - 1)


def written(family: str, k: int, signal: str | None = None) -> str:
    """The name of an objective as a config has it."""
    cut = f"@{k}" if FAMILIES[family].takes_k else ""
    return f"{family}{cut}" + (f"[{signal}]" if signal else "")


def doubled(table: np.ndarray) -> np.ndarray:
    """The columns of all items, then those of their twins."""
    return np.concatenate([table, table], axis=-1)


def twin_world(seed: int, *, apart: bool) -> Outcome:
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
    drawn = rng.integers(0, [[USERS], [OWN], [9]], (3, 200))
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
            rates.__getitem__,
        ),
        cost={family: 2.5 for family, kind in FAMILIES.items() if issubclass(kind, CostObjective)},
        all_scores=lambda part: doubled(scores)[part],
        predictions={
            name: Predicted(user, guesses, of[user, item].astype(np.float32))
            for name, of in truth.items()
        },
        shown=Interactions(
            drawn[0],
            drawn[1],
            drawn[2],
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


class UnknownItemsContract(Contract):
    """The part of an objective's contract that is about items of which less is known.

    Attributes:
        also: Names of further objectives to test, as a config has them.
    """

    argument = "name"
    also: ClassVar[tuple[str, ...]] = ()

    def cases(self) -> list[str]:
        """Names of objectives of every family, and of groups of those with a value per user.

        Raises:
            LookupError: If one is not registered.
        """
        for kind in self.subjects:
            if FAMILIES.get(kind.family) is not kind:
                raise LookupError(f"register(objective={kind.__name__}) first")
        plain = [written(kind.family, 10) for kind in self.subjects]
        signalled = [
            written(kind.family, 5, "liked") for kind in self.subjects if kind.takes_signal
        ]
        per_user = [
            name for name in plain + signalled[:1] if isinstance(parse(name), UserObjective)
        ]
        groups = [f"{group}({name} by gender)" for group in GROUPS for name in per_user]
        return [*plain, *signalled, *groups, *self.also]

    @given(seed=SEEDS)
    @examples(15)
    def test_no_list_gains_by_items_of_which_nothing_is_known(self, name: str, seed: int) -> None:
        before, which = (
            twin_world(seed, apart=False),
            np.random.default_rng(seed + 1).random(OWN) < 0.4,
        )
        assert_no_gain(parse(name), before, with_twins(before, which))

    def test_nor_by_such_items_alone(self, name: str) -> None:
        before = twin_world(5, apart=False)
        assert_no_gain(parse(name), before, with_twins(before, np.ones(OWN, dtype=bool)))

    @only(lambda name: "item." not in name)
    @given(seed=SEEDS)
    @examples(15)
    def test_no_list_gains_by_what_is_taken_away_of_its_items(self, name: str, seed: int) -> None:
        """Of items that nobody wanted: what is wanted is no matter of lists (say in "Misleads")."""
        before, which = (
            twin_world(seed, apart=True),
            np.random.default_rng(seed + 1).random(OWN) < 0.4,
        )
        which[OWN // 2 :] = False
        assert_no_gain(parse(name), before, blanked(before, which))

    @only(lambda name: bool(parse(name).reads))
    def test_it_counts_what_was_measured(self, name: str) -> None:
        objective, before = parse(name), twin_world(2, apart=False)
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
