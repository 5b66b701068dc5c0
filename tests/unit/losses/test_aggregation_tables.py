"""The two plain loss aggregations, by hand; the working is in the comments."""

from __future__ import annotations

import numpy as np
import pytest

from pareto_rec.losses import AGGREGATORS
from pareto_rec.losses.aggregation import AggregationStep


def moment(losses: list[float], preference: list[float], ideal: list[float]) -> AggregationStep:
    return AggregationStep(np.array(losses), np.array(preference), np.array(ideal))


@pytest.mark.parametrize(
    ("losses", "preference", "ideal", "expected"),
    [
        # terms .5 (1 - 0), .25 (2 - 1), .25 (-3 + 4): the first is the largest
        ([1, 2, -3], [0.5, 0.25, 0.25], [0, 1, -4], [0.5, 0, 0]),
        # terms 0, .3 * 4 = 1.2, .5 (1 + 2) = 1.5
        ([0, 4, 1], [0.2, 0.3, 0.5], [0, 0, -2], [0, 0, 0.5]),
        # terms 1, 1, .4: two share the weight
        ([2, 2, 2], [0.5, 0.5, 0.2], [0, 0, 0], [0.25, 0.25, 0]),
        # a loss of preference 0 is not there, however far it is
        ([1, 99], [1, 0], [0, 0], [1, 0]),
    ],
)
def test_chebyshev_steps_along_the_largest_term(
    losses: list[float], preference: list[float], ideal: list[float], expected: list[float]
) -> None:
    way = AGGREGATORS["weighted_chebyshev"]
    weights, _ = way.weights(moment(losses, preference, ideal), way.start(len(losses)))
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_the_sum_steps_along_the_preference() -> None:
    way = AGGREGATORS["weighted_sum"]
    weights, _ = way.weights(moment([5, -1, 2], [0.2, 0.3, 0.5], [0, -2, 0]), way.start(3))
    np.testing.assert_allclose(weights, [0.2, 0.3, 0.5])
