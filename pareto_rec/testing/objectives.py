"""What every objective promises."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pareto_rec.core.errors import BadRequestError
from pareto_rec.objectives import GROUPS, SetObjective, UserObjective, parse
from pareto_rec.testing.contract import examples, only
from pareto_rec.testing.outcomes import (
    ITEMS,
    SIGNALS,
    USERS,
    assert_frozen_copy_unchanged,
    held_out,
    reorder_items,
    reorder_users,
    world,
)
from pareto_rec.testing.unknown_items import UnknownItemsContract, written

SEEDS = st.integers(0, 2**32 - 1)
ATTRIBUTES = ("gender", "item.brand")
PREDICTED = {"predictions", "chances"}
EVERYTHING = {"signals": SIGNALS, "attributes": ATTRIBUTES, "predicted": SIGNALS}


def same(left: float, right: float) -> bool:
    """Whether two values are equal, or both missing."""
    return (math.isnan(left) and math.isnan(right)) or math.isclose(
        left, right, rel_tol=1e-6, abs_tol=1e-12
    )


def looks_at_lists(name: str) -> bool:
    """Whether it reads lists, itself or what it compares groups by."""
    objective = parse(name)
    return bool(getattr(objective, "base", objective).takes_k)


def takes_signal(name: str) -> bool:
    """Whether it is about one signal, and not a comparison of groups."""
    objective = parse(name)
    return objective.takes_signal and objective.family not in GROUPS


def needs_truth(name: str) -> bool:
    """Whether it needs held-out items (not: answers to impressions, or predictions)."""
    objective = parse(name)
    elsewhere = objective.needs & {*PREDICTED, "shown", "rate"}
    return takes_signal(name) and not elsewhere and isinstance(objective, UserObjective)


def needs_predictions(name: str) -> bool:
    """Whether it measures predictions."""
    return bool(parse(name).needs & PREDICTED)


def needs_signalled_predictions(name: str) -> bool:
    """Whether it measures predictions of a signal that its name says."""
    objective = parse(name)
    return takes_signal(name) and objective.signal is not None and needs_predictions(name)


def is_checked(name: str) -> bool:
    """Whether the data alone decides what it can be asked."""
    return bool(parse(name).signal) or not needs_predictions(name)


class ObjectiveContract(UnknownItemsContract):
    """Tests of objectives: `subjects` are registered classes.

    Each is measured as it is and on another signal, and where it has a value per user also by
    groups of users and of items.
    """

    def test_the_name_is_read_back(self, name: str) -> None:
        assert parse(name).name == name
        assert parse(f"  {name} ").name == name

    def test_it_says_what_a_search_must_know(self, name: str) -> None:
        objective = parse(name)
        low, high = objective.bounds
        assert objective.maximise in (True, False)
        assert objective.unit
        assert low <= objective.reference <= high
        assert math.isfinite(objective.reference)
        assert isinstance(objective, UserObjective | SetObjective)

    @given(seed=SEEDS)
    @examples(12)
    def test_the_order_of_users_does_not_matter(self, name: str, seed: int) -> None:
        outcome, objective = world(seed), parse(name)
        order = np.random.default_rng(seed + 1).permutation(USERS)
        moved = reorder_users(outcome, order)
        assert same(objective.value(outcome), objective.value(moved))
        if isinstance(objective, UserObjective):
            np.testing.assert_allclose(
                objective.per_user(moved), objective.per_user(outcome)[order], atol=1e-12
            )

    @given(seed=SEEDS)
    @examples(12)
    def test_the_order_and_the_names_of_items_do_not_matter(self, name: str, seed: int) -> None:
        outcome, objective = world(seed), parse(name)
        order = np.random.default_rng(seed + 1).permutation(ITEMS)
        assert same(objective.value(outcome), objective.value(reorder_items(outcome, order)))

    @given(seed=SEEDS)
    @examples(12)
    def test_values_stay_within_bounds(self, name: str, seed: int) -> None:
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

    @only(looks_at_lists)
    def test_only_the_first_k_places_count(self, name: str) -> None:
        outcome, objective = world(3), parse(name)
        cut = dataclasses.replace(
            outcome, lists=outcome.lists[:, : objective.k], scores=outcome.scores[:, : objective.k]
        )
        assert same(objective.value(outcome), objective.value(cut))

    def test_inputs_are_not_mutated(self, name: str) -> None:
        outcome = world(5)
        outcome.lists.flags.writeable = False
        outcome.catalogue.popularity.flags.writeable = False
        outcome.catalogue.items.categories.flags.writeable = False
        objective = parse(name)
        first = objective.value(outcome)
        assert_frozen_copy_unchanged(outcome, world(5))
        assert same(first, objective.value(outcome))

    @only(looks_at_lists)
    def test_lists_of_padding_alone_earn_nothing(self, name: str) -> None:
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

    @only(needs_truth)
    def test_users_without_truth_are_left_out(self, name: str) -> None:
        outcome, objective = world(9), parse(name)
        assert isinstance(objective, UserObjective)
        values = objective.per_user(outcome)
        assert np.isnan(values[4 if objective.signal == "liked" else 3])
        assert same(objective.value(outcome), float(np.nanmean(values)))
        nothing = dict.fromkeys(SIGNALS, held_out(np.zeros((USERS, ITEMS))))
        bare = dataclasses.replace(outcome, held_out=nothing)
        assert np.isnan(objective.per_user(bare)).all()
        assert math.isnan(objective.value(bare))

    @only(takes_signal)
    def test_the_signal_chooses_the_truth(self, name: str) -> None:
        outcome = world(11)
        family, k = parse(name).family, parse(name).k
        by_default = dataclasses.replace(outcome, relevance="liked")
        named = parse(written(family, k, "liked"))
        assert same(parse(written(family, k)).value(by_default), named.value(outcome))
        with pytest.raises(BadRequestError, match=r'unknown signal "likd".*did you mean "liked"'):
            parse(written(family, k, "likd")).value(outcome)

    @only(looks_at_lists)
    def test_lists_shorter_than_k_are_refused(self, name: str) -> None:
        outcome, objective = world(13, length=4), parse(name)
        with pytest.raises(BadRequestError, match=r"needs lists of \d+ items and these have 4"):
            objective.value(outcome)

    @only(is_checked)
    def test_check_refuses_what_the_data_does_not_have(self, name: str) -> None:
        objective = parse(name)
        objective.check(**EVERYTHING)
        objective.check(
            signals=SIGNALS, attributes=ATTRIBUTES
        )  # what is predicted is not known yet
        if objective.signal:
            with pytest.raises(BadRequestError, match=r'"liked".*; known: clicked'):
                objective.check(signals=("clicked",), attributes=ATTRIBUTES)
        if objective.family in GROUPS:
            with pytest.raises(BadRequestError, match=r'"(gender|item\.brand)"; known: country'):
                objective.check(signals=SIGNALS, attributes=("country",))

    @only(needs_predictions)
    def test_check_refuses_what_nothing_predicts(self, name: str) -> None:
        objective, signals = parse(name), {"signals": SIGNALS, "attributes": ("gender",)}
        with pytest.raises(
            BadRequestError, match="this experiment predicts no signal: leave it out"
        ):
            objective.check(**signals, predicted=())
        with pytest.raises(BadRequestError, match=r'predicts rating: write "[\w@]+\[rating\]"'):
            objective.check(**signals, predicted=("rating",))
        task = parse(
            objective.name.replace("liked", "clicked*bought") if objective.signal else name
        )
        if task.signal:  # a task, or a chain of them, is no signal of the data
            task.check(**signals, predicted=("clicked*bought",))

    @only(needs_signalled_predictions)
    def test_what_looks_at_probabilities_refuses_other_predictions(self, name: str) -> None:
        objective, signals = parse(name), {"signals": SIGNALS, "attributes": ATTRIBUTES}
        objective.check(**signals, predicted={"liked": True})
        if getattr(objective, "of_chances", False):
            with pytest.raises(BadRequestError, match=r'predicts bought: write "[\w@]+\[bought\]"'):
                objective.check(**signals, predicted={"liked": False, "bought": True})
        else:
            objective.check(**signals, predicted={"liked": False})

    @only(lambda name: bool(parse(name).needs))
    def test_without_what_it_needs_nothing_is_measured(self, name: str) -> None:
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

    @only(lambda name: not parse(name).needs)
    def test_only_what_an_objective_asks_for_is_looked_at(self, name: str) -> None:
        def refuse(_: slice) -> np.ndarray:
            raise AssertionError("scores were asked for")

        parse(name).value(dataclasses.replace(world(17), all_scores=refuse))
