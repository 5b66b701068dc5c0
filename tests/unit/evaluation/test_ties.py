"""Equal scores: which item stands first depends on no id, so that renaming changes nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.data.ties import tie_ranks
from pareto_rec.evaluation.outcome_inputs import met_before
from pareto_rec.evaluation.scorers import UserScorers
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, parse
from pareto_rec.ranking import ServingParams, recommend
from pareto_rec.ranking.lists import largest
from pareto_rec.ranking.scorers import Ties
from pareto_rec.training.item_features import item_facts

pytestmark = pytest.mark.usefixtures("single_thread")

USERS, ITEMS, EACH = 60, 40, 6
NAMES = ("ndcg@10", "mrr@10", "recall@10", "epc@10", "ild@10", "coverage@10", "exposure_gini@10")
SETTINGS = [ServingParams({"popular": 1.0}), ServingParams({"popular": 1.0}, mmr=0.5, depth=20)]


def world(seed: int = 0) -> Stage:
    """All items equally popular; what is held out are those with the smallest ids, where unseen."""
    rng = np.random.default_rng(seed)
    item = np.concatenate([rng.permutation(ITEMS) for _ in range(USERS * EACH // ITEMS)])
    user = np.repeat(np.arange(USERS), EACH)
    time = 1_700_000_000 + np.sort(rng.integers(0, 10**6, (USERS, EACH)), axis=1).ravel()
    train = Interactions(user, item, time, {"watched": np.ones(len(user), np.float32)})
    met = np.zeros((USERS, ITEMS), dtype=bool)
    met[user, item] = True
    unseen = (~met).argmax(axis=1)  # the smallest id that is unseen
    ones = {"watched": np.ones(USERS, np.float32)}
    held_out = Interactions(np.arange(USERS), unseen, time[EACH - 1 :: EACH] + 1, ones)
    return stage(train, held_out, (rng.random((ITEMS, 5)) < 0.4).astype(np.float32))


def stage(train: Interactions, held_out: Interactions, categories: NDArray[np.float32]) -> Stage:
    names = tuple(f"i{place:03d}" for place in range(ITEMS))
    items = Items(names, names, names, categories, tuple("abcde"))
    users = Users(tuple(f"u{place:03d}" for place in range(USERS)), {})
    return Stage("validation", train, train, held_out, items, users, "made up")


def renamed(made: Stage, seed: int) -> Stage:
    """The same split with all items and users called and numbered otherwise."""
    rng = np.random.default_rng(seed)
    user, item = rng.permutation(USERS), rng.permutation(ITEMS)
    parts = []
    for rows in (made.train, made.held_out):
        new = dataclasses.replace(rows, user=user[rows.user], item=item[rows.item])
        parts.append(new.take(np.lexsort([new.item, new.time, new.user])))
    categories = np.empty_like(made.items.categories)
    categories[item] = made.items.categories
    return stage(parts[0], parts[1], categories)


def measured(made: Stage) -> list[dict[str, float]]:
    """Objectives of popularity alone, for every setting."""
    met = met_before(made)
    catalogue = Catalogue(made.items, made.users, made.popularity, met)
    scores = np.tile(made.popularity, (USERS, 1)).astype(np.float32)
    ranks = tie_ranks(made.items, made.train)
    cpu = torch.device("cpu")
    scorers = UserScorers(met, {"popular": scores}, item_facts(catalogue), ranks, cpu).all()
    lists, values = recommend(scorers, SETTINGS, k=10)
    truth = {"watched": HeldOut(made.relevance("watched"))}
    outcomes = [
        Outcome(chosen, top, truth, "watched", catalogue)
        for chosen, top in zip(lists, values, strict=True)
    ]
    return [{name: parse(name).value(one) for name in NAMES} for one in outcomes]


@pytest.mark.parametrize("seed", range(4))
def test_renaming_ids_changes_no_metric(seed: int) -> None:
    made = world(seed)
    assert len(set(made.popularity.tolist())) == 1
    before, after = measured(made), measured(renamed(made, seed + 100))
    for old, new in zip(before, after, strict=True):
        assert new == pytest.approx(old, rel=1e-12)


def test_the_smallest_ids_are_not_in_front() -> None:
    """In the ids' order every list would begin with what is held out: an NDCG of 1."""
    values = [measured(world(seed))[0]["ndcg@10"] for seed in range(8)]
    places = np.arange(10)
    chance = float((1 / np.log2(places + 2)).sum() / (ITEMS - EACH))  # of a random order
    assert abs(np.mean(values) - chance) < 0.1
    assert max(values) < 0.6


def test_items_that_nothing_tells_apart_stand_in_no_order_of_ids() -> None:
    names = tuple(f"i{place:03d}" for place in range(200))
    items = Items(names, names, names, np.zeros((200, 0), np.float32), ())
    nobody = np.empty(0, dtype=np.int64)
    ranks = tie_ranks(items, Interactions(nobody, nobody, nobody, {}))
    assert sorted(ranks.tolist()) == list(range(200))
    assert abs(np.corrcoef(ranks, np.arange(200))[0, 1]) < 0.2


def test_contents_tell_items_without_rows_apart() -> None:
    texts = tuple("abcdefgh")
    nobody = np.empty(0, dtype=np.int64)
    rows = Interactions(nobody, nobody, nobody, {})

    def order(ids: str, texts: tuple[str, ...]) -> list[str]:
        items = Items(tuple(ids), texts, texts, np.zeros((8, 0), np.float32), ())
        return [texts[place] for place in np.argsort(tie_ranks(items, rows)).tolist()]

    assert order("12345678", texts) == order("87654321", texts[::-1])


def test_inputs_are_left_as_they_are() -> None:
    made = world()
    made.train.read_only()
    made.items.categories.flags.writeable = False
    assert not tie_ranks(made.items, made.train).flags.writeable


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_precisions_order_equals_alike(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(3)
    scores = torch.from_numpy(rng.integers(0, 4, (5, 2, 30))).to(dtype)
    ranks = rng.permutation(30)
    values, places = largest(scores, 12, Ties.of(ranks))
    expected = np.lexsort((np.broadcast_to(ranks, scores.shape), -scores.numpy()), axis=-1)
    np.testing.assert_array_equal(places.numpy(), expected[..., :12])
    torch.testing.assert_close(values, torch.gather(scores, -1, places))
