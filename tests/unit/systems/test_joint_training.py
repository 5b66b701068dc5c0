"""A fit of several systems: what is shared, what each weighs, and that it comes out the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_systems import systems_config

from pareto_rec.core.errors import BadRequestError
from pareto_rec.models.base import item_table
from pareto_rec.models.scoring import last_states, relevance_scores
from pareto_rec.search import Trial
from pareto_rec.search.space import Candidate
from pareto_rec.systems.evaluator import SystemsEvaluator, by_system
from pareto_rec.systems.experiment import SystemsExperiment
from pareto_rec.systems.fit import TRUNK, JointFit, JointStore
from pareto_rec.systems.recommend import Recommendation
from pareto_rec.systems.spec import JointSpec, Shared, joint_spec
from pareto_rec.systems.training import JointTraining
from pareto_rec.systems.trunk import vectors

NAMES = ("shop", "search", "comments")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def experiment(systems_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SystemsExperiment:
    return SystemsExperiment.of(systems_config(systems_folder), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def evaluator(experiment: SystemsExperiment) -> SystemsEvaluator:
    return experiment.evaluator()


def fit_of(evaluator: SystemsEvaluator, seed: int = 5, **values: object) -> JointFit:
    spec = joint_spec({"width": 8, "batch": 48, "steps": 8, "check_every": 4, **values})
    training = JointTraining(spec, {}, evaluator.systems, evaluator.features, seed, CPU)
    return training.run()


@pytest.mark.parametrize("trunk", ["shared_bottom", "mmoe", "ple"])
@pytest.mark.parametrize("aggregation", ["weighted_sum", "cagrad"])
def test_a_fit_depends_on_its_seed_alone(
    evaluator: SystemsEvaluator, trunk: str, aggregation: str
) -> None:
    one, two = (fit_of(evaluator, trunk=trunk, aggregation=aggregation) for _ in range(2))
    other = fit_of(evaluator, 6, trunk=trunk, aggregation=aggregation)
    assert one.reason is None
    assert one.curve == two.curve
    for name, value in one.params.items():
        torch.testing.assert_close(value, two.params[name], rtol=0, atol=0)
    assert one.curve != other.curve
    assert [step for step, _ in one.curve] == [4, 8]


def test_a_system_without_weight_is_not_trained_and_takes_no_examples(
    evaluator: SystemsEvaluator,
) -> None:
    spec = joint_spec({"system_weights": {"shop": 0.0, "search": 1.0, "comments": 1.0}})
    assert spec.weights(NAMES) == {"shop": 0.0, "search": 0.5, "comments": 0.5}
    assert spec.rows(NAMES) == {"search": 256, "comments": 256}
    weights = {"shop": 0.0, "search": 0.5, "comments": 0.5}
    fit = fit_of(evaluator, system_weights=weights)
    start = fit_of(evaluator, system_weights=weights, learning_rate=1e-9)
    moved = {name for name in fit.params if not torch.equal(fit.params[name], start.params[name])}
    assert {name.partition("/")[0] for name in moved} == {TRUNK, "search", "comments"}


def test_every_system_moves_the_trunk(evaluator: SystemsEvaluator) -> None:
    found = []
    for name in NAMES:
        fit = fit_of(evaluator, system_weights={one: float(one == name) for one in NAMES})
        found.append(fit.params[f"{TRUNK}/text.project"])
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])


def test_examples_are_shared_out_by_mixing() -> None:
    spec = JointSpec(batch=100, mixing={"shop": 0.7, "search": 0.2, "comments": 0.1})
    assert spec.rows(NAMES) == {"shop": 70, "search": 20, "comments": 10}
    assert spec.rows(("shop", "comments")) == {"shop": 88, "comments": 13}


@pytest.mark.parametrize("trunk", ["shared_bottom", "ple"])
def test_a_folded_fit_scores_as_the_joint_model_does(
    evaluator: SystemsEvaluator, trunk: str
) -> None:
    fit = fit_of(evaluator, trunk=trunk)
    [shop] = [one for one in evaluator.systems if isinstance(one, Recommendation)]
    shared = Shared(8, 16, 8, 4, CPU)
    texts = vectors(fit.part(TRUNK), "shop", evaluator.features["shop"])
    head = fit.part("shop")
    folded = shop.fit(head, shared, {}, texts)
    data = shop.evaluator.data
    scores, states = data.head(folded)
    table = item_table(head, texts, None)
    own = last_states(head, folded.shape, table, data.histories[:, -6:])
    expected = relevance_scores(head, own, table, torch.tensor([folded.spec.temperature]))[0]
    found = scores.logits(["relevance"], states)["relevance"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_fails_the_fit_alone(evaluator: SystemsEvaluator) -> None:
    fit = fit_of(evaluator, learning_rate=1e30)
    assert fit.reason is not None
    assert "not finite" in fit.reason
    trial = Trial(0, 0, 0, (Candidate({}, {}),))
    [record] = evaluator.records(trial, "x", fit, fit.reason)
    assert (record.status, record.reason) == ("failed", fit.reason)


def test_a_stored_fit_is_the_same_and_is_found_again(
    evaluator: SystemsEvaluator, tmp_path: Path
) -> None:
    fit, store = fit_of(evaluator), JointStore(tmp_path, "data")
    key = store.id(fit.spec, fit.own, 5)
    assert key != store.id(fit.spec, {"shop": {"temperature": 2.0}}, 5)
    assert store.get(key) is None
    store.put(key, fit)
    again = store.get(key)
    assert again is not None
    assert (again.spec, again.curve, again.best_step) == (fit.spec, fit.curve, fit.best_step)
    for name, value in fit.params.items():
        assert torch.equal(again.params[name], value)


def test_records_hold_every_objective_and_serving_changes_its_own_system_alone(
    evaluator: SystemsEvaluator, experiment: SystemsExperiment
) -> None:
    train = experiment.space.middle({}).train
    settings = (
        {"shop.mmr": 0.0, "search.lexical_weight": 0.2},
        {"shop.mmr": 0.5, "search.lexical_weight": 0.2},
    )
    trial = Trial(0, 0, 0, tuple(Candidate(train, one) for one in settings))
    one, two = evaluator.evaluate([trial])
    names = {"ndcg@10@shop", "ndcg@5@search", "auc@comments", "ild@10@shop", "log_loss@comments"}
    assert one.objectives.keys() == names
    changed = {name for name in names if one.objectives[name] != two.objectives[name]}
    assert changed <= {"ndcg@10@shop", "ild@10@shop"}
    assert changed
    assert one.fit == two.fit == evaluator.fit_id(trial)


def test_a_reported_objective_without_a_value_is_left_out_and_fails_nothing(
    systems_folder: Path, tmp_path: Path
) -> None:
    """Every item is bought in training, so that nothing can be said of cold ones."""
    config = systems_config(systems_folder, 'reported.0="cold_ndcg@10@shop"')
    experiment = SystemsExperiment.of(config, tmp_path)
    train = experiment.space.middle({}).train
    [record] = experiment.evaluator().evaluate([Trial(0, 0, 0, (Candidate(train, {}),))])
    assert record.status == "ok"
    assert record.objectives.keys() == {
        *(goal.name for goal in experiment.goals),
        "log_loss@comments",
    }


def test_variables_belong_to_a_system_or_to_all() -> None:
    assert by_system({"width": 8, "shop.mmr": 0.1, "shop.boost.tail": 1.0}) == {
        "": {"width": 8},
        "shop": {"mmr": 0.1, "boost.tail": 1.0},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fixed.widht=8", 'fixed.widht: unknown training variable "widht"'),
        ("fixed.steps=0", "fixed.steps:"),
        ('space.serve.x={kind="real", low=0, high=1}', "a serving variable is of one system"),
        ('space.serve.shp.mmr={kind="real", low=0, high=1}', 'unknown system "shp"'),
        ('space.train.search.width={kind="integer", low=4, high=8}', "space.train.search.width"),
        ('space.serve.search.mmr={kind="real", low=0, high=1}', "space.serve.search.mmr"),
        ("fixed.mixing={shop=0.5, ads=0.5}", "ads"),
        ('objective.0.name="ndcg@10"', 'end it with "@shop", "@search", "@comments"'),
        ('objective.0.name="ndcg@10@ads"', "does not say which system it is of"),
        ('objective.1.name="auc@search"', 'system "search" has no objective "auc"; it has ndcg@k'),
        ('objective.2.name="ndcg@10@comments"', 'system "comments" has no objective "ndcg@10"'),
        ('reported.0="train_seconds@shop"', "train_seconds is a cost of the whole model"),
        ("system.0.fixed.width=8", "width is one value for all systems"),
        ("system.1.fixed.dropout=2", "system.1.fixed.dropout"),
        ("search.serving={settings=10}", "search.serving is for experiments on one system"),
        ('system.2.name="shop"', 'two systems are named "shop"'),
        ('system.2.kind="scores"', "kind must be one of 'recommend', 'rank', 'score'"),
        ('system.2.data.labels="x"', 'did you mean "system.2.data.label"?'),
        ('system.1.split.by="author"', 'pairs are split by "query" or by "item"'),
    ],
)
def test_a_wrong_config_is_one_line(
    systems_folder: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        _ = SystemsExperiment.of(systems_config(systems_folder, change), tmp_path).objectives
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_are_means_of_what_is_watched(evaluator: SystemsEvaluator) -> None:
    fit = fit_of(evaluator, system_weights={"shop": 0.0, "search": 0.0, "comments": 1.0})
    [comments] = [one for one in evaluator.systems if one.name == "comments"]
    texts = vectors(fit.part(TRUNK), "comments", evaluator.features["comments"])
    shared = Shared(8, 48, 8, 4, CPU)
    [found] = comments.measure(fit.part("comments"), shared, {}, texts, [{}], ["auc"])
    assert max(value for _, value in fit.curve) == pytest.approx(found["auc"])
    assert np.isfinite(found["auc"])
