"""Co-occurrence, RP3beta and iALS against formulas written out, and parameters of a config."""

from __future__ import annotations

import numpy as np
import pytest

from pareto_rec.baselines import (
    BASELINES,
    EASE,
    IALS,
    Cooccurrence,
    ItemKNN,
    Popularity,
    RP3Beta,
    UserKNN,
    with_given_parameters,
)
from pareto_rec.baselines.cooccurrence import pair_counts
from pareto_rec.baselines.parameters import Parameter
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions
from pareto_rec.ranking.linear import scores_of

USERS, ITEMS = 40, 15


def log(seed: int = 0, repeats: bool = False) -> Interactions:
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((USERS, ITEMS)) < 0.35)
    if repeats:
        users, items = np.append(users, users[::3]), np.append(items, items[::3])
    times = rng.permutation(len(users))
    order = np.lexsort((times, users))
    signals = {"watched": np.ones(len(users), np.float32)}
    return Interactions(users[order], items[order], times[order].astype(np.int64), signals)


def dense(model_weights: object) -> np.ndarray:
    found = model_weights
    return found if isinstance(found, np.ndarray) else found.toarray()  # type: ignore[attr-defined]


@pytest.mark.parametrize("window", [1, 3, 100])
@pytest.mark.parametrize("repeats", [False, True])
def test_pairs_within_a_window_are_counted(window: int, repeats: bool) -> None:
    rows = log(1, repeats)
    expected = np.zeros((ITEMS, ITEMS))
    for user in range(USERS):
        own = rows.item[rows.user == user].tolist()
        for place, item in enumerate(own):
            for other in own[place + 1 : place + 1 + window]:
                if item != other:
                    expected[item, other] += 1
                    expected[other, item] += 1
    np.testing.assert_array_equal(pair_counts(rows, ITEMS, window).toarray(), expected)


def test_counts_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pair_counts(log(2), ITEMS, 7).toarray()
    monkeypatch.setattr("pareto_rec.baselines.cooccurrence.BLOCK_PAIRS", 1)
    np.testing.assert_array_equal(pair_counts(log(2), ITEMS, 7).toarray(), whole)
    monkeypatch.setattr("pareto_rec.baselines.cooccurrence.DENSE_COUNTS", 1)
    np.testing.assert_array_equal(pair_counts(log(2), ITEMS, 7).toarray(), whole)


def test_counts_are_divided_by_powers_of_both_popularities() -> None:
    rows = log(3)
    popularity = np.bincount(rows.item, minlength=ITEMS).astype(float)
    model = Cooccurrence(window=4, history_power=0.3, power=0.8, tau=5.0).fit(rows, (USERS, ITEMS))
    expected = pair_counts(rows, ITEMS, 4).toarray() / popularity[:, None] ** 0.3 / popularity**0.8
    np.testing.assert_allclose(dense(model.weights), expected, rtol=1e-6)
    assert model.tau == 5.0


def test_a_log_without_pairs_has_no_weights() -> None:
    rows = log(0).take(np.zeros(1, dtype=np.int64))
    assert Cooccurrence().fit(rows, (USERS, ITEMS)).weights.nnz == 0  # type: ignore[union-attr]


def test_too_many_weights_are_cut_to_the_strongest(monkeypatch: pytest.MonkeyPatch) -> None:
    full = dense(Cooccurrence().fit(log(4), (USERS, ITEMS)).weights)
    monkeypatch.setattr("pareto_rec.baselines.cooccurrence.MOST_WEIGHTS", 4 * ITEMS)
    monkeypatch.setattr("pareto_rec.baselines.cooccurrence.FEWEST_KEPT", 1)
    cut = dense(Cooccurrence().fit(log(4), (USERS, ITEMS)).weights)
    assert ((cut > 0).sum(axis=1) == 4).all()
    np.testing.assert_array_equal(cut[cut > 0], full[cut > 0])
    np.testing.assert_allclose(np.sort(cut)[:, -4:], np.sort(full)[:, -4:])


