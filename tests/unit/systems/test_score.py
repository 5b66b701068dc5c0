"""Scores as a system: metrics, calibrated probabilities, and what is learnt from which column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_systems import systems_config

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.config.systems import ScoreSystem
from pareto_rec.systems.score import METRICS, Scores, calibration_error
from pareto_rec.systems.spec import Shared

SHARED = Shared(width=4, rows=32, steps=60, check_every=20, device=torch.device("cpu"))


def scores_of(folder: Path, *changes: str) -> Scores:
    [section] = [one for one in systems_config(folder, *changes).system if one.name == "comments"]
    assert isinstance(section, ScoreSystem)
    return Scores(section)


def learnt(system: Scores, texts: torch.Tensor, **own: float) -> dict[str, torch.Tensor]:
    learner = system.learner(SHARED, {"dropout": 0.0, **own}, 1)
    optimiser = torch.optim.Adam(learner.params.values(), lr=0.03)
    for step in range(160):
        if step % 20 == 0:
            learner.draw(step)
        loss = learner.loss(step % 20, lambda rows: texts if rows is None else texts[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: value.detach() for name, value in learner.params.items()}


def test_the_calibration_error_is_the_gap_of_means_in_bins() -> None:
    chance = np.repeat([0.1, 0.6], [10, 10])
    label = np.repeat([0.0, 1.0, 0.0, 1.0], [8, 2, 5, 5])
    by_hand = np.mean(
        [abs(label[n : n + 2].mean() - chance[n : n + 2].mean()) for n in range(0, 20, 2)]
    )
    assert calibration_error(label, chance) == pytest.approx(by_hand)
    assert calibration_error(np.array([0.0, 1.0] * 50), np.full(100, 0.5)) == pytest.approx(0.0)


def test_rows_of_an_author_are_in_one_part_and_equal_texts_are_dropped(
    systems_folder: Path,
) -> None:
    system = scores_of(systems_folder)
    author = np.array(system.rows.texts["entity"])
    parts = [set(author[getattr(system.parts, part)]) for part in ("train", "validation", "test")]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    unique = scores_of(systems_folder, "system.2.data.unique=true")
    assert len(unique.texts) == len(set(system.texts))
    assert unique.account["same_text_dropped"] == len(system.texts) - len(unique.texts)


def test_columns_are_numbers_in_deviations_and_indicators(systems_folder: Path) -> None:
    system = scores_of(systems_folder)
    length, north = system.columns.T
    assert np.ptp(length) == 0  # every text has four words
    there = np.array(system.rows.texts["category place"]) == "north"
    np.testing.assert_array_equal(north, there)


@pytest.mark.parametrize("weight", [1.0, 8.0])
def test_probabilities_are_those_of_the_data_whatever_a_yes_weighs(
    systems_folder: Path, weight: float
) -> None:
    """Vectors that say nothing: every probability is near the share of a yes in training."""
    system = scores_of(systems_folder)
    texts = torch.zeros(len(system.texts), 4)
    head = learnt(system, texts, positive_weight=weight)
    chance = system.chances(head, {"positive_weight": weight}, texts, system.parts.validation)
    assert chance.mean() == pytest.approx(system.label[system.parts.train].mean(), abs=0.12)


def test_a_head_learns_and_is_measured_on_validation_rows(systems_folder: Path) -> None:
    system = scores_of(systems_folder)
    rng = np.random.default_rng(2)
    told = system.label[:, None] + rng.normal(0, 0.4, (len(system.label), 4))
    texts = torch.from_numpy(told.astype(np.float32))
    head = learnt(system, texts)
    [found] = system.measure(head, SHARED, {}, texts, [{}], list(METRICS))
    assert found["auc"] > 0.9
    chance = system.chances(head, {}, texts, system.parts.validation)
    label = system.label[system.parts.validation]
    cross = -np.mean(np.log(np.where(label > 0, chance, 1 - chance)))
    assert found["log_loss"] == pytest.approx(cross, rel=1e-5)


def test_baselines_learn_from_words(systems_folder: Path) -> None:
    found = scores_of(systems_folder).baselines(["auc", "log_loss"])
    assert found.keys() == {"logistic_regression", "boosted_trees"}
    assert found["logistic_regression"]["auc"] > 0.9  # two words decide


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('system.2.data.label={column="unwanted", equals="perhaps"}', "train part is a no"),
        ('system.2.split.by="place"', "no entity in place"),
        ('system.2.data.numbers=["text"]', "is not a number"),
    ],
)
def test_rows_that_say_nothing_are_refused(systems_folder: Path, change: str, message: str) -> None:
    if "numbers" in change:  # a value that cannot be read costs the value, and is counted
        system = scores_of(systems_folder, change)
        assert system.account["unreadable_values"]["text"]["count"] == len(system.texts)
        return
    with pytest.raises(BadRequestError) as caught:
        scores_of(systems_folder, change)
    assert message in str(caught.value)
