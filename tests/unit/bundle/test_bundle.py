"""A bundle in small: what it answers, and that answers are those of the code that searched."""

from __future__ import annotations

import dataclasses
import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from tiny_bundle import SERVINGS, described_stage, tiny_fit, tiny_parts

from pareto_rec.baselines import BASELINES
from pareto_rec.bundle import (
    Bundle,
    BundleData,
    NewItem,
    Recommendation,
    Recommended,
    Request,
    write_bundle,
)
from pareto_rec.bundle.check import Agreement, compare, verify_lists
from pareto_rec.bundle.files import read_manifest
from pareto_rec.bundle.memory import copies_of
from pareto_rec.bundle.prefer import achievement
from pareto_rec.bundle.scoring import known_people
from pareto_rec.bundle.types import Explanation
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.ranking import (
    NETWORK,
    Scorers,
    Similarity,
    fused_scores,
    recommend,
    standardise,
)
from pareto_rec.ranking.backends import TorchBackend, UserHistory
from pareto_rec.training.batches import last_items

pytestmark = pytest.mark.usefixtures("single_thread")

POINTS = list(SERVINGS)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> BundleData:
    return tiny_parts(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def folder(parts: BundleData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, parts)
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder)


def by_the_search(parts: BundleData, point: str, k: int) -> NDArray[np.int64]:
    """Lists of all users, with scores over the whole catalogue as an evaluator makes them."""
    stage, serving = described_stage(), SERVINGS[point]
    seen = np.zeros(stage.shape, dtype=bool)
    seen[stage.history.user, stage.history.item] = True
    met = torch.from_numpy(seen)
    experts = {
        name: standardise(torch.from_numpy(BASELINES[name].scores(stage)), met)
        for name in serving.fusion
        if name != NETWORK
    }
    known = np.log1p(stage.popularity)
    popularity = torch.from_numpy(((known - known.mean()) / known.std()).astype(np.float32))
    unit = torch.from_numpy(stage.items.categories)  # one category each: of length one already
    scorers = Scorers(experts, met, popularity, Similarity.of(unit))
    fit = parts.fits.get(parts.about.point(point).fit)
    if fit is not None:
        head = fit.head(torch.from_numpy(parts.vectors))
        said = head.scores(head.states(last_items(stage, fit.spec.history)))
        scorers = scorers.with_networks({NETWORK: said})
    return recommend(scorers, [serving], k=k)[0][0]


def why(item: Recommended) -> Explanation:
    assert item.explanation is not None
    return item.explanation


def ids(answer: Recommendation) -> list[str]:
    return [item.id for item in answer.items]


@pytest.mark.parametrize("point", POINTS)
def test_lists_are_those_of_the_search(bundle: Bundle, parts: BundleData, point: str) -> None:
    expected = by_the_search(parts, point, 5)
    assert len({tuple(row) for row in expected}) > 5
    np.testing.assert_array_equal(bundle.top(5, point), expected)


@pytest.mark.parametrize("point", POINTS)
def test_one_at_a_time_gives_what_a_batch_gives(bundle: Bundle, point: str) -> None:
    users = bundle.parts.users.ids
    together = bundle.recommend_many([Request(user, k=5, point=point) for user in users])
    table = bundle.parts.items.ids
    assert [ids(one) for one in together] == [
        [table[i] for i in row] for row in bundle.top(5, point)
    ]
    for user, one in list(zip(users, together, strict=True))[::7]:
        alone = bundle.recommend(user, k=5, point=point)
        assert ids(alone) == ids(one)
        for mine, other in zip(alone.items, one.items, strict=True):
            assert mine.score == pytest.approx(other.score, abs=1e-4)


def test_a_history_answers_as_the_user_who_has_it(bundle: Bundle) -> None:
    stage, table = described_stage(), bundle.parts.items.ids
    own = [table[i] for i in stage.history.item[stage.history.user == 3]]
    known = bundle.recommend("user 3", k=5)
    given = bundle.recommend(history=own, k=5)
    assert ids(given) == ids(known)
    assert (known.served_from, given.served_from) == ("user", "history")
    assert not set(ids(known)) & set(own)
    unknown = bundle.recommend("nobody", own, k=5)
    assert ids(unknown) == ids(known)
    assert unknown.notes == ('user "nobody" is not known', "answered from the history given")


