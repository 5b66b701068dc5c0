"""What is written in closed form for speed equals what torch works out by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toy_learning import changed, loss_inputs

from pareto_rec.losses import LOSSES, LossInputs
from pareto_rec.losses.softmax_statistics import (
    RowStatistics,
    predicted_statistics,
    row_cross_entropy,
)
from pareto_rec.models.pooling import key_logits, row_products, weighted_sums

pytestmark = pytest.mark.usefixtures("single_thread")

Rows = Callable[[Tensor, Tensor, Tensor], Tensor]


KINDS = [torch.float64, torch.float32]  # by torch's operators, and by compiled loops


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_cross_entropy_and_its_gradient(rows: int, kind: torch.dtype) -> None:
    inputs = loss_inputs(5, rows=rows, n_items=700, width=6)
    learnt = leaves(inputs, kind)
    pull = torch.linspace(-1, 2, 2 * rows, dtype=kind).view(2, rows)
    own = row_cross_entropy(*learnt, inputs.targets, inputs.mask)
    states, table, bias = learnt
    logits = states @ table.transpose(1, 2) + bias[:, None]
    picked = torch.gather(torch.log_softmax(logits, -1), 2, inputs.targets) * inputs.mask
    plain = -picked.sum(-1) / inputs.mask.sum(-1)
    torch.testing.assert_close(own, plain)
    found = torch.autograd.grad((own * pull).sum(), learnt)
    torch.testing.assert_close(found, torch.autograd.grad((plain * pull).sum(), learnt))


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_is_out_of_the_question_is_finite(kind: torch.dtype) -> None:
    states, table = torch.full((1, 1, 1), 400.0), torch.tensor([[[1.0], [-1.0]]])
    targets, mask = torch.tensor([[[1]]]), torch.tensor([[[True]]])
    given = states.to(kind), table.to(kind), torch.zeros(1, 2, dtype=kind), targets, mask
    facts = torch.ones(2, 1, dtype=kind), torch.tensor([1.0, 0.5], dtype=kind)
    assert row_cross_entropy(*given).item() == pytest.approx(800)
    own = [one.item() for one in predicted_statistics(*given, facts)]
    assert own == pytest.approx([800, 0, 0, 1], abs=1e-5)  # all of the mass is on the first item


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(wrong: float, kind: torch.dtype) -> None:
    """One item's vector is wrong; it is nobody's target."""
    inputs = loss_inputs(5, rows=3, n_items=9)
    states, table, bias = (one.detach() for one in leaves(inputs, kind))
    table[0, 8], targets = wrong, inputs.targets % 8
    given = states, table, bias, targets, inputs.mask
    for own in (row_cross_entropy(*given), *predicted_statistics(*given, facts_of(inputs, kind))):
        assert not own[0].isfinite().any()
        assert own[1].isfinite().all()


def plain_figures(inputs: LossInputs, learnt: list[Tensor]) -> RowStatistics:
    """As torch differentiates them."""
    states, table, bias = learnt
    logs = torch.log_softmax(states @ table.transpose(1, 2) + bias[:, None], -1)
    probs, (categories, popularity) = logs.exp(), facts_of(inputs, states.dtype)
    picked = torch.gather(logs, 2, inputs.targets) * inputs.mask
    has_any = categories.any(1)
    known = has_any[:, None] & has_any
    similar = torch.where(known, categories @ categories.T, 1.0).fill_diagonal_(0.0)
    return RowStatistics(
        -picked.sum(-1) / inputs.mask.sum(-1),
        (probs * logs).sum(-1),
        torch.einsum("pri,ij,prj->pr", probs, similar, probs),
        probs @ popularity,
    )


def leaves(inputs: LossInputs, kind: torch.dtype = torch.float64) -> list[Tensor]:
    given = inputs.states, inputs.table, inputs.bias
    return [one.to(kind).clone().requires_grad_() for one in given]


def facts_of(inputs: LossInputs, kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return inputs.items.categories.to(kind), inputs.items.log_popularity.to(kind)


def described_of(inputs: LossInputs, kind: torch.dtype) -> Tensor:
    described = inputs.items.described
    assert described is not None  # item 0 has no categories
    return described.to(kind)


@pytest.mark.parametrize("wanted", [(0, 1, 2, 3), (0,), (1,), (2,), (3,), (1, 3)])
@pytest.mark.parametrize("rows", [1, 7, 700])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("complete", [True, False])
def test_figures_and_their_gradients(
    complete: bool, kind: torch.dtype, rows: int, wanted: tuple[int, ...]
) -> None:
    """Together, and one at a time as ways that compare gradients ask for them."""
    inputs = loss_inputs(5, rows=rows, n_items=700, width=6)
    learnt = leaves(inputs, kind)
    items, described = facts_of(inputs, kind), described_of(inputs, kind)
    if complete:
        items[0][0] = items[0][1]  # the one item without categories
        inputs = changed(inputs, items=dataclasses.replace(inputs.items, categories=items[0]))
        assert inputs.items.described is None
        described = None
    given = inputs.targets, inputs.mask
    found = predicted_statistics(*learnt, *given, items, described=described)
    expected = plain_figures(inputs, learnt)
    torch.testing.assert_close(tuple(found), tuple(expected))
    pull = torch.linspace(-1, 2, 8 * rows, dtype=kind).view(4, 2, rows)

    def gradient(figures: RowStatistics) -> tuple[Tensor, ...]:
        total = torch.stack([(figures[n] * pull[n]).sum() for n in wanted]).sum()
        return torch.autograd.grad(total, learnt, retain_graph=True)

    close = {"rtol": 1e-3, "atol": 1e-4} if kind == torch.float32 else {}
    torch.testing.assert_close(gradient(found), gradient(expected), **close)
    torch.testing.assert_close(gradient(found), gradient(expected), **close)  # nothing is used up


def test_a_bias_may_lie_in_any_layout() -> None:
    inputs = loss_inputs(5, rows=7, n_items=40)
    states, table, bias = leaves(inputs, torch.float32)
    turned = bias.detach().t().contiguous().requires_grad_()
    given, items = (inputs.targets, inputs.mask), facts_of(inputs, torch.float32)
    for own in (bias, turned.t()):
        torch.stack(predicted_statistics(states, table, own, *given, items)).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    assert bias.grad is not None
    assert turned.grad is not None
    assert bias.grad.abs().max() > 0
    torch.testing.assert_close(turned.grad.t(), bias.grad)


@pytest.mark.parametrize("figures", [True, False])
def test_in_bfloat16_gradients_are_near(figures: bool) -> None:
    inputs = loss_inputs(5, rows=200, n_items=700, width=16)
    learnt = leaves(inputs, torch.float32)
    mask, items = inputs.mask, facts_of(inputs, torch.float32)

    def gradient(products: torch.dtype | None) -> Tensor:
        if figures:
            own = torch.stack(
                predicted_statistics(*learnt, inputs.targets, mask, items, products)
            ).sum(0)
        else:
            own = row_cross_entropy(*learnt, inputs.targets, mask, products)
        parts = torch.autograd.grad(own.mean(), learnt)
        assert all(part.dtype == torch.float32 for part in parts)
        return torch.cat([part.flatten() for part in parts])

    exact, near = gradient(None), gradient(torch.bfloat16)
    assert not torch.equal(exact, near)
    assert (exact - near).norm() < 0.01 * exact.norm()


def plain_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return (table[rows] * weights.unsqueeze(-1)).sum(1)


def plain_products(table: Tensor, rows: Tensor, own: Tensor) -> Tensor:
    return (table[rows] * own.unsqueeze(1)).sum(-1)


@pytest.mark.parametrize("items", [5, 40_000])
@pytest.mark.parametrize(
    ("fast", "plain", "columns"),
    [(weighted_sums, plain_sums, (4, 3)), (row_products, plain_products, (3, 4))],
)
def test_of_table_rows_and_their_gradients(
    fast: Rows, plain: Rows, columns: tuple[int, int], items: int
) -> None:
    """`columns`: of what is given for each bag, and of what is found."""
    source = torch.Generator().manual_seed(0)
    table = torch.randn(items, 3, generator=source).requires_grad_()
    given = torch.randn(6, columns[0], generator=source).requires_grad_()
    rows = torch.randint(0, items, (6, 4), generator=source)
    pull = torch.randn(6, columns[1], generator=source)
    found, expected = fast(table, rows, given), plain(table, rows, given)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(found, fast(table, rows, given))
    gradients = torch.autograd.grad((found * pull).sum(), (table, given))
    torch.testing.assert_close(
        gradients, torch.autograd.grad((expected * pull).sum(), (table, given))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_additive_attention_and_their_gradients(kind: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 7, 5, generator=source).to(kind).requires_grad_()
    query = torch.randn(2, 5, 3, generator=source).to(kind).requires_grad_()
    pull = torch.randn(2, 3, 7, generator=source).to(kind)
    found = key_logits(hidden, query)
    expected = torch.einsum("pnd,pdh->phn", torch.tanh(hidden), query)
    torch.testing.assert_close(found, expected)
    own, plain = (torch.autograd.grad((x * pull).sum(), (hidden, query)) for x in (found, expected))
    torch.testing.assert_close(own, plain)


@pytest.mark.parametrize("name", [n for n, loss in LOSSES.items() if loss.distribution])
def test_losses_on_distributions_can_be_estimated_on_some_rows(name: str) -> None:
    inputs = loss_inputs(2, rows=6)
    few = inputs.first(3)
    alone = changed(
        inputs,
        **{
            part: getattr(inputs, part)[:, :3]
            for part in ("states", "targets", "mask", "group", "taste", "reference")
        },
    )
    torch.testing.assert_close(LOSSES[name](few), LOSSES[name](alone))
    assert inputs.first(6) is inputs
