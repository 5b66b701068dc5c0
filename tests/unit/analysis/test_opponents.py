"""Opponents: what each may fuse, and that its search is the run's with as many settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_experiment import CONFIG, write_config

from pareto_rec.analysis.confirm import opponent_fits, opponent_search, opponents
from pareto_rec.analysis.confirm.opponent_fits import OwnFit
from pareto_rec.experiment.config import Config, load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record
from pareto_rec.search.serving import ServingSearcher, Slot

pytestmark = pytest.mark.usefixtures("single_thread")

SERVING = "\n[search.serving]\nmembers = 3\npopulation = 12\n"


def config_of(folder: Path, text: str = CONFIG, *overrides: str) -> Config:
    return load_config(write_config(folder, text), overrides)


def experiment_of(folder: Path, text: str = CONFIG, *overrides: str) -> Experiment:
    return Experiment.of(config_of(folder, text, *overrides), folder)


class Pool:
    """Stands for workers: measures settings by arithmetic, and counts them."""

    def __init__(self, experts: Sequence[str]) -> None:
        self.evaluator = SimpleNamespace(users=SimpleNamespace(experts=dict.fromkeys(experts)))
        self.evaluator.seed = 0
        self.asked: list[Record] = []

    def settled(self, job: Any, packs: Sequence[Sequence[Record]]) -> Iterator[Any]:
        assert job is opponent_search.measure_once
        for pack in reversed(packs):  # they may finish in any order
            self.asked += pack
            yield pack, [self.measured(one) for one in pack]

    def measured(self, one: Record) -> Record:
        mmr = one.serve["mmr"]
        assert isinstance(mmr, float)
        fits = sum(weight for name, weight in one.members.items() if name.startswith("fit"))
        values = {"ndcg@10": 0.2 + 0.1 * fits - 0.1 * mmr**2, "ild@10": 0.5 + 0.3 * mmr}
        return replace(one, objectives=values)


@pytest.mark.parametrize("text", [CONFIG, CONFIG + SERVING])
def test_every_opponent_gets_as_many_settings_as_the_search(text: str, tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path, text)
    baselines = opponents.baselines_of(experiment)
    assert baselines == ("ease_recency",)
    found = [
        opponents.alone(baselines),
        opponents.with_one_fit(baselines, "fit0", {}),
        opponents.with_best_fits(baselines, {f"fit{n}": {} for n in range(3)}, 7, 3),
    ]
    for opponent in found:
        first, again = Pool(baselines), Pool(baselines)
        result = opponent_search.search(opponent, experiment, first, 150)  # type: ignore[arg-type]
        assert len(first.asked) == len({one.id for one in first.asked}) == result.settings == 150
        assert 0 < len(result.points) <= 20
        same = opponent_search.search(opponent, experiment, again, 150)  # type: ignore[arg-type]
        assert same == result
        members = {name for slot in opponent.slots for name in slot.shares}
        for point in result.points:
            assert point.front == opponent.name
            fusion = point.serve["fusion"]
            assert isinstance(fusion, Mapping)
            assert set(fusion) <= members
            assert set(point.networks) == {name for name in fusion if name in opponent.networks}
            assert set(point.serve) == {"fusion", "mmr", "depth"}  # what the search has
    fits = [[name for name in one.members if name != "ease_recency"] for one in first.asked]
    assert max(map(len, fits)) == 3


def test_the_search_of_an_opponent_begins_at_its_own_scorers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = experiment_of(tmp_path, CONFIG + SERVING, "search.serving.population=48")
    begun: list[Mapping[str, Any]] = []

    class Watched(ServingSearcher):
        def __init__(self, *given: Any, initial: Sequence[Mapping[str, Any]], **more: Any) -> None:
            begun.extend(initial)
            super().__init__(*given, initial=initial, **more)

    monkeypatch.setattr(opponent_search, "ServingSearcher", Watched)
    one = opponents.with_one_fit(["ease_recency"], "fit0", {})
    pool = Pool(["ease_recency"])
    opponent_search.search(one, experiment, pool, 100)  # type: ignore[arg-type]
    sweep = pool.asked[:12]  # a quarter of a population
    assert [list(asked.members) for asked in sweep].count(["fit0"]) == 6
    assert {len(asked.members) for asked in sweep} == {1}
    halves = {float(asked.serve["mmr"]) > 0.45 for asked in sweep[:6]}  # type: ignore[arg-type]
    assert halves == {False, True}  # each is measured over the whole range
    assert begun
    measured = [{**asked.serve, "fusion": asked.members} for asked in sweep]
    assert all(setting in measured for setting in begun)
    # the best by hand: the network alone, since its weight is what NDCG grows with here
    assert begun[0]["fusion"] == {"fit0": 1.0}


def test_names_are_plain_and_slots_are_what_may_be_fused() -> None:
    one = opponents.alone(["ease", "popularity"])
    assert one.name == "baselines alone"
    assert one.slots == (Slot.of("ease", fits=0), Slot.of("popularity", fits=0))
    two = opponents.with_one_fit(["ease"], "fit", {"width": 8})
    assert two.name == "baselines and one plain fit"
    assert two.slots == (Slot.of("ease", fits=0), Slot.of("fit", fits=1))
    assert two.networks == {"fit": {"width": 8}}
    fits: dict[str, opponents.Train] = {f"fit{n}": {"width": n} for n in range(4)}
    four = opponents.with_best_fits(["ease"], fits, 40, 4)
    assert four.name == "best 4 of 40 accuracy-only fits"
    assert four.slots[-1] == Slot.averaged(list(fits))
    assert [slot.fits for slot in four.slots] == [0, 1, 1, 1, 1, 4]
    fewer = opponents.with_best_fits(["ease"], fits, 40, 2)  # a list may hold two of them
    assert [slot.fits for slot in fewer.slots] == [0, 1, 1, 1, 1]
    assert opponents.with_one_fit([], "fit", {}).name == "one plain fit"


def test_baselines_beside_the_front_stand_in_where_lists_may_fuse_none(tmp_path: Path) -> None:
    text = CONFIG.replace(
        'fusion = { kind = "simplex", names = ["network", "ease_recency"] }\n', ""
    )
    assert opponents.baselines_of(experiment_of(tmp_path, text)) == ("popularity",)


SPACE = """\
[space.train]
loss_weights = { kind = "simplex", names = ["softmax", "popularity"] }
learning_rate = { kind = "real", low = 0.01, high = 0.04, log = true }
dropout = { kind = "real", low = 0.0, high = 0.4 }
horizon = { kind = "choice", options = [5, 10, 20] }
aggregation = { kind = "choice", options = ["weighted_sum", "weighted_chebyshev"] }
tuned_layers = { kind = "choice", options = [0, 1, 2] }
"""


def spaced(train: str) -> str:
    begin, end = CONFIG.index("[space.train]"), CONFIG.index("[space.serve]")
    text = f"{CONFIG[:begin]}{train}\n{CONFIG[end:]}"
    return text.replace("horizon = 1\n", "") if "horizon =" in train else text


def test_the_plain_fit_lies_in_the_middle_of_what_is_searched(tmp_path: Path) -> None:
    assert opponents.middle(experiment_of(tmp_path, spaced(SPACE)).space) == {
        "learning_rate": pytest.approx(0.02),
        "dropout": 0.2,
        "horizon": 10,
        "loss_weights": {"softmax": 1.0},  # the backbone stays frozen
    }


def test_accuracy_only_fits_are_drawn_from_the_space_of_the_search(tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path, spaced(SPACE))
    drawn = opponents.accuracy_only(experiment, 24)
    assert drawn == opponents.accuracy_only(experiment, 24)
    assert len(drawn) == len({str(one) for one in drawn}) == 24
    assert all(one["loss_weights"] == {"softmax": 1.0} for one in drawn)
    rates = [one["dropout"] for one in drawn]
    strata = {int(24 * rate / 0.4) for rate in rates if isinstance(rate, float)}
    assert len(strata) == 24  # a Latin hypercube, as the search begins
    assert {one["tuned_layers"] for one in drawn} == {0, 1, 2}


def test_a_space_of_losses_alone_gives_replicas_of_one_fit(tmp_path: Path) -> None:
    losses = 'loss_weights = { kind = "simplex", names = ["softmax", "popularity"] }\n'
    drawn = opponents.accuracy_only(experiment_of(tmp_path, spaced(f"[space.train]\n{losses}")), 3)
    softmax = {"loss_weights": {"softmax": 1.0}}
    assert drawn == [softmax, {"replica": 1, **softmax}, {"replica": 2, **softmax}]


def test_the_best_fits_are_the_most_accurate_ones() -> None:
    fits = [OwnFit(f"fit{n}", {}, accuracy) for n, accuracy in enumerate((0.1, 0.3, 0.2, 0.5, 0.4))]
    best = opponent_fits.most_accurate(fits)
    assert [one.id for one in best] == ["fit3", "fit4", "fit1", "fit2"]


def test_where_nothing_is_searched_opponents_have_the_usual_variables(tmp_path: Path) -> None:
    begin, end = CONFIG.index("[space.serve]"), CONFIG.index("[train]")
    text = CONFIG[:begin] + CONFIG[end:]
    found = opponents.serving_variables(experiment_of(tmp_path, text))
    assert list(found) == ["popularity_penalty", "mmr", "depth"]


def test_exponents_of_tasks_that_no_opponent_predicts_are_not_searched(tmp_path: Path) -> None:
    text = CONFIG.replace(
        "[train]\n",
        'liked_exponent = { kind = "real", low = 0.0, high = 2.0 }\n'
        '"boost.tail" = { kind = "real", low = 0.0, high = 2.0 }\n\n[train]\n',
    ).replace('names = ["softmax", "popularity"]', 'names = ["softmax", "liked"]')
    found = opponents.serving_variables(experiment_of(tmp_path, text))
    assert list(found) == ["mmr", "depth", "boost.tail"]


def test_the_search_is_that_of_the_config_but_for_its_settings(tmp_path: Path) -> None:
    own = opponents.serving_search(experiment_of(tmp_path, CONFIG + SERVING), 500)
    assert (own.settings, own.members, own.population) == (500, 3, 12)
    usual = opponents.serving_search(experiment_of(tmp_path / "other"), 500)
    assert (usual.settings, usual.members, usual.population) == (500, 4, 25)
