"""The table of features that follows its layers: what is encoded, what moves and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from random_bert import TEXTS, random_bert

from pareto_rec.backbone.cached import Backbone, Reading
from pareto_rec.core.threads import one_thread
from pareto_rec.training.item_features import Projection
from pareto_rec.training.tuned.layers import METHODS, Tuning, UpperLayers
from pareto_rec.training.tuned.live import (
    LiveTable,
    Pace,
    Rates,
    chosen_texts,
    chunks,
    features_of,
)
from pareto_rec.training.tuned.tokens import TokenStates, token_states

CPU = torch.device("cpu")
N = len(TEXTS)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    root = tmp_path_factory.mktemp("live")
    return Backbone.load(random_bert(root / "bert"), root / "cache")


@pytest.fixture(scope="module")
def tokens(backbone: Backbone) -> TokenStates:
    return token_states(backbone, TEXTS, 0, Reading(max_length=20))


@pytest.fixture(scope="module")
def projection(backbone: Backbone) -> Projection:
    return Projection.of(backbone.encode(TEXTS, max_length=20).states, 5)


def table_of(
    backbone: Backbone,
    tokens: TokenStates,
    projection: Projection,
    *,
    method: str = "lora",
    seeds: tuple[int, ...] = (1,),
    rate: float = 0.05,
    decay: float = 0.5,
    dropout: float = 0.0,
    **pace: int,
) -> LiveTable:
    layers = UpperLayers(
        backbone, Tuning(method, 0, 2, rank=2), seeds, dropouts=[dropout] * len(seeds)
    )
    rates = [Rates(rate, decay)] * len(seeds)
    return LiveTable(layers, tokens, projection, Pace(**{"steps": 6, **pace}), rates, seeds, CPU)


def learn(table: LiveTable, steps: int, needed: list[np.ndarray] | None = None) -> list[float]:
    """Draw all items' features together; the loss of every step."""
    pack = table.layers.pack
    losses = []
    for step in range(steps):
        features = table.begin(step, needed or [np.arange(N)] * pack)
        loss = features.square().sum()
        loss.backward()
        table.end(step, [True] * pack)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("method", METHODS)
