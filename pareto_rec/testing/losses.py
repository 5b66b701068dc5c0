"""What every loss promises."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pareto_rec.losses import LOSSES, Loss, LossInputs
from pareto_rec.testing.contract import OneThreadContract, examples
from pareto_rec.testing.random_inputs import changed, loss_inputs

# what gradients flow through
LEARNT = ("states", "table", "bias")
PER_TARGET = ("targets", "mask")
PER_ROW = ("states", "group", "taste", "reference")
PER_CANDIDATE = (*PER_TARGET, *PER_ROW, "table", "bias", "negatives")
SEEDS = st.integers(0, 2**32 - 1)


def tensors(inputs: LossInputs) -> dict[str, Tensor]:
    """Every tensor of the inputs, those about items included."""
    parts = {name: getattr(inputs, name) for name in PER_CANDIDATE}
    facts = dataclasses.asdict(inputs.items)
    gains = {f"gains.{name}": gain for name, gain in facts.pop("gains").items()}
    return parts | facts | gains


class LossContract(OneThreadContract):
    """Tests of losses: `subjects` are registered losses."""

    argument = "loss"

    def test_a_config_can_name_it(self, loss: Loss) -> None:
        assert LOSSES.get(loss.name) is loss, "register(loss=...) first"

    @examples(15)
    @given(seed=SEEDS, pack=st.integers(1, 3), rows=st.integers(1, 4), targets=st.integers(1, 4))
    def test_one_value_per_candidate(
        self, loss: Loss, seed: int, pack: int, rows: int, targets: int
    ) -> None:
        inputs = loss_inputs(seed, pack=pack, rows=rows, targets=targets)
        value = loss(inputs)
        assert value.shape == (pack,)
        assert value.dtype == inputs.states.dtype
        assert torch.isfinite(value).all()

    def test_gradients_agree_with_finite_differences(self, loss: Loss) -> None:
        inputs = loss_inputs(3, rows=3, n_items=6, width=3, negatives=4)

        def value(*parts: Tensor) -> Tensor:
            return loss(changed(inputs, **dict(zip(LEARNT, parts, strict=True))))

        parts = [getattr(inputs, name).clone().requires_grad_() for name in LEARNT]
        assert torch.autograd.gradcheck(value, parts)
        gradients: list[Tensor | None] = [
            *torch.autograd.grad(value(*parts).sum(), parts, allow_unused=True)
        ]
        assert any(one is not None and one.abs().max() > 1e-4 for one in gradients), (
            "nothing to learn"
        )

    @pytest.mark.parametrize("scale", [0.0, 1e-8, 1.0, 1e3])
    def test_values_and_gradients_are_finite_at_any_scale(self, loss: Loss, scale: float) -> None:
        """The products that make the logits reach 1e6 at the last scale; single precision."""
        inputs = loss_inputs(4, scale=scale)
        floats = {
            name: part.float()
            for name, part in tensors(inputs).items()
            if name in PER_CANDIDATE and part.is_floating_point()
        }
        facts = inputs.items.mapped(Tensor.float)
        parts = {name: floats[name].requires_grad_() for name in LEARNT}
        value = loss(changed(inputs, **floats | parts, items=facts))
        assert torch.isfinite(value).all()
        gradients: list[Tensor | None] = [
            *torch.autograd.grad(value.sum(), list(parts.values()), allow_unused=True)
        ]
        for gradient in gradients:
            assert gradient is None or torch.isfinite(gradient).all()

    @examples(15)
    @given(seed=SEEDS)
    def test_candidates_do_not_see_each_other(self, loss: Loss, seed: int) -> None:
        inputs, other = loss_inputs(seed, pack=3), loss_inputs(seed ^ 1, pack=3)
        moved = {}
        for part in PER_CANDIDATE:
            moved[part] = getattr(inputs, part).clone()
            moved[part][1:] = getattr(other, part)[1:]
        before, after = loss(inputs), loss(changed(inputs, **moved))
        torch.testing.assert_close(after[0], before[0], rtol=1e-12, atol=1e-12)
        alone = {part: getattr(inputs, part)[:1] for part in PER_CANDIDATE}
        torch.testing.assert_close(
            loss(changed(inputs, **alone))[0], before[0], rtol=1e-12, atol=1e-12
        )

    @examples(15)
    @given(
        seed=SEEDS, scale=st.sampled_from([0.0, 0.1, 1.0, 10.0, 100.0]), n_items=st.integers(2, 12)
    )
    def test_no_value_below_the_lower_bound(
        self, loss: Loss, seed: int, scale: float, n_items: int
    ) -> None:
        value = loss(loss_inputs(seed, scale=scale, n_items=n_items))
        assert (value >= loss.lower_bound(n_items) - 1e-12).all()

    def test_inputs_are_not_mutated(self, loss: Loss) -> None:
        inputs = loss_inputs(5)
        before = {name: part.clone() for name, part in tensors(inputs).items()}
        loss(inputs)
        loss(inputs)  # a second time, with what the first call cached
        for name, part in tensors(inputs).items():
            assert torch.equal(part, before[name]), name

    @examples(15)
    @given(seed=SEEDS)
    def test_the_order_of_rows_targets_and_negatives_does_not_matter(
        self, loss: Loss, seed: int
    ) -> None:
        inputs = loss_inputs(seed)
        source = torch.Generator().manual_seed(seed)
        rows = torch.randperm(inputs.states.shape[1], generator=source)
        places = torch.randperm(inputs.targets.shape[2], generator=source)
        drawn = torch.randperm(inputs.negatives.shape[1], generator=source)
        moved = {part: getattr(inputs, part)[:, rows] for part in (*PER_ROW, *PER_TARGET)}
        moved |= {part: moved[part][..., places] for part in PER_TARGET}
        mixed = changed(inputs, negatives=inputs.negatives[:, drawn], **moved)
        torch.testing.assert_close(loss(mixed), loss(inputs))

    @examples(15)
    @given(seed=SEEDS)
    def test_the_numbering_of_items_does_not_matter(self, loss: Loss, seed: int) -> None:
        """Item n of the second inputs is item ``order[n]`` of the first."""
        inputs = loss_inputs(seed)
        assert inputs.reference is not None
        n_items = inputs.table.shape[1]
        order = torch.randperm(n_items, generator=torch.Generator().manual_seed(seed))
        renamed = torch.argsort(order)
        facts = inputs.items.mapped(lambda fact: fact[order])
        moved = changed(
            inputs,
            table=inputs.table[:, order],
            bias=inputs.bias[:, order],
            targets=renamed[inputs.targets],
            negatives=renamed[inputs.negatives],
            reference=inputs.reference[..., order],
            items=facts,
        )
        torch.testing.assert_close(loss(moved), loss(inputs))

    @examples(15)
    @given(seed=SEEDS, blank=st.integers(1, 7))
    def test_missing_categories_never_pay(self, loss: Loss, seed: int, blank: int) -> None:
        """Items that lose their categories lower no value; one item of nine keeps its own."""
        inputs = loss_inputs(seed)
        categories = inputs.items.categories.clone()
        categories[1 : 1 + blank] = 0  # item 0 has none
        facts = dataclasses.replace(inputs.items, categories=categories)
        assert (loss(changed(inputs, items=facts)) >= loss(inputs) - 1e-12).all()

    @examples(15)
    @given(seed=SEEDS)
    def test_what_is_masked_does_not_matter(self, loss: Loss, seed: int) -> None:
        inputs, other = loss_inputs(seed), loss_inputs(seed ^ 1)
        moved = {
            part: torch.where(inputs.mask, getattr(inputs, part), getattr(other, part))
            for part in PER_TARGET
            if part != "mask"
        }
        torch.testing.assert_close(loss(changed(inputs, **moved)), loss(inputs))

    def test_parts_that_a_loss_needs_are_asked_for(self, loss: Loss) -> None:
        """Without the parts that it does not say it needs, a loss still has its value."""
        inputs = loss_inputs(6)
        optional = {"group", "taste", "reference"}
        bare = changed(inputs, **dict.fromkeys(optional - loss.needs))  # type: ignore[arg-type]
        torch.testing.assert_close(loss(bare), loss(inputs), rtol=0, atol=0)
