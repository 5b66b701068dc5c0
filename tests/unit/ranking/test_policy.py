"""The serving policy against one user at a time in plain loops, and its promises."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pareto_rec import ranking as policy
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.models.head import NetworkScores
from pareto_rec.ranking import (
    Scorers,
    ServingParams,
    Similarity,
    Ties,
    centre,
    compiled_lists,
    recommend,
    standardise,
)

EXPERTS = ("a", "b")
EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
Matrix = NDArray[np.float64]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@dataclasses.dataclass(frozen=True)
class World:
    """Raw scores as they come from experts and network, before anything is standardised."""

    experts: dict[str, Matrix]
    relevance: Matrix
    liked: Matrix
    seen: NDArray[np.bool_]
    popularity: NDArray[np.float64]
    categories: Matrix
    boosts: dict[str, NDArray[np.float64]]

    @property
    def scorers(self) -> Scorers:
        """What `recommend` is given."""

        def tensor(values: Matrix) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32))

        seen = torch.from_numpy(self.seen)
        base = Scorers(
            {name: standardise(tensor(one), seen) for name, one in self.experts.items()},
            seen,
            tensor(self.popularity),
            Similarity.of(tensor(self.categories)),
            boosts={name: tensor(one) for name, one in self.boosts.items()},
        )
        return base.with_networks({policy.NETWORK: said(self.relevance, self.liked)})


def said(relevance: Matrix, liked: Matrix) -> NetworkScores:
    """What a network says, given logits of relevance and of one task."""
    first, second = (torch.from_numpy(one.astype(np.float32)) for one in (relevance, liked))
    return NetworkScores(first, {"liked": torch.nn.functional.logsigmoid(second)})


def world(seed: int, users: int = 5, n_items: int = 30, seen_share: float = 0.3) -> World:
    """Continuous scores (no ties), few kinds of items, item 0 without a category."""
    rng = np.random.default_rng(seed)
    categories = (rng.random((n_items, 4)) < 0.4).astype(float)
    categories[0] = 0
    popularity = rng.normal(size=n_items)
    return World(
        {name: rng.normal(2.0, 3.0, (users, n_items)) for name in EXPERTS},
        rng.normal(1.0, 2.0, (users, n_items)),
        rng.normal(-1.0, 2.0, (users, n_items)),
        rng.random((users, n_items)) < seen_share,
        (popularity - popularity.mean()) / popularity.std(),
        categories / np.maximum(np.linalg.norm(categories, axis=1, keepdims=True), 1e-12),
        {name: rng.normal(size=n_items) for name in ("tail", "price")},
    )


def random_settings(seed: int, count: int) -> list[ServingParams]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        weights = rng.dirichlet(np.ones(3)).tolist()
        found.append(
            ServingParams(
                dict(zip((policy.NETWORK, *EXPERTS), weights, strict=True)),
                exponents={"liked": float(rng.uniform(-0.5, 2))},
                popularity_penalty=float(rng.uniform(-0.2, 1.5)),
                mmr=float(rng.choice([0.0, rng.uniform(0.05, 0.9)])),
                depth=int(rng.integers(1, 40)),
                boosts={"tail": float(rng.normal()), "price": float(rng.choice([0.0, 0.7]))},
            )
        )
    return found


# ------------------------------------------------------- one user at a time, in plain loops


def cosine(one: Matrix, other: Matrix) -> float:
    """Of two category vectors; items without categories are like all others."""
    return float(one @ other) if one.any() and other.any() else 1.0


def z_scores(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / deviation for value in values]


def fused_scores(of: World, user: int, setting: ServingParams) -> dict[int, float]:
    """Unseen item -> sum of weighted standardised scores, less the popularity penalty."""
    unseen = [item for item in range(of.seen.shape[1]) if not of.seen[user, item]]
    parts = {name: z_scores([of.experts[name][user, i] for i in unseen]) for name in EXPERTS}
    parts[policy.NETWORK] = z_scores(
        [
            # log (relevance * P(liked | watched) ** exponent), constants aside
            of.relevance[user, i]
            + setting.exponents["liked"] * math.log(1 / (1 + math.exp(-of.liked[user, i])))
            for i in unseen
        ]
    )
    return {
        item: sum(weight * parts[name][place] for name, weight in setting.fusion.items())
        - setting.popularity_penalty * of.popularity[item]
        + sum(weight * of.boosts[name][item] for name, weight in setting.boosts.items())
        for place, item in enumerate(unseen)
    }


def assert_lists_of(of: World, user: int, setting: ServingParams, found: list[int], k: int) -> None:
    """Each item is, given those before it, the best that is left (or as good up to rounding)."""
    fused = fused_scores(of, user, setting)
    pool = sorted(fused, key=lambda item: -fused[item])[: max(k, setting.depth)]
    top, bottom = fused[pool[0]], fused[pool[-1]]
    assert len(set(found)) == len(found) == min(k, len(fused))
    chosen: list[int] = []
    for item in found:
        values = {}
        for other in pool:
            if other not in chosen:
                vectors = of.categories
                closest = max([0.0, *(cosine(vectors[other], vectors[c]) for c in chosen)])
                relevance = (fused[other] - bottom) / (top - bottom)
                values[other] = (1 - setting.mmr) * relevance - setting.mmr * closest
        assert item in values, "not in the pool"
        assert values[item] >= max(values.values()) - 1e-5
        chosen.append(item)


@EXAMPLES
@given(
    seed=SEEDS,
    users=st.integers(1, 6),
    n_items=st.integers(14, 45),
    k=st.integers(2, 10),
    count=st.integers(1, 5),
)
def test_lists_are_those_of_plain_loops(
    seed: int, users: int, n_items: int, k: int, count: int
) -> None:
    of, wanted = world(seed, users, n_items), random_settings(seed, count)
    lists, scores = recommend(of.scorers, wanted, k=k)
    assert lists.shape == scores.shape == (count, users, k)
    assert (lists.dtype, scores.dtype) == (np.int64, np.float32)
    for index, setting in enumerate(wanted):
        for user in range(users):
            found = [item for item in lists[index, user].tolist() if item >= 0]
            assert_lists_of(of, user, setting, found, k)
            fused = fused_scores(of, user, setting)
            np.testing.assert_allclose(
                scores[index, user, : len(found)], [fused[item] for item in found], atol=1e-4
            )


@pytest.mark.parametrize("n_items", [6, 300, 5000])
def test_lists_are_made_alike_wherever_they_are(
    n_items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By compiled loops, and by torch's operators as on other devices."""
    of, wanted = world(7, users=40 if n_items < 5000 else 8, n_items=n_items), random_settings(7, 6)
    wanted.append(dataclasses.replace(wanted[2], mmr=1.0, depth=n_items))
    compiled, scores = recommend(of.scorers, wanted, k=10)
    monkeypatch.setattr(policy.lists, "are_compiled", lambda _: False)
    lists, same = recommend(of.scorers, wanted, k=10)
    np.testing.assert_array_equal(compiled, lists)
    np.testing.assert_allclose(scores, same, atol=1e-5)


