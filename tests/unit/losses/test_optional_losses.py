"""Losses that need more than targets: ratings, groups, tastes and policies, from data to fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from toy_learning import interactions, logits_of, mean_reciprocal_rank, next_item_stage, train_data

from pareto_rec.core.errors import BadRequestError
from pareto_rec.losses import AGGREGATORS, LOSSES, LossInputs
from pareto_rec.losses.aggregation import AggregationStep, State
from pareto_rec.losses.aggregation.values import WeightedSum
from pareto_rec.losses.base import Loss
from pareto_rec.tasks import built_in
from pareto_rec.training import batches
from pareto_rec.training.batches import People
from pareto_rec.training.data import Fit, TrainData
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.pack_tasks import NO_LABELS, TaskLabels
from pareto_rec.training.spec import TrainSpec, pack_key

pytestmark = pytest.mark.usefixtures("single_thread")

STAGE = next_item_stage()
MONITOR = mean_reciprocal_rank(STAGE)


Ints, Floats = np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float32]]


def stars(item: Ints) -> Floats:
    """Ratings that the item decides: 1, 3 or 5."""
    return (1 + 2 * (item % 3)).astype(np.float32)


def rated_as(value: Callable[[Ints], Floats]) -> TaskLabels:
    """Labels of liked and rating, the latter decided by the item."""
    rows = STAGE.train
    signals = {**rows.signals, "rating": value(rows.item)}
    stage = dataclasses.replace(STAGE, train=dataclasses.replace(rows, signals=signals))
    return TaskLabels.of(stage, built_in("liked", ("rating",)))


def whole_data(**references: torch.Tensor) -> TrainData:
    """Training rows with ratings, people and policies."""
    plain = train_data(STAGE)
    return dataclasses.replace(
        plain, labels=rated_as(stars), people=People.of(STAGE), references=references
    )


DATA = whole_data(second=torch.log_softmax(torch.eye(24)[torch.arange(48) % 24] * 3, dim=-1))


def spec_of(weights: dict[str, float], **changes: Any) -> TrainSpec:
    small = {"width": 8, "history": 6, "steps": 12, "batch": 16, "horizon": 2, "heads": 2}
    more: dict[str, Any] = {"negatives": 5, "check_every": 6, "learning_rate": 0.02}
    more |= {"group": "gender", "gain": "price"}
    return TrainSpec(loss_weights=weights, **{**small, **more, **changes})


def train(*specs: TrainSpec, data: TrainData = DATA) -> list[Fit]:
    return train_pack(list(specs), [0] * len(specs), data, MONITOR, pack_size=8)


def test_people_by_hand() -> None:
    """Users are F and M in turn; a walk of nine items over four categories in a circle."""
    people = People.of(STAGE)
    assert set(people.groups) == {"gender"}
    np.testing.assert_array_equal(people.groups["gender"][:3], [[1, 0], [0, 1], [1, 0]])
    first = STAGE.train.item[STAGE.train.user == 0]
    expected = np.bincount(first % 4, minlength=4) / 9
    np.testing.assert_allclose(people.tastes[0], expected, rtol=1e-6)


def test_people_of_whom_nothing_is_known() -> None:
    users = dataclasses.replace(STAGE.users, attributes={"gender": ("", "F") * 24})
    items = dataclasses.replace(STAGE.items, categories=np.zeros((24, 4), dtype=np.float32))
    people = People.of(dataclasses.replace(STAGE, users=users, items=items))
    np.testing.assert_array_equal(people.groups["gender"][:2], [[0], [1]])
    assert not people.tastes.any()


@pytest.mark.parametrize("aggregation", ["weighted_sum", "upgrad"])
@pytest.mark.parametrize(("model", "positions"), [("attention_pooling", 1), ("self_attention", 2)])
def test_every_loss_together_packed_and_alone(model: str, positions: int, aggregation: str) -> None:
    count = len(LOSSES)
    up = {name: (n + 1) / 90 for n, name in enumerate(LOSSES)}
    down = {name: (count - n) / 90 for n, name in enumerate(LOSSES)}
    specs = [
        spec_of(
            weights,
            model=model,
            positions=positions,
            reference="second",
            steps=4,
            aggregation=aggregation,
        )
        for weights in (up, down)
    ]
    specs.append(dataclasses.replace(specs[0], horizon=3))
    for packed, spec in zip(train(*specs), specs, strict=True):
        assert packed.reason is None
        [alone] = train(spec)
        for name, value in packed.params.items():
            torch.testing.assert_close(value, alone.params[name], rtol=1e-2, atol=1e-3, msg=name)


def seen_by(monkeypatch: pytest.MonkeyPatch, name: str) -> list[LossInputs]:
    """What a loss is given in training."""
    found: list[LossInputs] = []
    loss = LOSSES[name]  # replaced until the test ends

    class Recording(type(loss)):  # type: ignore[misc] # the class is known at run time alone
        def __call__(self, inputs: LossInputs, /) -> torch.Tensor:
            found.append(inputs)
            value: torch.Tensor = loss(inputs)
            return value

    monkeypatch.setitem(LOSSES._entries, name, Recording())
    return found


def test_rows_meet_their_own_users_and_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user is known by the walk: who starts where has which gender and taste."""
    drawn: list[batches.Batch] = []

    def recording(*args: Any, **sizes: Any) -> batches.Batch:
        drawn.append(batches.draw(*args, **sizes))
        return drawn[-1]

    monkeypatch.setattr("pareto_rec.training.examples.draw", recording)
    inputs = seen_by(monkeypatch, "group_gap")
    weights = {"softmax": 0.5, "group_gap": 0.1, "calibration": 0.1, "rating": 0.1}
    weights |= {"reference_kl": 0.2}
    train(spec_of(weights, model="self_attention", positions=3, reference="second"))
    people, users = People.of(STAGE), STAGE.train.user
    for step in (0, 5):
        rows, now = drawn[0].rows[step], inputs[step]
        user = users[rows[:, :, 0]].reshape(-1)  # of every place; the same for all of an example
        np.testing.assert_array_equal(user.reshape(-1, 3)[:, 0], user.reshape(-1, 3)[:, 2])
        np.testing.assert_array_equal(now.part("group")[0], people.groups["gender"][user])
        np.testing.assert_array_equal(now.part("taste")[0], people.tastes[user])
        np.testing.assert_array_equal(now.part("reference")[0], DATA.references["second"][user])
        expected = stars(now.targets[0].numpy())
        known = stars(STAGE.train.item)
        assert now.interactions is not None
        labels = now.interactions.labels["rating"][0].reshape(now.mask[0].shape).numpy()
        mask = now.mask[0].numpy()
        found = labels * known.std() + known.mean()
        np.testing.assert_allclose(found[mask], expected[mask], rtol=1e-5)
        assert np.isnan(labels[~mask]).all()