def test_history_given_comes_after_that_of_a_known_user(bundle: Bundle) -> None:
    stage, table = described_stage(), bundle.parts.items.ids
    own = [table[i] for i in stage.history.item[stage.history.user == 3]]
    new = next(id_ for id_ in table if id_ not in own)
    more = bundle.recommend("user 3", [new], k=5)
    assert ids(more) == ids(bundle.recommend(history=[*own, new], k=5))
    assert more.served_from == "user"


@pytest.mark.parametrize("history", [None, [], ["no such item"]])
def test_without_a_history_the_most_popular_come_first(
    bundle: Bundle, history: list[str] | None
) -> None:
    answer = bundle.recommend("nobody", history, k=3, point="bb01")  # re-ranking is off
    best = np.argsort(-bundle.parts.popularity, kind="stable")[0]
    assert bundle.parts.popularity[best] == max(
        bundle.parts.popularity[bundle.parts.items.ids.index(id_)] for id_ in ids(answer)
    )
    counts = [bundle.parts.popularity[bundle.parts.items.ids.index(id_)] for id_ in ids(answer)]
    assert counts == sorted(bundle.parts.popularity, reverse=True)[:3]
    assert answer.served_from == "popularity"
    assert "no history to go by: the most popular items" in answer.notes


def test_an_unknown_item_is_left_out_and_named(bundle: Bundle) -> None:
    answer = bundle.recommend(history=["i1", "gone", "i2"], k=4)
    assert ids(answer) == ids(bundle.recommend(history=["i1", "i2"], k=4))
    assert answer.notes == ('left out of the history, not in the catalogue: "gone"',)


def test_an_unknown_item_with_a_text_is_read(bundle: Bundle) -> None:
    new = NewItem("new", text="the film of love (1995)")
    read = bundle.recommend(history=["i1", new], k=4, point="aa02", explain=True)
    assert read.notes == ("1 item(s) of the history were read from their text",)
    shares = {one.id for one in why(read.items[0]).history}
    assert shares == {"i1", "new"}
    added = bundle.with_items([new]).recommend(history=["i1", "new"], k=4, point="aa02")
    without = bundle.recommend(history=["i1"], k=4, point="aa02")
    scores = [[item.score for item in one.items] for one in (read, added, without)]
    # in the catalogue it is read the same, and is one more item that scores are standardised over
    assert ids(read) == ids(added)
    assert np.abs(np.subtract(scores[0], scores[2])).max() > 0.05


def test_experts_that_know_nothing_of_a_history_fall_back_on_popularity(bundle: Bundle) -> None:
    new = NewItem("new", text="the film of love (1995)")
    answer = bundle.recommend(history=[new], k=4, point="aa01", explain=True)
    assert answer.served_from == "history"
    said = "ease_recency: no item of the history is known to it, popularity stands in"
    assert said in answer.notes
    for item in answer.items:
        place = bundle.parts.items.ids.index(item.id)
        told = why(item)
        assert sum(told.scorers.values()) == pytest.approx(item.score, abs=1e-5)
        assert told.scorers["ease_recency"] == pytest.approx(
            0.4 * float(bundle.engine.builder.popularity[place]), abs=1e-6
        )
    added = bundle.with_items([new]).recommend(history=["new"], k=4, point="cc01")
    assert "ease_recency, item_knn_recency: no item" in added.notes[0]
    plain = bundle.recommend(history=["i1", new], k=4, point="aa01")
    assert not any("popularity" in note for note in plain.notes)


def test_experts_without_a_history_score_as_in_the_search(
    bundle: Bundle, parts: BundleData
) -> None:
    from pareto_rec.evaluation.scorers import UserScorers

    history = next(one for one in known_people(parts) if len(one.items))
    people = [UserHistory(np.empty(0, dtype=np.int64)), history]
    met = np.zeros((2, 24), dtype=np.float32)
    met[1, history.items] = 1
    starts, flat = np.array([0, 0, len(history.items)]), history.items
    experts = {name: one.score(starts, flat) for name, one in parts.experts.items()}
    counts = np.log1p(parts.popularity)
    facts = (
        parts.items.categories / np.linalg.norm(parts.items.categories, axis=1, keepdims=True),
        (counts / counts.max()).astype(np.float32),
        np.zeros(24, dtype=np.float32),
    )
    cpu = torch.device("cpu")
    searched = UserScorers(sparse.csr_array(met), experts, facts, np.arange(24), cpu)
    there = searched.take(slice(None)).experts
    here, _ = bundle.engine.of_point(people, "cc01")
    for name in ("ease_recency", "item_knn_recency"):
        torch.testing.assert_close(here.experts[name], there[name])
        assert torch.equal(here.experts[name][0], bundle.engine.builder.popularity)


