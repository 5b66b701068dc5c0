"""Experts of a bundle, scored from histories that are put in order once: what they alone say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.base import ItemModel
from pareto_rec.ranking import standardise, unseen_count
from pareto_rec.ranking.builder import FEW
from pareto_rec.ranking.linear import densify_if_small, scores_of

pytestmark = pytest.mark.usefixtures("single_thread")

ITEMS = 40
Ints = NDArray[np.int64]


def models() -> dict[str, ItemModel]:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(ITEMS, ITEMS)).astype(np.float32)
    few = sparse.csr_array(np.where(rng.random(dense.shape) < 0.2, dense, 0).astype(np.float32))
    bias = rng.normal(size=ITEMS).astype(np.float32)
    return {
        "dense": ItemModel(dense, bias, None),
        "recent": ItemModel(dense[::-1].copy(), 0 * bias, 7.0),
        "few": ItemModel(few, 0 * bias, 2.0),
        "bias": ItemModel(None, bias, None),
    }


def histories(lengths: list[int], seed: int = 1) -> tuple[Ints, Ints]:
    """Histories with repeated items; long ones, the oldest of whose weights round to 0."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return starts, np.random.default_rng(seed).integers(0, ITEMS, starts[-1])


@pytest.mark.parametrize("lengths", [[5], [0], [1], [900], [3, 0, 30, 900, 1], [0, 0]])
def test_scores_are_those_of_each_expert_to_the_last_bit(lengths: list[int]) -> None:
    starts, items = histories(lengths)
    if max(lengths) > 500:  # an item that was met long ago and never since
        items[starts[:-1]] = ITEMS - 1
        items[1:][items[1:] == ITEMS - 1] = 0
    before = starts.copy(), items.copy()
    found = scores_of(models(), starts, items)
    for name, model in models().items():
        np.testing.assert_array_equal(found[name], model.score(starts, items), err_msg=name)
        assert found[name].dtype == np.float32
    np.testing.assert_array_equal(starts, before[0])
    np.testing.assert_array_equal(items, before[1])


def test_weights_are_made_dense_where_that_pays_and_say_the_same() -> None:
    starts, items = histories([3, 0, 30, 900, 1])
    for name, model in models().items():
        other = densify_if_small(model)
        assert other.weights is None or isinstance(other.weights, np.ndarray)  # a fifth is not 0
        found = scores_of({name: other}, starts, items)[name]
        np.testing.assert_array_equal(found, model.score(starts, items))
    thin = ItemModel(sparse.csr_array(np.eye(ITEMS, dtype=np.float32)), np.zeros(ITEMS), None)
    assert densify_if_small(thin) is thin


def test_no_experts_say_nothing() -> None:
    assert scores_of({}, *histories([3])) == {}


@pytest.mark.parametrize("people", [1, 7])
def test_experts_are_standardised_together_as_they_are_alone(people: int) -> None:
    """What `Engine` relies on for few people."""
    draws = torch.Generator().manual_seed(0)
    n_items = FEW // (3 * people)
    seen = torch.rand(people, n_items, generator=draws) < 0.1
    parts = [torch.randn(people, n_items, generator=draws) * 10.0**n for n in range(3)]
    count = unseen_count(seen)
    together = standardise(torch.stack(parts), seen, count)
    for part, found in zip(parts, together, strict=True):
        assert torch.equal(standardise(part, seen, count), found)