def test_equals_are_ordered_alike_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few different scores and kinds, most items of a list have equals, re-ranked or not."""
    rng = np.random.default_rng(5)
    scores = torch.from_numpy(rng.integers(-2, 3, (6, 900)).astype(np.float32))
    scorers = Scorers(
        {"a": scores},
        torch.from_numpy(rng.random((6, 900)) < 0.2),
        torch.zeros(900),
        Similarity.of(torch.eye(4)[torch.from_numpy(rng.integers(0, 4, 900))]),
        ties=Ties.of(rng.permutation(900)),
    )
    wanted = [ServingParams({"a": 1.0}, mmr=m, depth=d) for m in (0.0, 0.5, 1.0) for d in (15, 400)]
    compiled = recommend(scorers, wanted, k=12)
    monkeypatch.setattr(policy.lists, "are_compiled", lambda _: False)
    for one, other in zip(compiled, recommend(scorers, wanted, k=12), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_re_ranking_lists_are_sorted_by_score() -> None:
    of = world(3, n_items=200)
    lists, scores = recommend(of.scorers, [ServingParams({"a": 1.0})], k=20)
    assert (np.diff(scores[0]) < 0).all()
    for user in range(len(of.seen)):
        left = np.where(of.seen[user], -np.inf, of.experts["a"][user])
        assert lists[0, user].tolist() == np.argsort(-left)[:20].tolist()


# ------------------------------------------------------- promises


@EXAMPLES
@given(seed=SEEDS, seen_share=st.sampled_from([0.0, 0.5, 0.9, 1.0]), k=st.integers(1, 14))
def test_seen_items_never_appear_and_short_lists_end_with_minus_one(
    seed: int, seen_share: float, k: int
) -> None:
    of, wanted = world(seed, 8, 14, seen_share), random_settings(seed, 4)
    lists, _ = recommend(of.scorers, wanted, k=k)
    for user, seen in enumerate(of.seen):
        left = min(k, int((~seen).sum()))
        for found in lists[:, user]:
            assert not seen[found[:left]].any()
            assert len(set(found[:left].tolist())) == left
            assert (found[:left] >= 0).all()
            assert (found[left:] == -1).all()


def test_lists_longer_than_the_catalogue_end_with_minus_one() -> None:
    of = world(4, users=3, n_items=6, seen_share=0.2)
    for setting in (ServingParams(), ServingParams(mmr=0.5, depth=3)):
        lists, scores = recommend(of.scorers, [setting], k=10)
        assert lists.shape == scores.shape == (1, 3, 10)
        for user in range(3):
            left = np.flatnonzero(~of.seen[user]).tolist()
            assert sorted(lists[0, user, : len(left)].tolist()) == left
            assert (lists[0, user, len(left) :] == -1).all()


@settings(EXAMPLES, max_examples=20)
@given(seed=SEEDS, count=st.integers(2, 40), n_items=st.sampled_from([60, 700, 2500]))
def test_several_settings_at_once_are_each_alone(seed: int, count: int, n_items: int) -> None:
    """Bit for bit: no setting's sums depend on what stands beside it."""
    of, wanted = world(seed, 2, n_items), random_settings(seed, count)
    wanted.append(dataclasses.replace(wanted[0], mmr=0.35, depth=17))  # differs in re-ranking only
    wanted.append(dataclasses.replace(wanted[1], boosts={"price": 3.0}))
    lists, scores = recommend(of.scorers, wanted, k=10)
    for index, setting in enumerate(wanted):
        alone, own = recommend(of.scorers, [setting], k=10)
        np.testing.assert_array_equal(lists[index], alone[0])
        np.testing.assert_array_equal(scores[index], own[0])


