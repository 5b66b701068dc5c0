"""Search as a system: graded NDCG, BM25, the loss, and that a fit learns what words do not say."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from tiny_systems import systems_config

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.row_audit import RowAudit
from pareto_rec.data.table.rows import Rows
from pareto_rec.experiment.config.systems import RankSystem
from pareto_rec.systems.lexical import match
from pareto_rec.systems.rank import Lists, Pairs, Search, gains, graded_ndcg, standard
from pareto_rec.systems.spec import Shared

SHARED = Shared(width=6, rows=8, steps=10, check_every=5, device=torch.device("cpu"))


def search_of(folder: Path, *changes: str) -> Search:
    [section] = [one for one in systems_config(folder, *changes).system if one.name == "search"]
    assert isinstance(section, RankSystem)
    return Search(section)


@pytest.mark.parametrize("ties", [False, True])
def test_graded_ndcg_is_that_of_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(4)
    grade = rng.integers(0, 4, (50, 9)).astype(float)
    scores = rng.normal(size=(50, 9))
    if ties:
        scores = scores.round(0)
    for k in (1, 3, 10):
        expected = [ndcg_score(gains(grade[n : n + 1]), scores[n : n + 1], k=k) for n in range(50)]
        np.testing.assert_allclose(graded_ndcg(scores, grade, k), expected, atol=1e-12)


def test_what_pads_a_list_has_no_say() -> None:
    grade, scores = np.array([[3.0, 0.0, 1.0]]), np.array([[0.1, 0.9, 0.5]])
    padded = [np.hstack([of, [[np.nan, np.nan]]]) for of in (scores, grade)]
    np.testing.assert_allclose(graded_ndcg(*padded, 10), graded_ndcg(scores, grade, 10))
    np.testing.assert_allclose(np.nanmean(standard(padded[0])), 0.0, atol=1e-12)


def test_bm25_is_robertsons_formula_with_the_idf_of_lucene() -> None:
    items = ["red steel bracket", "steel angle", "angle bracket angle zinc", "blue paint"]
    queries = ["angle bracket", "green", ""]
    query, item = np.repeat([0, 1, 2], 4), np.tile(np.arange(4), 3)
    found = match(queries, items, query, item)
    words = [Counter(text.split()) for text in items]
    length = [sum(one.values()) for one in words]
    mean, k1, b = np.mean(length), 1.5, 0.75
    for row, (q, i) in enumerate(zip(query, item, strict=True)):
        total = 0.0
        for word in queries[q].split():
            holding = sum(word in one for one in words)
            if not holding:
                continue
            idf = math.log(1 + (len(items) - holding + 0.5) / (holding + 0.5))
            times = words[i][word]
            total += idf * times / (times + k1 * (1 - b + b * length[i] / mean))
        assert found[row, 0] == pytest.approx(total, abs=1e-5), (queries[q], items[i])
    assert found[:4, 1].tolist() == [0.5, 0.5, 1.0, 0.0]
    assert not found[4:, :2].any()


def test_pairs_that_are_judged_twice_count_by_their_mean() -> None:
    texts = {
        "query": ("b", "a", "b", "b"),
        "item": ("1", "1", "1", "2"),
        "text": ("one", "one", "one", "two"),
    }
    pairs = Pairs.of(Rows(texts, {"grade": np.array([1.0, 2.0, 3.0, 1.0])}, RowAudit()))
    assert pairs.queries == ("a", "b")
    assert pairs.items == ("one", "two")
    rows = list(zip(pairs.query.tolist(), pairs.item.tolist(), pairs.grade.tolist(), strict=True))
    assert rows == [(0, 0, 1.0), (1, 0, 1.0), (1, 1, 0.0)]  # grades count from the lowest
    lists = Lists.of(pairs, np.arange(3))  # a query with a single item says nothing of order
    assert lists.query.tolist() == [1]
    assert lists.pair.tolist() == [[1, 2]]


def test_queries_of_one_part_are_in_no_other(systems_folder: Path) -> None:
    search = search_of(systems_folder)
    names = [
        {search.pairs.query[n] for n in getattr(search.parts, part)}
        for part in ("train", "validation", "test")
    ]
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & names[2]
    assert search.account["pairs"] == len(search.pairs.query)
    by_item = search_of(systems_folder, 'system.1.split.by="item"')
    items = [
        {by_item.pairs.item[n] for n in getattr(by_item.parts, part)}
        for part in ("train", "validation")
    ]
    assert not items[0] & items[1]
    assert by_item.key != search.key


def test_a_sample_of_queries_is_a_part_of_the_whole(systems_folder: Path) -> None:
    whole, few = search_of(systems_folder), search_of(systems_folder, "system.1.data.queries=9")
    assert len(few.pairs.queries) == 9
    assert set(few.pairs.queries) < set(whole.pairs.queries)


def test_a_head_learns_an_order_that_words_do_not_say(systems_folder: Path) -> None:
    """Vectors that say the grade of a pair: after some steps the order is nearly the best."""
    search = search_of(systems_folder)
    pairs, rng = search.pairs, np.random.default_rng(0)
    count = len(pairs.queries)
    vectors = rng.normal(size=(count + len(pairs.items), 6)).astype(np.float32)
    grade = (vectors[pairs.query] * vectors[count + pairs.item]).sum(1)
    object.__setattr__(pairs, "grade", (grade - grade.min()).astype(np.float32) / 4)
    learner = search.learner(SHARED, {"dropout": 0.0}, 3)
    texts = torch.from_numpy(vectors)
    optimiser = torch.optim.Adam(learner.params.values(), lr=0.05)
    before = learner.watch(texts)
    first = None
    for step in range(60):
        if step % 5 == 0:
            learner.draw(step)
        loss = learner.loss(step % 5, lambda rows: texts if rows is None else texts[rows])
        first = float(loss.detach()) if first is None else first
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert first == pytest.approx(1.0)
    assert learner.watch(texts) > before + 0.1
    head = {name: value.detach() for name, value in learner.params.items()}
    found = search.measure(head, SHARED, {}, texts, [{}, {"lexical_weight": 1.0}], ["ndcg@10"])
    assert found[0]["ndcg@10"] == pytest.approx(learner.watch(texts))
    assert found[1] == search.baselines(["ndcg@10"])["bm25"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('system.1.data.grade={column="grade", at_least=0}', "no query of the train part"),
        ('system.1.data.query="nothing"', 'has no column "nothing"'),
        ('system.1.data.grade="text"', "text is not a number"),
    ],
)
def test_pairs_that_say_nothing_are_refused(
    systems_folder: Path, change: str, message: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        search_of(systems_folder, change)
    assert message in str(caught.value)
