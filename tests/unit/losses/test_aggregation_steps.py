"""Loss aggregation on a problem whose Pareto set is known, and against torchjd itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchjd.aggregation import MGDA, CAGrad, NashMTL, PCGrad, UPGrad
from torchjd.linalg import QuadprogProjector

from pareto_rec.losses import AGGREGATORS
from pareto_rec.losses.aggregation import AggregationStep, Aggregator
from pareto_rec.losses.aggregation.gradients import bargain, project_in_turn, unit_trace
from pareto_rec.losses.aggregation.loss_aggregation import LossAggregation

pytestmark = pytest.mark.usefixtures("single_thread")

Floats = NDArray[np.float64]

ON_GRADIENTS = [name for name, way in AGGREGATORS.items() if way.needs_gramian]
TO_PREFERENCE = [name for name, way in AGGREGATORS.items() if way.lands == "preference"]

# ---------------------------------------------------------------- two parabolas
# l_1 = |x - a|^2 and l_2 = |x - b|^2 in the plane: the Pareto set is the segment from a to b.

A, B = np.array([-1.0, 0.0]), np.array([1.0, 0.0])
LENGTH = 2.0
STARTS = [(0.3, 2.0), (-3.0, -1.0), (2.5, 0.4), (4.0, 0.0), (-0.2, -0.01), (1.0, 0.0)]


def descend(
    way: Aggregator,
    start: tuple[float, float],
    preference: Floats,
    *,
    raised: float = 0.0,
    steps: int = 400,
) -> Floats:
    """Where gradient descent ends whose rate falls to a hundredth."""
    x = np.array(start)
    state = way.start(2)
    for step in range(steps):
        away = np.stack([x - A, x - B])
        gradients = 2 * away
        losses = (away**2).sum(1) + raised
        moment = AggregationStep(
            losses, preference, np.zeros(2), gradients @ gradients.T, 0, step, 1
        )
        weights, state = way.weights(moment, state)
        move = weights @ gradients
        x = x - 0.15 * 0.01 ** (step / steps) * move / max(1.0, np.linalg.norm(move))
    return np.asarray(x)


@pytest.mark.parametrize("name", list(AGGREGATORS))
def test_the_pareto_set_is_reached_from_anywhere(name: str) -> None:
    for start in STARTS:
        x = descend(AGGREGATORS[name], start, np.array([0.4, 0.6]), steps=200)
        on_segment = np.clip(x[0], -1, 1)
        assert math.hypot(x[0] - on_segment, x[1]) < 0.02, (start, x)


def along(name: str, p: float, q: float) -> float:
    """Distance from a at which the preference (p, q) should end."""
    match name:
        case "weighted_sum" | "dynamic_weight_averaging" | "cagrad":
            return LENGTH * q  # p (x - a) + q (x - b) = 0
        case "weighted_chebyshev":  # p d^2 = q (D - d)^2
            return LENGTH * math.sqrt(q) / (math.sqrt(p) + math.sqrt(q))
        case "smooth_chebyshev":

            def smooth(d: float) -> float:
                return float(np.logaddexp(p * d**2 / 0.1, q * (LENGTH - d) ** 2 / 0.1))

            return float(minimize_scalar(smooth, bounds=(0, LENGTH), method="bounded").x)
        case "epsilon_constraint":  # as near to a as (D - d)^2 <= 1 / (2 q) allows
            return max(LENGTH - math.sqrt(1 / (2 * q)), 0.0)
    raise AssertionError(f"say where {name} should end")


@pytest.mark.parametrize("p", [0.15, 0.5, 0.7, 0.92])
@pytest.mark.parametrize("name", TO_PREFERENCE)
def test_the_preference_decides_where(name: str, p: float) -> None:
    expected = A + np.array([along(name, p, 1 - p), 0.0])
    for start in STARTS[:2]:
        found = descend(AGGREGATORS[name], start, np.array([p, 1 - p]))
        np.testing.assert_allclose(found, expected, atol=0.03)


def test_uncertainty_minimises_the_mean_logarithm() -> None:
    """With 1 added to both losses: p log(d^2 + 1) + q log((D - d)^2 + 1), minimised by search."""
    p, q = 0.45, 0.55

    def logarithms(d: float) -> float:
        return p * math.log(d**2 + 1) + q * math.log((LENGTH - d) ** 2 + 1)

    expected = minimize_scalar(logarithms, bounds=(0, LENGTH), method="bounded").x
    way = AGGREGATORS["uncertainty_weighting"]
    found = descend(way, (0.3, 1.0), np.array([p, q]), raised=1.0, steps=3000)
    np.testing.assert_allclose(found, A + np.array([expected, 0]), atol=0.03)


# ---------------------------------------------------------------- values by hand


def first(name: str, losses: list[float], preference: list[float], **other: object) -> Floats:
    way = AGGREGATORS[name]
    moment = AggregationStep(
        np.array(losses, dtype=float),
        np.array(preference, dtype=float),
        np.zeros(len(losses)),
        **other,  # type: ignore[arg-type]
    )
    return way.weights(moment, way.start(len(losses)))[0]


def test_smooth_chebyshev_by_hand() -> None:
    # terms .05, .05 + .1 log 3: softmax at mu = .1 is (1/4, 3/4)
    weights = first("smooth_chebyshev", [0.1, 0.1 + 0.2 * math.log(3)], [0.5, 0.5])
    np.testing.assert_allclose(weights, [0.125, 0.375])


def test_epsilon_constraint_by_hand() -> None:
    """Bounds 1 / (3 p): none on the first, which is primary, 4/3 and 2/3 on the others."""
    way = AGGREGATORS["epsilon_constraint"]
    moment = AggregationStep(np.array([9.0, 1.0, 1.0]), np.array([0.25, 0.25, 0.5]), np.zeros(3))
    weights, state = way.weights(moment, way.start(3))
    # 2 (1 - 2/3) = 2/3; the multiplier becomes .1 (1/3)
    np.testing.assert_allclose(weights, [1, 0, 2 / 3])
    weights, _ = way.weights(moment, state)
    np.testing.assert_allclose(weights, [1, 0, 2 / 3 + 1 / 30])


def test_dynamic_weight_averaging_by_hand() -> None:
    """Sums over ten steps of (10, 10), then (5, 10): rates 1/2 and 1 in the third window."""
    way = AGGREGATORS["dynamic_weight_averaging"]
    preference, state, found = np.array([0.2, 0.8]), way.start(2), []
    for step in range(21):
        losses = np.array([1.0 if step < 10 else 0.5, 1.0])
        weights, state = way.weights(
            AggregationStep(losses, preference, np.zeros(2), step=step), state
        )
        found.append(weights)
    np.testing.assert_allclose(found[:20], np.tile(preference, (20, 1)))
    high, low = math.exp(1 / 2), math.exp(1 / 4)
    expected = [0.2 * 2 * low / (low + high), 0.8 * 2 * high / (low + high)]
    np.testing.assert_allclose(found[20], expected)


def test_uncertainty_by_hand() -> None:
    """s begins at 0; its slopes are 1 - 4 (cut to -1), 1 - .5 and 1 - 1."""
    way = AGGREGATORS["uncertainty_weighting"]
    moment = AggregationStep(np.array([4.0, 0.5, 1.0]), np.array([0.5, 0.3, 0.2]), np.zeros(3))
    weights, state = way.weights(moment, way.start(3))
    np.testing.assert_allclose(weights, [0.5, 0.3, 0.2])
    np.testing.assert_allclose(state["s"], [0.05, -0.025, 0])
    weights, _ = way.weights(moment, state)
    np.testing.assert_allclose(weights, [0.5 * math.exp(-0.05), 0.3 * math.exp(0.025), 0.2])


def test_gradient_surgery_by_hand() -> None:
    # g_1 = (1, 0), g_2 = (-1, 1), both halved. g_1 loses its part along g_2: g_1 + g_2 / 2
    # (inner product -1, |g_2|^2 = 2); g_2 loses its part along g_1: g_2 + g_1. Half of the sum.
    gramian = np.array([[1.0, -1.0], [-1.0, 2.0]])
    np.testing.assert_allclose(first("pcgrad", [1, 1], [0.5, 0.5], gramian=gramian), [1, 0.75])


@pytest.mark.parametrize("name", ["pcgrad", "upgrad", "cagrad"])
def test_without_conflict_the_preference_is_kept(name: str) -> None:
    """Orthogonal gradients; CAGrad adds its ball, in which all gain alike."""
    weights = first(name, [1, 1, 1], [0.2, 0.3, 0.5], gramian=np.eye(3))
    if name == "cagrad":
        assert (weights > [0.2, 0.3, 0.5]).any()
    else:
        np.testing.assert_allclose(weights, [0.2, 0.3, 0.5], rtol=1e-6)


# ---------------------------------------------------------------- torchjd

JACOBIANS = {
    "two": [[-4, 1, 1], [6, 1, 1]],
    "three": [[1, 2, 0, -1], [-2, 1, 1, 0], [0, -1, 3, 1]],
    "four": [[3, 0, 1, 0, 0], [-1, 0.2, 0, 0, 0.1], [0, 0, -0.5, 0.5, 0], [1, 1, 1, 1, 1]],
}
# torchjd 0.18, its own solvers: MGDA(), UPGrad((1, 2, ...) / sum, QuadprogProjector(reg_eps=1e-9)),
# CAGrad(c=.5), NashMTL(optim_niter=500); preferences equal but for UPGrad
FROZEN = [
    ("two", "mgda", [0, 1, 1]),
    ("two", "upgrad", [0.565302, 2.007797, 2.007797]),
    ("two", "cagrad", [0.183503, 1.204124, 1.204124]),
    ("two", "nash_mtl", [0.054153, 0.706069, 0.706069]),
    ("three", "mgda", [-0.029311, 0.935576, 1.064424, -0.206071]),
    ("three", "upgrad", [-0.25, 0.621212, 1.969697, 0.128788]),
    ("three", "cagrad", [-0.035697, 1.294171, 1.472639, -0.285618]),
    ("three", "nash_mtl", [-0.120729, 0.588674, 0.793803, -0.093616]),
    ("four", "mgda", [-0.005067, 0.127661, 0.06278, 0.1483, 0.072955]),
    ("four", "upgrad", [0.152093, 0.610476, 0.436579, 0.631579, 0.505238]),
    ("four", "cagrad", [0.259768, 0.398046, 0.375, 0.375, 0.324023]),
]  # Nash-MTL of "four" is missing: torchjd's solver gave up there and returned equal weights


def direction(name: str, jacobian: Floats, preference: Floats) -> Floats:
    count = len(jacobian)
    weights = first(name, [1.0] * count, preference.tolist(), gramian=jacobian @ jacobian.T)
    return np.asarray(weights @ jacobian)


def unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.mark.parametrize(("matrix", "name", "expected"), FROZEN)
def test_frozen_directions(matrix: str, name: str, expected: list[float]) -> None:
    jacobian = np.array(JACOBIANS[matrix], dtype=float)
    count = len(jacobian)
    preference = np.full(count, 1.0 / count)
    if name == "upgrad":
        preference = np.arange(1, count + 1) / (count * (count + 1) / 2)
    found = direction(name, jacobian, preference)
    if name == "nash_mtl":  # of length 1 there
        found = unit(found)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def random_jacobians() -> list[Floats]:
    """Two to six losses, some of them in strong conflict."""
    rng = np.random.default_rng(11)
    found = []
    for number in range(24):
        count = int(rng.integers(2, 7))
        jacobian = rng.normal(size=(count, count + int(rng.integers(1, 9))))
        found.append(jacobian - (number % 3) * 0.4 * jacobian.mean(0))
    return found


def test_torchjds_mgda_goes_the_same_way() -> None:
    for jacobian in random_jacobians():
        found = direction("mgda", jacobian, np.full(len(jacobian), 1.0 / len(jacobian)))
        np.testing.assert_allclose(found, MGDA()(torch.from_numpy(jacobian)).numpy(), atol=1e-9)


def test_torchjds_upgrad_goes_the_same_way() -> None:
    for jacobian in random_jacobians():
        count = len(jacobian)
        preference = np.arange(1, count + 1) / (count * (count + 1) / 2)
        projector = QuadprogProjector(reg_eps=1e-9)
        expected = UPGrad(torch.from_numpy(preference), projector)(torch.from_numpy(jacobian))
        found = direction("upgrad", jacobian, preference)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)


def test_torchjds_cagrad_goes_the_same_way() -> None:
    for jacobian in random_jacobians():
        found = direction("cagrad", jacobian, np.full(len(jacobian), 1.0 / len(jacobian)))
        expected = CAGrad(c=0.5)(torch.from_numpy(jacobian)).numpy()
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)


@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem:UserWarning")
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
def test_torchjds_nash_goes_the_same_way() -> None:
    """Where it solves its equation, ``(G a)_m a_m`` the same for all m: it sometimes gives up."""
    compared = 0
    for jacobian in random_jacobians():
        count = len(jacobian)
        aggregator = NashMTL(n_tasks=count, optim_niter=500)
        expected = aggregator(torch.from_numpy(jacobian)).numpy()
        shares = aggregator.weighting(torch.from_numpy(jacobian)).numpy() * (jacobian @ expected)
        if np.ptp(shares) > 0.01 * shares.mean():
            continue
        found = direction("nash_mtl", jacobian, np.full(count, 1.0 / count))
        np.testing.assert_allclose(unit(found), unit(expected), atol=5e-3)
        compared += 1
    assert compared > 10


def test_gradient_surgery_is_torchjds_for_the_same_orders() -> None:
    for seed, jacobian in enumerate(random_jacobians()):
        count = len(jacobian)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = PCGrad()(torch.from_numpy(jacobian)).numpy()
            torch.manual_seed(seed)
            orders = [torch.randperm(count).numpy() for _ in range(count)]
        found = project_in_turn(jacobian @ jacobian.T, orders) @ jacobian
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_gradient_surgery_draws_from_its_seed_alone() -> None:
    jacobian = np.random.default_rng(2).normal(size=(5, 6))
    gramian = jacobian @ jacobian.T
    before = torch.random.get_rng_state()
    found = [
        first("pcgrad", [1] * 5, [0.2] * 5, gramian=gramian, seed=seed, step=step).tolist()
        for seed in (1, 2)
        for step in (0, 1, 0)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    assert found[0] == found[2]
    assert found[3] == found[5]
    assert len({str(weights) for weights in found}) > 2


# ---------------------------------------------------------------- what each promises


@pytest.mark.parametrize("jacobian", random_jacobians())
def test_promises_on_random_gradients(jacobian: Floats) -> None:
    rng = np.random.default_rng(len(jacobian))
    preference = rng.dirichlet(np.ones(len(jacobian))) * 0.9 + 0.1 / len(jacobian)
    size = np.linalg.norm(jacobian, axis=1).max()

    harmless = jacobian @ direction("upgrad", jacobian, preference)
    assert harmless.min() >= -1e-3 * size**2, "no loss rises"

    shortest = direction("mgda", jacobian, preference)
    others = rng.dirichlet(np.ones(len(jacobian)), 2000) @ jacobian
    assert np.linalg.norm(shortest) <= np.linalg.norm(others, axis=1).min() * 1.05

    mean = preference @ jacobian
    best = direction("cagrad", jacobian, preference)
    radius = 0.5 * np.linalg.norm(mean)
    assert np.linalg.norm(best - mean) <= radius * (1 + 1e-6)
    tried = rng.normal(size=(2000, len(mean)))
    tried = mean + radius * tried / np.linalg.norm(tried, axis=1, keepdims=True)
    assert (jacobian @ best).min() >= (tried @ jacobian.T).min(1).max() - 1e-3 * size**2


@pytest.mark.parametrize("jacobian", random_jacobians())
def test_bargaining_solves_its_equation(jacobian: Floats) -> None:
    """``(G a)_m = p_m / a_m`` up to the common factor of a; rows are independent here."""
    power = np.random.default_rng(5).dirichlet(np.ones(len(jacobian))) * 0.9 + 0.1 / len(jacobian)
    gramian = unit_trace(jacobian @ jacobian.T)
    weights = bargain(gramian, power)
    shares = weights * (gramian @ weights)
    np.testing.assert_allclose(shares / shares.sum(), power, rtol=2e-2)


# ---------------------------------------------------------------- a pack


def pack_problem() -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor]], Tensor]]:
    """Three losses per candidate; the last parameter is in none, the second not in all."""
    source = torch.Generator().manual_seed(4)
    count = len(AGGREGATORS)
    params = {
        name: torch.randn(count, *shape, generator=source, dtype=torch.float64).requires_grad_()
        for name, shape in {"matrix": (3, 2), "vector": (3,), "unused": (2, 2)}.items()
    }

    def losses(now: dict[str, Tensor]) -> Tensor:
        matrix, vector = now["matrix"], now["vector"]
        return torch.stack(
            [
                matrix.square().sum((1, 2)),
                (matrix.sum(2) - vector).square().sum(1) + 1,
                (vector - 2).square().sum(1) * 3,
            ],
            dim=1,
        )

    return params, losses


def test_a_pack_of_all_ways_descends_as_each_alone() -> None:
    """Against gradients put together by hand from autograd, one candidate at a time."""
    params, losses = pack_problem()
    count = len(AGGREGATORS)
    preferences = np.random.default_rng(0).dirichlet(np.ones(3), count)
    ideal = np.zeros((count, 3))
    ways = list(AGGREGATORS.values())
    together = LossAggregation(ways, preferences, range(count), primary=1)
    assert together.by_gradient
    for step in range(3):
        finite = together.backward(step, losses(params), ideal, params)
        assert finite.all()
    assert params["unused"].grad is None
    for index, way in enumerate(ways):
        own = {name: value[index : index + 1].detach() for name, value in params.items()}
        own = {name: value.requires_grad_() for name, value in own.items()}
        alone = LossAggregation([way], preferences[[index]], [index], primary=1)
        assert alone.by_gradient == way.needs_gramian
        for step in range(3):
            for value in own.values():
                value.grad = None
            alone.backward(step, losses(own), ideal[[index]], own)
        for name in ("matrix", "vector"):
            grad, packed = own[name].grad, params[name].grad
            assert grad is not None
            assert packed is not None
            torch.testing.assert_close(packed[index], grad[0], rtol=1e-6, atol=1e-9)

        rows = []
        for place in range(3):
            grads = torch.autograd.grad(
                losses(own)[0, place], [own["matrix"], own["vector"]], materialize_grads=True
            )
            rows.append(torch.cat([one.flatten() for one in grads]).numpy())
        jacobian = np.stack(rows)
        state = way.start(3)
        for step in range(3):
            moment = AggregationStep(
                losses(own).detach().numpy()[0],
                preferences[index],
                ideal[index],
                jacobian @ jacobian.T,
                1,
                step,
                index,
            )
            weights, state = way.weights(moment, state)
        expected = weights @ jacobian
        for name, part in (("matrix", expected[:6]), ("vector", expected[6:])):
            grad = own[name].grad
            assert grad is not None
            np.testing.assert_allclose(grad.numpy().ravel(), part, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["weighted_sum", "uncertainty_weighting", "upgrad"])
def test_a_candidate_that_is_not_finite_is_told_and_harms_no_other(name: str) -> None:
    params, losses = pack_problem()
    params = {key: value.detach()[:2].clone().requires_grad_() for key, value in params.items()}
    with torch.no_grad():
        params["vector"][0, 0] = math.nan
    descent = LossAggregation([AGGREGATORS[name]] * 2, np.full((2, 3), 1 / 3), [0, 1])
    finite = descent.backward(0, losses(params), np.zeros((2, 3)), params)
    assert finite.tolist() == [False, True]
    for key in ("matrix", "vector"):
        grad = params[key].grad
        assert grad is not None
        assert torch.isfinite(grad[1]).all()