def test_rp3beta_is_a_walk_of_three_steps() -> None:
    rows, alpha, beta = log(5), 1.3, 0.4
    met = np.zeros((USERS, ITEMS))
    met[rows.user, rows.item] = 1
    to_user = (met / np.maximum(met.sum(axis=0), 1)).T ** alpha
    to_item = (met / np.maximum(met.sum(axis=1), 1)[:, None]) ** alpha
    expected = to_user @ to_item / np.maximum(met.sum(axis=0), 1) ** beta
    np.fill_diagonal(expected, 0)
    model = RP3Beta(alpha, beta, neighbours=ITEMS).fit(rows, (USERS, ITEMS))
    np.testing.assert_allclose(dense(model.weights), expected, rtol=1e-5)
    cut = dense(RP3Beta(alpha, beta, neighbours=3).fit(rows, (USERS, ITEMS)).weights)
    np.testing.assert_allclose(np.sort(cut)[:, -3:], np.sort(expected)[:, -3:], rtol=1e-5)
    assert ((cut > 0).sum(axis=1) == 3).all()


def _loss(met: np.ndarray, x: np.ndarray, y: np.ndarray, unobserved: float, l2: float) -> float:
    """The sum that `IALS` says it minimises."""
    fitted = x @ y.T
    loss = (met * (1 - fitted) ** 2).sum() + unobserved * (fitted**2).sum()
    of_users, of_items = met.sum(axis=1) + unobserved * ITEMS, met.sum(axis=0) + unobserved * USERS
    return float(loss + l2 * (of_users @ (x**2).sum(axis=1) + of_items @ (y**2).sum(axis=1)))


def test_each_step_of_ials_is_a_minimum() -> None:
    from scipy import sparse

    from pareto_rec.baselines import ials

    rows, unobserved, l2 = log(6), 0.2, 0.01
    met = np.zeros((USERS, ITEMS))
    met[rows.user, rows.item] = 1
    rng = np.random.default_rng(0)
    y = rng.normal(size=(ITEMS, 4))
    x = ials._solved(sparse.csr_array(met), y, unobserved, l2)
    least = _loss(met, x, y, unobserved, l2)
    for _ in range(20):
        assert _loss(met, x + 1e-3 * rng.normal(size=x.shape), y, unobserved, l2) > least
    better = ials._solved(sparse.csr_array(met.T), x, unobserved, l2)
    assert _loss(met, x, better, unobserved, l2) < least


def test_ials_folds_a_history_in_with_the_average_users_matrix() -> None:
    rows = log(7)
    met = np.zeros((USERS, ITEMS))
    met[rows.user, rows.item] = 1
    model = IALS(factors=5, unobserved=0.2, l2=0.01).fit(rows, (USERS, ITEMS))
    weights = dense(model.weights)
    assert np.linalg.matrix_rank(weights, tol=1e-5) == 5
    np.testing.assert_allclose(weights, weights.T, atol=1e-5)  # Y A^-1 Y'
    hits = (met @ weights)[met > 0].mean()
    assert hits > 2 * (met @ weights)[met == 0].mean()


@pytest.mark.parametrize("tau", [None, 4.0])
@pytest.mark.parametrize("neighbours", [3, 1000])
def test_user_knn_sums_the_similarities_of_the_nearest(neighbours: int, tau: float | None) -> None:
    rows = log(9)
    met = np.zeros((USERS, ITEMS))
    met[rows.user, rows.item] = 1
    own = met.copy()
    for user in range(USERS):
        items = rows.item[rows.user == user]
        ages = np.arange(len(items))[::-1]
        own[user, items] = 1.0 if tau is None else np.exp(-ages / tau)
    lengths = np.linalg.norm(own, axis=1)[:, None] * np.linalg.norm(met, axis=1)
    similar = np.round(own @ met.T / (lengths + 2.0), 6)
    expected = np.zeros((USERS, ITEMS))
    for user in range(USERS):
        least = np.sort(similar[user])[-min(neighbours, USERS)]
        expected[user] = (similar[user] * (similar[user] >= least)) @ met
    model = UserKNN(neighbours, 2.0, tau).fit(rows, (USERS, ITEMS))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows.user, minlength=USERS))])
    np.testing.assert_allclose(model.score(starts, rows.item), expected, rtol=1e-3, atol=1e-4)


