"""Controls: what each takes away, what it leaves alone, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pareto_rec.execution.ablations.ablation import sentence
from pareto_rec.execution.ablations.kinds import CONTROLS, applicable, derive
from pareto_rec.experiment.config import Config, load_config, parse_config
from pareto_rec.experiment.experiment import Experiment

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
KEPT = ("name", "seed", "data", "split", "objective", "train")


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(EXPERIMENTS / "movielens_accuracy_diversity_fairness")


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_keeps_the_question_and_the_budget(config: Config, name: str) -> None:
    derived = derive(config, CONTROLS[name])
    for key in KEPT:
        assert getattr(derived, key) == getattr(config, key)
    assert derived.search.generations == config.search.generations
    made = Experiment.of(derived)  # every name still resolves
    assert made.config.baselines == []
    records = {"no_serving": 1}.get(name, config.search.sweep) * config.search.fits
    assert derived.search.fits * derived.search.sweep == pytest.approx(records, rel=0.02)


def test_each_control_takes_away_its_part(config: Config) -> None:
    spaces = {
        name: Experiment.of(derive(config, control)).space for name, control in CONTROLS.items()
    }
    whole = config.space.build()
    assert list(spaces["weight_sweep"].train) == ["loss_weights"]
    assert set(whole.train) - set(spaces["equal_weights"].train) == {"loss_weights"}
    assert not spaces["no_network"].train
    assert "network" not in spaces["no_network"].serve["fusion"].names  # type: ignore[union-attr]
    assert "fusion" not in spaces["no_experts"].serve
    assert derive(config, CONTROLS["no_experts"]).serving == {"fusion": {"network": 1.0}}
    assert not spaces["no_serving"].serve
    assert not derive(config, CONTROLS["no_text"]).backbone.text
    for name, algorithm in (("random_search", "random"), ("weight_sweep", "quasi_random")):
        blind = derive(config, CONTROLS[name]).search
        assert (blind.algorithm, blind.surrogate) == (algorithm, "none")


def test_equal_weights_share_what_the_floors_leave(config: Config) -> None:
    weights = derive(config, CONTROLS["equal_weights"]).fixed["loss_weights"]
    assert sum(weights.values()) == pytest.approx(1)
    # a floor of .7 leaves .3, a tenth for each of three losses
    assert weights["softmax"] == pytest.approx(0.8)
    assert weights["liked"] == pytest.approx(0.1)
    assert weights["popularity"] == pytest.approx(0.1)


def test_controls_that_take_nothing_away_are_left_out(config: Config) -> None:
    table = config.model_dump(exclude_none=True)
    del table["space"]["serve"]["fusion"]
    del table["space"]["train"]["loss_weights"]
    names = {control.name for control in applicable(parse_config(table, "test"))}
    assert names == {"random_search", "no_text", "no_serving"}


@pytest.mark.parametrize(
    ("volume", "end"),
    [
        (0.002, "the network bought 50 %."),
        (0.004, "the network cost 25 %."),
        (0.003, "the network changed nothing here."),
        (0.0, "instead of 3.000."),
    ],
)
def test_sentences(volume: float, end: str) -> None:
    said = sentence(CONTROLS["no_network"], volume, 0.003)
    assert said.startswith(f"With experts alone, the hypervolume x 1000 is {1000 * volume:.3f}")
    assert said.endswith(end)
