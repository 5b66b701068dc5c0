"""Layers above the cut: what moves, what stays, and what is learnt can be taken elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from random_bert import TEXTS, random_bert
from torch import Tensor

from pareto_rec.backbone.cached import Backbone, Reading
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.training.tuned.layers import METHODS, PROJECTIONS, Tuning, UpperLayers
from pareto_rec.training.tuned.tokens import token_states

CPU = torch.device("cpu")
ALL = np.arange(len(TEXTS))
READING = Reading(max_length=20)
WIDTH, RANK = 16, 3
CUTS = [(0, 2), (1, 2), (0, 1)]  # all layers, the upper one, an early exit after the lower one


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    root = tmp_path_factory.mktemp("tuned")
    return Backbone.load(random_bert(root / "bert"), root / "cache")


def layers_of(
    backbone: Backbone,
    method: str,
    cut: int = 1,
    exit_layer: int = 2,
    pack: int = 1,
    **more: object,
) -> UpperLayers:
    tuning = Tuning(method, cut, exit_layer, rank=RANK, **more)  # type: ignore[arg-type]
    return UpperLayers(backbone, tuning, list(range(pack)))


def pooled(
    backbone: Backbone, layers: UpperLayers, candidate: int = 0, texts: np.ndarray = ALL
) -> Tensor:
    tokens = token_states(backbone, TEXTS, layers.tuning.cut, READING)
    states, here = tokens.padded(texts, CPU)
    return layers(states, here, [candidate] * len(texts))


def moved(layers: UpperLayers, *, seed: int = 0) -> UpperLayers:
    """The layers with noise on everything that may move."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for index in range(layers.pack):
            for value in layers.parameters_of(index).values():
                value += 0.3 * torch.randn(value.shape, generator=source)
    return layers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("cut", "exit_layer"), CUTS)
def test_before_training_features_are_those_of_the_frozen_encoder(
    backbone: Backbone, method: str, cut: int, exit_layer: int
) -> None:
    expected = backbone.encode(TEXTS, max_length=20, cut=exit_layer).states
    found = pooled(backbone, layers_of(backbone, method, cut, exit_layer)).detach().numpy()
    np.testing.assert_allclose(
        found, expected, atol=5e-3
    )  # states at the cut are in half precision


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("cut", "exit_layer"), CUTS)
def test_gradients_reach_exactly_what_should_move(
    backbone: Backbone, method: str, cut: int, exit_layer: int
) -> None:
    layers = moved(layers_of(backbone, method, cut, exit_layer))
    pooled(backbone, layers).square().sum().backward()
    moving = layers.parameters_of(0)
    depth = exit_layer - cut
    per_layer = 2 * len(PROJECTIONS["query_value"]) if method == "lora" else 16  # of a BertLayer
    assert len(moving) == depth * per_layer
    assert {int(name.split(".")[0]) for name in moving} == set(range(depth))
    ids = {id(value) for value in moving.values()}
    for name, value in layers.named_parameters():
        assert value.requires_grad == (id(value) in ids), name
        assert (value.grad is not None) == (id(value) in ids), name
    for name, value in moving.items():
        assert value.grad is not None
        # a bias on all keys shifts every logit of a query alike, which the softmax does not see
        assert name.endswith("key.bias") or float(value.grad.abs().max()) > 0, name
    assert all(one.grad is None for one in backbone.model.parameters())


@pytest.mark.parametrize("targets", PROJECTIONS)
def test_adapters_sit_where_they_were_asked_for(backbone: Backbone, targets: str) -> None:
    layers = layers_of(backbone, "lora", targets=targets)
    names = {name.rsplit(".", 1)[0].removeprefix("0.") for name in layers.parameters_of(0)}
    assert names == set(PROJECTIONS[targets])
    for name, value in layers.parameters_of(0).items():
        assert RANK in value.shape, name


