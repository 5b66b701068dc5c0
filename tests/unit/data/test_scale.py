"""Large data in parts: samples of users, scores on demand, made-up logs, features by blocks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toy_learning import next_item_stage

from pareto_rec.baselines import ItemKNN, expert_scores, knn, scores_on_demand
from pareto_rec.core.errors import BadRequestError
from pareto_rec.data import synth
from pareto_rec.data.sample import sample_users, users_to_ask
from pareto_rec.data.schema import Stage, Users
from pareto_rec.data.synth import Recipe, World, write
from pareto_rec.evaluation import scorers as sources
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.inputs import CandidateVariables, EvaluationData
from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.execution.per_user import measured_of
from pareto_rec.experiment.extent import limited_by_size
from pareto_rec.objectives import parse
from pareto_rec.ranking import BlockwiseScorers, Scorers
from pareto_rec.ranking import lists as policy
from pareto_rec.search import Trial
from pareto_rec.search.space import (
    Candidate,
    Choice,
    Real,
    SearchSpace,
    Simplex,
)
from pareto_rec.tasks import built_in
from pareto_rec.training import item_features as facts
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.item_features import Projection, principal_components

pytestmark = pytest.mark.usefixtures("single_thread")

STAGE = next_item_stage()
FIXED = {
    "width": 8, "history": 6, "heads": 2, "steps": 20, "batch": 16, "check_every": 10,
    "loss_weights": {"softmax": 1.0},
}  # fmt: skip
SPACE = SearchSpace(
    train={"learning_rate": Real(1e-3, 0.1, log=True)},
    serve={
        "fusion": Simplex(("network", "ease", "item_knn")),
        "mmr": Real(0.0, 0.9),
        "liked_exponent": Real(0.0, 1.0),
    },
)
NAMES = ("ndcg@10", "ild@10", "auc", "coverage@10", "worst(ndcg@10 by gender)")


def evaluator(folder: Path, stage: Stage = STAGE, **other: Any) -> Evaluator:
    """An evaluator of a stage with two experts; keywords replace parts."""
    rng = np.random.default_rng(2)
    parts: dict[str, Any] = {
        "experts": expert_scores(["ease", "item_knn"], stage, folder),
        "fixed": FIXED,
        "space": SPACE,
        **other,
    }
    return Evaluator(
        EvaluationData(
            stage,
            rng.normal(size=(len(stage.items), 12)).astype(np.float16),
            parts["experts"],
            "watched",
            learn=parts.get("learn"),
        ),
        CandidateVariables(parts["space"], parts["fixed"], tasks=built_in("liked", ())),
        ObjectiveSet(tuple(parse(name) for name in NAMES[:3]), tuple(map(parse, NAMES[3:]))),
        train=SimpleNamespace(pack_size=4, device="cpu"),
        store=FitStore(folder / "fits", "toy"),
        seed=1,
    )


def trial() -> Trial:
    serves = [{"fusion": (1 - 2 * s, s, s), "mmr": s, "liked_exponent": s} for s in (0.0, 0.2, 0.4)]
    return Trial(0, 0, 0, tuple(Candidate({"learning_rate": 0.03}, serve) for serve in serves))


# ---------------------------------------------------------------- in parts


def test_evaluation_in_parts_is_evaluation_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluator(tmp_path / "whole")
    assert isinstance(whole.scorers, Scorers)
    expected = whole.evaluate([trial()])
    monkeypatch.setattr(sources, "WHOLE_ELEMENTS", 10)
    monkeypatch.setattr(policy, "PART_ELEMENTS", 7 * len(STAGE.items))
    monkeypatch.setattr("pareto_rec.training.data.LOOK_SCORES", 5 * len(STAGE.items))
    scores = scores_on_demand(["ease", "item_knn"], STAGE, tmp_path)
    small = evaluator(tmp_path / "parts", experts=scores)
    assert isinstance(small.scorers, BlockwiseScorers)
    for one, other in zip(small.evaluate([trial()]), expected, strict=True):
        assert one.status == "ok"
        assert one.objectives.keys() == other.objectives.keys()
        for name, value in other.objectives.items():
            assert one.objectives[name] == pytest.approx(value, abs=1e-6), name
    [(_, (values, _))] = measured_of(small, expected[1:2], tmp_path)
    assert np.nanmean(values["ndcg@10"]) == pytest.approx(expected[1].objectives["ndcg@10"])


def test_some_users_can_be_taken_from_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluator(tmp_path).scorers
    monkeypatch.setattr(sources, "WHOLE_ELEMENTS", 10)
    parts = evaluator(tmp_path).scorers
    users = torch.tensor([40, 3, 3])
    one, other = whole.take(users), parts.take(users)
    assert torch.equal(one.seen, other.seen)
    for name, scores in one.experts.items():
        torch.testing.assert_close(other.experts[name], scores)


def test_a_reference_policy_needs_all_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = dataclasses.replace(SPACE, train={"reference": Choice(("ease", "popularity"))})
    monkeypatch.setattr(sources, "WHOLE_ELEMENTS", 10)
    with pytest.raises(BadRequestError, match='"ease" needs the scores of all 48 users'):
        evaluator(tmp_path, space=space)


def test_scores_on_demand_are_those_on_disk(tmp_path: Path) -> None:
    names = ["ease_recency", "item_knn_recency", "popularity"]
    stored = expert_scores(names, STAGE, tmp_path)
    for _ in range(2):  # fitted, then read back
        made = scores_on_demand(names, STAGE, tmp_path)
        for name in names:
            np.testing.assert_allclose(made[name][5:9], stored[name][5:9], rtol=1e-6)
            chosen = np.array([40, 2])
            np.testing.assert_allclose(made[name][chosen], stored[name][chosen], rtol=1e-6)
    weights = made["item_knn_recency"].model.weights
    assert not weights.data.flags.owndata  # type: ignore[union-attr]  # mapped from disk


def test_scores_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = expert_scores(["ease"], STAGE, tmp_path / "whole")["ease"]
    monkeypatch.setattr("pareto_rec.baselines.cache.PART_SCORES", 5 * len(STAGE.items))
    parts = expert_scores(["ease"], STAGE, tmp_path / "parts")["ease"]
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_projections_by_blocks_are_projections_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).normal(size=(101, 9)).astype(np.float16) * np.arange(1, 10)
    expected = {count: principal_components(features, count) for count in (0, 4)}
    monkeypatch.setattr(facts, "BLOCK", 25)
    for count, values in expected.items():
        np.testing.assert_allclose(principal_components(features, count), values, atol=1e-5)
        assert Projection.of(features, count)(features[:3]).shape == values[:3].shape


# ---------------------------------------------------------------- samples of users


def test_a_sample_keeps_the_drawn_users_rows_and_names() -> None:
    sample = sample_users(STAGE, 12, seed=3)
    assert sample.shape == (12, len(STAGE.items))
    assert sample.content_hash != STAGE.content_hash
    for place, name in enumerate(sample.users.ids):
        old = STAGE.users.ids.index(name)
        assert sample.users.attributes["gender"][place] == STAGE.users.attributes["gender"][old]
        for part in ("train", "history", "held_out"):
            mine, all_ = getattr(sample, part), getattr(STAGE, part)
            np.testing.assert_array_equal(
                mine.item[mine.user == place], all_.item[all_.user == old]
            )
    assert sample.history is sample.train


def test_who_is_drawn_does_not_depend_on_numbering_and_has_something_held_out() -> None:
    order = np.random.default_rng(0).permutation(len(STAGE.users))
    place = np.argsort(order)

    def moved(rows: Any) -> Any:
        again = dataclasses.replace(rows, user=place[rows.user])
        return again.take(np.argsort(again.user, kind="stable"))

    users = Users(tuple(STAGE.users.ids[i] for i in order), {})
    held = STAGE.held_out.take(np.flatnonzero(STAGE.held_out.user % 2 == 0))
    plain = dataclasses.replace(STAGE, held_out=held)
    train = moved(STAGE.train)
    other = dataclasses.replace(
        plain, train=train, history=train, held_out=moved(held), users=users
    )
    names = set(sample_users(plain, 20, seed=1).users.ids)
    assert names == set(sample_users(other, 20, seed=1).users.ids)
    assert names != set(sample_users(plain, 20, seed=2).users.ids)
    assert names <= {f"user {n}" for n in range(0, 48, 2)}


def test_small_stages_are_asked_whole() -> None:
    assert sample_users(STAGE, 48, seed=0) is STAGE
    assert users_to_ask(STAGE, 0) == 48
    assert users_to_ask(STAGE, 10) == 10
    large: Any = SimpleNamespace(shape=(2_000_000, 50_000))
    assert users_to_ask(large, 0) == 2_000
    assert users_to_ask(SimpleNamespace(shape=(2_000_000, 10**6)), 0) == 500  # type: ignore[arg-type]
    with pytest.raises(BadRequestError, match="at least one user"):
        sample_users(STAGE, 0, seed=0)


def test_a_sampled_evaluator_learns_from_everybody(tmp_path: Path) -> None:
    asked = sample_users(STAGE, 10, seed=0)
    experts = expert_scores(["ease", "item_knn"], asked, tmp_path, learn=STAGE)
    one = evaluator(tmp_path, asked, experts=experts, learn=STAGE)
    assert len(one.data.sequences.items) == len(STAGE.train)
    assert one.data.histories.shape[0] == 10
    np.testing.assert_array_equal(one.measuring.catalogue.popularity, STAGE.popularity)
    full = expert_scores(["ease"], STAGE, tmp_path)["ease"]
    drawn = [STAGE.users.ids.index(name) for name in asked.users.ids]
    np.testing.assert_allclose(experts["ease"], full[drawn], rtol=1e-5)
    assert {record.status for record in one.evaluate([trial()])} == {"ok"}


def test_what_is_limited_by_size_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = SimpleNamespace(
        experts=("ease_recency", "item_knn"),
        config=SimpleNamespace(sample=SimpleNamespace(users=0, items=0)),
    )
    ready: Any = SimpleNamespace(stage=sample_users(STAGE, 10, seed=0))
    assert limited_by_size(made, STAGE, ready) == {
        "evaluated users": "a seeded sample of 10 out of 48"
    }
    monkeypatch.setattr("pareto_rec.baselines.ease.MAX_ITEMS", 20)
    said = limited_by_size(made, STAGE, SimpleNamespace(stage=STAGE))  # type: ignore[arg-type]
    assert list(said) == ["expert ease_recency"]
    assert "24 items are more than the 20" in said["expert ease_recency"]


# ---------------------------------------------------------------- experts


def test_long_histories_are_cut_only_where_pairs_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lengths 1, 2, 6: 41 pairs in all; cut to 3 rows they are 14."""
    user = np.repeat([0, 1, 2], [1, 2, 6])
    rows = dataclasses.replace(
        STAGE.train, user=user, item=np.arange(9), time=np.arange(9), signals={}
    )
    assert knn.shortened(rows, 3) is rows
    monkeypatch.setattr(knn, "SHORTEST_CUT", 2)
    monkeypatch.setattr(knn, "MAX_PAIRS", 10)
    np.testing.assert_array_equal(knn.shortened(rows, 3).item, [0, 1, 2, 7, 8])
    monkeypatch.setattr(knn, "MAX_PAIRS", 41)
    assert len(knn.shortened(rows, 3)) == 9