@pytest.mark.parametrize("n_items", [60, 2500])
def test_users_at_once_are_each_alone(n_items: int) -> None:
    """Bit for bit, two networks among the scorers."""
    one, other = world(33, 7, n_items), world(34, 7, n_items)
    scorers = one.scorers.with_networks({"f2": said(other.relevance, other.liked)})
    wanted = [
        dataclasses.replace(setting, fusion={**setting.fusion, "f2": 0.4})
        for setting in random_settings(33, 6)
    ]
    lists, scores = recommend(scorers, wanted, k=10)
    for user in range(7):
        alone, own = recommend(scorers.take(slice(user, user + 1)), wanted, k=10)
        np.testing.assert_array_equal(lists[:, user], alone[:, 0])
        np.testing.assert_array_equal(scores[:, user], own[:, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"fusion": {"network": 0.3, "a": 0.7}},
        {"exponents": {"liked": 1.5}},
        {"popularity_penalty": 0.8},
        {"boosts": {"tail": 0.8}},
        {"mmr": 0.6},
        {"depth": 12},
    ],
)
def test_settings_that_differ_in_one_variable_are_told_apart(change: dict[str, Any]) -> None:
    of = world(23, n_items=80)
    base = ServingParams({"network": 0.8, "b": 0.2}, mmr=0.3, depth=40)
    other = dataclasses.replace(base, **change)
    lists, _ = recommend(of.scorers, [base, other], k=10)
    for index, setting in enumerate((base, other)):
        np.testing.assert_array_equal(lists[index], recommend(of.scorers, [setting], k=10)[0][0])
    assert not np.array_equal(lists[0], lists[1])


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("elements", [1, 100, 700, 5000])
def test_the_size_of_chunks_changes_nothing(
    elements: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy.lists, "are_compiled", lambda _: compiled)
    of, wanted = world(8, users=11, n_items=50), random_settings(8, 9)
    lists, scores = recommend(of.scorers, wanted, k=10)
    monkeypatch.setattr(policy.lists, "CHUNK_ELEMENTS", elements)
    monkeypatch.setattr(compiled_lists, "CHUNK_ELEMENTS", elements)
    again, same = recommend(of.scorers, wanted, k=10)
    np.testing.assert_array_equal(again, lists)
    np.testing.assert_allclose(same, scores, atol=0 if compiled else 1e-5)


def test_users_do_not_see_each_other() -> None:
    of, wanted = world(9, users=6), random_settings(9, 4)
    lists, _ = recommend(of.scorers, wanted, k=8)
    for user in range(6):
        part = dataclasses.replace(
            of,
            experts={name: one[user : user + 1] for name, one in of.experts.items()},
            relevance=of.relevance[user : user + 1],
            liked=of.liked[user : user + 1],
            seen=of.seen[user : user + 1],
        )
        np.testing.assert_array_equal(recommend(part.scorers, wanted, k=8)[0][:, 0], lists[:, user])


