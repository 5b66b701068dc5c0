"""Training: the optimiser, packs, early stopping, failures, and that something is learnt."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from small_fits import DATA, MONITOR, NAMES, STAGE, spec_of
from toy_learning import CPU, logits_of

from pareto_rec.core.threads import one_thread
from pareto_rec.losses import AGGREGATORS, CHOSEN, LOSSES
from pareto_rec.training import batches
from pareto_rec.training.data import Fit, Monitor, Relevance
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.matmul_dtype import matmul_dtype_of
from pareto_rec.training.optimizer import StackedAdamW, schedule
from pareto_rec.training.spec import TrainSpec, pack_key

# losses that need no more than every training has
PLAIN = [
    "liked",
    *(name for name, loss in LOSSES.items() if not loss.needs and loss.gain != CHOSEN),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[batches.Batch]:
    """Every batch that training draws."""
    found: list[batches.Batch] = []

    def recording(*args: Any, **sizes: Any) -> batches.Batch:
        found.append(batches.draw(*args, **sizes))
        return found[-1]

    monkeypatch.setattr("pareto_rec.training.examples.draw", recording)
    return found


def train(*specs: TrainSpec, seeds: tuple[int, ...] = (), pack_size: int = 8) -> list[Fit]:
    return train_pack(list(specs), seeds or (0,) * len(specs), DATA, MONITOR, pack_size=pack_size)


def assert_same(left: Fit, right: Fit, **close: float) -> None:
    assert left.reason == right.reason
    assert left.spec == right.spec
    assert left.params.keys() == right.params.keys()
    for name, value in left.params.items():
        torch.testing.assert_close(value, right.params[name], msg=name, **close)
    np.testing.assert_allclose(left.curve, right.curve, atol=1e-6 if not close else 1e-3)
    assert left.best_step == right.best_step


# ---------------------------------------------------------------- optimiser


def toy_problem(candidates: int, kind: torch.dtype) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    params = {
        "matrix": torch.randn(candidates, 4, 3, generator=source, dtype=kind),
        "vector": torch.randn(candidates, 4, generator=source, dtype=kind),
        "unused": torch.randn(candidates, 2, 2, generator=source, dtype=kind),
    }
    return params, torch.randn(5, 3, generator=source, dtype=kind)


def toy_loss(matrix: torch.Tensor, vector: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (torch.tanh(x @ matrix.T + vector) - 0.5).square().sum() + matrix.sum().sin()


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_a_pack_moves_as_torchs_adamw_moves_each_candidate(kind: torch.dtype) -> None:
    """torch.optim.AdamW with betas (.9, .99), decay on matrices alone, one per candidate."""
    rates, decays = [0.1, 0.003, 0.03], [0.5, 0.01, 0.0]
    factors = [schedule(step, 30) for step in range(30)]
    initial, x = toy_problem(len(rates), kind)
    stacked = {name: value.clone().requires_grad_() for name, value in initial.items()}
    ours = StackedAdamW(stacked, torch.tensor(rates), torch.tensor(decays))
    for factor in factors:
        losses = [
            toy_loss(stacked["matrix"][i], stacked["vector"][i], x) for i in range(len(rates))
        ]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        ours.step(factor)
    for index, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        own = {name: value[index].clone().requires_grad_() for name, value in initial.items()}
        theirs = torch.optim.AdamW(
            [
                {"params": [own["matrix"]], "weight_decay": decay},
                {"params": [own["vector"]], "weight_decay": 0.0},
            ],
            lr=rate,
            betas=(0.9, 0.99),
            eps=1e-8,
        )
        for factor in factors:
            for group in theirs.param_groups:
                group["lr"] = rate * factor
            theirs.zero_grad()
            toy_loss(own["matrix"], own["vector"], x).backward()  # type: ignore[no-untyped-call]
            theirs.step()
        for name, value in own.items():
            torch.testing.assert_close(
                stacked[name][index], value, rtol=1e-4, atol=1e-5, check_dtype=False
            )
        assert (own["matrix"] - initial["matrix"][index]).abs().max() > 0.01
    torch.testing.assert_close(stacked["unused"], initial["unused"], rtol=0, atol=0)


def test_decay_is_for_matrices_alone() -> None:
    """With a gradient of zero a step is the decay: 1 - rate * factor * decay, vectors stay."""
    params = {"matrix": torch.ones(2, 3, 3), "vector": torch.ones(2, 3)}
    optimiser = StackedAdamW(params, torch.tensor([0.1, 0.2]), torch.tensor([0.5, 1.0]))
    for value in params.values():
        value.grad = torch.zeros_like(value)
    optimiser.step(0.5)
    torch.testing.assert_close(params["matrix"][0], torch.full((3, 3), 1 - 0.1 * 0.5 * 0.5))
    torch.testing.assert_close(params["matrix"][1], torch.full((3, 3), 1 - 0.2 * 0.5 * 1.0))
    torch.testing.assert_close(params["vector"], torch.ones(2, 3))


def test_schedule_by_hand() -> None:
    # 100 steps, 10 of warm-up: (step + 1) / 11; then .1 + .45 (1 + cos(pi (step - 10) / 90))
    assert schedule(0, 100) == pytest.approx(1 / 11)
    assert schedule(9, 100) == pytest.approx(10 / 11)
    assert schedule(10, 100) == pytest.approx(1.0)
    assert schedule(55, 100) == pytest.approx(0.55)  # half way: cos(pi / 2) = 0
    assert schedule(40, 100) == pytest.approx(0.1 + 0.45 * 1.5)  # a third: cos(pi / 3) = 1/2
    assert schedule(100, 100) == pytest.approx(0.1)
    values = [schedule(step, 100) for step in range(100)]
    assert max(values) == values[10] == 1.0
    assert all(0 < schedule(step, steps) <= 1 for steps in (1, 2, 3) for step in range(steps))


# ---------------------------------------------------------------- packs


def different_specs(model: str, losses: Mapping[str, float]) -> list[TrainSpec]:
    """Everything that may differ within a pack does."""
    turned = dict(zip(losses, reversed(losses.values()), strict=True))
    return [
        spec_of(model, loss_weights=losses, learning_rate=0.02, dropout=0.0, item_dropout=0.4),
        spec_of(
            model,
            loss_weights=turned,
            aggregation="weighted_chebyshev",
            temperature=0.5,
            dropout=0.5,
            item_dropout=0.0,
            horizon=4,
        ),
        spec_of(model, loss_weights=losses, weight_decay=2.0, temperature=3.0, dropout=0.2),
    ]


@pytest.mark.parametrize("model", NAMES)
def test_a_pack_trains_each_candidate_as_if_it_were_alone(model: str) -> None:
    """Many losses at once, so that none of them mixes candidates."""
    total = len(PLAIN) * (len(PLAIN) + 1) / 2
    weights = {name: (index + 1) / total for index, name in enumerate(PLAIN)}
    specs = different_specs(model, weights)
    together = train(*specs, seeds=(5, 6, 5))
    for index, (spec, seed) in enumerate(zip(specs, (5, 6, 5), strict=True)):
        [alone] = train(spec, seeds=(seed,))
        assert_same(together[index], alone, rtol=1e-3, atol=2e-4)
    different = [
        (together[0].params["item.embed"] - other.params["item.embed"]).abs().max()
        for other in together[1:]
    ]
    assert min(different) > 0.01, "they did not differ in the first place"


def test_every_way_to_combine_keeps_to_its_candidate() -> None:
    """All ways in one pack, each as if it were alone; short, as rounding grows with every step."""
    weights = {"softmax": 0.5, "liked": 0.3, "negative_entropy": 0.2}
    base = spec_of("attention_pooling", loss_weights=weights, steps=4, check_every=2)
    specs = [dataclasses.replace(base, aggregation=way) for way in AGGREGATORS]
    for together, spec in zip(train(*specs, pack_size=len(specs)), specs, strict=True):
        assert_same(together, train(spec)[0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("model", NAMES)
def test_the_size_of_packs_changes_nothing(model: str) -> None:
    specs = different_specs(model, {"softmax": 0.6, "popularity": 0.4})
    for left, right in zip(train(*specs, pack_size=2), train(*specs), strict=True):
        assert_same(left, right, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("kind", ["bfloat16", "auto"])
def test_products_in_bfloat16_learn_as_much_and_packs_stay_alike(kind: str) -> None:
    """Equal up to its rounding, which a few steps do not blow up."""
    losses = {"softmax": 0.6, "popularity": 0.2, "negative_entropy": 0.2}
    exact = different_specs("attention_pooling", losses)
    specs = [dataclasses.replace(one, matmul_dtype=kind) for one in exact]
    plain, together = train(*exact), train(*specs)
    for index, spec in enumerate(specs):
        [alone] = train(spec)
        assert_same(together[index], alone, rtol=0.1, atol=0.02)
        assert max(v for _, v in together[index].curve) == pytest.approx(
            max(v for _, v in plain[index].curve), abs=0.05
        )
    moved = not torch.equal(together[0].params["item.embed"], plain[0].params["item.embed"])
    assert moved == (matmul_dtype_of(kind, CPU) is not None)


def test_auto_is_bfloat16_where_the_processor_multiplies_matrices_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"amx_bf16": has})
        assert matmul_dtype_of("auto", CPU) == (torch.bfloat16 if has else None)
        assert matmul_dtype_of("auto", torch.device("cuda")) is None
        assert matmul_dtype_of("bfloat16", CPU) == torch.bfloat16
        assert matmul_dtype_of("float32", CPU) is None
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older versions of torch
    assert matmul_dtype_of("auto", CPU) is None


def test_fits_of_different_shapes_come_back_in_the_order_asked_for() -> None:
    specs = [
        spec_of("attention_pooling", width=8),
        spec_of("self_attention", width=8),
        spec_of("attention_pooling", width=4, loss_weights={"popularity": 1.0}),
        spec_of("attention_pooling", width=8, learning_rate=0.02),
    ]
    assert len({pack_key(spec) for spec in specs}) == 3
    fits = train(*specs)
    assert [one.spec for one in fits] == specs
    assert [(one.shape.model, one.shape.width) for one in fits] == [
        (spec.model, spec.width) for spec in specs
    ]


def test_what_a_pack_must_share() -> None:
    """Shapes, number of steps and losses; all else is a candidate's own."""
    own = {
        *("learning_rate", "weight_decay", "dropout", "item_dropout", "temperature"),
        *("aggregation", "loss_weights", "horizon", "replica", "monitor"),
        *("lora_alpha", "lora_dropout", "encoder_rate", "layer_decay", "encoder_decay"),
    }
    base = dataclasses.replace(spec_of("attention_pooling"), tuned_layers=1)
    for field in dataclasses.fields(TrainSpec):
        value = getattr(base, field.name)
        other = {"aggregation": "weighted_chebyshev", "model": "self_attention"}.get(field.name)
        if field.name == "loss_weights":
            assert pack_key(dataclasses.replace(base, loss_weights={"softmax": 0.5})) == pack_key(
                base
            )
            assert pack_key(
                dataclasses.replace(base, loss_weights={"softmax": 0.5, "liked": 0.5})
            ) != pack_key(base)
            continue
        number = isinstance(value, int | float)
        changed = dataclasses.replace(
            base, **{field.name: other or (value * 2 + 1 if number else "other")}
        )
        assert (pack_key(changed) == pack_key(base)) == (field.name in own), field.name


