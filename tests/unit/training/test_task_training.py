"""Training on tasks: packs, draws, what moves, what is learnt, and what is made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click_world import TASKS, World, world
from hypothesis import given, settings
from hypothesis import strategies as st

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.evaluation.task_predictions import TaskOutputs
from pareto_rec.models.head import NetworkScores
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.ranking import (
    NETWORK,
    Scorers,
    ServingParams,
    Similarity,
    centre,
    recommend,
)
from pareto_rec.tasks import CHAINS, SQUARED, Task
from pareto_rec.training import batches
from pareto_rec.training.data import Fit, Relevance, TrainData
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.pack_tasks import NO_LABELS, TaskLabels
from pareto_rec.training.spec import TrainSpec, pack_key, train_spec

SMALL: dict[str, Any] = {
    "width": 8,
    "history": 6,
    "layers": 1,
    "heads": 2,
    "steps": 8,
    "batch": 8,
    "negatives": 5,
    "check_every": 4,
    "patience": 99,
    "learning_rate": 0.02,
    "task_batch": 24,
    "trunk_experts": 2,
}
BOTH = {"softmax": 0.4, "task:click": 0.3, "task:conversion": 0.3}
WORLD = world(0, users=40, items=24, shown=16, rate=-0.5)
DATA = WORLD.data


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def spec_of(weights: dict[str, float] | None = None, **changes: Any) -> TrainSpec:
    return train_spec({}, {"loss_weights": weights or BOTH, **SMALL, **changes})


def train(*specs: TrainSpec, data: TrainData = DATA, seeds: tuple[int, ...] = ()) -> list[Fit]:
    looks = [0.0]

    def later_is_better(_: object) -> float:
        looks[0] += 1
        return looks[0]

    return train_pack(list(specs), seeds or [0] * len(specs), data, later_is_better, pack_size=8)


def assert_close(one: Fit, other: Fit) -> None:
    assert one.reason is None
    assert one.params.keys() == other.params.keys()
    for name, value in one.params.items():
        torch.testing.assert_close(value, other.params[name], rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("chain", CHAINS)
def test_a_pack_is_its_candidates_one_by_one(trunk: str, chain: str) -> None:
    one = spec_of(trunk=trunk, chain=chain)
    other = dataclasses.replace(one, learning_rate=0.01, loss_weights={**BOTH, "softmax": 0.9})
    assert pack_key(one) == pack_key(other)
    packed = train(one, other, seeds=(1, 2))
    assert_close(packed[0], train(one, seeds=(1,))[0])
    assert_close(packed[1], train(other, seeds=(2,))[0])


@pytest.mark.parametrize(
    "more", [{"aggregation": "upgrad"}, {"model": "self_attention", "positions": 2}]
)
def test_packs_by_gradients_and_of_self_attention(more: dict[str, Any]) -> None:
    one = spec_of(trunk="mmoe", **more)
    packed = train(one, one, seeds=(1, 2))
    assert_close(packed[1], train(one, seeds=(2,))[0])


def test_a_pack_that_trains_on_touched_items_alone() -> None:
    """Two of a hundred items are touched; what no example names stays where it was."""
    wide = world(3, users=30, items=400, shown=16, rate=0.0)
    weights = {"bpr": 0.5, "task:click": 0.5}
    one = spec_of(weights, batch=2, task_batch=3, history=4, steps=4)
    packed = train(one, one, data=wide.data, seeds=(1, 2))
    [alone] = train(one, data=wide.data, seeds=(2,))
    assert_close(packed[1], alone)
    start = alone.params["task:click.item_bias"].mode().values
    moved = int((alone.params["task:click.item_bias"] != start).sum())
    assert 3 <= moved <= 12, "four steps of three shown rows"


def test_tasks_change_no_draw_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[batches.Batch] = []

    def recording(*args: Any, **sizes: Any) -> batches.Batch:
        drawn.append(batches.draw(*args, **sizes))
        return drawn[-1]

    monkeypatch.setattr("pareto_rec.training.examples.draw", recording)
    train(spec_of())
    train(spec_of({"softmax": 1.0}), data=dataclasses.replace(DATA, labels=NO_LABELS))
    half = len(drawn) // 2
    for one, other in zip(drawn[:half], drawn[half:], strict=True):
        np.testing.assert_array_equal(one.histories, other.histories)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_labels_that_no_loss_asks_for_change_nothing() -> None:
    """A config whose tasks are not trained on is a config without tasks."""
    one, other = (spec_of({"softmax": 0.9, "popularity": 0.1}) for _ in range(2))
    [with_labels] = train(one)
    [without] = train(other, data=dataclasses.replace(DATA, labels=NO_LABELS))
    assert with_labels.params.keys() == without.params.keys()
    for name, value in with_labels.params.items():
        assert torch.equal(value, without.params[name]), name


def moved(one: Fit, steps: int) -> set[str]:
    """Parameters that training changed."""
    [start] = train(dataclasses.replace(one.spec, learning_rate=1e-30, weight_decay=0.0))
    assert one.best_step == steps
    return {n for n, v in one.params.items() if not torch.equal(v, start.params[n])}


def test_each_task_moves_its_own_tower_and_what_is_shared() -> None:
    [one] = train(spec_of({"task:conversion": 1.0}, chain="conditional", trunk="ple"))
    found = moved(one, 8)
    assert {"task:conversion.in", "task:conversion.item_bias", "item.embed"} <= found
    assert {"task:conversion.gate", "trunk.experts_in", "pool.key"} <= found
    assert not [name for name in found if name.startswith(("relevance", "liked", "task:click"))]
    assert not [name for name in one.params if name.startswith("task:click")]
    [both] = train(spec_of({"task:click": 0.5, "task:conversion": 0.5}, trunk="ple"))
    found = moved(both, 8)
    for task in ("task:click", "task:conversion"):
        own = {f"{task}.{part}" for part in ("in", "in_bias", "out", "item_bias", "gate")}
        assert own <= found
        assert f"{task}.experts_out" in found


def test_tasks_start_at_their_base_rates() -> None:
    [one] = train(spec_of({"task:click": 0.5, "task:conversion": 0.5}, learning_rate=1e-30))
    rows = DATA.labels.shown
    assert rows is not None
    for task in TASKS:
        rate = torch.sigmoid(one.params[f"{task.key}.item_bias"])
        torch.testing.assert_close(rate, torch.full((24,), rows.scale(task)[0]))


def test_what_can_not_be_trained_is_refused() -> None:
    with pytest.raises(BadRequestError, match='loss "task:click" needs a \\[\\[task\\]\\]'):
        train(spec_of(), data=dataclasses.replace(DATA, labels=NO_LABELS))
    with pytest.raises(BadRequestError, match='unknown loss "task:clock"'):
        train(spec_of({"task:clock": 1.0}))
    with pytest.raises(BadRequestError, match='add the loss "task:click"'):
        train(spec_of({"softmax": 0.5, "task:conversion": 0.5}))


def test_without_effect_means_without_trace() -> None:
    """Equal fits look equal."""
    assert spec_of({"softmax": 1.0}, chain="conditional") == spec_of({"softmax": 1.0})
    assert spec_of(trunk_experts=7) == spec_of()
    assert spec_of(trunk_experts=7, trunk="ple") != spec_of(trunk="ple")


# ---------------------------------------------------------------- what is made of it


def outputs_of(one: Fit, made: World = WORLD) -> TaskOutputs:
    return TaskOutputs.of(one, made.data, TASKS)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    [one] = train(spec_of(trunk="mmoe", steps=60, check_every=20, task_batch=128))
    return one


def test_chances_are_learnt(fitted: Fit) -> None:
    """Closer to the truth than the base rate, of clicks and of the whole chain."""
    found = outputs_of(fitted).chances()
    truths = {"click": WORLD.click, "click*conversion": WORLD.click * WORLD.conversion}
    for name, truth in truths.items():
        own = np.abs(found[name](slice(None)) - truth).mean()
        constant = np.abs(truth.mean() - truth).mean()
        assert own < 0.95 * constant, name


def test_predictions_are_of_rows_whose_truth_is_known(fitted: Fit) -> None:
    shown = WORLD.stage.held_out_shown
    assert shown is not None
    found, whole = outputs_of(fitted).of_stage(WORLD.stage), outputs_of(fitted).chances()
    assert set(found) == {"click", "conversion", "click*conversion"}
    clicked = shown.signals["clicked"] > 0
    kept = {"click": slice(None), "conversion": clicked, "click*conversion": slice(None)}
    signals = {"click": "clicked", "conversion": "bought", "click*conversion": "bought"}
    for name, one in found.items():
        rows = shown.take(np.arange(len(shown))[kept[name]])
        np.testing.assert_array_equal(one.user, rows.user)
        np.testing.assert_array_equal(one.item, rows.item)
        np.testing.assert_array_equal(one.true, rows.signals[signals[name]])
        chance = whole[name](slice(None))[rows.user, rows.item]
        np.testing.assert_allclose(one.predicted, chance, rtol=1e-4)
    product = found["click"].predicted * whole["conversion"](slice(None))[shown.user, shown.item]
    np.testing.assert_allclose(found["click*conversion"].predicted, product, rtol=1e-4)


def test_values_come_back_in_the_unit_of_their_signal() -> None:
    stage = WORLD.stage
    assert stage.shown is not None
    amount = 10 + 5.0 * (stage.shown.item % 2)
    values = np.where(stage.shown.signals["clicked"] > 0, amount, np.nan).astype(np.float32)
    signals = {**stage.shown.signals, "amount": values}
    shown = dataclasses.replace(stage.shown, signals=signals)
    tasks = (TASKS[0], Task("spent", "amount", SQUARED, condition="click"))
    labels = TaskLabels.of(dataclasses.replace(stage, shown=shown), tasks)
    weights = {"task:click": 0.3, "task:spent": 0.7}
    spec = spec_of(weights, steps=90, check_every=30, task_batch=128, learning_rate=0.03)
    [one] = train(spec, data=dataclasses.replace(DATA, labels=labels))
    guess = TaskOutputs.of(one, DATA, tasks).whole("spent", slice(None)).mean(0)
    assert guess[::2].max() < 12 < 13 < guess[1::2].min()


def test_a_fit_with_tasks_is_stored_whole(fitted: Fit, tmp_path: Path) -> None:
    store = FitStore(tmp_path, "key")
    store.put("one", fitted)
    again = store.get("one")
    assert again is not None
    assert (again.spec, again.shape) == (fitted.spec, fitted.shape)
    assert hash(again.shape) == hash(fitted.shape)
    assert again.shape.tasks == ("click", "conversion")


def test_the_network_ranks_by_a_product_of_powers(fitted: Fit) -> None:
    """Order of relevance^r click^a conversion^b, relevance by its softmax."""
    (head, states), found = DATA.head(fitted), outputs_of(fitted).chances()
    said = head.scores(states)
    relevance = said.relevance
    seen = torch.zeros(relevance.shape, dtype=torch.bool)
    base = Scorers({}, seen, torch.zeros(24), Similarity.of(torch.eye(24)))
    scorers = base.with_networks({NETWORK: said})
    chance = torch.softmax(relevance, dim=1).numpy().astype(np.float64)
    click, buy = (found[name](slice(None)).astype(np.float64) for name in ("click", "conversion"))
    for r, a, b in ((1, 0, 0), (0, 1, 0), (0, 1, 1), (1, 0.5, 2.0), (0.3, 0, 1)):
        powers = {"relevance": r, "click": a, "conversion": b}
        lists, _ = recommend(scorers, [ServingParams(exponents=powers)], k=24)
        product = chance**r * click**a * buy**b
        ordered = np.take_along_axis(product, lists[0], axis=1)
        assert (np.diff(ordered, axis=1) <= 1e-6 * ordered[:, :1]).all(), powers


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), r=st.floats(0, 2), a=st.floats(-1, 2), b=st.floats(0, 2))
def test_fused_network_scores_are_standardised(seed: int, r: float, a: float, b: float) -> None:
    """With a weight of one they have deviation one over unseen items, whatever the exponents."""
    source = torch.Generator().manual_seed(seed)
    logs = [torch.randn(4, 9, generator=source) for _ in range(4)]
    seen = torch.rand(4, 9, generator=source) < 0.3
    seen[:, 0], seen[:, 1:3] = True, False  # a deviation needs two
    base = Scorers({}, seen, torch.zeros(9), Similarity.of(torch.eye(9)))
    said = NetworkScores(logs[0], dict(zip(("liked", "x", "y"), logs[1:], strict=True)))
    scorers = base.with_networks({NETWORK: said})
    setting = ServingParams(exponents={"relevance": r, "liked": 0.5, "x": a, "y": b})
    lists, scores = recommend(scorers, [setting], k=8)
    total = sum(p * centre(one, seen) for p, one in zip((r, 0.5, a, b), logs, strict=True))
    assert isinstance(total, torch.Tensor)
    for user in range(4):
        own = total[user, ~seen[user]]
        wanted = (own / own.std(correction=0)).sort(descending=True).values[:8]
        found = scores[0, user][lists[0, user] >= 0]
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-3, atol=1e-4)


def test_tasks_alone_rank_where_nothing_else_does() -> None:
    weights = {"task:click": 0.5, "task:conversion": 0.5}
    [one] = train(spec_of(weights))
    assert one.spec.by_tasks_alone
    head, states = DATA.head(one)
    said = head.scores(states)
    assert not said.relevance.any()
    assert set(said.tasks) == {"click", "conversion"}
    seen: list[torch.Tensor] = []

    def looking(scores: Any) -> float:
        seen.append(torch.cat([part for _, part in scores.parts()]))
        return float(len(seen))

    [same] = train_pack([one.spec], [0], DATA, looking, pack_size=1)
    product = sum(said.tasks[task.name] * task.weight for task in TASKS)
    assert isinstance(product, torch.Tensor)
    torch.testing.assert_close(seen[-1], product)
    assert same.best_step == 8


# ---------------------------------------------------------------- what early stopping watches


@pytest.mark.parametrize(
    ("weights", "watched"),
    [
        ({"softmax": 1.0}, "relevance"),
        ({"softmax": 0.3, "bpr": 0.3, "liked": 0.4}, "relevance"),  # both of them rank
        ({"softmax": 0.5, "task:click": 0.5}, "relevance"),  # the first of equals
        ({"softmax": 0.3, "task:click": 0.3, "task:conversion": 0.4}, "task:conversion"),
        ({"softmax": 0.4, "liked": 0.6}, "liked"),
        ({"softmax": 0.4, "popularity": 0.6}, "tail"),
        ({"softmax": 0.4, "tail_softmax": 0.6}, "tail"),
        ({"popularity": 0.4, "price_softmax": 0.6}, "relevance"),
        ({"softmax": 0.1, "negative_entropy": 0.9}, "relevance"),  # entropy has no metric
        ({"task:click": 1.0}, "task:click"),
    ],
)
def test_early_stopping_watches_what_most_of_the_weight_is_for(
    weights: dict[str, float], watched: str
) -> None:
    assert spec_of(weights).watched == watched
    assert spec_of(weights, monitor="tail").watched == "tail"


def test_a_monitor_that_nothing_trains_is_refused() -> None:
    with pytest.raises(BadRequestError, match=r'unknown monitor "task:clock".*"task:click"'):
        spec_of(monitor="task:clock")
    with pytest.raises(BadRequestError, match='unknown monitor "task:click"'):
        spec_of({"softmax": 1.0}, monitor="task:click")


def test_each_candidate_of_a_pack_is_watched_by_its_own_scores() -> None:
    """Relevance alone, or times what the task and its condition predict."""
    even = {"softmax": 0.4, "task:click": 0.2, "task:conversion": 0.4}
    specs = [
        spec_of(even, steps=4, temperature=0.5),
        spec_of({**even, "softmax": 0.2}, steps=4, temperature=0.5),
        spec_of(even, steps=4, temperature=0.5, monitor="task:click"),
    ]
    seen: list[tuple[str, torch.Tensor]] = []

    def recording(scores: Relevance) -> float:
        seen.append((scores.watched, torch.cat([part for _, part in scores.parts()])))
        return 1.0

    fits = train_pack(specs, [1, 2, 3], DATA, recording, pack_size=3)
    names = [name for name, _ in seen]
    assert names == ["relevance", "task:conversion", "task:click"]
    for one, (name, scores), factors in zip(
        fits, seen, ([], ["click", "conversion"], ["click"]), strict=True
    ):
        head, states = DATA.head(one)
        own = head.scores(states)
        expected = own.relevance + sum(own.tasks[factor] for factor in factors)
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4, msg=name)