def test_blocks_of_items_do_not_change_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ItemKNN(3).fit(STAGE.train, STAGE.shape).weights
    monkeypatch.setattr(knn, "BLOCK_PAIRS", 1)
    found = ItemKNN(3).fit(STAGE.train, STAGE.shape).weights
    np.testing.assert_array_equal(found.toarray(), expected.toarray())  # type: ignore[union-attr]


# ---------------------------------------------------------------- made-up logs

RECIPE = Recipe(users=300, items=400, interactions=9_000, seed=4)


def table(path: Path) -> dict[str, np.ndarray]:
    from pyarrow import csv, parquet

    read = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    return {name: read[name].to_numpy(zero_copy_only=False) for name in read.column_names}


@pytest.mark.parametrize("form", synth.FORMATS)
def test_a_made_up_log_is_what_was_asked_for(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "PARTS", {"interactions": 2_000, "items": 150, "users": 170})
    made = write(RECIPE, tmp_path, form)
    rows, items, users = (table(made[name]) for name in ("interactions", "items", "users"))
    assert (len(rows["user_id"]), len(items["item_id"]), len(users["user_id"])) == (9_000, 400, 300)
    pairs = rows["user_id"] * 400 + rows["item_id"]
    assert len(np.unique(pairs)) == 9_000
    assert set(rows["rating"].tolist()) <= {1, 2, 3, 4, 5}
    same = np.diff(rows["user_id"]) == 0
    assert (np.diff(rows["timestamp"])[same] > 0).all()
    assert np.bincount(rows["user_id"], minlength=300).min() >= synth.FEWEST_ROWS
    assert all(set(one.split("|")) <= set(synth.CATEGORIES) for one in items["categories"])
    assert len(set(items["title"])) == 400
    assert json.loads((tmp_path / "recipe.json").read_text())["interactions"] == 9_000