@pytest.mark.parametrize("model", NAMES)
def test_the_seed_decides(model: str) -> None:
    spec = spec_of(model, dropout=0.3)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    [first] = train(spec, seeds=(3,))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    [second] = train(spec, seeds=(3,))
    [other] = train(spec, seeds=(4,))
    assert_same(first, second, rtol=0, atol=0)
    assert (first.params["item.embed"] - other.params["item.embed"]).abs().max() > 0.01


def test_examples_are_new_after_every_look(drawn: list[batches.Batch]) -> None:
    train(spec_of("attention_pooling", steps=15, check_every=5))
    assert len(drawn) == 3
    assert not np.array_equal(drawn[0].histories, drawn[1].histories)
    assert not np.array_equal(drawn[1].histories, drawn[2].histories)


@pytest.mark.parametrize("model", NAMES)
def test_every_parameter_is_trained(model: str) -> None:
    """All losses at once against the same with next to no learning rate."""
    spec = spec_of(model, loss_weights={name: 1 / len(PLAIN) for name in PLAIN}, weight_decay=0.0)
    moved, still = train(spec, dataclasses.replace(spec, learning_rate=1e-30))
    for name, value in moved.params.items():
        assert (value - still.params[name]).abs().max() > 1e-3, name


def test_inputs_are_not_mutated() -> None:
    kept = {name: getattr(DATA, name).clone() for name in ("features", "histories")}
    facts = DATA.facts.mapped(torch.clone)
    items = DATA.sequences.items.copy()
    train(spec_of("attention_pooling"), spec_of("self_attention"))
    for name, value in kept.items():
        assert torch.equal(getattr(DATA, name), value)
    for name, value in facts.gains.items():
        assert torch.equal(DATA.facts.gains[name], value)
    for name in ("categories", "log_popularity", "log_frequency"):
        assert torch.equal(getattr(DATA.facts, name), getattr(facts, name))
    np.testing.assert_array_equal(DATA.sequences.items, items)
    assert not DATA.features.requires_grad


