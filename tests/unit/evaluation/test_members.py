"""Points of several fits: shares of the fits, mean predictions, and lists rebuilt from records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from evaluator_world import SPACE, evaluator, trial
from several_fits import fused_record

from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.members import fit_shares
from pareto_rec.evaluation.task_predictions import mean_predictions, weighted_mean
from pareto_rec.execution import lists, per_user
from pareto_rec.execution.summary import front_rows
from pareto_rec.objectives import Predicted
from pareto_rec.ranking import ServingParams, recommend
from pareto_rec.runs.record import Record, fit_ids, joined, without_fits
from pareto_rec.search import Goal

pytestmark = pytest.mark.usefixtures("single_thread")

WEIGHTS = (0.1, 0.2, 0.3, 0.4)
GOALS = (Goal("ndcg@10", True, 0.0), Goal("ild@10", True, 0.0))


def trained(folder: Path) -> tuple[Evaluator, list[str]]:
    """An evaluator with four stored fits, and their ids."""
    made = evaluator(folder)
    trials = [trial(index, rate=0.01 * (1 + index)) for index in range(4)]
    records = made.evaluate(trials)
    return made, sorted({record.fit for record in records})


def test_shares_are_weights_among_the_fits_alone() -> None:
    fused = ServingParams({"a": 0.1, "b": 0.3, "c": 0.0, "ease": 0.6})
    assert fit_shares({"a", "b", "c"}, fused) == {
        "a": pytest.approx(0.25),
        "b": pytest.approx(0.75),
    }
    assert fit_shares({"a"}, fused) == {"a": 1.0}
    assert fit_shares({"c", "d"}, fused) == {"c": 1.0}  # the one that is named, without a weight
    assert fit_shares((), fused) == fit_shares({"d"}, fused) == {}


def test_predictions_of_several_fits_are_their_weighted_mean() -> None:
    rows = np.arange(3)
    true = np.array([1.0, 0.0, 1.0], dtype=np.float32)

    def of(*values: float) -> Predicted:
        return Predicted(rows, np.array(values, dtype=np.float32), true, rows)

    one, other = of(0.2, 0.4, 1.0), of(0.6, 0.0, 0.5)
    found = mean_predictions({"a": (0.25, {"liked": one}), "b": (0.75, {"liked": other})})
    np.testing.assert_allclose(found["liked"].predicted, [0.5, 0.1, 0.625], atol=1e-7)
    assert found["liked"].predicted.dtype == np.float32
    np.testing.assert_array_equal(found["liked"].true, true)
    # who has no such task does not count
    found = mean_predictions({"a": (0.25, {"liked": one}), "b": (0.75, {"rating": other})})
    assert found["liked"] is one
    assert found["rating"] is other
    assert mean_predictions({}) == {}
    halves = [(0.1, np.array([1.0], np.float32)), (0.1, np.array([0.0], np.float32))]
    assert weighted_mean(halves) == pytest.approx(0.5)  # shares need not add up to 1


def test_a_record_names_its_fits() -> None:
    assert joined(["b", "a", "b"]) == "a+b"
    assert fit_ids("a+b") == ("a", "b")
    assert joined([]) == "experts"
    assert fit_ids("experts") == ()
    serve = {"fusion": {"a": 0.2, "ease": 0.5, "b": 0.3}, "mmr": 0.1}
    assert without_fits(serve, "a+b") == {
        "fusion": {"network": 0.5, "ease": 0.5}, "mmr": 0.1
    }  # fmt: skip
    assert without_fits({"fusion": [0.2, 0.8]}, "a") == {"fusion": [0.2, 0.8]}


def test_lists_of_a_record_of_several_fits_are_made_again(tmp_path: Path) -> None:
    made, fits = trained(tmp_path)
    weights = {**dict(zip(fits, WEIGHTS, strict=True)), "popular": 0.2}
    record = fused_record(made, weights, mmr=0.3, popularity_penalty=0.1)
    assert record.fit == "+".join(fits)
    assert record.members == weights
    assert Record.from_json(record.to_json()) == record
    scorers, settings, found = made.fused([record])
    assert sorted(found) == fits
    stored = {name: made.store.get(name) for name in fits}
    by_hand = made.with_fits({name: fit for name, fit in stored.items() if fit is not None})
    expected, _ = recommend(by_hand, settings, k=10)
    again, _ = recommend(scorers, settings, k=10)
    np.testing.assert_array_equal(again, expected)
    alone = made.fused([dataclasses.replace(record, fit=fits[0], members={fits[0]: 1.0})])
    assert sorted(alone.fits) == fits[:1]
    [(key, shown)] = lists.lists_of(made, [record], tmp_path)
    users = lists.chosen_users(made.stage, "watched")
    assert key == record.id
    assert [list(row) for row in shown] == [row[row >= 0].tolist() for row in expected[0, users]]
    [(_, (values, _))] = per_user.measured_of(made, [record], tmp_path)
    assert np.nanmean(values["ndcg@10"]) == pytest.approx(record.objectives["ndcg@10"])


def test_a_candidate_and_a_fusion_of_its_fit_have_the_same_lists(tmp_path: Path) -> None:
    """The one fit of a candidate is the network of its fusion; a pool calls it by its id."""
    made, fits = trained(tmp_path)
    (record, *_) = made.evaluate([trial(candidates=1)])
    serve = {**record.serve, "fusion": {record.fit: 1.0}}
    pooled = fused_record(made, {record.fit: 1.0}, mmr=record.serve["mmr"], popularity_penalty=0.0)
    assert record.fit in fits
    assert pooled.members == record.members == {record.fit: 1.0}
    for name, value in record.objectives.items():
        assert pooled.objectives[name] == value
    assert made.members(serve, record.fit) == record.members
    scorers, settings, _ = made.fused([record, pooled])
    chosen, _ = recommend(scorers, settings, k=10)
    np.testing.assert_array_equal(chosen[0], chosen[1])


def test_two_names_of_one_fit_add_their_weights(tmp_path: Path) -> None:
    made = evaluator(tmp_path)
    serve = {"fusion": {"a": 0.25, "popular": 0.5, "b": 0.25}}
    assert made.serving(serve, {"a": "x", "b": "x"}).fusion == {"x": 0.5, "popular": 0.5}


def test_a_fit_that_is_no_longer_stored_is_named(tmp_path: Path) -> None:
    made, fits = trained(tmp_path)
    record = fused_record(made, {fits[0]: 0.5, fits[1]: 0.5})
    made.store.path(fits[1]).unlink()
    made.fused([record])  # scored a moment ago
    with pytest.raises(KeyError, match=fits[1]):
        evaluator(tmp_path).fused([record])


def test_training_seconds_of_all_members_count(tmp_path: Path) -> None:
    made, fits = trained(tmp_path)
    weights = {fits[0]: 0.5, fits[1]: 0.3, fits[2]: 0.0, "popular": 0.2}
    scorers, found = made.scorers_of(weights)
    (outcome,) = made.measuring.outcomes(scorers, [ServingParams(weights)], found)
    expected = sum(found[name].seconds for name in fits[:2])
    assert outcome.cost["train_seconds"] == pytest.approx(expected)


def test_the_front_shows_the_weight_of_all_networks_together(tmp_path: Path) -> None:
    made, fits = trained(tmp_path)
    weights = {**dict(zip(fits, WEIGHTS, strict=True)), "popular": 0.5}
    record = fused_record(made, weights)
    (row,) = front_rows([record], GOALS, ["ndcg@10", "ild@10"], SPACE)
    assert row["fit"] == "+".join(fits)
    assert row["serve.fusion.network"] == pytest.approx(1.0)
    assert row["serve.fusion.popular"] == 0.5
    assert not any(name in str(list(row)) for name in fits)