def rated(one: Fit) -> Floats:
    head = one.head(DATA.features)
    logits = head.logits(["rating"], head.states(DATA.histories[:, -6:].numpy()))["rating"]
    return np.asarray(head.predicted("rating", logits).numpy())


def test_ratings_are_learnt_and_come_back_in_stars() -> None:
    """Of items that may follow; guessing the mean is off by 1.63 (the deviation of 1, 3 and 5)."""
    spec = spec_of({"rating": 1.0}, steps=120, batch=64, learning_rate=0.03, patience=99)
    last = iter(range(100))
    [one] = train_pack([spec], [0], DATA, lambda _: float(next(last)), pack_size=1)
    follows = (STAGE.held_out.item[:, None] + np.arange(2)) % 24
    errors = np.take_along_axis(rated(one), follows, 1) - stars(follows)
    assert np.sqrt((errors**2).mean()) < 0.6


def test_the_scale_of_ratings_does_not_matter() -> None:
    """Ratings of 20 r - 7: the same fit, and its predictions in that unit."""
    other = dataclasses.replace(DATA, labels=rated_as(lambda item: 20 * stars(item) - 7))
    spec = spec_of({"softmax": 0.5, "rating": 0.5})
    [plain] = train(spec)
    [scaled] = train(spec, data=other)
    for name in set(plain.params) - {"rating.stars"}:
        torch.testing.assert_close(plain.params[name], scaled.params[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(rated(scaled), 20 * rated(plain) - 7, rtol=1e-2, atol=0.1)


def test_what_no_loss_needs_is_neither_there_nor_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = seen_by(monkeypatch, "softmax")
    [plain] = train(spec_of({"softmax": 1.0}))
    assert not any(name.startswith("rating") for name in plain.params)
    for name in ("interactions", "shown", "group", "taste", "reference"):
        assert getattr(inputs[0], name) is None
    [rating] = train(spec_of({"softmax": 0.9, "rating": 0.1}))
    assert {"rating.in", "rating.stars"} <= set(rating.params)
    assert plain.shape.tasks == ()
    assert rating.shape.tasks == ("rating",)


def test_a_weight_on_the_gap_narrows_it() -> None:
    """Women (even users) walk in a circle, men at random: only the former can be predicted."""
    walks = np.random.default_rng(8).integers(0, 24, (48, 10))
    walks[::2] = (walks[::2, :1] + np.arange(10)) % 24
    rows = interactions(walks[:, :-1].tolist(), lambda item: item % 2)
    stage = dataclasses.replace(STAGE, train=rows, history=rows)
    data = dataclasses.replace(train_data(stage), people=People.of(stage))

    def gap(weight: float) -> float:
        spec = spec_of({"softmax": 1 - weight, "group_gap": weight}, steps=80, batch=64)
        last = iter(range(100))
        [one] = train_pack([spec], [0], data, lambda _: float(next(last)), pack_size=1)
        likely = torch.log_softmax(logits_of(one, data), -1).numpy()[np.arange(48), walks[:, -1]]
        return float(abs(likely[::2].mean() - likely[1::2].mean()))

    plain = gap(0.0)
    assert plain > 0.8
    assert gap(0.6) < 0.6 * plain


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("group_gap", {"group": ""}, 'set the training variable "group" to one of gender'),
        ("gain_softmax", {"gain": ""}, 'set the training variable "gain" to what a hit is worth'),
        ("gain_softmax", {"gain": "prize"}, r'unknown gain of the loss "gain_softmax".*"price"'),
        ("group_gap", {"group": "gendre"}, r'unknown user attribute .*did you mean "gender"'),
        ("reference_kl", {"reference": "secnd"}, r'unknown policy .*did you mean "second"'),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    name: str, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(BadRequestError, match=match) as error:
        train(spec_of({"softmax": 0.5, name: 0.5}, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("rating", 'loss "rating" needs'),
        ("liked", 'loss "liked" needs a signal of what was liked'),
        ("group_gap", "which the data does not have"),
        ("calibration", "which the data does not have"),
    ],
)
def test_data_without_labels_or_people(name: str, match: str) -> None:
    bare = dataclasses.replace(train_data(STAGE), labels=NO_LABELS, people=None)
    with pytest.raises(BadRequestError, match=match):
        train(spec_of({"softmax": 0.5, name: 0.5}), data=bare)


def test_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first step every loss is as large as 1, but for a gap, whose unit is log N."""
    seen: list[np.ndarray[Any, np.dtype[np.float64]]] = []

    class Recording(WeightedSum):
        def weights(self, moment: AggregationStep, state: State, /) -> Any:
            seen.append(moment.losses.copy())
            return super().weights(moment, state)

    monkeypatch.setitem(AGGREGATORS._entries, "weighted_sum", Recording())
    gap_of = LOSSES["group_gap"]
    inputs = seen_by(monkeypatch, "group_gap")
    names = list(LOSSES)
    train(spec_of(dict.fromkeys(names, 1 / len(names))))
    first = dict(zip(names, seen[0].tolist(), strict=True))
    with torch.no_grad():
        expected = float(gap_of(inputs[0])) / np.log(24)
    assert first.pop("group_gap") == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(np.abs(list(first.values())), 1.0, rtol=1e-5)


def test_ways_on_gradients_go_into_packs_of_their_own() -> None:
    keys = {way: pack_key(spec_of({"softmax": 1.0}, aggregation=way)) for way in AGGREGATORS}
    plain = {keys[name] for name, way in AGGREGATORS.items() if not way.needs_gramian}
    dear = {keys[name] for name, way in AGGREGATORS.items() if way.needs_gramian}
    assert len(plain) == len(dear) == 1
    assert plain != dear


def test_every_need_is_a_part_of_the_inputs() -> None:
    parts = {field.name for field in dataclasses.fields(LossInputs)}
    assert all(loss.needs <= parts for loss in LOSSES.values())
    assert Loss.needs == frozenset()