def test_user_knn_scores_alike_beside_linear_models() -> None:
    rows = log(11)
    models = {
        "user_knn": UserKNN(5, 1.0, 3.0).fit(rows, (USERS, ITEMS)),
        "item_knn": ItemKNN(5, 3.0).fit(rows, (USERS, ITEMS)),
    }
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows.user, minlength=USERS))])
    for name, scores in scores_of(models, starts, rows.item).items():
        np.testing.assert_array_equal(scores, models[name].score(starts, rows.item))


def test_user_knn_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = log(10)
    model = UserKNN(5).fit(rows, (USERS, ITEMS))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows.user, minlength=USERS))])
    whole = model.score(starts, rows.item)
    monkeypatch.setattr("pareto_rec.baselines.user_knn.BLOCK", 1)
    np.testing.assert_array_equal(model.score(starts, rows.item), whole)
    monkeypatch.setattr("pareto_rec.baselines.user_knn.MAX_USERS", USERS - 1)
    with pytest.raises(BadRequestError, match="40 users are more than the 39"):
        UserKNN().fit(rows, (USERS, ITEMS))


def test_large_catalogues_get_item_knn_for_ials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pareto_rec.baselines.ials.MAX_ITEMS", ITEMS - 1)
    found = IALS(tau=3.0).fit(log(8), (USERS, ITEMS))
    expected = ItemKNN(50, 3.0).fit(log(8), (USERS, ITEMS))
    np.testing.assert_array_equal(dense(found.weights), dense(expected.weights))


@pytest.mark.parametrize("name", BASELINES)
def test_every_number_of_a_baseline_can_be_tuned_from_its_default(name: str) -> None:
    baseline = BASELINES[name]
    numbers = {key for key, value in baseline.parameters().items() if value is not None}
    assert numbers == set(baseline.active())
    for key, parameter in baseline.active().items():
        value = baseline.parameters()[key]
        assert value is not None
        assert parameter.low <= value <= parameter.high
        assert parameter.at(parameter.share(value)) == pytest.approx(value)
        assert (parameter.at(0), parameter.at(1)) == (parameter.low, parameter.high)
        assert baseline.only_scores <= type(baseline).tunable.keys()


def test_parameters_of_a_config_replace_defaults() -> None:
    found = with_given_parameters({"ease_recency": {"tau": 50}, "item_knn": {"neighbours": 7}})
    assert found["ease_recency"] == EASE(l2=1000.0, tau=50.0)
    assert isinstance(found["ease_recency"].parameters()["tau"], float)
    assert found["item_knn"] == ItemKNN(neighbours=7)
    assert found["popularity"] == Popularity()
    assert set(found) == set(BASELINES)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eas": {}}, r'unknown expert "eas" \(did you mean "ease"'),
        ({"ease": {"l3": 1.0}}, 'unknown parameter in baseline_parameters.ease "l3".*known: l2'),
        ({"ease": {"tau": 1.0}}, "known: l2$"),  # the plain one has no recency
        ({"ease": {"l2": 0.0}}, "baseline_parameters.ease.l2: it must be above 0"),
        ({"ease": {"l2": float("nan")}}, "ease.l2: it must be above 0"),
        ({"ease": {"l2": True}}, "it must be a number"),
        ({"item_knn": {"neighbours": 2.5}}, "it must be a whole number"),
        ({"item_knn": {"neighbours": 0}}, "it must be at least 1"),
        ({"popularity": {"tau": 1.0}}, "unknown parameter in baseline_parameters.popularity"),
    ],
)
def test_wrong_parameters_are_refused_in_a_line(
    given: dict[str, dict[str, float]], words: str
) -> None:
    with pytest.raises(BadRequestError, match=words):
        with_given_parameters(given)


def test_values_lie_evenly_in_a_range() -> None:
    assert [Parameter(1, 100, log=True).at(share) for share in (0, 0.5, 1)] == [1, 10, 100]
    assert [Parameter(0, 10, whole=True).at(share) for share in (0, 0.26, 2)] == [0, 3, 10]
