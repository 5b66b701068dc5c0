"""Fits that train layers of the backbone: end to end on a random two-layer BERT."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_learning import mean_reciprocal_rank
from tuned_world import FULL, LORA, PLAIN, source_of

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Stage
from pareto_rec.training.data import Fit, Relevance, TrainData
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.spec import TrainSpec, pack_key, train_spec


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def fits(
    data: TrainData,
    stage: Stage,
    *changes: dict[str, Any],
    seeds: list[int] | None = None,
    pack_size: int = 4,
) -> list[Fit]:
    specs = [train_spec({}, one) for one in changes]
    monitor = mean_reciprocal_rank(stage)
    return train_pack(specs, seeds or [1] * len(specs), data, monitor, pack_size=pack_size)


def scores_of(one: Fit, data: TrainData) -> torch.Tensor:
    head, states = data.head(one)
    return head.scores(states).relevance


@pytest.mark.parametrize("changes", [LORA, FULL], ids=["lora", "full"])
def test_a_tuned_fit_learns_and_leaves_the_backbone_alone(
    data: TrainData, stage: Stage, changes: dict[str, Any]
) -> None:
    assert data.texts is not None
    before = data.texts.backbone.state_hash()
    frozen, start, tuned = fits(data, stage, PLAIN, {**changes, "encoder_rate": 1e-9}, changes)
    assert tuned.reason is None
    assert not frozen.difference
    moved = [not torch.equal(v, start.difference[n]) for n, v in tuned.difference.items()]
    assert all(moved)
    assert max(value for _, value in tuned.curve) > 0.18  # chance is .157 with 24 items
    assert data.texts.backbone.state_hash() == before


@pytest.mark.parametrize("changes", [LORA, FULL], ids=["lora", "full"])
def test_what_is_stored_gives_the_same_scores_on_a_fresh_backbone(
    data: TrainData,
    stage: Stage,
    folder: Path,
    cache: Path,
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    (made,) = fits(data, stage, {**changes, "steps": 15})
    store = FitStore(tmp_path, "data")
    store.put("a", made)
    found = store.get("a")
    assert found is not None
    assert found.difference.keys() == made.difference.keys()
    assert found.params.keys() == made.params.keys()
    fresh = dataclasses.replace(data, texts=source_of(folder, cache, stage))
    assert torch.equal(scores_of(found, fresh), scores_of(made, data))
    undone = dataclasses.replace(found, spec=dataclasses.replace(found.spec, tuned_layers=0))
    assert not torch.equal(scores_of(undone, fresh), scores_of(made, data))


def test_scores_of_the_stored_layers_are_those_that_validation_saw(
    data: TrainData, stage: Stage
) -> None:
    (made,) = fits(data, stage, LORA)
    scores = scores_of(made, data)
    seen = Relevance((len(scores), scores.shape[1]), lambda rows: scores[rows])
    value = mean_reciprocal_rank(stage)(seen)
    assert value == pytest.approx(max(seen for _, seen in made.curve), abs=1e-6)


def test_only_the_difference_is_stored(data: TrainData, stage: Stage, tmp_path: Path) -> None:
    frozen, lora = fits(data, stage, {**PLAIN, "steps": 2}, {**LORA, "steps": 2})
    store = FitStore(tmp_path, "data")
    for name, one in (("frozen", frozen), ("lora", lora)):
        store.put(name, one)
    sizes = [store.path(name).stat().st_size for name in ("frozen", "lora")]
    learnt = sum(value.numel() for value in lora.difference.values())
    assert learnt == 2 * 2 * 16 * 4  # query and value of one layer, A and B, width 16, rank 4
    assert 4 * learnt <= sizes[1] - sizes[0] < 4 * learnt + 3000


def test_a_pack_of_tuned_candidates_is_what_each_is_alone(data: TrainData, stage: Stage) -> None:
    other = {**LORA, "encoder_rate": 0.005, "lora_alpha": 4.0, "lora_dropout": 0.3}
    together = fits(data, stage, LORA, other, seeds=[3, 4])
    alone = fits(data, stage, LORA, other, seeds=[3, 4], pack_size=1)
    for one, same in zip(together, alone, strict=True):
        assert np.allclose(
            [value for _, value in one.curve], [value for _, value in same.curve], atol=0.02
        )
        assert one.difference.keys() == same.difference.keys()
        for name, value in same.difference.items():
            torch.testing.assert_close(one.difference[name], value, atol=2e-2, rtol=0.1)


def test_the_same_request_gives_the_same_fit(data: TrainData, stage: Stage) -> None:
    changes = {**LORA, "steps": 6, "live_texts": 5, "lora_dropout": 0.2, "accumulate": 2}
    first, again = (fits(data, stage, changes)[0] for _ in range(2))
    assert first.curve == again.curve
    assert all(torch.equal(v, again.difference[n]) for n, v in first.difference.items())


def test_ways_that_compare_gradients_move_the_layers_too(data: TrainData, stage: Stage) -> None:
    changes = {
        **LORA, "aggregation": "mgda", "steps": 4, "loss_weights": {"softmax": 0.6, "liked": 0.4}
    }  # fmt: skip
    (made,) = fits(data, stage, changes)
    assert made.reason is None
    drawn = [value for name, value in made.difference.items() if name.endswith("lora_B")]
    assert all(float(value.abs().max()) > 0 for value in drawn)


def test_an_early_exit_reads_the_lower_layer_and_can_be_tuned(
    data: TrainData, stage: Stage
) -> None:
    assert data.texts is not None
    early = train_spec({}, {**PLAIN, "exit_layer": 1})
    whole = train_spec({}, PLAIN)
    assert not torch.allclose(data.item_features(early, {}), data.item_features(whole, {}))
    depth = data.texts.depth(train_spec({}, {**LORA, "exit_layer": 1, "tuned_layers": 5}))
    assert (depth.cut, depth.exit) == (0, 1)  # no more layers than are run
    (made,) = fits(data, stage, {**LORA, "exit_layer": 1, "steps": 15})
    assert made.reason is None


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_coarser_encoder_gives_features_nearby(
    data: TrainData, stage: Stage, precision: str
) -> None:
    exact = data.item_features(train_spec({}, PLAIN), {})
    near = data.item_features(train_spec({}, {**PLAIN, "encoder_precision": precision}), {})
    assert not torch.equal(near, exact)
    cosine = torch.nn.functional.cosine_similarity(near.flatten(), exact.flatten(), dim=0)
    assert float(cosine) > 0.9
    (made,) = fits(data, stage, {**LORA, "encoder_precision": precision, "steps": 4})
    assert made.reason is None


def test_shorter_texts_are_read(data: TrainData) -> None:
    exact = data.item_features(train_spec({}, PLAIN), {})
    short = data.item_features(train_spec({}, {**PLAIN, "text_length": 4}), {})
    assert not torch.allclose(short, exact)


@pytest.mark.parametrize(
    ("inputs", "idle"), [("text", "item.embed"), ("embedding", "item.project")]
)
def test_what_items_are_not_made_of_stays_zero(
    data: TrainData, stage: Stage, inputs: str, idle: str
) -> None:
    for model in ("attention_pooling", "self_attention"):
        (made,) = fits(data, stage, {**PLAIN, "item_inputs": inputs, "model": model})
        assert not made.params[idle].any()
        other = {"item.embed", "item.project"} - {idle}
        assert made.params[other.pop()].any()
        assert max(value for _, value in made.curve) > 0.15  # of 24 items, chance is .16 at best


def test_packs_split_by_what_tuned_candidates_share() -> None:
    def key(**changes: Any) -> tuple[object, ...]:
        return pack_key(train_spec({}, changes))

    assert key() == key(lora_rank=16, tuning="full")  # nothing is tuned
    assert key(tuned_layers=1) != key()
    assert key(tuned_layers=1) != key(tuned_layers=2)
    assert key(tuned_layers=1) != key(tuned_layers=1, lora_rank=16)
    assert key(tuned_layers=1) == key(tuned_layers=1, lora_alpha=4.0, encoder_rate=0.1)
    assert key(tuned_layers=1, tuning="full") == key(tuned_layers=1, tuning="full", lora_rank=2)


def test_what_has_no_effect_makes_no_other_fit() -> None:
    assert train_spec({}, {"lora_rank": 3, "encoder_rate": 0.5}) == TrainSpec()
    full = train_spec({}, {"tuned_layers": 1, "tuning": "full", "lora_rank": 3})
    assert full == TrainSpec(tuned_layers=1, tuning="full")
    lora = train_spec({}, {"tuned_layers": 1, "lora_rank": 3})
    assert lora.lora_rank == 3


def test_without_texts_nothing_can_be_tuned(data: TrainData, stage: Stage) -> None:
    with pytest.raises(BadRequestError, match=r"set backbone\.text = true"):
        fits(dataclasses.replace(data, texts=None), stage, LORA)


def test_new_texts_are_read_like_those_of_items(data: TrainData, stage: Stage) -> None:
    assert data.texts is not None
    frozen, tuned = fits(data, stage, {**PLAIN, "steps": 4}, {**LORA, "steps": 4})
    for one in (frozen, tuned):
        own = data.item_features(one.spec, one.difference)
        few = data.texts.features_of_texts(one.spec, one.difference, stage.items.texts[3:6])
        np.testing.assert_allclose(few, own[3:6].numpy(), atol=2e-3)