def test_inputs_are_not_mutated() -> None:
    scorers, wanted = world(10).scorers, random_settings(10, 4)
    network = scorers.networks[policy.NETWORK]
    parts = {"seen": scorers.seen, "popularity": scorers.popularity, **scorers.experts}
    parts |= {"relevance": network.relevance, "products": network.products, **network.tasks}
    parts |= {"kind": scorers.similarity.kind, "table": scorers.similarity.table}
    before = {name: value.clone() for name, value in parts.items()}
    fusions = [dict(setting.fusion) for setting in wanted]
    recommend(scorers, wanted, k=10)
    for name, value in parts.items():
        assert torch.equal(value, before[name]), name
    assert [dict(setting.fusion) for setting in wanted] == fusions


def test_making_scorers_mutates_no_scores() -> None:
    of = world(11)
    scores = said(of.relevance, of.liked)
    kept = scores.relevance.clone(), scores.tasks["liked"].clone()
    standardise(scores.relevance, torch.from_numpy(of.seen))
    of.scorers.with_networks({"another": scores})
    assert torch.equal(scores.relevance, kept[0])
    assert torch.equal(scores.tasks["liked"], kept[1])


# ------------------------------------------------------- standardising and fusing


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.3, 1.0, 2.5])
def test_the_network_is_standardised_whatever_the_exponent(exponent: float) -> None:
    """By moments: the deviation of r + e l is sqrt(var r + 2 e cov(r, l) + e^2 var l)."""
    of = world(12, users=3, n_items=40)
    n_unseen = (~of.seen).sum(1)
    lists, scores = recommend(of.scorers, [ServingParams(exponents={"liked": exponent})], k=40)
    for user in range(3):
        unseen = np.flatnonzero(~of.seen[user])
        raw = of.relevance[user] + exponent * -np.log1p(np.exp(-of.liked[user]))
        expected = (raw - raw[unseen].mean()) / raw[unseen].std()
        found = lists[0, user, : n_unseen[user]]
        assert sorted(found.tolist()) == unseen.tolist()
        np.testing.assert_allclose(scores[0, user, : len(found)], expected[found], atol=1e-4)


def test_standardised_scores_have_mean_zero_and_deviation_one_over_unseen_items() -> None:
    of = world(13, users=4, n_items=50)
    seen = torch.from_numpy(of.seen)
    raw = torch.from_numpy(of.relevance * 1000 + 5e4).float()
    found, centred = standardise(raw, seen), centre(raw, seen)
    for user in range(4):
        unseen = found[user][~seen[user]].double()
        assert float(unseen.mean()) == pytest.approx(0, abs=1e-3)
        assert float(unseen.std(correction=0)) == pytest.approx(1, abs=1e-3)
        expected = raw[user][~seen[user]].double()
        torch.testing.assert_close(
            centred[user][~seen[user]].double(), expected - expected.mean(), rtol=1e-3, atol=0.1
        )
    assert (found[seen] == 0).all()
    assert (centred[seen] == 0).all()


def test_scores_that_say_nothing_stay_nothing() -> None:
    """Constant scores and users who have seen everything: zeros, not NaN."""
    seen = torch.tensor([[False, False, True], [True, True, True]])
    assert (standardise(torch.full((2, 3), 7.0), seen) == 0).all()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_scale_of_a_scorer_does_not_matter(scale: float) -> None:
    of, wanted = world(14), random_settings(14, 5)
    experts = {**of.experts, "a": of.experts["a"] * scale - 3.0}
    other = dataclasses.replace(of, experts=experts)
    np.testing.assert_array_equal(
        recommend(other.scorers, wanted, k=6)[0], recommend(of.scorers, wanted, k=6)[0]
    )


def test_a_scorer_without_weight_does_not_matter() -> None:
    of = world(15)
    mute = ServingParams({"a": 1.0, "b": 0.0, "network": 0.0})
    plain, named = recommend(of.scorers, [ServingParams({"a": 1.0}), mute], k=10)[0]
    np.testing.assert_array_equal(plain, named)


def test_more_penalty_means_less_popular_lists() -> None:
    of = world(16, users=40, n_items=100)
    wanted = [ServingParams({"a": 1.0}, popularity_penalty=p) for p in (-0.5, 0.0, 0.5, 2.0)]
    lists, _ = recommend(of.scorers, wanted, k=10)
    means = of.popularity[lists].mean((1, 2))
    assert (np.diff(means) < 0).all()


