"""What every registered model promises (new ones are found by themselves), and parts of all."""

from __future__ import annotations

import inspect

import pytest
import torch
from toy_learning import CPU, random_params, shape_of, stacked

from pareto_rec.models import MODELS, Model
from pareto_rec.models.base import Dropout, Noise, item_table, tower
from pareto_rec.models.scoring import relevance_states
from pareto_rec.testing import ModelContract
from pareto_rec.testing.models import features_of

NAMES = list(MODELS)


class TestModels(ModelContract):
    subjects = tuple(MODELS.values())


@pytest.mark.parametrize("name", NAMES)
def test_names_and_documents(name: str) -> None:
    model = MODELS[name]
    assert model.name == name
    assert type(model).__doc__ != Model.__doc__
    assert inspect.getdoc(type(model))


def test_noise_is_inverted_dropout_and_each_candidates_own() -> None:
    rates = torch.tensor([0.25, 0.25, 0.5])
    kept = Noise([1, 2, 1], CPU).keep((4000, 1), rates)
    for one, rate in zip(kept, rates.tolist(), strict=True):
        assert one.unique().tolist() == [0.0, pytest.approx(1 / (1 - rate))]
        # the share of zeros has standard deviation sqrt(.5 * .5 / 4000) < .008
        assert float((one == 0).float().mean()) == pytest.approx(rate, abs=0.04)
        assert float(one.mean()) == pytest.approx(1.0, abs=0.08)
    assert not torch.equal(kept[0], kept[1])
    torch.testing.assert_close(Noise([2], CPU).keep((4000, 1), rates[:1])[0], kept[1])


def test_item_embeddings_are_dropped_whole_and_not_rescaled() -> None:
    shape = shape_of(NAMES[0], n_items=200)
    params = stacked([random_params(shape, 1)])
    features = features_of(shape)
    dropout = Dropout(Noise([4], CPU), torch.zeros(1), torch.tensor([0.3]))
    text = torch.matmul(features, params["item.project"])
    left = item_table(params, features, dropout) - text
    dropped = left.abs().amax(-1)[0] < 1e-6
    assert 0.15 < float(dropped.float().mean()) < 0.45
    whole = params["item.embed"][0, ~dropped]
    torch.testing.assert_close(left[0, ~dropped], whole, rtol=1e-4, atol=1e-5)


def test_a_colder_temperature_sharpens_relevance_alone() -> None:
    shape = shape_of(NAMES[0])
    params = stacked([random_params(shape, 1)] * 2)
    states = torch.randn(2, 3, shape.width, generator=torch.Generator().manual_seed(1))
    states[1] = states[0]
    found = relevance_states(params, states, torch.tensor([1.0, 0.25]))
    torch.testing.assert_close(found[1], 4 * found[0])
    torch.testing.assert_close(found[0] * shape.width**0.5, tower(params, "relevance", states)[0])
