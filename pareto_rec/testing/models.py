"""What every user encoder promises.

A model is run with random parameters (not its initial ones, some of which are zero) and histories
that end at the last position and are padded with -1 on the left.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from pareto_rec.models import MODELS
from pareto_rec.models.base import Dropout, Model, Noise, Shape, init_shared, item_table
from pareto_rec.models.head import ScoringHead
from pareto_rec.models.scoring import last_states, relevance_scores, user_states, whole_logits
from pareto_rec.testing.contract import OneThreadContract, only
from pareto_rec.testing.random_inputs import random_params, shape_of, stacked

LENGTHS = (7, 4, 1, 0)  # filled positions of each history; the last user has none
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def shape_for(model: Model) -> Shape:
    """A small shape with a second tower."""
    return shape_of(model.name, ("liked",))


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
    """Random features of all items."""
    source = torch.Generator().manual_seed(99)
    return torch.randn(shape.n_items, shape.feature_dim, generator=source)


def last_places(histories: Tensor) -> Tensor:
    """The last position of every history."""
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


def reads_several_positions(model: Model) -> bool:
    """Whether one history gives states at several positions; others see the whole of it."""
    shape = shape_for(model)
    histories = histories_of(shape, 0)[None]
    at = torch.arange(2).expand(1, len(LENGTHS), 2)
    return states_of(shape, stacked([random_params(shape, 0)]), histories, at).shape[2] == 2


class ModelContract(OneThreadContract):
    """Tests of user encoders: `subjects` are registered models.

    Attributes:
        reads_order: Whether the models promise that the order of a history counts.
    """

    argument = "model"
    reads_order: ClassVar[bool] = True

    def test_a_config_can_name_it(self, model: Model) -> None:
        assert MODELS.get(model.name) is model, "register(model=...) first"

    def test_a_state_per_candidate_history_and_place(self, model: Model) -> None:
        shape = shape_for(model)
        params = stacked([random_params(shape, seed) for seed in range(3)])
        histories = histories_of(shape, 1).expand(3, -1, -1)
        states = states_of(shape, params, histories)
        assert states.shape == (3, len(LENGTHS), 1, shape.width)
        assert torch.isfinite(states).all()
        table = item_table(params, features_of(shape), None)
        flat = user_states(params, shape, table, histories, last_places(histories))
        torch.testing.assert_close(flat, states.reshape(3, -1, shape.width))

    @only(reads_several_positions)
    def test_each_place_gets_the_state_that_it_has_alone(self, model: Model) -> None:
        shape = shape_for(model)
        params = stacked([random_params(shape, 1)])
        histories = histories_of(shape, 2, (7, 6))[None]
        at = torch.tensor([[[6, 1, 3], [2, 5, 5]]])
        together = states_of(shape, params, histories, at)
        for place in range(3):
            alone = states_of(shape, params, histories, at[:, :, place : place + 1])
            torch.testing.assert_close(together[:, :, place : place + 1], alone, **CLOSE)

    @only(reads_several_positions)
    def test_no_place_looks_ahead(self, model: Model) -> None:
        """Neither other items after a place nor none at all change its state."""
        shape = shape_for(model)
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

    def test_padding_on_the_left_changes_no_state(self, model: Model) -> None:
        """The last three items alone, and the same with four empty places before them."""
        shape = shape_for(model)
        params = stacked([random_params(shape, 2)])
        padded = histories_of(shape, 3, (3, 2))[None]
        short = padded[..., -3:].contiguous()
        torch.testing.assert_close(
            states_of(shape, params, short), states_of(shape, params, padded), **CLOSE
        )

    def test_every_item_of_the_history_counts_and_no_other(self, model: Model) -> None:
        shape = shape_for(model)
        params = stacked([random_params(shape, 3)])
        items = torch.tensor([[[-1, -1, 2, 5, 3, 8, 1]]])
        features = features_of(shape)
        before = states_of(shape, params, items)
        for item in range(shape.n_items):
            other = features.clone()
            other[item] += 1.0
            moved = (states_of(shape, params, items, features=other) - before).abs().max()
            assert (moved > 1e-4) == (item in items), item

    def test_order_counts(self, model: Model) -> None:
        """The same items, the last two exchanged."""
        if not self.reads_order:
            pytest.skip("these models do not read the order of a history")
        shape = shape_for(model)
        params = stacked([random_params(shape, 3)])
        items = torch.tensor([[[-1, -1, 2, 5, 3, 8, 1], [-1, -1, 2, 5, 3, 1, 8]]])
        first, second = states_of(shape, params, items)[0]
        assert (first - second).abs().max() > 1e-3

    def test_without_a_history_no_item_counts(self, model: Model) -> None:
        """All users without a history share one finite state, which no item's text moves."""
        shape = shape_for(model)
        params = stacked([random_params(shape, 4)])
        empty = torch.full((1, 2, shape.history), -1)
        before = states_of(shape, params, empty)
        assert torch.isfinite(before).all()
        after = states_of(shape, params, empty, features=features_of(shape) + 1.0)
        torch.testing.assert_close(after, before, rtol=0, atol=0)

    def test_users_do_not_see_each_other(self, model: Model) -> None:
        shape = shape_for(model)
        params = stacked([random_params(shape, 5)])
        histories = histories_of(shape, 6)[None]
        together = states_of(shape, params, histories)
        for user in range(len(LENGTHS)):
            alone = states_of(shape, params, histories[:, user : user + 1])
            torch.testing.assert_close(together[:, user : user + 1], alone, **CLOSE)

    def test_candidates_of_a_pack_do_not_see_each_other(self, model: Model) -> None:
        shape = shape_for(model)
        alone = [random_params(shape, seed) for seed in range(3)]
        histories = torch.stack([histories_of(shape, seed) for seed in range(3)])
        together = states_of(shape, stacked(alone), histories)
        for index, params in enumerate(alone):
            one = states_of(shape, stacked([params]), histories[index : index + 1])
            torch.testing.assert_close(together[index : index + 1], one, **CLOSE)

    def test_gradients_reach_every_parameter(self, model: Model) -> None:
        """Whole tensors are meant: of an embedding or a bias only the rows that were used."""
        shape = shape_for(model)
        params = stacked([random_params(shape, 7)])
        params = {name: value.requires_grad_() for name, value in params.items()}
        table = item_table(params, features_of(shape), None)
        states = last_states(params, shape, table, histories_of(shape, 8))
        relevance = relevance_scores(params, states, table, torch.ones(1))
        scores = relevance, whole_logits(params, "liked", states, table)
        torch.autograd.backward(scores[0].square().sum() + scores[1].square().sum())
        for name, value in params.items():
            assert value.grad is not None, name
            assert torch.isfinite(value.grad).all(), name
            assert value.grad.abs().max() > 1e-6, name

    def test_initial_values_depend_on_the_generator_alone(self, model: Model) -> None:
        shape = shape_for(model)

        def init(seed: int) -> dict[str, Tensor]:
            source = torch.Generator().manual_seed(seed)
            return init_shared(shape, source) | model.init(shape, source)

        torch.manual_seed(1)
        first = init(5)
        torch.manual_seed(2)
        second, other = init(5), init(6)
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)

    def test_an_item_without_interactions_is_scored_from_its_text(self, model: Model) -> None:
        """No embedding and no bias of its own: its text alone moves its score, and no other."""
        shape = shape_for(model)
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

    def test_catalogue_scores_are_products_of_states_and_items(self, model: Model) -> None:
        """One candidate, one user and one item at a time, in plain sums."""
        shape = shape_for(model)
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
                        assert float(found[user, item]) == pytest.approx(
                            expected, rel=1e-3, abs=1e-4
                        )

    def test_only_the_tasks_that_are_wanted_are_scored(self, model: Model) -> None:
        shape = shape_for(model)
        head = ScoringHead(random_params(shape, 1), shape, features_of(shape))
        states = head.states(histories_of(shape, 1).numpy())
        every, none = head.scores(states), head.scores(states, ())
        assert (set(every.tasks), set(none.tasks)) == ({"liked"}, set())
        torch.testing.assert_close(every.relevance, none.relevance)

    def test_scoring_mutates_nothing(self, model: Model) -> None:
        shape = shape_for(model)
        params = random_params(shape, 1)
        histories, features = histories_of(shape, 1), features_of(shape)
        before = {name: value.clone() for name, value in params.items()}
        kept = histories.clone(), features.clone()
        scores_of(params, shape, features, histories)
        assert torch.equal(histories, kept[0])
        assert torch.equal(features, kept[1])
        assert all(torch.equal(params[name], before[name]) for name in params)

    def test_dropout_of_zero_is_no_dropout_and_more_of_it_changes_states(
        self, model: Model
    ) -> None:
        shape = shape_for(model)
        params = stacked([random_params(shape, 1)] * 2)
        histories = histories_of(shape, 14, (7, 6))[None].expand(2, -1, -1)
        rates = torch.tensor([0.0, 0.6])
        dropout = Dropout(Noise([3, 3], torch.device("cpu")), rates, torch.zeros(2))
        table = item_table(params, features_of(shape), None)
        at = last_places(histories)
        noisy = model.encode(params, shape, table, histories, at, dropout)
        plain = states_of(shape, params, histories)
        torch.testing.assert_close(noisy[0], plain[0], **CLOSE)
        assert (noisy[1] - plain[1]).abs().max() > 1e-3