# ---------------------------------------------------------------- learning


def scripted(*values: float) -> Monitor:
    """A monitor that answers from a list; of a rising one the last parameters are kept."""
    answers = iter(values)
    return lambda _: next(answers)


def learnt(model: str, **changes: Any) -> float:
    spec = spec_of(
        model,
        **{
            "width": 16,
            "steps": 120,
            "batch": 32,
            "horizon": 1,
            "check_every": 40,
            "learning_rate": 0.02,
            "dropout": 0.0,
            **changes,
        },
    )
    [one] = train(spec)
    assert one.reason is None
    value = MONITOR(Relevance.whole(logits_of(one, DATA, history=spec.history)))
    assert value == pytest.approx(max(seen for _, seen in one.curve), abs=1e-6)
    return value


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("loss", [name for name, one in LOSSES.items() if one.accuracy])
def test_the_next_item_is_learnt(model: str, loss: str) -> None:
    """Chance is a mean reciprocal rank of H(24) / 24 = .157; a perfect model has 1."""
    assert learnt(model, loss_weights={loss: 1.0}, negatives=48, gain="price") > 0.75


def test_several_places_learn_too() -> None:
    assert learnt("self_attention", positions=4, batch=16) > 0.75


def test_the_second_task_is_learnt() -> None:
    """Odd items are liked: at the end every odd item has the larger chance to be."""
    spec = spec_of(
        "attention_pooling", loss_weights={"liked": 1.0}, steps=80, batch=64, learning_rate=0.03
    )
    [one] = train_pack([spec], [0], DATA, scripted(*range(100)), pack_size=1)
    liked = logits_of(one, DATA, "liked")
    follows = (STAGE.held_out.item[:, None] + np.arange(2)) % len(STAGE.items)
    values = np.take_along_axis(liked.numpy(), follows, 1)
    assert ((values > 0) == (follows % 2 == 1)).mean() > 0.95


