"""Trunks: gates, experts, and what of it a task can see."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from pareto_rec.bundle.mixed import mixed_shares
from pareto_rec.core.threads import one_thread
from pareto_rec.models.mixture import expert_states, gate_shares, task_state
from pareto_rec.models.trunk import TRUNKS

WIDTH, TASKS = 4, ("relevance", "task:click", "task:conversion")
MIXTURES = [name for name in TRUNKS if name != "shared_bottom"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def params_of(trunk: str, experts: int, *, noise: float = 0.0, pack: int = 2) -> dict[str, Tensor]:
    """Stacked parameters, with noise so that no expert is the identity."""
    found = []
    for seed in range(pack):
        source = torch.Generator().manual_seed(seed)
        one = TRUNKS[trunk].init(WIDTH, experts, TASKS, source)
        found.append(
            {n: v + noise * torch.randn(v.shape, generator=source) for n, v in one.items()}
        )
    return {name: torch.stack([one[name] for one in found]).double() for name in found[0]}


STATES = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(9)).double()


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_fit_starts_as_a_shared_bottom(trunk: str) -> None:
    params = params_of(trunk, 3)
    for task in TASKS:
        torch.testing.assert_close(task_state(params, task, STATES), STATES)


@pytest.mark.parametrize(("trunk", "seen"), [("mmoe", 3), ("ple", 6)])
def test_gates_sum_to_one_over_the_experts_that_a_task_sees(trunk: str, seen: int) -> None:
    params = params_of(trunk, 3, noise=1.0)
    for task in TASKS:
        shares = gate_shares(params, task, STATES)
        assert shares.shape == (2, 5, seen)
        assert (shares > 0).all()
        torch.testing.assert_close(shares.sum(-1), torch.ones(2, 5).double())


def test_with_one_expert_all_tasks_of_mmoe_read_the_same_state() -> None:
    params = params_of("mmoe", 1, noise=1.0)
    first, *others = (task_state(params, task, STATES) for task in TASKS)
    assert (first - STATES).abs().max() > 0.1, "the expert does something"
    for one in others:
        torch.testing.assert_close(one, first)


def test_tasks_of_ple_read_states_of_their_own() -> None:
    params = params_of("ple", 1, noise=1.0)
    first, second, _ = (task_state(params, task, STATES) for task in TASKS)
    assert (first - second).abs().max() > 0.1


@pytest.mark.parametrize("trunk", MIXTURES)
def test_a_mixture_by_loops(trunk: str) -> None:
    """One candidate, one row, one expert at a time."""
    params = params_of(trunk, 2, noise=0.7)
    for task in TASKS:
        found = task_state(params, task, STATES)
        for p in range(2):
            for r in range(5):
                x = STATES[p, r]
                logits = x @ params[f"{task}.gate"][p]
                expected, place = torch.zeros(WIDTH).double(), 0
                total = sum(math.exp(v) for v in logits.tolist())
                for owner in [task, "trunk"] if trunk == "ple" else ["trunk"]:
                    bias = params[f"{owner}.experts_bias"][p].view(2, WIDTH)
                    for k in range(2):
                        hidden = x @ params[f"{owner}.experts_in"][p, k] + bias[k]
                        expert = x + gelu(hidden) @ params[f"{owner}.experts_out"][p, k]
                        expected += math.exp(logits[place].item()) / total * expert
                        place += 1
                torch.testing.assert_close(found[p, r], expected)


@pytest.mark.parametrize("trunk", MIXTURES)
def test_gradients_reach_what_a_task_sees_and_nothing_else(trunk: str) -> None:
    params = {n: v.requires_grad_() for n, v in params_of(trunk, 2, noise=0.7).items()}
    task_state(params, "task:click", STATES).square().sum().backward()  # type: ignore[no-untyped-call]
    reached = {name for name, value in params.items() if value.grad is not None}
    assert reached == {n for n in params if n.startswith(("trunk.", "task:click."))}
    assert all(params[name].grad.abs().max() > 0 for name in reached)  # type: ignore[union-attr]


@pytest.mark.parametrize("trunk", MIXTURES)
def test_candidates_of_a_pack_do_not_mix(trunk: str) -> None:
    params = params_of(trunk, 2, noise=0.7)
    alone = {name: value[1:] for name, value in params.items()}
    for task in TASKS:
        both = task_state(params, task, STATES)
        torch.testing.assert_close(both[1:], task_state(alone, task, STATES[1:]))
    assert expert_states(params, "trunk", STATES).shape == (2, 5, 2, WIDTH)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_shares_of_a_history_add_up_to_the_mixed_state(trunk: str) -> None:
    """The sum of the rows is the user state."""
    params = params_of(trunk, 2, noise=0.7, pack=1)
    plain = {name: value[0] for name, value in params.items()}
    state = STATES[0].sum(0)
    for task in TASKS:
        shares, rest = mixed_shares(plain, task, STATES[0])
        expected = task_state(params, task, state.view(1, 1, -1))[0, 0]
        torch.testing.assert_close(shares.sum(0) + rest, expected)
