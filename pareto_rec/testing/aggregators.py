"""What every way to combine losses promises."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pareto_rec.losses import AGGREGATORS
from pareto_rec.losses.aggregation import AggregationStep, Aggregator, State
from pareto_rec.testing.contract import Contract, examples, only

SEEDS = st.integers(0, 2**32 - 1)

Floats = NDArray[np.float64]


def needs_gramian(aggregator: Aggregator) -> bool:
    """Whether it compares gradients."""
    return aggregator.needs_gramian


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


class AggregatorContract(Contract):
    """Tests of ways to combine losses: `subjects` are registered aggregators.

    Attributes:
        drawn: Names of those that draw the order of losses, so that it may matter.
    """

    argument = "aggregator"
    drawn: ClassVar[frozenset[str]] = frozenset()

    def test_a_config_can_name_it(self, aggregator: Aggregator) -> None:
        assert AGGREGATORS.get(aggregator.name) is aggregator, "register(aggregation=...) first"
        assert aggregator.lands in ("preference", "start")

    @examples(15)
    @given(seed=SEEDS, count=st.integers(1, 6), parameters=st.integers(1, 8))
    def test_weights_are_finite_and_none_is_below_zero(
        self, aggregator: Aggregator, seed: int, count: int, parameters: int
    ) -> None:
        """With fewer parameters than losses the Gramian has no full rank."""
        moment = moment_of(seed, count, parameters=parameters)
        for weights in walk(aggregator, moment, 25):
            assert weights.shape == (count,)
            assert weights.dtype == np.float64
            assert np.isfinite(weights).all()
            assert (weights >= 0).all()
            assert weights.sum() > 0

    @examples(15)
    @given(seed=SEEDS)
    def test_neither_arguments_nor_state_are_mutated(
        self, aggregator: Aggregator, seed: int
    ) -> None:
        moment, way = moment_of(seed), aggregator
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

    @examples(15)
    @given(seed=SEEDS)
    def test_the_order_of_losses_does_not_matter(self, aggregator: Aggregator, seed: int) -> None:
        if aggregator.name in self.drawn:
            pytest.skip("it draws the order of losses")
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
            walk(aggregator, moment, 12), walk(aggregator, turned, 12), strict=True
        ):
            np.testing.assert_allclose(right, left[order], rtol=2e-3, atol=1e-4)

    @examples(15)
    @given(seed=SEEDS, by=st.floats(-5, 5))
    def test_only_the_distance_from_the_ideal_counts(
        self, aggregator: Aggregator, seed: int, by: float
    ) -> None:
        """So a negative loss (the negative entropy) is treated as any other."""
        moment = moment_of(seed)
        moved = dataclasses.replace(moment, losses=moment.losses + by, ideal=moment.ideal + by)
        for left, right in zip(
            walk(aggregator, moment, 25), walk(aggregator, moved, 25), strict=True
        ):
            np.testing.assert_allclose(right, left, rtol=1e-6, atol=1e-9)

    @examples(15)
    @given(seed=SEEDS)
    def test_a_loss_of_preference_zero_is_left_out(self, aggregator: Aggregator, seed: int) -> None:
        moment = moment_of(seed)
        out = (moment.primary + 1) % 4
        preference = moment.preference.copy()
        preference[out] = 0
        moment = dataclasses.replace(moment, preference=preference)
        kept = np.delete(np.arange(4), out)
        assert moment.gramian is not None
        others = [aggregator.weights(moment, aggregator.start(4))[0]]
        changed = moment.gramian.copy()
        changed[out, :] = changed[:, out] = 0
        other = dataclasses.replace(moment, gramian=changed)
        others.append(aggregator.weights(other, aggregator.start(4))[0])
        for weights in [*walk(aggregator, moment, 25), *others]:
            assert weights[out] == 0
        np.testing.assert_allclose(others[0][kept], others[1][kept], rtol=1e-6)

    @pytest.mark.parametrize("size", [0.0, 1e-15, 1e-6, 1.0, 1e15])
    def test_losses_of_any_size(self, aggregator: Aggregator, size: float) -> None:
        moment = moment_of(1)
        gap = (moment.losses - moment.ideal) * size
        moment = dataclasses.replace(moment, losses=gap, ideal=np.zeros(4))
        for weights in walk(aggregator, moment, 45):
            assert np.isfinite(weights).all()

    @pytest.mark.parametrize("kind", list(nasty()))
    @only(needs_gramian)
    def test_nasty_gramians(self, aggregator: Aggregator, kind: str) -> None:
        jacobian = nasty()[kind]
        moment = dataclasses.replace(moment_of(3), gramian=jacobian @ jacobian.T)
        weights, _ = aggregator.weights(moment, {})
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()
        assert weights.sum() > 0
        largest = np.abs(weights[:, None] * jacobian).max()
        assert np.isfinite(weights @ jacobian).all()
        assert largest <= 1e5 * np.abs(jacobian).max(), "a direction that rounding decides"

    @pytest.mark.parametrize("size", [1e-15, 1e-6, 1e6, 1e15])
    @only(needs_gramian)
    def test_weights_do_not_depend_on_the_common_scale_of_gradients(
        self, aggregator: Aggregator, size: float
    ) -> None:
        moment = moment_of(2)
        assert moment.gramian is not None
        scaled = dataclasses.replace(moment, gramian=moment.gramian * size)
        np.testing.assert_allclose(
            aggregator.weights(scaled, {})[0],
            aggregator.weights(moment, {})[0],
            rtol=1e-4,
        )

    @only(needs_gramian)
    def test_gradients_are_asked_for(self, aggregator: Aggregator) -> None:
        with pytest.raises(ValueError, match="needs the Gramian"):
            aggregator.weights(dataclasses.replace(moment_of(0), gramian=None), {})