def test_items_are_added_and_changed_in_a_bundle_of_their_own(bundle: Bundle) -> None:
    before = bundle.top(5)
    new = NewItem("new", text="love of war, the film", title="Neu", categories=("b",))
    changed = bundle.with_items([new, NewItem("i2", title="film (1995)")])
    table = changed.parts.items
    assert (len(table), table.ids[24], table.titles[24], table.texts[24]) == (
        25,
        "new",
        "Neu",
        new.text,
    )
    assert table.categories[24].tolist() == [0, 1, 0, 0]
    assert (table.titles[2], table.texts[2]) == ("film (1995)", "film (1995)")
    assert table.categories[2].tolist() == bundle.parts.items.categories[2].tolist()
    assert [i for i in range(24) if table.texts[i] != bundle.parts.items.texts[i]] == [2]
    everything = changed.recommend(history=["i1"], k=24)
    assert "new" in ids(everything)
    np.testing.assert_array_equal(bundle.top(5), before)
    assert len(bundle.parts.items) == 24
    again = changed.with_items([NewItem("newer", text="war")])
    assert again.parts.items.ids[-2:] == ("new", "newer")
    assert again.top(25).shape == (48, 25)


def test_a_changed_text_changes_what_networks_read_as_at_export(bundle: Bundle) -> None:
    other = bundle.parts.items.texts[5]
    changed = bundle.with_items([NewItem("i2", text=other)])
    np.testing.assert_allclose(changed.parts.vectors[2], bundle.parts.vectors[5], atol=1e-4)


@pytest.mark.parametrize(
    ("point", "exact"), [("aa01", True), ("aa02", True), ("cc01", True), ("bb01", False)]
)
def test_explanations_add_up_to_the_score(bundle: Bundle, point: str, exact: bool) -> None:
    for user in bundle.parts.users.ids[::9]:
        answer = bundle.recommend(user, k=5, point=point, explain=True)
        for item in answer.items:
            said = why(item)
            assert said.exact is exact
            assert sum(one.value for one in said.history) + said.rest == pytest.approx(
                item.score, abs=1e-4
            )
            assert sum(said.scorers.values()) == pytest.approx(item.score, abs=1e-4)
            assert max(abs(one.value) for one in said.history) > 0.01


def test_shares_of_ease_are_rows_of_its_matrix(parts: BundleData) -> None:
    """By hand: history weights times rows of B, centred and divided as the policy does."""
    ease = parts.experts["ease_recency"]
    serving = dict(parts.about.point("cc01").serving) | {"popularity_penalty": 0.0}
    changed = {"serving": serving, "members": {"ease_recency": 1.0}}
    point = parts.about.point("cc01").model_copy(update=changed)
    alone = Bundle.of(
        dataclasses.replace(
            parts, about=parts.about.model_copy(update={"points": [point], "default": "cc01"})
        )
    )
    answer = alone.recommend(history=["i4", "i9", "i5"], k=2, explain=True)
    assert isinstance(ease.weights, np.ndarray)
    weight = np.exp(-np.array([2, 1, 0]) / 7.0)  # tau of ease_recency
    rows = weight[:, None] * ease.weights[[4, 9, 5]].astype(np.float64)
    unseen = np.setdiff1d(np.arange(24), [4, 9, 5])
    scores = rows.sum(axis=0)
    for item in answer.items:
        place = parts.items.ids.index(item.id)
        wanted = (rows[:, place] - rows[:, unseen].mean(axis=1)) / scores[unseen].std()
        found = {one.id: one.value for one in why(item).history}
        assert [found[name] for name in ("i4", "i9", "i5")] == pytest.approx(wanted, abs=1e-5)


