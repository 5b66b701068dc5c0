"""An evaluator on a small world: what records say, what is trained, what fails and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluator_world import FIXED, REPORTED, SEARCHED, STAGE, evaluator, trial, untimed

from pareto_rec.core.errors import BadRequestError, construct
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation import evaluator as evaluate
from pareto_rec.evaluation.candidates import failed
from pareto_rec.evaluation.evaluator import Evaluator, ObjectiveSet, resolve_device
from pareto_rec.execution.workers.packs import Trouble, evaluate_pack
from pareto_rec.objectives import parse
from pareto_rec.ranking import NETWORK, Scorers, ServingParams
from pareto_rec.training.data import Fit
from pareto_rec.training.item_features import principal_components
from pareto_rec.training.spec import TrainSpec, train_spec


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def subject(tmp_path: Path) -> Evaluator:
    return evaluator(tmp_path / "fits")


def test_records_say_everything_of_every_candidate(subject: Evaluator) -> None:
    trials = [trial(0), trial(1, rate=0.01)]
    records = subject.evaluate(trials)
    candidates = [one for each in trials for one in each.candidates]
    assert [record.id for record in records] == [one.id for one in candidates]
    assert [record.position for record in records] == list(range(10, 16))
    assert [record.origin for record in records] == ["own", "sweep", "sweep"] * 2
    for record, candidate in zip(records, candidates, strict=True):
        assert (record.train, record.serve) == (candidate.train, candidate.serve)
        assert (record.status, record.reason) == ("ok", None)
        assert (record.generation, record.seed) == (4, 1)
        # a measured cost stands under timing, so that records are the same on every run
        assert set(record.objectives) == {*SEARCHED, *REPORTED} - {"train_seconds"}
        for name, value in record.objectives.items():
            low, high = parse(name).bounds
            assert low <= value <= high, name
        assert record.timing["train_seconds"] > 0
        assert record.timing["serve_seconds"] > 0
    assert [record.fit for record in records] == [
        subject.fit_id(each) for each in trials for _ in range(3)
    ]
    assert len({record.fit for record in records}) == 2
    assert len({tuple(record.objectives.values()) for record in records}) > 3


def test_what_is_measured_is_what_was_recommended(subject: Evaluator) -> None:
    """NDCG@10 by a loop: one held-out item each, so 1 / log2(1 + place) or 0."""
    [one] = subject.evaluate([trial(candidates=1)])
    fit = subject.store.get(one.fit)
    assert fit is not None
    scorers = subject.with_fit(fit)
    assert isinstance(scorers, Scorers)
    scores = scorers.networks[NETWORK].relevance
    gains = []
    for user, wanted in zip(STAGE.held_out.user, STAGE.held_out.item, strict=True):
        seen = set(STAGE.history.item[STAGE.history.user == user].tolist())
        left = [item for item in range(len(STAGE.items)) if item not in seen]
        place = sorted(left, key=lambda item: -float(scores[user, item])).index(int(wanted))
        gains.append(1 / np.log2(2 + place) if place < 10 else 0.0)
    assert one.objectives["ndcg@10"] == pytest.approx(np.mean(gains), abs=1e-9)
    # chance: places 1 to 10 of the 24 - 9 unseen items
    chance = sum(1 / np.log2(2 + place) for place in range(10)) / 15
    assert one.objectives["ndcg@10"] > chance + 0.2


def test_early_stopping_watches_what_the_network_alone_is_worth(subject: Evaluator) -> None:
    """The first candidate is the bare network: its NDCG@10 is the best value of the curve."""
    own, *_ = subject.evaluate([trial()])
    assert own.serve == {"fusion": (1.0, 0.0), "mmr": 0.0, "popularity_penalty": 0.0}
    fit = subject.store.get(own.fit)
    assert fit is not None
    assert max(value for _, value in fit.curve) == pytest.approx(own.objectives["ndcg@10"])


def test_nothing_is_trained_twice(
    subject: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = subject.evaluate([trial(0), trial(1, rate=0.01)])

    def forbidden(*_: object, **__: object) -> list[Fit]:
        raise AssertionError("trained again")

    monkeypatch.setattr(evaluate, "train_pack", forbidden)
    again = subject.evaluate([trial(0), trial(1, rate=0.01)])
    assert untimed(again) == untimed(first)
    elsewhere = evaluator(tmp_path / "fits")
    assert untimed(elsewhere.evaluate([trial(0), trial(1, rate=0.01)])) == untimed(first)
    for other in (evaluator(tmp_path / "fits", seed=2), evaluator(tmp_path / "empty")):
        with pytest.raises(AssertionError, match="trained again"):
            other.evaluate([trial(0)])


def test_a_pack_that_lacks_a_fit_is_trained_whole(
    subject: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was the first time, whatever a kill had left of it; what was stored is replaced."""
    pack = [trial(0), trial(1, rate=0.01), trial(2, rate=0.005)]
    whole = subject.evaluate(pack)
    subject.store.path(whole[-1].fit).unlink()
    stored: list[str] = []
    put = subject.store.put

    def noting(fit_id: str, fit: Fit) -> None:
        stored.append(fit_id)
        put(fit_id, fit)

    monkeypatch.setattr(subject.store, "put", noting)
    assert untimed(subject.evaluate(pack)) == untimed(whole)
    assert stored == [record.fit for record in whole[::3]]  # the one that was lacking comes last


