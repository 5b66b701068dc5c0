"""A fit that is trained in parts is bit for bit the fit that is trained in one go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from small_fits import DATA, MONITOR, NAMES, spec_of
from toy_learning import mean_reciprocal_rank
from tuned_world import FULL, LORA
from wide_world import DATA as WIDE_DATA
from wide_world import MONITOR as WIDE_MONITOR
from wide_world import SPEC as TOUCHING

from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Stage
from pareto_rec.losses import AGGREGATORS
from pareto_rec.training.data import Checkpoint, Fit, Monitor, TrainData
from pareto_rec.training.fitting import resume_pack, train_pack
from pareto_rec.training.spec import TrainSpec, train_spec


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def in_parts(
    specs: Sequence[TrainSpec],
    seeds: Sequence[int],
    rungs: Sequence[int],
    world: TrainData = DATA,
    monitor: Monitor = MONITOR,
) -> list[Fit]:
    """Trained to each rung by a pack of its own, out of what the one before has written down."""
    here: list[Checkpoint] = []
    for rung in rungs:
        found = resume_pack(specs, seeds, world, monitor, until=rung, standings=here)
        here = [one for one in found if isinstance(one, Checkpoint)]
        assert [one.step for one in here] == [rung] * len(specs)
        here = [dataclasses.replace(one, state=copied(one.state)) for one in here]
    ends = resume_pack(specs, seeds, world, monitor, until=specs[0].steps, standings=here)
    assert all(isinstance(one, Fit) for one in ends)
    return [one for one in ends if isinstance(one, Fit)]


def copied(state: Any) -> dict[str, torch.Tensor]:
    """Tensors of their own, as a file gives them back."""
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def assert_equal(left: Fit, right: Fit) -> None:
    assert left.reason is right.reason is None
    assert left.curve == right.curve
    assert left.best_step == right.best_step
    for part in ("params", "difference"):
        one, other = getattr(left, part), getattr(right, part)
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("model", NAMES)
def test_every_model_in_a_pack(model: str) -> None:
    specs = [spec_of(model, dropout=0.3), spec_of(model, dropout=0.1, learning_rate=0.03)]
    straight = train_pack(specs, [0, 5], DATA, MONITOR, pack_size=2)
    for one, other in zip(in_parts(specs, [0, 5], [5, 10]), straight, strict=True):
        assert_equal(one, other)
    assert not torch.equal(*(one.params["item.embed"] for one in straight))


@pytest.mark.parametrize("way", list(AGGREGATORS))
def test_every_way_to_combine(way: str) -> None:
    losses = {"softmax": 0.6, "popularity": 0.4}
    specs = [spec_of(NAMES[0], aggregation=way, loss_weights=losses) for _ in range(2)]
    straight = train_pack(specs, [1, 2], DATA, MONITOR, pack_size=2)
    for one, other in zip(in_parts(specs, [1, 2], [5]), straight, strict=True):
        assert_equal(one, other)


def test_steps_on_the_items_that_they_touch() -> None:
    specs = [dataclasses.replace(TOUCHING, steps=6, check_every=2, dropout=0.2)] * 2
    straight = train_pack(specs, [3, 4], WIDE_DATA, WIDE_MONITOR, pack_size=2)
    parts = in_parts(specs, [3, 4], [2, 4], WIDE_DATA, WIDE_MONITOR)
    for one, other in zip(parts, straight, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("changes", [LORA | {"lora_dropout": 0.2}, FULL], ids=["lora", "full"])
@pytest.mark.parametrize("accumulate", [1, 4])  # 4: a rung between two updates of the layers
def test_layers_of_the_backbone(
    changes: dict[str, Any],
    accumulate: int,
    data: TrainData,
    stage: Stage,
) -> None:
    small = {"steps": 15, "check_every": 5, "accumulate": accumulate, "refresh_every": 3}
    specs = [train_spec({}, changes | small)] * 2
    monitor = mean_reciprocal_rank(stage)
    straight = train_pack(specs, [1, 2], data, monitor, pack_size=2)
    assert straight[0].difference
    for one, other in zip(in_parts(specs, [1, 2], [5], data, monitor), straight, strict=True):
        assert_equal(one, other)


def test_a_fit_that_had_stopped_stays_where_it_was() -> None:
    specs = [spec_of(NAMES[0], learning_rate=0.0, patience=1, steps=40)]
    straight = train_pack(specs, [0], DATA, MONITOR, pack_size=1)
    assert straight[0].steps == 10 < 40
    found = resume_pack(specs, [0], DATA, MONITOR, until=20)
    assert isinstance(found[0], Checkpoint)
    assert (found[0].step, found[0].running) == (10, False)
    ends = resume_pack(specs, [0], DATA, MONITOR, until=40, standings=found)  # type: ignore[arg-type]
    assert isinstance(ends[0], Fit)
    assert_equal(ends[0], straight[0])


def test_one_that_fails_is_a_fit_with_a_reason_and_the_others_stand() -> None:
    specs = [spec_of(NAMES[0]), spec_of(NAMES[0], learning_rate=1e30)]
    found = resume_pack(specs, [0, 0], DATA, MONITOR, until=5)
    assert isinstance(found[0], Checkpoint)
    assert isinstance(found[1], Fit)
    assert "not finite" in str(found[1].reason)


def test_what_was_kept_before_is_not_altered_by_going_on() -> None:
    specs = [spec_of(NAMES[0])]
    found = list(resume_pack(specs, [0], DATA, MONITOR, until=5))
    assert isinstance(found[0], Checkpoint)
    before = copied(found[0].state)
    resume_pack(specs, [0], DATA, MONITOR, until=12, standings=[found[0]])
    for name, value in before.items():
        assert torch.equal(value, found[0].state[name]), name