def test_an_explanation_says_what_re_ranking_did(bundle: Bundle) -> None:
    changes = 0
    for user in bundle.parts.users.ids[::3]:
        answer = bundle.recommend(user, k=4, explain=True)
        assert answer.reranking is not None
        places = [why(item).rank_before for item in answer.items]
        late = [item.title for item, place in zip(answer.items, places, strict=True) if place > 4]
        assert list(answer.reranking.brought_in) == late
        assert len(answer.reranking.left_out) == len(late)
        changes += len(late)
    assert changes > 0
    assert (answer.reranking.mmr, answer.reranking.depth) == (0.4, 15)


def test_a_preference_chooses_the_point(bundle: Bundle) -> None:
    assert bundle.choose(prefer={"ndcg@10": 1.0}) == "aa02"
    assert bundle.choose(prefer={"latency_p95": 1.0}) == "aa02"  # less is better
    assert bundle.recommend("user 1", prefer={"ndcg@10": 2.0, "latency_p95": 1}).point == "aa02"
    assert bundle.choose() == "aa01"
    assert bundle.choose("bb") == "bb01"  # the beginning of an id


def test_the_achievement_function_by_hand() -> None:
    values = np.array([[0.3, 0.0], [0.2, 0.6], [0.1, 1.0]])
    even = achievement(values, [1, 1], maximise=[True, True])
    # losses over ranges: (0, 1), (.5, .4), (1, 0); halved; the largest plus a thousandth of the sum
    assert even == pytest.approx([0.5 + 0.0005, 0.25 + 0.00045, 0.5 + 0.0005])
    first = achievement(values, [0.9, 0.1], maximise=[True, True])
    assert int(first.argmin()) == 0
    down = achievement(values, [1, 1], maximise=[True, False])
    assert int(down.argmin()) == 0
    assert achievement(values[:1], [1, 1], maximise=[True, True]) == pytest.approx([0.0])


def test_the_front_is_told(bundle: Bundle) -> None:
    rows = bundle.front()
    assert [row["id"] for row in rows] == POINTS
    assert rows[3]["objectives"] == {"ndcg@10": 0.1, "latency_p95": 0.9}
    assert [row["default"] for row in rows] == [True, False, False, False]
    json.dumps(rows)
    assert bundle.objectives == ["ndcg@10", "latency_p95"]
    assert len(bundle.version) == 16


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(), "give a user or a history"),
        (Request("user 1", k=0), "k = 0 must be a whole number from 1 to 24"),
        (Request("user 1", k=25), "k = 25 must be"),
        (Request("user 1", point="zz"), 'unknown point of the bundle "zz"'),
        (Request("user 1", point="aa"), 'unknown point of the bundle "aa"'),
        (Request("user 1", prefer={"ndgc@10": 1}), 'did you mean "ndcg@10"'),
        (Request("user 1", prefer={"ndcg@10": -1}), "must be a number of at least 0"),
        (Request("user 1", prefer={"ndcg@10": float("nan")}), "must be a number of at least 0"),
        (Request("user 1", prefer={"ndcg@10": 0}), "at least one objective a weight above 0"),
        (Request("user 1", prefer={}), "at least one objective a weight above 0"),
        (Request("user 1", point="aa01", prefer={"ndcg@10": 1}), "point or prefer, not both"),
        (Request(history="i1,i2"), "a list of item ids, not one text"),
    ],
)
def test_a_wrong_request_is_one_line(bundle: Bundle, request_: Request, says: str) -> None:
    with pytest.raises(BadRequestError, match=r"\A[^\n]*\Z") as caught:
        bundle.recommend_many([Request("user 2"), request_])
    assert says in str(caught.value)


def test_wrong_items_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BadRequestError, match="needs an id and a text"):
        bundle.with_items([NewItem("x")])
    with pytest.raises(BadRequestError, match='unknown category of item "x" "horror"'):
        bundle.with_items([NewItem("x", "war", categories=("horror",))])
    with pytest.raises(BadRequestError, match="this bundle has no form"):
        Bundle.load(bundle.folder or "", form="int8")


def test_few_items_left_are_said(bundle: Bundle) -> None:
    answer = bundle.recommend(history=[f"i{n}" for n in range(21)], k=5)
    assert sorted(ids(answer)) == ["i21", "i22", "i23"]
    assert "only 3 items are left that are not in the history" in answer.notes