def test_popularity_and_activity_have_long_tails_and_tastes_show() -> None:
    world = World(Recipe(users=2_000, items=3_000, interactions=60_000))
    parts = list(world.rows())
    item, user = (np.concatenate([one[name] for one in parts]) for name in ("item_id", "user_id"))
    counts = np.sort(np.bincount(item, minlength=3_000))[::-1]
    assert counts[:300].sum() > 0.4 * counts.sum()  # a tenth of the items, over 40 % of the rows
    lengths = np.bincount(user)
    assert lengths.max() > 5 * np.median(lengths)
    own = (world.tastes[user] == world.category[item][:, None]).any(1).mean()
    assert own > 0.5  # three of twenty categories by chance: .15


def test_equal_seeds_make_equal_logs() -> None:
    one, two, other = (list(World(dataclasses.replace(RECIPE, seed=s)).rows()) for s in (4, 4, 5))
    assert all(np.array_equal(a["item_id"], b["item_id"]) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0]["item_id"], other[0]["item_id"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"interactions": 100}, r"--interactions is 100; it must be 900 or more"),
        ({"interactions": 300 * 101}, "are too many: 300 users may meet 100 of 400 items each"),
        ({"items": 3}, "--items is 3; it must be 20 or more"),
        ({"users": 0}, "--users is 0"),
    ],
)
def test_what_cannot_be_made_is_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        dataclasses.replace(RECIPE, **change).check()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="write parquet or csv"):
        write(RECIPE, tmp_path, "xlsx")
    assert not list(tmp_path.iterdir())
