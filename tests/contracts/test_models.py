"""What every registered model promises; new ones are found by themselves.

Every model is run with random parameters (not its initial ones, some of which are zero) and
histories that end at the last place and are padded with -1 on the left.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from toy_learning import CPU, random_params, shape_of, stacked

from pareto_rec.core.threads import one_thread
from pareto_rec.models import MODELS, Model
from pareto_rec.models.base import Dropout, Noise, Shape, init_shared, item_table, tower
from pareto_rec.models.head import ScoringHead
from pareto_rec.models.scoring import (
    last_states,
    relevance_scores,
    relevance_states,
    user_states,
    whole_logits,
)

NAMES = list(MODELS)
LENGTHS = (7, 4, 1, 0)  # filled places of each history; the last user has none
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(params=NAMES)
def shape(request: pytest.FixtureRequest) -> Shape:
    return shape_of(request.param, ("liked",))


def scores_of(
    params: dict[str, Tensor], shape: Shape, features: Tensor, histories: Tensor, heat: float = 1.0
) -> dict[str, Tensor]:
    """Logits ``[users, N]`` of every tower."""
    head = ScoringHead(params, shape, features, temperature=heat)
    return head.logits(shape.towers, head.states(histories.numpy()))


def histories_of(shape: Shape, seed: int, lengths: tuple[int, ...] = LENGTHS) -> Tensor:
    """Random right-aligned histories ``[users, L]``."""
    source = torch.Generator().manual_seed(seed)
    items = torch.randint(0, shape.n_items, (len(lengths), shape.history), generator=source)
    places = torch.arange(shape.history)
    filled = places >= shape.history - torch.tensor(lengths).unsqueeze(1)
    return torch.where(filled, items, -1)


def features_of(shape: Shape) -> Tensor:
    source = torch.Generator().manual_seed(99)
    return torch.randn(shape.n_items, shape.feature_dim, generator=source)


def last_places(histories: Tensor) -> Tensor:
    return torch.full((*histories.shape[:2], 1), histories.shape[2] - 1)


def states_of(
    shape: Shape,
    params: dict[str, Tensor],
    histories: Tensor,
    at: Tensor | None = None,
    features: Tensor | None = None,
) -> Tensor:
    """States ``[P, B, Q, D]`` without dropout."""
    table = item_table(params, features_of(shape) if features is None else features, None)
    at = last_places(histories) if at is None else at
    return MODELS[shape.model].encode(params, shape, table, histories, at, None)


def reads_several_places(shape: Shape) -> bool:
    """Whether one history gives states at several places; other models see the whole of it."""
    histories = histories_of(shape, 0)[None]
    at = torch.arange(2).expand(1, len(LENGTHS), 2)
    return states_of(shape, stacked([random_params(shape, 0)]), histories, at).shape[2] == 2


SEVERAL = [name for name in NAMES if reads_several_places(shape_of(name))]


def test_names_and_documents(shape: Shape) -> None:
    model = MODELS[shape.model]
    assert model.name == shape.model
    assert type(model).__doc__ != Model.__doc__
    assert inspect.getdoc(type(model))


def test_a_state_per_candidate_history_and_place(shape: Shape) -> None:
    params = stacked([random_params(shape, seed) for seed in range(3)])
    histories = histories_of(shape, 1).expand(3, -1, -1)
    states = states_of(shape, params, histories)
    assert states.shape == (3, len(LENGTHS), 1, shape.width)
    assert torch.isfinite(states).all()
    table = item_table(params, features_of(shape), None)
    flat = user_states(params, shape, table, histories, last_places(histories))
    torch.testing.assert_close(flat, states.reshape(3, -1, shape.width))


@pytest.mark.parametrize("name", SEVERAL)
def test_each_place_gets_the_state_that_it_has_alone(name: str) -> None:
    shape = shape_of(name)
    params = stacked([random_params(shape, 1)])
    histories = histories_of(shape, 2, (7, 6))[None]
    at = torch.tensor([[[6, 1, 3], [2, 5, 5]]])
    together = states_of(shape, params, histories, at)
    for place in range(3):
        alone = states_of(shape, params, histories, at[:, :, place : place + 1])
        torch.testing.assert_close(together[:, :, place : place + 1], alone, **CLOSE)


@pytest.mark.parametrize("name", SEVERAL)
def test_no_place_looks_ahead(name: str) -> None:
    """Neither other items after a place nor none at all change its state."""
    shape = shape_of(name)
    params = stacked([random_params(shape, 1)])
    histories = histories_of(shape, 2, (7, 5))[None]
    at = torch.full((1, 2, 1), 3)
    before = states_of(shape, params, histories, at)
    for later in (1, -1):
        other = histories.clone()
        other[..., 4:] = (other[..., 4:] + later) % shape.n_items
        torch.testing.assert_close(states_of(shape, params, other, at), before, **CLOSE)
    other[..., 4:] = -1
    torch.testing.assert_close(states_of(shape, params, other, at), before, **CLOSE)
    earlier = histories.clone()
    earlier[..., 3] = (earlier[..., 3] + 1) % shape.n_items
    assert (states_of(shape, params, earlier, at) - before).abs().max() > 0.01


def test_padding_on_the_left_changes_no_state(shape: Shape) -> None:
    """The last three items alone, and the same with four empty places before them."""
    params = stacked([random_params(shape, 2)])
    padded = histories_of(shape, 3, (3, 2))[None]
    short = padded[..., -3:].contiguous()
    torch.testing.assert_close(
        states_of(shape, params, short), states_of(shape, params, padded), **CLOSE
    )


def test_every_item_of_the_history_counts_and_no_other(shape: Shape) -> None:
    params = stacked([random_params(shape, 3)])
    items = torch.tensor([[[-1, -1, 2, 5, 3, 8, 1]]])
    features = features_of(shape)
    before = states_of(shape, params, items)
    for item in range(shape.n_items):
        other = features.clone()
        other[item] += 1.0
        moved = (states_of(shape, params, items, features=other) - before).abs().max()
        assert (moved > 1e-4) == (item in items), item


def test_order_counts(shape: Shape) -> None:
    """The same items, the last two exchanged."""
    params = stacked([random_params(shape, 3)])
    items = torch.tensor([[[-1, -1, 2, 5, 3, 8, 1], [-1, -1, 2, 5, 3, 1, 8]]])
    first, second = states_of(shape, params, items)[0]
    assert (first - second).abs().max() > 1e-3


def test_without_a_history_no_item_counts(shape: Shape) -> None:
    """All users without a history share one finite state, which no item's text moves."""
    params = stacked([random_params(shape, 4)])
    empty = torch.full((1, 2, shape.history), -1)
    before = states_of(shape, params, empty)
    assert torch.isfinite(before).all()
    after = states_of(shape, params, empty, features=features_of(shape) + 1.0)
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_users_do_not_see_each_other(shape: Shape) -> None:
    params = stacked([random_params(shape, 5)])
    histories = histories_of(shape, 6)[None]
    together = states_of(shape, params, histories)
    for user in range(len(LENGTHS)):
        alone = states_of(shape, params, histories[:, user : user + 1])
        torch.testing.assert_close(together[:, user : user + 1], alone, **CLOSE)