@pytest.mark.parametrize("method", METHODS)
def test_the_shared_encoder_is_never_altered(backbone: Backbone, method: str) -> None:
    before = backbone.state_hash()
    layers = layers_of(backbone, method, 0, 2, pack=2)
    optimiser = torch.optim.SGD([p for p in layers.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        (pooled(backbone, layers, 0) - pooled(backbone, layers, 1) + 1).square().sum().backward()
        optimiser.step()
    after = pooled(backbone, layers).detach().numpy()
    assert np.abs(after - backbone.encode(TEXTS, max_length=20).states).max() > 0.05
    assert backbone.state_hash() == before


@pytest.mark.parametrize("method", METHODS)
def test_a_difference_on_a_fresh_backbone_gives_the_same_features(
    backbone: Backbone, method: str
) -> None:
    layers = moved(layers_of(backbone, method))
    expected = pooled(backbone, layers)
    fresh = Backbone.load(backbone.folder, backbone.cache)
    again = layers_of(fresh, method)
    assert not torch.equal(pooled(fresh, again), expected)
    again.load(0, layers.difference(0))
    assert torch.equal(pooled(fresh, again), expected)


def test_a_difference_holds_no_more_than_was_learnt(backbone: Backbone) -> None:
    lora = layers_of(backbone, "lora").difference(0)
    assert sum(value.numel() for value in lora.values()) == 2 * 2 * WIDTH * RANK
    full = layers_of(backbone, "full").difference(0)
    frozen = backbone.model.encoder.layer[1]
    assert sum(v.numel() for v in full.values()) == sum(p.numel() for p in frozen.parameters())


def test_a_difference_of_other_layers_is_refused(backbone: Backbone) -> None:
    difference = layers_of(backbone, "lora").difference(0)
    for other in (layers_of(backbone, "full"), layers_of(backbone, "lora", 0, 2)):
        with pytest.raises(BadRequestError, match="other layers"):
            other.load(0, difference)


@pytest.mark.parametrize("method", METHODS)
def test_a_pack_gives_each_candidate_what_it_gets_alone(backbone: Backbone, method: str) -> None:
    """Rows of three candidates in one batch, in mixed order and of different lengths."""
    pack = moved(layers_of(backbone, method, pack=3))
    owners = np.array([2, 0, 1, 0, 2, 1, 0])
    tokens = token_states(backbone, TEXTS, 1, READING)
    states, here = tokens.padded(ALL, CPU)
    together = pack(states, here, owners.tolist())
    for index in range(3):
        alone = layers_of(backbone, method)
        alone.load(0, pack.difference(index))
        own = np.flatnonzero(owners == index)
        np.testing.assert_allclose(
            together[own].detach(), pooled(backbone, alone, 0, own).detach(), atol=1e-5
        )


def test_padding_changes_nothing(backbone: Backbone) -> None:
    layers = moved(layers_of(backbone, "lora"))
    together = pooled(backbone, layers).detach()
    for row in ALL:
        alone = pooled(backbone, layers, 0, np.array([row])).detach()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_gives_the_same_gradients(backbone: Backbone, method: str) -> None:
    found = []
    for checkpointing in (False, True):
        tuning = Tuning(method, 0, 2, RANK, checkpointing=checkpointing)
        layers = moved(UpperLayers(backbone, tuning, [5, 6], dropouts=[0.4, 0.2]))
        tokens = token_states(backbone, TEXTS, 0, READING)
        states, here = tokens.padded(np.tile(ALL, 2), CPU)
        layers.draw([7, 7])
        owners = [0] * 7 + [1] * 7
        (layers(states, here, owners) ** 3).sum().backward()
        found.append([p.grad for p in layers.parameters() if p.grad is not None])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain)


def test_dropout_depends_on_the_candidate_alone(backbone: Backbone) -> None:
    tokens = token_states(backbone, TEXTS, 1, READING)
    tuning = Tuning("lora", 1, 2, RANK)

    def run(seeds: list[int], owners: list[int], texts: np.ndarray) -> Tensor:
        layers = UpperLayers(backbone, tuning, seeds, dropouts=[0.5] * len(seeds))
        with torch.no_grad():
            for value in layers.parameters():
                if value.requires_grad:
                    value.fill_(0.2)
        layers.draw([owners.count(index) for index in range(len(seeds))])
        states, here = tokens.padded(texts, CPU)
        return layers(states, here, owners).detach()

    alone = run([9], [0, 0, 0], np.array([0, 2, 4]))
    packed = run([4, 9], [1, 0, 1, 0, 1], np.array([0, 1, 2, 3, 4]))
    np.testing.assert_allclose(packed[[0, 2, 4]], alone, atol=1e-5)
    other = run([8], [0, 0, 0], np.array([0, 2, 4]))
    assert not torch.allclose(other, alone, atol=1e-3)
    quiet = UpperLayers(backbone, tuning, [9], dropouts=[0.5])
    assert torch.equal(pooled(backbone, quiet), pooled(backbone, quiet))


def test_no_draw_comes_from_the_global_generator(backbone: Backbone) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    layers = UpperLayers(backbone, Tuning("lora", 1, 2, RANK), [1, 2], dropouts=[0.5, 0.5])
    layers.draw([7, 0])
    pooled(backbone, layers)
    assert torch.equal(torch.rand(4), expected)


def test_seeds_decide_where_adapters_begin(backbone: Backbone) -> None:
    tuning = Tuning("lora", 1, 2, RANK)
    one, same = (UpperLayers(backbone, tuning, seeds) for seeds in ([3], [8, 3]))
    first, second = one.difference(0), same.difference(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    drawn = [name for name in first if name.endswith("lora_A")]
    assert drawn
    assert all(not torch.equal(first[name], same.difference(0)[name]) for name in drawn)


def test_bfloat16_stays_near(backbone: Backbone) -> None:
    layers = moved(layers_of(backbone, "lora"))
    half = layers_of(backbone, "lora", autocast=True)
    half.load(0, layers.difference(0))
    exact, near = pooled(backbone, layers), pooled(backbone, half)
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    torch.testing.assert_close(near, exact, atol=0.05, rtol=0.05)
    near.sum().backward()
    assert all(v.grad is not None for v in half.parameters_of(0).values())


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        (Tuning("lora", 1, 3), "it has 2"),
        (Tuning("lora", 2, 2), "lower exit_layer or tuned_layers"),
        (Tuning("adapter", 1, 2), 'unknown way of tuning "adapter"'),
        (Tuning("lora", 1, 2, targets="query"), "query_value"),
    ],
)
def test_what_an_encoder_cannot_do_is_refused(
    backbone: Backbone, tuning: Tuning, words: str
) -> None:
    with pytest.raises(BadRequestError, match=words):
        UpperLayers(backbone, tuning, [0])


def test_token_states_lie_on_disk_in_half_precision(backbone: Backbone) -> None:
    tokens = token_states(backbone, TEXTS, 1, READING)
    again = token_states(backbone, TEXTS, 1, READING)
    assert tokens.key == again.key
    assert tokens.states.dtype == np.float16
    assert isinstance(tokens.states, np.memmap)
    lengths = [len(backbone.tokenizer(text)["input_ids"]) for text in TEXTS]
    assert tokens.lengths.tolist() == lengths
    assert len(tokens) == len(TEXTS)
    means = [
        tokens.states[a:b].astype(np.float32).mean(0)
        for a, b in zip(tokens.starts, tokens.starts[1:], strict=False)
    ]
    expected = backbone.encode(TEXTS, max_length=20, cut=1).states
    np.testing.assert_allclose(np.stack(means), expected, atol=5e-3)
    states, here = tokens.padded(np.array([3, 0, 0]), CPU)
    assert here.sum(1).tolist() == [lengths[3], lengths[0], lengths[0]]
    assert not states[~here].any()