def entropy_and_popularity(weights: Mapping[str, float], aggregation: str) -> tuple[float, float]:
    spec = spec_of(
        "attention_pooling", loss_weights=weights, aggregation=aggregation, steps=60, batch=32
    )
    [one] = train_pack([spec], [0], DATA, scripted(*range(100)), pack_size=1)
    probs = torch.softmax(logits_of(one, DATA), -1)
    entropy = float(-(probs * probs.log()).sum(-1).mean())
    return entropy, float((probs @ DATA.facts.log_popularity).mean())


@pytest.mark.parametrize("aggregation", ["weighted_sum", "weighted_chebyshev"])
def test_weights_move_what_they_weigh(aggregation: str) -> None:
    plain = entropy_and_popularity({"softmax": 1.0}, aggregation)
    flat = entropy_and_popularity({"softmax": 0.1, "negative_entropy": 0.9}, aggregation)
    rare = entropy_and_popularity({"softmax": 0.1, "popularity": 0.9}, aggregation)
    assert flat[0] > plain[0] + 0.1
    assert rare[1] < plain[1] - 0.005


# ---------------------------------------------------------------- early stopping


def test_early_stopping_keeps_the_best_and_stops() -> None:
    """Best at the second look, patience 2: two looks more and no step after them."""
    spec = spec_of("attention_pooling", steps=40, patience=2)
    seen: list[torch.Tensor] = []

    def recording(relevance: Relevance) -> float:
        seen.append(torch.cat([scores for _, scores in relevance.parts()]))
        return (0.1, 0.5, 0.4, 0.5)[len(seen) - 1]

    [kept] = train_pack([spec], [0], DATA, recording, pack_size=1)
    assert kept.curve == ((5, 0.1), (10, 0.5), (15, 0.4), (20, 0.5))
    assert kept.best_step == 10
    torch.testing.assert_close(logits_of(kept, DATA), seen[1])
    assert (seen[1] - seen[3]).abs().max() > 1e-3