def test_at_first_the_table_holds_the_frozen_features(
    backbone: Backbone, tokens: TokenStates, projection: Projection, method: str
) -> None:
    table = table_of(backbone, tokens, projection, method=method, seeds=(1, 2))
    expected = projection(backbone.encode(TEXTS, max_length=20).states)
    assert table.table.shape == (2, N, 5)
    for one in table.table:
        np.testing.assert_allclose(one, expected, atol=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_learning_lowers_the_loss_and_layers_differ_then(
    backbone: Backbone, tokens: TokenStates, projection: Projection, method: str
) -> None:
    before = backbone.state_hash()
    table = table_of(backbone, tokens, projection, method=method, steps=12, refresh=4)
    losses = learn(table, 12)
    assert losses[-1] < 0.7 * losses[0]
    assert backbone.state_hash() == before


def test_the_step_through_the_table_is_the_step_of_plain_autograd(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    """All texts encoded in one graph, weighted differently, against the two passes."""
    weight = torch.linspace(-1, 2, N * 5).view(1, N, 5)
    table = table_of(backbone, tokens, projection, texts=N)
    features = table.begin(0, [np.arange(N)])
    (features.exp() * weight).sum().backward()
    seen = {}
    for optimiser in table.optimisers:
        optimiser.step = lambda: seen.update(  # type: ignore[method-assign] # look, do not move
            {
                n: p.grad.clone()
                for n, p in table.layers.parameters_of(0).items()
                if p.grad is not None
            }
        )
    table.end(0, [True])
    plain = table_of(backbone, tokens, projection)
    states, here = tokens.padded(np.arange(N), CPU)
    pooled = plain.reduce(plain.layers(states, here, [0] * N))
    (pooled.exp() * weight[0]).sum().backward()
    assert seen
    for name, value in plain.layers.parameters_of(0).items():
        torch.testing.assert_close(seen[name], value.grad, rtol=2e-4, atol=1e-5)


def test_a_step_encodes_no_more_texts_than_stated(
    backbone: Backbone,
    tokens: TokenStates,
    projection: Projection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = table_of(backbone, tokens, projection, seeds=(1, 2), texts=3)
    rows: list[int] = []
    whole = UpperLayers.forward
    monkeypatch.setattr(
        UpperLayers, "forward", lambda self, *args: rows.append(len(args[0])) or whole(self, *args)
    )
    needed = [np.array([[0, 0, 1], [-1, 2, 5]]), np.array([6, 6, -1])]
    features = table.begin(1, needed)
    encoded = {
        (int(p), int(t)) for _, mine, texts in table.live for p, t in zip(mine, texts, strict=True)
    }
    assert sum(rows) == 4  # three of the first candidate's four texts, the second's only one
    assert {t for p, t in encoded if p == 0} < {0, 1, 2, 5}
    assert (1, 6) in encoded
    assert features.shape == (2, N, 5)


def test_gradients_come_from_the_encoded_texts_alone(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection, rate=1.0)
    before = table.difference(0)
    features = table.begin(1, [np.array([2, 3])])
    features[:, [0, 1, 4, 5, 6]].square().sum().backward()
    table.end(1, [True])
    after = table.difference(0)
    moved = [n for n in before if "lora_A" in n and not torch.equal(before[n], after[n])]
    assert not [n for n in moved if float((before[n] - after[n]).abs().max()) > 0.02]  # decay alone
    features = table.begin(2, [np.array([2, 3])])
    features[:, 2].square().sum().backward()
    table.end(2, [True])
    assert any(
        not torch.equal(after[n], value)
        for n, value in table.difference(0).items()
        if "lora_B" in n
    )


def test_the_whole_table_is_encoded_anew_on_time(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection, texts=1, refresh=3, rate=0.5)
    for step in range(4):
        stale = table.table.clone()
        table.begin(step, [np.array([0])]).square().sum().backward()
        others = table.table[:, 1:]
        assert torch.equal(others, stale[:, 1:]) == (step != 3), step
        table.end(step, [True])
    assert not table.fresh
    fresh = table.refresh()
    assert torch.equal(fresh, table.encode_all())


def test_a_stopped_candidate_stays_where_it_is(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection, seeds=(1, 2))
    before = [table.difference(index) for index in range(2)]
    table.begin(0, [np.arange(N)] * 2).square().sum().backward()
    table.end(0, [True, False])
    after = [table.difference(index) for index in range(2)]
    assert any(not torch.equal(before[0][n], after[0][n]) for n in before[0])
    assert all(torch.equal(before[1][n], after[1][n]) for n in before[1])


def test_a_gradient_that_is_no_number_moves_nothing(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection, seeds=(1, 2))
    before = table.difference(0)
    features = table.begin(0, [np.arange(N)] * 2)
    (features * torch.tensor([float("nan"), 1.0]).view(2, 1, 1)).square().sum().backward()
    table.end(0, [True, True])
    assert all(torch.equal(before[n], v) for n, v in table.difference(0).items())
    assert all(bool(torch.isfinite(v).all()) for v in table.difference(1).values())


def test_gradients_add_up_until_the_update(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection, accumulate=2)
    start = table.difference(0)
    for step, same in ((0, True), (1, False)):
        table.begin(step, [np.arange(N)]).square().sum().backward()
        table.end(step, [True])
        now = table.difference(0)
        assert all(torch.equal(start[n], now[n]) for n in start) == same, step


def test_lower_layers_learn_at_a_lower_rate(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection, method="full", rate=0.02, decay=0.25)
    before = table.difference(0)
    table.begin(0, [np.arange(N)]).square().sum().backward()
    table.end(0, [True])
    after = table.difference(0)

    def step_of(layer: int) -> float:  # AdamW's first step is as long as the rate
        name = f"{layer}.output.dense.weight"
        return float((after[name] - before[name]).abs().median())

    share = 1 / (0.1 * 6 + 1)  # of the peak rate in the first step of the warm-up
    assert step_of(1) == pytest.approx(0.02 * share, rel=0.05)
    assert step_of(0) == pytest.approx(0.02 * 0.25 * share, rel=0.05)


def test_a_pack_learns_what_each_candidate_learns_alone(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    def run(*seeds: int) -> LiveTable:
        table = table_of(backbone, tokens, projection, seeds=seeds, texts=4, dropout=0.3)
        learn(table, 3)
        return table

    pack, alone = run(4, 5), run(5)
    for name, value in alone.difference(0).items():
        torch.testing.assert_close(pack.difference(1)[name], value, rtol=1e-3, atol=1e-5)


def test_features_of_a_difference_are_those_of_the_training(
    backbone: Backbone, tokens: TokenStates, projection: Projection
) -> None:
    table = table_of(backbone, tokens, projection)
    learn(table, 3)
    layers = UpperLayers(backbone, Tuning("lora", 0, 2, rank=2), [99])
    layers.load(0, table.difference(0))
    assert torch.equal(features_of(layers, tokens, projection, CPU), table.refresh())


def test_chunks_hold_every_text_once_and_no_more_tokens_than_asked() -> None:
    lengths = np.array([5, 1, 9, 3, 3, 30, 2, 9])
    parts = list(chunks(lengths, 12))
    assert sorted(np.concatenate(parts).tolist()) == list(range(8))
    for part in parts:
        assert len(part) == 1 or lengths[part].max() * len(part) <= 12
    assert [int(lengths[part].max()) for part in parts] == [3, 5, 9, 9, 30]


def test_texts_that_are_needed_more_often_are_chosen_more_often() -> None:
    items = np.array([0] * 8 + [1] * 2 + [2, 3, 4, 5, -1, -1])
    few = [chosen_texts(items, 2, np.random.default_rng(seed)) for seed in range(300)]
    assert all(len(one) == 2 and (np.diff(one) > 0).all() for one in few)
    counts = np.bincount(np.concatenate(few), minlength=6)
    assert counts[0] > 1.5 * counts[1] > 1.5 * counts[2:].max()
    assert chosen_texts(items, 9, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert chosen_texts(np.array([-1]), 9, np.random.default_rng(0)).tolist() == []