def test_more_weight_on_diversity_means_lists_that_are_less_alike() -> None:
    of = world(17, users=40, n_items=100, seen_share=0.1)
    wanted = [ServingParams({"a": 1.0}, mmr=m, depth=60) for m in (0.0, 0.3, 0.8)]
    lists, _ = recommend(of.scorers, wanted, k=10)
    pairs = np.array([[cosine(one, other) for other in of.categories] for one in of.categories])
    alike = pairs[lists[..., :, None], lists[..., None, :]].sum((1, 2, 3))
    assert (np.diff(alike) < 0).all()


def test_items_beyond_the_depth_are_not_reached() -> None:
    of = world(18, users=20, n_items=100, seen_share=0.1)
    wanted = [ServingParams({"a": 1.0}, mmr=0.9, depth=depth) for depth in (5, 13, 50)]
    lists, scores = recommend(of.scorers, wanted, k=10)
    plain, _ = recommend(of.scorers, [ServingParams({"a": 1.0})], k=100)
    for index, depth in enumerate((10, 13, 50)):  # at least k
        for user in range(20):
            assert set(lists[index, user]) <= set(plain[0, user, :depth])
    assert np.isfinite(scores).all()


def test_similarity_is_the_cosine_of_every_pair() -> None:
    of = world(19)
    found = Similarity.of(torch.from_numpy(of.categories))
    pairs = found.table[found.kind][:, found.kind].numpy()
    expected = [[cosine(one, other) for other in of.categories] for one in of.categories]
    np.testing.assert_allclose(pairs, expected, atol=1e-12)
    assert len(found.table) == len(np.unique(of.categories, axis=0))


# ------------------------------------------------------- refusals


def test_more_boost_means_lists_of_more_gain() -> None:
    scorers = world(3).scorers
    gains = []
    for weight in (0.0, 0.5, 2.0, 50.0):
        lists, _ = recommend(scorers, [ServingParams({"a": 1.0}, boosts={"tail": weight})], k=5)
        gains.append(scorers.boosts["tail"].numpy()[lists].mean())
    assert gains == sorted(gains)
    assert gains[0] < gains[-1]


def test_a_boost_of_a_gain_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadRequestError, match='unknown gain in the boosts "tial"'):
        recommend(world(3).scorers, [ServingParams({"a": 1.0}, boosts={"tial": 1.0})], k=5)


def test_a_boost_without_weight_may_be_of_anything() -> None:
    scorers = world(3).scorers
    plain, named = (ServingParams({"a": 1.0}, boosts=boosts) for boosts in ({}, {"tial": 0.0}))
    np.testing.assert_array_equal(*recommend(scorers, [plain, named], k=5)[0])


def test_an_unknown_scorer_is_refused_with_the_nearest_name() -> None:
    scorers = world(20).scorers
    with pytest.raises(BadRequestError, match=r'unknown scorer in the fusion "netwrk" \(did you'):
        recommend(scorers, [ServingParams({"netwrk": 1.0})], k=5)


def test_the_network_is_refused_where_there_is_none() -> None:
    scorers = dataclasses.replace(world(21).scorers, networks={})
    with pytest.raises(BadRequestError, match=r'"network".*known: a, b$'):
        recommend(scorers, [ServingParams({"a": 0.5, "network": 0.5})], k=5)
    lists, _ = recommend(scorers, [ServingParams({"a": 1.0, "network": 0.0})], k=5)
    assert (lists >= 0).all()


@pytest.mark.parametrize("fusion", [{}, {"a": 0.0}, {"a": 0.0, "network": 0.0}])
def test_a_fusion_of_nothing_is_refused(fusion: dict[str, float]) -> None:
    with pytest.raises(BadRequestError, match="fusion weights must not all be 0"):
        recommend(world(22).scorers, [ServingParams(), ServingParams(fusion)], k=5)


def test_several_networks_are_fused_by_their_weights() -> None:
    """Each is standardised alone: as the weighted sum of what each would give alone."""
    first, second = world(31), world(32)
    base = dataclasses.replace(first.scorers, networks={})
    both = base.with_networks(
        {"f1": said(first.relevance, first.liked), "f2": said(second.relevance, second.liked)}
    )
    fusion = {"f1": 0.5, "f2": 0.2, "a": 0.3}
    found = policy.fused_scores(both, ServingParams(fusion, exponents={"liked": 0.7}), slice(None))
    alone = {
        name: policy.fused_scores(
            both, ServingParams({name: 1.0}, exponents={"liked": 0.7}), slice(None)
        )
        for name in fusion
    }
    expected = sum(weight * alone[name] for name, weight in fusion.items())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not np.allclose(alone["f1"], alone["f2"], atol=0.1, equal_nan=True)
