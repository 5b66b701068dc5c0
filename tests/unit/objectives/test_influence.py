"""Influence values of set objectives, against what leaving a user out does to the value."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.objectives import Outcome, Predicted, SetObjective, UserObjective, parse
from pareto_rec.objectives.fairness import GroupObjective
from pareto_rec.testing.outcomes import USERS, reorder_users, world

EXACT = ("personalization@5", "coverage@5")  # the jackknife itself, but for a factor
SMOOTH = (
    *("exposure_gini@5", "category_exposure@5"),
    *("rmse[watched]", "log_loss[watched]", "pooled_auc[watched]", "calibration_error[watched]"),
)
COSTS = ("train_seconds", "flops", "parameters", "latency_p50", "latency_p95")


def set_objective(name: str) -> SetObjective:
    objective = parse(name)
    assert isinstance(objective, SetObjective)
    return objective


def without(outcome: Outcome, user: int) -> Outcome:
    """The same outcome of all users but one."""
    lists = np.delete(outcome.lists, user, axis=0)
    predictions = {}
    for name, one in outcome.predictions.items():
        rows = one.user != user
        moved = one.user[rows] - (one.user[rows] > user)
        predictions[name] = Predicted(moved, one.predicted[rows], one.true[rows])
    return dataclasses.replace(outcome, lists=lists, predictions=predictions)


def left_out(name: str, outcome: Outcome) -> NDArray[np.float64]:
    """What the jackknife says of every user, by evaluating the objective without each."""
    objective = parse(name)
    others = np.array([objective.value(without(outcome, user)) for user in range(USERS)])
    return (USERS - 1) * (others.mean() - others)


def influence(name: str, outcome: Outcome) -> NDArray[np.float64]:
    values = set_objective(name).influence(outcome)
    assert values is not None
    return values


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_jackknife_leaves_users_out_exactly(name: str, seed: int) -> None:
    """But for a factor of at most 1, by which its variance is too large."""
    outcome = world(seed)
    outcome.lists[(outcome.lists < 0).all(axis=1), 0] = 0  # nobody has an empty list
    own, brute = influence(name, outcome), left_out(name, outcome)
    factor = own @ brute / (brute @ brute)
    assert 0.0 <= factor <= 1.0
    np.testing.assert_allclose(own, factor * brute, atol=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_objectives_are_moved_as_by_leaving_users_out(name: str) -> None:
    """Derivatives and differences agree as far as one of few users is little."""
    outcome = world(4)
    own, brute = influence(name, outcome), left_out(name, outcome)
    known = ~np.isnan(own)
    assert np.corrcoef(own[known], brute[known])[0, 1] > 0.9
    assert own[known].std() == pytest.approx(brute[known].std(), rel=0.35)


@pytest.mark.parametrize("name", [*EXACT, *SMOOTH])
def test_influence_values_have_mean_zero_and_follow_their_users(name: str) -> None:
    outcome = world(5)
    own = influence(name, outcome)
    assert own.shape == (USERS,)
    assert np.nanmean(own) == pytest.approx(0.0, abs=1e-9)
    order = np.random.default_rng(0).permutation(USERS)
    np.testing.assert_allclose(influence(name, reorder_users(outcome, order)), own[order])


@pytest.mark.parametrize("name", COSTS)
def test_costs_do_not_depend_on_users(name: str) -> None:
    assert set_objective(name).influence(world(6)) is None
    assert not set_objective(name).of_users


@pytest.mark.parametrize(
    ("name", "most"),
    [("personalization@5", 1.2), ("coverage@5", 1.7)],  # without the factors: 2.1 and 3.8
)
def test_the_variance_is_right_where_lists_have_nothing_in_common(name: str, most: float) -> None:
    """Random lists: all variance is that of pairs, or of chance alone, as 400 samples show it."""
    users, items, length = 40, 60, 5
    rng, values, variances = np.random.default_rng(0), [], []
    base = world(0)
    text = tuple(map(str, range(items)))
    catalogue = dataclasses.replace(
        base.catalogue,
        items=dataclasses.replace(base.catalogue.items, ids=text, titles=text, texts=text),
    )
    for _ in range(400):
        lists = np.argsort(rng.random((users, items)), axis=1)[:, :length]
        outcome = dataclasses.replace(base, lists=lists, catalogue=catalogue)
        values.append(parse(name).value(outcome))
        variances.append((influence(name, outcome) ** 2).sum() / (users * (users - 1)))
    assert 0.85 <= np.mean(variances) / np.var(values) <= most


@pytest.mark.parametrize("family", ["worst", "gap", "ratio", "mean"])
@pytest.mark.parametrize("attribute", ["gender", "item.brand"])
@pytest.mark.parametrize("base", ["ndcg@5", "recall@5[liked]"])
def test_values_by_group_give_the_objective(family: str, attribute: str, base: str) -> None:
    objective = parse(f"{family}({base} by {attribute})")
    assert isinstance(objective, GroupObjective)
    outcome = world(8)
    means = objective.grouped(outcome).means()
    assert objective.combine_all(means) == pytest.approx(objective.value(outcome), nan_ok=True)
    table = np.stack([means, means[::-1], np.full_like(means, np.nan)])
    plain = GroupObjective.combine_all(objective, table)  # row by row
    np.testing.assert_allclose(objective.combine_all(table), plain)
    assert isinstance(objective.base, UserObjective)


def test_the_mean_of_one_group_has_the_users_of_that_group_alone() -> None:
    outcome = world(8)
    objective = parse("mean(ndcg@5 by gender=F)")
    assert isinstance(objective, GroupObjective)
    grouped = objective.grouped(outcome)
    assert grouped.groups == 1
    genders = np.array(outcome.catalogue.users.attributes["gender"])
    assert set(genders[grouped.user]) == {"F"}
    assert grouped.means()[0] == pytest.approx(objective.value(outcome))
