"""Losses of tasks: values by hand, masks, the identity of ESMM, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_learning import loss_inputs

from pareto_rec.core.threads import one_thread
from pareto_rec.losses import LossInputs, TaskLoss, TaskRows
from pareto_rec.losses.tasks import chain_labels, log_product
from pareto_rec.tasks import SQUARED, Task
from pareto_rec.training.impressions import chain_known

NAN = math.nan
CLICK = Task("click", "clicked")
BUY = Task("buy", "bought", condition="click")
KEEP = Task("keep", "kept", condition="buy")
SPENT = Task("spent", "amount", SQUARED, condition="click")
CHAINS = {
    "click": (CLICK,),
    "buy": (CLICK, BUY),
    "keep": (CLICK, BUY, KEEP),
    "spent": (CLICK, SPENT),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def loss_of(name: str, *, esmm: bool = True, unit: float = 1.0) -> TaskLoss:
    return TaskLoss(CHAINS[name], entire_space=esmm, unit=unit)


def with_shown(logits: dict[str, list[float]], labels: dict[str, list[float]]) -> LossInputs:
    """Inputs of one candidate."""
    shown = TaskRows(
        {name: torch.tensor([values], dtype=torch.float64) for name, values in logits.items()},
        {name: torch.tensor([values], dtype=torch.float64) for name, values in labels.items()},
    )
    return replace(loss_inputs(0, pack=1), shown=shown)


def p(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


LOGITS = {
    "click": [0.5, -1.0, 2.0, 0.0],
    "buy": [1.0, 0.3, -0.7, 0.2],
    "keep": [0.1, 0.2, 0.3, 0.4],
    "spent": [0.5, 1.0, -1.0, 2.0],
}
LABELS = {
    "click": [1.0, 0.0, 1.0, NAN],
    "buy": [1.0, NAN, 0.0, 1.0],
    "keep": [0.0, NAN, NAN, NAN],
    "spent": [1.5, 9.0, NAN, 9.0],
}
INPUTS = with_shown(LOGITS, LABELS)


def test_a_task_without_a_condition_by_hand() -> None:
    """The last row has no label and does not count."""
    expected = -(math.log(p(0.5)) + math.log(1 - p(-1.0)) + math.log(p(2.0))) / 3
    assert loss_of("click")(INPUTS).item() == pytest.approx(expected)


def test_a_conditional_task_learns_on_rows_with_the_condition_met() -> None:
    """The second row was not clicked; of the last nobody knows."""
    expected = -(math.log(p(1.0)) + math.log(1 - p(-0.7))) / 2
    assert loss_of("buy", esmm=False)(INPUTS).item() == pytest.approx(expected)
    assert loss_of("keep", esmm=False)(INPUTS).item() == pytest.approx(-math.log(1 - p(0.1)))


def test_esmm_learns_the_product_on_the_entire_space() -> None:
    """Ma et al. (SIGIR 2018), eqs. 1-3: bought and clicked, 0 where nobody clicked."""
    rows = [
        math.log(p(0.5) * p(1.0)),
        math.log(1 - p(-1.0) * p(0.3)),
        math.log(1 - p(2.0) * p(-0.7)),
    ]
    assert loss_of("buy")(INPUTS).item() == pytest.approx(-sum(rows) / 3)


def test_esmm_of_three_in_a_row() -> None:
    """What was not clicked or not bought was not kept, though its own label is missing."""
    rows = [
        math.log(1 - p(0.5) * p(1.0) * p(0.1)),
        math.log(1 - p(-1.0) * p(0.3) * p(0.2)),
        math.log(1 - p(2.0) * p(-0.7) * p(0.3)),
    ]
    assert loss_of("keep")(INPUTS).item() == pytest.approx(-sum(rows) / 3)


@pytest.mark.parametrize("esmm", [True, False])
def test_a_value_is_learnt_where_its_condition_is_met(esmm: bool) -> None:
    """One row is clicked and has a value: (0.5 - 1.5)^2."""
    assert loss_of("spent", esmm=esmm)(INPUTS).item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("esmm", [True, False])
def test_no_usable_row_costs_nothing_and_teaches_nothing(name: str, esmm: bool) -> None:
    inputs = with_shown(LOGITS, dict.fromkeys(LABELS, [NAN] * 4))
    assert inputs.shown is not None
    logits = inputs.shown.logits[name].requires_grad_()
    value = loss_of(name, esmm=esmm)(inputs)
    [gradient] = torch.autograd.grad(value.sum(), [logits])
    assert value.item() == 0.0
    assert not gradient.any()


def test_a_missing_label_never_changes_anything() -> None:
    """Rows without a usable label may hold any logit."""
    far = {name: [*values[:3], 55.0] for name, values in LOGITS.items()}
    for name in CHAINS:
        for esmm in (True, False):
            one, other = (loss_of(name, esmm=esmm)(x) for x in (INPUTS, with_shown(far, LABELS)))
            assert one.item() == pytest.approx(other.item()), name


def test_when_a_chain_is_known() -> None:
    """All labels known, or one of them known not to be positive."""
    click = [1.0, 1.0, 0.0, 0.0, NAN, NAN, 1.0]
    buy = [1.0, 0.0, NAN, 1.0, 1.0, 0.0, NAN]
    true = [True, False, False, False, False, False, False]
    known = [True, True, True, True, False, True, False]
    ours = chain_labels([torch.tensor(click), torch.tensor(buy)])
    assert (ours[0].tolist(), ours[1].tolist()) == (true, known)
    arrays = chain_known([np.array(one, dtype=np.float32) for one in (click, buy)])
    assert (arrays[0].tolist(), arrays[1].tolist()) == (true, known)


def test_the_product_adds_up_to_one_at_any_scale() -> None:
    source = torch.Generator().manual_seed(0)
    for scale in (0.0, 1.0, 30.0, 1e4):
        logits = [scale * torch.randn(50, generator=source) for _ in range(3)]
        chance, rest = log_product(logits)
        assert torch.isfinite(chance).all()
        assert torch.isfinite(rest).all()
        torch.testing.assert_close(chance.exp() + rest.exp(), torch.ones(50))


def pack_inputs(seed: int, dtype: torch.dtype = torch.float64) -> LossInputs:
    """Two candidates, labels of all kinds."""
    rng = np.random.default_rng(seed)
    logits = {name: torch.from_numpy(rng.normal(size=(2, 6))).to(dtype) for name in CHAINS}
    labels = {}
    for name in CHAINS:
        values = rng.integers(0, 2, (2, 6)).astype(float)
        values[rng.random((2, 6)) < 0.2] = NAN
        values[:, 0] = 1.0
        labels[name] = torch.from_numpy(values).to(dtype)
    return replace(loss_inputs(seed), shown=TaskRows(logits, labels))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("esmm", [True, False])
def test_gradients_agree_with_finite_differences(name: str, esmm: bool) -> None:
    inputs = pack_inputs(3)
    assert inputs.shown is not None
    labels, loss = inputs.shown.labels, loss_of(name, esmm=esmm)
    names = list(CHAINS)

    def value(*logits: Tensor) -> Tensor:
        shown = TaskRows(dict(zip(names, logits, strict=True)), labels)
        return loss(replace(inputs, shown=shown))

    parts = [inputs.shown.logits[n].clone().requires_grad_() for n in names]
    assert torch.autograd.gradcheck(value, parts)
    gradients = torch.autograd.grad(value(*parts).sum(), parts, allow_unused=True)
    learnt = {n for n, one in zip(names, gradients, strict=True) if one is not None and one.any()}
    whole = esmm and name != "spent"
    assert learnt == ({one.name for one in CHAINS[name]} if whole else {name})


@pytest.mark.parametrize("name", CHAINS)
def test_one_value_per_candidate_whatever_the_other_is(name: str) -> None:
    inputs, loss = pack_inputs(5), loss_of(name)
    assert inputs.shown is not None
    value = loss(inputs)
    assert value.shape == (2,)
    other = {n: torch.stack([one[0], one[1] + 3]) for n, one in inputs.shown.logits.items()}
    again = loss(replace(inputs, shown=TaskRows(other, inputs.shown.labels)))
    assert again[0] == value[0]
    assert again[1] != value[1]


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e3])
@pytest.mark.parametrize("name", ["click", "buy", "keep"])
def test_values_and_gradients_are_finite_at_any_scale(name: str, scale: float) -> None:
    inputs = pack_inputs(7, torch.float32)
    assert inputs.shown is not None
    logits = {n: (scale * one).requires_grad_() for n, one in inputs.shown.logits.items()}
    shown = TaskRows(logits, inputs.shown.labels)
    value = loss_of(name)(replace(inputs, shown=shown))
    assert torch.isfinite(value).all()
    for one in torch.autograd.grad(value.sum(), list(logits.values()), allow_unused=True):
        assert one is None or torch.isfinite(one).all()


def test_a_loss_says_its_name_and_its_unit() -> None:
    loss = loss_of("buy", unit=0.3)
    assert (loss.name, loss.unit(50), loss.lower_bound(50)) == ("task:buy", 0.3, 0.0)
    assert not loss.accuracy
    assert not loss.catalogue
    with pytest.raises(ValueError, match="no rows for task:buy"):
        loss(loss_inputs(0))
