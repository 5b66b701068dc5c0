"""Intervals and probabilities on synthetic fronts whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Resample

Floats = NDArray[np.float64]

UP = [True, True]
REFERENCE = [0.10, 0.65]
USERS, SEEDS, DRAWS, REPETITIONS = 120, 3, 200, 500
PLACE = np.linspace(0, 1, 5)
FRONT = np.column_stack([0.12 + 0.08 * (1 - PLACE**2), 0.66 + 0.20 * PLACE])
RIVAL = np.column_stack([0.12 + 0.06 * (1 - PLACE**2), 0.66 + 0.17 * PLACE])
BOTH = np.concatenate([FRONT, RIVAL])


def volumes(points: Floats) -> Floats:
    """Hypervolumes of fronts ``[fronts, points, objectives]``."""
    everything = np.ones(points.shape[:2], dtype=bool)
    return bootstrap.hypervolumes(points, everything, reference=REFERENCE, maximise=UP)


def worlds(truth: Floats, *, seeds: float, residue: float) -> Floats:
    """Values ``[repetitions, points, seeds, users, objectives]`` whose expectation is the truth.

    Users differ by .2 (as NDCG@10 does): four fifths of it alike for all points, so that points
    are paired; a sixth of the users is left out of the first objective.
    """
    rng = np.random.default_rng(11)
    points = len(truth)
    values = truth[:, None, None, :] + rng.normal(0, 0.16, (REPETITIONS, 1, 1, USERS, 2))
    values = values + rng.normal(0, 0.12, (REPETITIONS, points, 1, USERS, 2))
    values = values + rng.normal(0, seeds, (REPETITIONS, points, SEEDS, 1, 2))
    values = values + rng.normal(0, residue, (REPETITIONS, points, SEEDS, USERS, 2))
    values[..., ::6, 0] = np.nan
    return values


@dataclass(frozen=True)
class Sampled:
    """Means ``[repetitions, points, objectives]`` and draws ``[draws, repetitions, ...]``."""

    means: Floats
    draws: Floats

    def share_held(self, value: Floats, drawn: Floats, truth: float) -> float:
        """How often the intervals of ``[repetitions]`` values hold the truth."""
        found = [bootstrap.interval(v, d) for v, d in zip(value, drawn.T, strict=True)]
        return float(np.mean([one.low <= truth <= one.high for one in found]))


def sample(*, seeds: float, residue: float) -> Sampled:
    """All repetitions at once, as if their points were one long list of points."""
    values = worlds(BOTH, seeds=seeds, residue=residue)
    flat = values.reshape(-1, SEEDS, USERS, 2)
    resample = Resample(USERS, SEEDS, DRAWS, 5)
    columns = [flat[..., 0], flat[..., 1]]
    draws = np.stack([bootstrap.draw_means(one, resample) for one in columns], axis=-1)
    means = [bootstrap.over_seeds(bootstrap.seed_means(one))[0] for one in columns]
    shape = (REPETITIONS, len(BOTH), 2)
    return Sampled(np.stack(means, axis=-1).reshape(shape), draws.reshape(DRAWS, *shape))


@pytest.fixture(scope="module")
def users_lead() -> Sampled:
    return sample(seeds=0.004, residue=0.1)


@pytest.fixture(scope="module")
def seeds_lead() -> Sampled:
    """Three seeds that differ by more than users do: a plain resample would hold it in 75 %."""
    return sample(seeds=0.1, residue=0.05)


@pytest.mark.parametrize("which", ["users_lead", "seeds_lead"])
def test_intervals_of_points_hold_the_truth_as_often_as_they_say(
    which: str, request: pytest.FixtureRequest
) -> None:
    """500 repetitions; the bounds are those of the requirement for a nominal 95 %."""
    found: Sampled = request.getfixturevalue(which)
    for place, objective in ((2, 0), (4, 1)):
        value, drawn = found.means[:, place, objective], found.draws[:, :, place, objective]
        assert 0.90 <= found.share_held(value, drawn, BOTH[place, objective]) <= 0.98
    gap = found.means[:, 2, 0] - found.means[:, 7, 0]
    drawn = found.draws[:, :, 2, 0] - found.draws[:, :, 7, 0]
    assert 0.90 <= found.share_held(gap, drawn, BOTH[2, 0] - BOTH[7, 0]) <= 0.98


def test_intervals_of_fronts_hold_the_truth_as_often_as_they_say(users_lead: Sampled) -> None:
    """Hypervolume of noisy points is biased upwards, and its resampled one twice so."""
    count, points = len(FRONT), len(BOTH)
    split = users_lead.means.reshape(-1, points, 2), users_lead.draws.reshape(-1, points, 2)
    (mine, theirs), (my_draws, their_draws) = (
        [volumes(one[:, :count]), volumes(one[:, count:])] for one in split
    )
    my_draws, their_draws = (one.reshape(DRAWS, REPETITIONS) for one in (my_draws, their_draws))
    above, below = volumes(FRONT[None])[0], volumes(RIVAL[None])[0]
    assert 0.90 <= users_lead.share_held(mine, my_draws, above) <= 0.98
    ratios = bootstrap.ratio(my_draws, their_draws)
    assert 0.90 <= users_lead.share_held(mine / theirs, ratios, above / below) <= 0.98


def test_a_plain_resample_of_three_seeds_would_not_do(seeds_lead: Sampled) -> None:
    """Why seeds are not drawn with replacement: the same data, the textbook bootstrap."""
    values = worlds(BOTH, seeds=0.1, residue=0.05)[:, 2, :, :, 1]  # [repetitions, seeds, users]
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(DRAWS):
        chosen, people = rng.integers(SEEDS, size=SEEDS), rng.integers(USERS, size=USERS)
        drawn.append(values[:, chosen][:, :, people].mean(axis=(1, 2)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert ((low <= BOTH[2, 1]) & (BOTH[2, 1] <= high)).mean() < 0.85
    value, better = seeds_lead.means[:, 2, 1], seeds_lead.draws[:, :, 2, 1]
    assert seeds_lead.share_held(value, better, BOTH[2, 1]) >= 0.90


def test_probability_of_being_non_dominated_follows_the_known_noise() -> None:
    """Two points alike but for one objective: one dominates the other iff it is larger there.

    With a normal difference of known deviation the probability is Phi(difference / deviation).
    """
    rng = np.random.default_rng(0)
    people, draws = 400, 4000
    noise = rng.normal(0, 0.2, (2, 1, people))
    noise -= noise.mean(axis=2, keepdims=True)
    spread = (noise[0, 0] - noise[1, 0]).std() / np.sqrt(people)
    for gap in (-2.0, -0.5, 0.0, 1.0, 3.0):
        first = np.array([0.15 + gap * spread, 0.15])[:, None, None] + noise
        resample = Resample(people, 1, draws, 9)
        drawn = np.stack([bootstrap.draw_means(first, resample), np.full((draws, 2), 0.7)], axis=2)
        share = bootstrap.non_dominated_share(drawn, maximise=UP)
        assert share[0] == pytest.approx(NormalDist().cdf(gap), abs=0.03)
        assert share[0] + share[1] == pytest.approx(1.0, abs=1e-3)


def test_the_probability_is_right_about_points_of_known_truth(users_lead: Sampled) -> None:
    """With a tenth of the noise the truth is plain: four rivals lie well behind the front.

    The last one equals a point of the front in one objective: there it is a toss.
    """
    close = BOTH + 0.1 * (users_lead.draws - BOTH)
    shares = np.array(
        [bootstrap.non_dominated_share(close[:, world], maximise=UP) for world in range(100)]
    ).mean(axis=0)
    assert (shares[1:5] > 0.98).all()
    assert shares[0] > 0.85  # another point of its own front is close
    assert (shares[5:9] < 0.02).all()
    assert shares[9] == pytest.approx(0.5, abs=0.1)


def test_what_points_share_cancels() -> None:
    """A copy shifted by a constant differs by exactly that constant in every draw."""
    values = np.random.default_rng(0).normal(size=(1, SEEDS, USERS))
    both = np.concatenate([values, values + 0.25])
    drawn = bootstrap.draw_means(both, Resample(USERS, SEEDS, 50))
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 0.25, atol=1e-12)


def test_users_cannot_be_resampled_where_an_objective_has_no_values_per_user() -> None:
    coverage = np.array([[0.31, 0.33, 0.29]])  # [points, seeds]: one number for all lists
    with pytest.raises(ValueError, match="one number per seed carries intervals over seeds only"):
        bootstrap.draw_means(coverage, Resample(USERS, SEEDS))
    drawn = bootstrap.draw_seed_means(coverage, Resample(0, SEEDS, 20_000))
    one = bootstrap.interval(0.31, drawn[:, 0])
    # Student's t by hand: 4.303 x .02 / sqrt(3)
    assert one.low == pytest.approx(0.31 - 4.303 * 0.02 / np.sqrt(3), abs=0.003)
    assert one.high == pytest.approx(0.31 + 4.303 * 0.02 / np.sqrt(3), abs=0.003)


def test_users_that_are_left_out_do_not_count() -> None:
    """Hand calculation: the mean of the two users with a value is 2, however often others come."""
    values = np.array([[[1.0, 3.0, np.nan, np.nan]]])
    assert bootstrap.seed_means(values)[0, 0] == 2.0
    drawn = bootstrap.draw_means(values, Resample(4, 1, 2000))
    known = drawn[~np.isnan(drawn)]
    assert known.min() == 1.0
    assert known.max() == 3.0
    assert known.mean() == pytest.approx(2.0, abs=0.1)
    assert np.isnan(drawn).mean() == pytest.approx(1 / 16, abs=0.02)  # neither of the two drawn


def test_a_seed_without_a_fit_is_left_out_of_its_point_alone() -> None:
    values = np.ones((2, SEEDS, USERS)) * np.array([1.0, 2.0, 6.0])[None, :, None]
    values[1, 2] = np.nan
    mean, deviation = bootstrap.over_seeds(bootstrap.seed_means(values))
    np.testing.assert_allclose(mean, [3.0, 1.5])
    np.testing.assert_allclose(deviation, [np.std([1, 2, 6], ddof=1), np.sqrt(0.5)])
    drawn = bootstrap.draw_means(values, Resample(USERS, SEEDS, 100))
    assert np.isfinite(drawn).all()


def test_nothing_resampled_gives_no_interval() -> None:
    one = bootstrap.interval(0.5, np.full(100, 0.5))
    assert np.isnan([one.low, one.high]).all()


def test_a_ratio_to_nothing_is_infinite_and_never_warns() -> None:
    drawn = bootstrap.ratio(np.ones(100), np.repeat([0.0, 0.5], [10, 90]))
    one = bootstrap.interval(2.0, drawn)
    assert one.low == 2.0
    assert one.high == float("inf")


def test_dominance_by_hand() -> None:
    points = np.array([[[1.0, 1.0], [2.0, 2.0], [2.0, 2.0], [3.0, 0.0], [np.nan, 9.0]]])
    found = bootstrap.dominated(points, maximise=[True, True])
    assert found.tolist() == [[True, False, False, False, False]]
    found = bootstrap.dominated(points, maximise=[True, False])
    assert found.tolist() == [[True, True, True, False, False]]
    share = bootstrap.non_dominated_share(points, maximise=[True, True])
    assert np.isnan(share[4])


def test_inputs_stay_as_they_are() -> None:
    values = np.random.default_rng(1).normal(size=(3, SEEDS, USERS))
    values.flags.writeable = False
    before = values.copy()
    bootstrap.draw_means(values, Resample(USERS, SEEDS, 10))
    np.testing.assert_array_equal(values, before)


def test_draws_do_not_depend_on_how_they_are_cut_into_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every chunk has as many draws of users as it should, whatever its size."""
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * USERS)
    weights = np.concatenate(list(Resample(USERS, 1, 30).weights()))
    assert weights.shape == (30, USERS)
    np.testing.assert_array_equal(weights.sum(axis=1), USERS)
    assert len(np.unique(weights, axis=0)) == 30


def test_holm_by_hand() -> None:
    """The example of Holm's procedure: .01 x 4, .02 x 3, then never smaller than before."""
    assert bootstrap.holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert bootstrap.holm([0.9, 0.8]) == [1.0, 1.0]
    assert bootstrap.holm([]) == []