def test_an_answer_is_json(bundle: Bundle) -> None:
    plain = bundle.recommend("user 1", k=2).to_json()
    assert list(plain["items"][0]) == ["id", "title", "score"]
    assert "reranking" not in plain
    told = json.loads(json.dumps(bundle.recommend("user 1", k=2, explain=True).to_json()))
    assert told["items"][0]["explanation"]["history"][0]["value"]


def test_json_of_an_answer_has_every_field(bundle: Bundle) -> None:
    told = bundle.recommend("user 1", k=2, explain=True)
    whole = dataclasses.asdict(told)
    assert json.dumps(told.to_json()) == json.dumps(whole)
    assert told.to_json()["notes"] == []


def test_serving_variables_are_read_once_for_each_point(bundle: Bundle) -> None:
    parts = dataclasses.replace(bundle.parts)
    assert parts.serving("aa01") is parts.serving("aa01")
    fused = {"causal": 0.5, "item_knn_recency": 0.5}  # the network by the id of its fit
    expected = dataclasses.replace(SERVINGS["bb01"], fusion=fused)
    assert parts.serving("bb") == expected == parts.serving("bb01")
    for name, fits in (("aa01", ("attention",)), ("bb", ("causal",)), ("cc01", ())):
        assert parts.networks(name) == fits
    assert set(parts._resolved) == {"aa01", "bb01", "cc01"}  # no more than there are points


def test_a_point_may_fuse_several_networks(parts: BundleData) -> None:
    """Its members are fused by their weights, whatever the fit of its record; shares add up."""
    weights = {"attention": 0.5, "causal": 0.3, "ease_recency": 0.2}
    point = parts.about.point("aa01").model_copy(update={"members": weights})
    about = parts.about.model_copy(update={"points": [point], "default": "aa01"})
    both = Bundle.of(dataclasses.replace(parts, about=about))
    answer = both.recommend("user 1", k=4, explain=True)
    assert set(why(answer.items[0]).scorers) == {*weights, "popularity_penalty"}
    for item in answer.items:
        assert sum(why(item).scorers.values()) == pytest.approx(item.score, abs=1e-4)
    people, heads = known_people(parts), both.engine.form
    assert isinstance(heads, TorchBackend)
    listed = [parts.items.ids.index(item.id) for item in answer.items]
    of_user = people[parts.users.ids.index("user 1")]
    factors = [
        heads.network(name, [of_user], ["liked"]).tasks["liked"][0].exp()[listed]
        for name in ("attention", "causal")
    ]
    for item, first, second in zip(answer.items, *factors, strict=True):
        mean = 0.5 / 0.8 * float(first) + 0.3 / 0.8 * float(second)
        assert why(item).tasks["liked"] == pytest.approx(mean, abs=1e-5)
    scorers, serving = both.engine.of_point(people, "aa01")
    assert serving.fusion == weights
    alone = []
    for name, weight in weights.items():
        only = dataclasses.replace(serving, fusion={name: 1.0}, popularity_penalty=0.0)
        alone.append(weight * fused_scores(scorers, only, slice(None)))
    plain = dataclasses.replace(serving, popularity_penalty=0.0)
    np.testing.assert_allclose(fused_scores(scorers, plain, slice(None)), sum(alone), atol=1e-4)