def test_a_damaged_fit_is_trained_again_with_the_same_result(subject: Evaluator) -> None:
    first = subject.evaluate([trial(0)])
    path = subject.store.path(first[0].fit)
    path.write_bytes(path.read_bytes()[:-10])
    assert untimed(subject.evaluate([trial(0)])) == untimed(first)
    assert subject.store.get(first[0].fit) is not None


def test_a_candidate_that_fails_takes_no_other_with_it(subject: Evaluator) -> None:
    pack = [trial(0), trial(1, rate=1e37), trial(2, rate=0.01)]
    records = subject.evaluate(pack)
    assert [record.status for record in records] == ["ok"] * 3 + ["failed"] * 3 + ["ok"] * 3
    for record in records[3:6]:
        assert "not finite" in (record.reason or "")
        assert record.objectives == {}
        assert record.to_json()
    good = subject.evaluate([pack[0], pack[2]])
    assert untimed(records[:3] + records[6:]) == untimed(good)
    assert subject.store.get(records[3].fit) is None


def test_whatever_goes_wrong_is_told_as_trouble(
    subject: Evaluator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> list[Fit]:
        raise RuntimeError("broken\nand a long trace")

    monkeypatch.setattr(evaluate, "train_pack", broken)
    pack = [trial(0), trial(1, rate=0.01)]
    assert evaluate_pack(subject, pack, tmp_path) == Trouble("RuntimeError: broken")
    records = failed(subject, pack[0], "broken")
    assert [record.id for record in records] == [one.id for one in pack[0].candidates]
    assert {(record.status, record.reason) for record in records} == {("failed", "broken")}


def nobody_likes_anything() -> Stage:
    """Objectives on liked items have no users to be measured on."""
    rows = STAGE.held_out
    signals = {**rows.signals, "liked": np.zeros(len(rows), np.float32)}
    return dataclasses.replace(STAGE, held_out=dataclasses.replace(rows, signals=signals))


def test_an_objective_to_search_on_that_cannot_be_measured_is_a_failure(tmp_path: Path) -> None:
    measures = ObjectiveSet((parse("ndcg@10[liked]"), parse("ild@10")), ())
    subject = evaluator(tmp_path, stage=nobody_likes_anything(), measures=measures)
    [record] = subject.evaluate([trial(candidates=1)])
    assert record.status == "failed"
    assert record.reason == "ndcg@10[liked] could not be measured"
    assert record.objectives == {}


def test_a_reported_objective_that_cannot_be_measured_is_left_out(tmp_path: Path) -> None:
    subject = evaluator(tmp_path, stage=nobody_likes_anything())
    [record] = subject.evaluate([trial(candidates=1)])
    assert record.status == "ok"
    assert "recall@5[liked]" not in record.objectives
    assert {*SEARCHED, "coverage@10"} <= set(record.objectives)


def test_scorers_of_experts_alone_need_no_fit(subject: Evaluator) -> None:
    settings = [ServingParams({"popular": 1.0}), ServingParams({"popular": 1.0}, mmr=0.5)]
    plain, diverse = subject.measuring.values(subject.scorers, settings)
    assert plain.reason is None
    assert diverse.objectives["ild@10"] > plain.objectives["ild@10"]
    with pytest.raises(BadRequestError, match='"network"'):
        subject.measuring.values(subject.scorers, [ServingParams()])


def test_evaluating_leaves_stage_and_features_as_they_were(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(len(STAGE.items), 12)).astype(np.float32)
    kept, rows = features.copy(), STAGE.train.item.copy()
    features.flags.writeable = False  # as a memory map is
    subject = evaluator(tmp_path, features=features)
    data = subject.data.features.clone()
    subject.evaluate([trial()])
    np.testing.assert_array_equal(features, kept)
    np.testing.assert_array_equal(STAGE.train.item, rows)
    assert torch.equal(subject.data.features, data)


def test_features_are_centred_and_of_deviation_one() -> None:
    raw = np.random.default_rng(3).normal(5.0, 3.0, (50, 8)).astype(np.float16)
    for count in (0, 3, 8, 20):
        found = principal_components(raw, count)
        assert (found.dtype, found.shape) == (np.float32, (50, min(count or 8, 8)))
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
        assert float(found.std()) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(principal_components(np.ones((4, 3), np.float32), 0)).all()


def test_components_are_those_of_the_singular_value_decomposition() -> None:
    """``U S`` of the centred features, up to the sign of each column and the common scale."""
    raw = np.random.default_rng(4).normal(size=(40, 6)) @ np.diag([9.0, 5.0, 3.0, 1.0, 0.5, 0.1])
    centred = raw - raw.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :3] * singular[:3]
    for column, loading in enumerate(right[:3]):
        expected[:, column] *= np.sign(loading[np.abs(loading).argmax()])
    found = principal_components(raw, 3)
    np.testing.assert_allclose(found, expected / expected.std(), atol=1e-5)