def test_the_first_and_the_last_look_can_be_the_best() -> None:
    spec = spec_of("attention_pooling", steps=40, patience=2)
    [first] = train_pack([spec], [0], DATA, scripted(9.0, 1.0, 2.0), pack_size=1)
    [last] = train_pack([spec], [0], DATA, scripted(*range(8)), pack_size=1)
    assert (first.best_step, last.best_step) == (5, 40)
    assert [len(first.curve), len(last.curve)] == [3, 8]


def test_the_last_look_falls_on_the_last_step() -> None:
    spec = spec_of("attention_pooling", steps=12, check_every=5)
    [one] = train_pack([spec], [0], DATA, scripted(0.1, 0.2, 0.3), pack_size=1)
    assert [step for step, _ in one.curve] == [5, 10, 12]


def test_one_candidate_stops_while_another_goes_on() -> None:
    specs = [spec_of("attention_pooling", steps=30, patience=1, learning_rate=r) for r in (0, 0.02)]

    truth = torch.from_numpy(STAGE.held_out.item)

    def value(relevance: Relevance) -> float:
        """Log-likelihood: stays for the one that does not move, rises for the other."""
        scores = torch.cat([scores for _, scores in relevance.parts()])
        return float(torch.log_softmax(scores, -1)[torch.arange(len(truth)), truth].mean())

    still, moving = train_pack(specs, [0, 0], DATA, value, pack_size=2)
    assert [step for step, _ in still.curve] == [5, 10]
    assert len(moving.curve) == 6
    [alone] = train_pack([specs[0]], [0], DATA, value, pack_size=1)
    assert_same(still, alone, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("bad", [{"learning_rate": 1e30}, {"temperature": 1e-40}])
def test_a_candidate_whose_loss_is_not_finite_fails_alone(model: str, bad: dict[str, Any]) -> None:
    good = [spec_of(model), spec_of(model, learning_rate=0.003, aggregation="weighted_chebyshev")]
    losses = {"softmax": 0.5, "negative_entropy": 0.3, "similarity": 0.2}
    good = [dataclasses.replace(spec, loss_weights=losses) for spec in good]
    one, broken, other = train(good[0], dataclasses.replace(good[0], **bad), good[1])
    assert broken.reason is not None
    assert "not finite" in broken.reason
    assert "step" in broken.reason
    assert broken.params == {}
    for left, right in zip((one, other), train(*good), strict=True):
        assert left.reason is None
        assert all(torch.isfinite(value).all() for value in left.params.values())
        assert_same(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", NAMES)
def test_a_last_step_that_goes_astray_is_a_failure_too(model: str) -> None:
    """A single step: its loss is finite, its scores are not, and no later loss would tell."""
    spec = spec_of(model, steps=1, check_every=1, learning_rate=1e38)
    [one] = train(spec)
    assert one.reason == "scores are not finite after step 1"
    assert one.params == {}


def test_a_pack_that_has_failed_altogether_stops(drawn: list[batches.Batch]) -> None:
    """After the first look nothing is drawn for the other 99, and nobody is asked for a value."""
    spec = spec_of("attention_pooling", steps=500, temperature=1e-40)
    fits = train_pack([spec, spec], [0, 1], DATA, scripted(), pack_size=2)
    assert all(one.reason == "loss is not finite at step 0" for one in fits)
    assert len(drawn) == 2  # one per candidate


def test_nobody_with_two_rows_is_refused() -> None:
    rows = batches.Sequences(np.arange(3), np.arange(3), np.arange(3) + 1)
    data = dataclasses.replace(DATA, sequences=rows)
    with pytest.raises(ValueError, match="no user has two training rows"):
        train_pack([spec_of("attention_pooling")], [0], data, MONITOR, pack_size=1)


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("fails", [False, True])
def test_as_many_threads_as_before(fails: bool) -> None:
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert torch.get_num_threads() == 2


def test_time_is_shared_among_the_pack() -> None:
    fits = train(spec_of("attention_pooling"), spec_of("attention_pooling", dropout=0.3))
    assert fits[0].seconds == fits[1].seconds > 0
    assert math.isfinite(fits[0].seconds)