def test_the_encoder_is_in_the_layout_of_transformers(folder: Path, parts: BundleData) -> None:
    import transformers

    loaded = transformers.AutoModel.from_pretrained(folder / "backbone")
    first = transformers.AutoModel.from_pretrained(parts.backbone)
    for mine, other in zip(loaded.parameters(), first.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert transformers.AutoTokenizer.from_pretrained(folder / "backbone")("war")["input_ids"]


def test_parts_come_back_as_they_were_written(
    folder: Path, parts: BundleData, bundle: Bundle
) -> None:
    back = bundle.parts
    assert (back.about, back.config, back.users) == (parts.about, parts.config, parts.users)
    assert back.items.texts == parts.items.texts
    for name in ("features", "vectors", "mean", "loadings", "part"):
        np.testing.assert_array_equal(getattr(back, name), getattr(parts, name))
    assert back.train.content_hash == described_stage().train.content_hash
    assert back.validation.content_hash == described_stage().held_out.content_hash
    for name, fit in parts.fits.items():
        assert back.fits[name].spec == fit.spec
        assert all(torch.equal(back.fits[name].params[n], part) for n, part in fit.params.items())
    with pytest.raises(BadRequestError, match="exists and is not empty; give another --to"):
        write_bundle(folder, parts)


def test_the_card_says_what_it_must(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: pareto_rec\n")
    for heading in (
        "Intended use",
        "Data",
        "Objectives",
        "The front",
        "How it was chosen",
        "Limits",
    ):
        assert f"\n## {heading}\n" in card
    assert "| cc01 | 0.1000 | 0.9000 |" in card
    assert "latency_p95 (less is better)" in card


def test_processes_share_what_one_of_them_has_read(folder: Path) -> None:
    """Arrays are mapped from memory that another process holds; the folder is not needed."""
    if not Path("/proc/self/maps").is_file():
        pytest.skip("this system does not tell what is mapped")
    copies = copies_of(read_manifest(folder))
    asked = [sys.executable, "-c", SHARED, str(folder), copies.to_json()]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=120)
    copies.close()
    assert said.returncode == 0, said.stderr
    mapped = json.loads(said.stdout)
    for name in ("experts.safetensors", "items.safetensors"):
        assert [f"memfd:pareto-rec {name} (deleted)" in path for path in mapped[name]] == [True]
    assert mapped["lists"] == Bundle.load(folder).top(5).tolist()


SHARED = """
import json, sys
from pathlib import Path
from pareto_rec.bundle import Bundle
from pareto_rec.bundle.memory import Copies
bundle = Bundle.load(sys.argv[1], copies=Copies.from_json(sys.argv[2]))
spans = []
for line in Path("/proc/self/maps").read_text().splitlines():
    fields = line.split(maxsplit=5)
    low, high = (int(part, 16) for part in fields[0].split("-"))
    spans.append((low, high, fields[-1]))
arrays = {
    "experts.safetensors": bundle.parts.experts["ease_recency"].weights,
    "items.safetensors": bundle.parts.features,
}
found = {}
for name, array in arrays.items():
    address = array.__array_interface__["data"][0]
    found[name] = [path for low, high, path in spans if low <= address < high]
print(json.dumps({**found, "lists": bundle.top(5).tolist()}))
"""


def test_lists_that_differ_by_more_than_rounding_are_told_apart() -> None:
    lists = np.array([[1, 2], [3, 4], [5, 6]])
    scores = np.array([[2.0, 1.0], [2.0, 1.99999], [2.0, 1.0]], dtype=np.float32)
    swapped = np.array([[1, 2], [4, 3], [5, 7]])
    other = np.array([[2.0, 1.0], [2.0, 1.99999], [2.0, 0.9]], dtype=np.float32)
    assert compare((lists, scores), (lists, scores)) == Agreement(3, 0, 0)
    assert compare((lists, scores), (swapped, other)) == Agreement(3, 2, 1)
    assert Agreement(3, 2, 1).same == pytest.approx(1 / 3)


def test_a_bundle_whose_lists_are_others_is_refused(parts: BundleData) -> None:
    """The evaluator gives lists of another head than the bundle's."""
    other = dict(parts.fits) | {"attention": tiny_fit("attention_pooling", 9)}
    stage = described_stage()

    class Searched:
        def __init__(self) -> None:
            self.stage, self.engine = (
                stage,
                Bundle.of(dataclasses.replace(parts, fits=other)).engine,
            )
            names = ("ease_recency", "item_knn_recency")
            people = known_people(parts)
            self.with_fits = lambda fits: self.engine.scorers(
                people, names, {fit_id: fit.shape.tasks for fit_id, fit in fits.items()}
            )

    with pytest.raises(RunFailedError, match=r"lists of point aa01 are not the run's: \d+ of 48"):
        verify_lists(Bundle.of(parts), Searched(), 5)  # type: ignore[arg-type]  # what is asked of it


def test_what_a_service_has_loaded_is_left_out_of_garbage_collection() -> None:
    from pareto_rec.serve.service import freeze_loaded

    try:
        freeze_loaded()
        assert gc.get_freeze_count() > 10_000  # torch alone has more
    finally:
        gc.unfreeze()