def test_variables_of_a_trial_go_over_the_fixed_ones(subject: Evaluator) -> None:
    spec = subject.spec(trial(accuracy=0.75))
    assert spec.loss_weights == {"softmax": 0.75, "negative_entropy": 0.25}
    assert (spec.learning_rate, spec.width, spec.dropout) == (0.02, 8, TrainSpec().dropout)
    assert subject.pack_key(trial(0)) == subject.pack_key(trial(1, rate=0.01))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 8}, r'unknown training variable "widht" \(did you mean "width"\?\)'),
        ({"model": "self_atention"}, r'unknown model .* \(did you mean "self_attention"\?\)'),
        (
            {"aggregation": "sum"},
            r"unknown loss aggregation .*known: .*weighted_chebyshev, weighted_sum",
        ),
        (
            {"loss_weights": {"hinge": 1.0}},
            r'unknown loss "hinge".*known: .*liked, negative_entropy',
        ),
    ],
)
def test_unknown_training_variables_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        train_spec(FIXED, values)


def test_unknown_serving_variables_are_refused() -> None:
    assert construct("serving variable", ServingParams, {"mmr": 0.5}) == ServingParams(mmr=0.5)
    with pytest.raises(
        BadRequestError, match=r'unknown serving variable "mrr" \(did you mean "mmr'
    ):
        construct("serving variable", ServingParams, {"mrr": 0.5})


def test_a_device_that_is_not_there_is_refused_in_one_line() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    for name in ("gpu9", "cuda:99"):
        with pytest.raises(BadRequestError, match=f'train.device: "{name}"') as error:
            resolve_device(name)
        assert "\n" not in str(error.value)