def test_candidates_of_a_pack_do_not_see_each_other(shape: Shape) -> None:
    alone = [random_params(shape, seed) for seed in range(3)]
    histories = torch.stack([histories_of(shape, seed) for seed in range(3)])
    together = states_of(shape, stacked(alone), histories)
    for index, params in enumerate(alone):
        one = states_of(shape, stacked([params]), histories[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], one, **CLOSE)


def test_gradients_reach_every_parameter(shape: Shape) -> None:
    """Whole tensors are meant: of an embedding or a bias only the rows that were used."""
    params = stacked([random_params(shape, 7)])
    params = {name: value.requires_grad_() for name, value in params.items()}
    table = item_table(params, features_of(shape), None)
    states = last_states(params, shape, table, histories_of(shape, 8))
    relevance = relevance_scores(params, states, table, torch.ones(1))
    scores = relevance, whole_logits(params, "liked", states, table)
    (scores[0].square().sum() + scores[1].square().sum()).backward()
    for name, value in params.items():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().max() > 1e-6, name


def test_initial_values_depend_on_the_generator_alone(shape: Shape) -> None:
    def init(seed: int) -> dict[str, Tensor]:
        source = torch.Generator().manual_seed(seed)
        return init_shared(shape, source) | MODELS[shape.model].init(shape, source)

    torch.manual_seed(1)
    first = init(5)
    torch.manual_seed(2)
    second, other = init(5), init(6)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_an_item_without_interactions_is_scored_from_its_text(shape: Shape) -> None:
    """No embedding and no bias of its own: its text alone moves its score, and no other score."""
    new = 4
    params = random_params(shape, 9)
    params["item.embed"][new] = 0
    for task in ("relevance", "liked"):
        params[f"{task}.item_bias"][new] = 0
    histories = histories_of(shape, 10)
    histories[histories == new] = 0
    features = features_of(shape)
    moved = features.clone()
    moved[new] = features[1] * 0.5 - features[2]
    before, after = (scores_of(params, shape, one, histories) for one in (features, moved))
    others = torch.arange(shape.n_items) != new
    for old, now in zip(before.values(), after.values(), strict=True):
        assert (old[:3, new] - now[:3, new]).abs().min() > 1e-4
        torch.testing.assert_close(old[..., others], now[..., others], rtol=0, atol=0)


