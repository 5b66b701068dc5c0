"""What every registered loss aggregation promises; new ones are found by themselves."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pareto_rec.losses import AGGREGATORS
from pareto_rec.losses.aggregation import AggregationStep, Aggregator, State

NAMES = list(AGGREGATORS)
ON_GRADIENTS = [name for name, way in AGGREGATORS.items() if way.needs_gramian]
EXAMPLES = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)

Floats = NDArray[np.float64]


def moment_of(seed: int, count: int = 4, *, parameters: int = 6) -> AggregationStep:
    """Losses of either sign above their ideal, a preference and a Gramian."""
    rng = np.random.default_rng(seed)
    ideal = rng.normal(size=count)
    jacobian = rng.normal(size=(count, parameters)) * 10 ** rng.uniform(-1, 1, (count, 1))
    return AggregationStep(
        ideal + rng.exponential(size=count),
        rng.dirichlet(np.ones(count)) * 0.9 + 0.1 / count,
        ideal,
        jacobian @ jacobian.T,
        int(rng.integers(count)),
        seed=seed,
    )


def walk(way: Aggregator, moment: AggregationStep, steps: int) -> list[Floats]:
    """Weights of some steps whose losses fall at different speeds."""
    state: State = way.start(len(moment.losses))
    found = []
    speeds = 1 - 0.02 * (1 + moment.preference)
    for step in range(steps):
        losses = moment.ideal + (moment.losses - moment.ideal) * speeds**step
        now = dataclasses.replace(moment, losses=losses, step=step)
        weights, state = way.weights(now, state)
        found.append(weights)
    return found


@pytest.fixture(params=NAMES)
def way(request: pytest.FixtureRequest) -> Aggregator:
    return AGGREGATORS[request.param]


def test_names_and_documents(way: Aggregator) -> None:
    assert AGGREGATORS[way.name] is way
    text = inspect.getdoc(type(way)) or ""
    for word in ("Source: ", "Misleads: ", "``"):
        assert word in text
    assert way.lands in ("preference", "start")


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(seed=SEEDS, count=st.integers(1, 6), parameters=st.integers(1, 8))
def test_weights_are_finite_and_none_is_below_zero(
    name: str, seed: int, count: int, parameters: int
) -> None:
    """With fewer parameters than losses the Gramian has no full rank."""
    moment = moment_of(seed, count, parameters=parameters)
    for weights in walk(AGGREGATORS[name], moment, 25):
        assert weights.shape == (count,)
        assert weights.dtype == np.float64
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()
        assert weights.sum() > 0


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(seed=SEEDS)
def test_neither_arguments_nor_state_are_mutated(name: str, seed: int) -> None:
    moment, way = moment_of(seed), AGGREGATORS[name]
    state = way.start(4)
    for step in range(12):
        now = dataclasses.replace(moment, step=step)
        for part in (now.losses, now.preference, now.ideal, now.gramian, *state.values()):
            assert part is not None
            part.flags.writeable = False
        weights, new = way.weights(now, state)
        again, same = way.weights(now, state)
        np.testing.assert_array_equal(weights, again)
        assert not np.shares_memory(weights, moment.preference)
        for key, value in new.items():
            np.testing.assert_array_equal(value, same[key])
        state = new


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pcgrad"])
@EXAMPLES
@given(seed=SEEDS)
def test_the_order_of_losses_does_not_matter(name: str, seed: int) -> None:
    """PCGrad draws orders: see the unit tests."""
    moment = moment_of(seed)
    order = np.random.default_rng(seed).permutation(4)
    assert moment.gramian is not None
    turned = dataclasses.replace(
        moment,
        losses=moment.losses[order],
        preference=moment.preference[order],
        ideal=moment.ideal[order],
        gramian=moment.gramian[np.ix_(order, order)],
        primary=int(np.flatnonzero(order == moment.primary)[0]),
    )
    for left, right in zip(
        walk(AGGREGATORS[name], moment, 12), walk(AGGREGATORS[name], turned, 12), strict=True
    ):
        np.testing.assert_allclose(right, left[order], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(seed=SEEDS, by=st.floats(-5, 5))
def test_only_the_distance_from_the_ideal_counts(name: str, seed: int, by: float) -> None:
    """So a negative loss (the negative entropy) is treated as any other."""
    moment = moment_of(seed)
    moved = dataclasses.replace(moment, losses=moment.losses + by, ideal=moment.ideal + by)
    for left, right in zip(
        walk(AGGREGATORS[name], moment, 25), walk(AGGREGATORS[name], moved, 25), strict=True
    ):
        np.testing.assert_allclose(right, left, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(seed=SEEDS)
def test_a_loss_of_preference_zero_is_left_out(name: str, seed: int) -> None:
    moment = moment_of(seed)
    out = (moment.primary + 1) % 4
    preference = moment.preference.copy()
    preference[out] = 0
    moment = dataclasses.replace(moment, preference=preference)
    kept = np.delete(np.arange(4), out)
    assert moment.gramian is not None
    others = [AGGREGATORS[name].weights(moment, AGGREGATORS[name].start(4))[0]]
    changed = moment.gramian.copy()
    changed[out, :] = changed[:, out] = 0
    other = dataclasses.replace(moment, gramian=changed)
    others.append(AGGREGATORS[name].weights(other, AGGREGATORS[name].start(4))[0])
    for weights in [*walk(AGGREGATORS[name], moment, 25), *others]:
        assert weights[out] == 0
    np.testing.assert_allclose(others[0][kept], others[1][kept], rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-15, 1e-6, 1.0, 1e15])
@pytest.mark.parametrize("name", NAMES)
def test_losses_of_any_size(name: str, size: float) -> None:
    moment = moment_of(1)
    gap = (moment.losses - moment.ideal) * size
    moment = dataclasses.replace(moment, losses=gap, ideal=np.zeros(4))
    for weights in walk(AGGREGATORS[name], moment, 45):
        assert np.isfinite(weights).all()


def nasty() -> dict[str, Floats]:
    """Jacobians that solvers trip over."""
    rng = np.random.default_rng(7)
    plain = rng.normal(size=(4, 9))
    one = rng.normal(size=(1, 9))
    opposite = np.vstack([one, -one, plain[:2]])
    return {
        "zero": np.zeros((4, 9)),
        "one is zero": plain * np.array([[1], [0], [1], [1]]),
        "all equal": np.repeat(one, 4, axis=0),
        "rank one": one * np.array([[1], [2], [3], [4]]),
        "rank one, opposite": one * np.array([[1], [-2], [3], [-4]]),
        "two opposite": opposite,
        "no common descent": np.vstack([plain[:3], -plain[:3].sum(0)]),
        "nearly opposite": opposite + 1e-7 * plain,
        "orthogonal": np.eye(4, 9),
        "far apart": plain * np.array([[1e-6], [1], [1e3], [1e6]]),
        "tiny": plain * 1e-15,
        "huge": plain * 1e15,
        "denormal": plain * 1e-160,
    }


@pytest.mark.parametrize("kind", list(nasty()))
@pytest.mark.parametrize("name", ON_GRADIENTS)
def test_nasty_gramians(name: str, kind: str) -> None:
    jacobian = nasty()[kind]
    moment = dataclasses.replace(moment_of(3), gramian=jacobian @ jacobian.T)
    weights, _ = AGGREGATORS[name].weights(moment, {})
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum() > 0
    largest = np.abs(weights[:, None] * jacobian).max()
    assert np.isfinite(weights @ jacobian).all()
    assert largest <= 1e5 * np.abs(jacobian).max(), "a direction that rounding decides"


@pytest.mark.parametrize("size", [1e-15, 1e-6, 1e6, 1e15])
@pytest.mark.parametrize("name", ON_GRADIENTS)
def test_weights_do_not_depend_on_the_common_scale_of_gradients(name: str, size: float) -> None:
    moment = moment_of(2)
    assert moment.gramian is not None
    scaled = dataclasses.replace(moment, gramian=moment.gramian * size)
    np.testing.assert_allclose(
        AGGREGATORS[name].weights(scaled, {})[0],
        AGGREGATORS[name].weights(moment, {})[0],
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", ON_GRADIENTS)
def test_gradients_are_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="needs the Gramian"):
        AGGREGATORS[name].weights(dataclasses.replace(moment_of(0), gramian=None), {})