def test_catalogue_scores_are_products_of_states_and_items(shape: Shape) -> None:
    """One candidate, one user and one item at a time, in plain sums."""
    alone = [random_params(shape, seed) for seed in (11, 12)]
    histories, features = histories_of(shape, 13), features_of(shape)
    for temperature, params in zip((0.5, 2.0), alone, strict=True):
        scores = scores_of(params, shape, features, histories, temperature)
        items = features.double() @ params["item.project"].double() + params["item.embed"]
        for user in range(len(LENGTHS)):
            one = histories[user : user + 1][None]
            state = states_of(shape, stacked([params]), one)[0, 0, 0].double()
            for task, found in scores.items():
                hidden = state @ params[f"{task}.in"].double() + params[f"{task}.in_bias"]
                act = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
                out = (state + act @ params[f"{task}.out"].double()) / shape.width**0.5
                if task == "relevance":
                    out = out / temperature
                for item in range(shape.n_items):
                    expected = float(out @ items[item] + params[f"{task}.item_bias"][item])
                    assert float(found[user, item]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_only_the_tasks_that_are_wanted_are_scored(shape: Shape) -> None:
    head = ScoringHead(random_params(shape, 1), shape, features_of(shape))
    states = head.states(histories_of(shape, 1).numpy())
    every, none = head.scores(states), head.scores(states, ())
    assert (set(every.tasks), set(none.tasks)) == ({"liked"}, set())
    torch.testing.assert_close(every.relevance, none.relevance)


def test_scoring_mutates_nothing(shape: Shape) -> None:
    params = random_params(shape, 1)
    histories, features = histories_of(shape, 1), features_of(shape)
    before = {name: value.clone() for name, value in params.items()}
    kept = histories.clone(), features.clone()
    scores_of(params, shape, features, histories)
    assert torch.equal(histories, kept[0])
    assert torch.equal(features, kept[1])
    assert all(torch.equal(params[name], before[name]) for name in params)


def test_dropout_of_zero_is_no_dropout_and_more_of_it_changes_states(shape: Shape) -> None:
    params = stacked([random_params(shape, 1)] * 2)
    histories = histories_of(shape, 14, (7, 6))[None].expand(2, -1, -1)
    rates = torch.tensor([0.0, 0.6])
    dropout = Dropout(Noise([3, 3], CPU), rates, torch.zeros(2))
    table = item_table(params, features_of(shape), None)
    at = last_places(histories)
    noisy = MODELS[shape.model].encode(params, shape, table, histories, at, dropout)
    plain = states_of(shape, params, histories)
    torch.testing.assert_close(noisy[0], plain[0], **CLOSE)
    assert (noisy[1] - plain[1]).abs().max() > 1e-3


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
