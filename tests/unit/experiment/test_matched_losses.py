"""Losses matched to objectives: the table, and the config that asks for it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import CONFIG, write_config

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.notices import notice
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.config.matched import (
    MATCHED,
    OF_TASK,
    losses_for,
    with_matched_losses,
)
from pareto_rec.losses import LOSSES
from pareto_rec.objectives import FAMILIES, GROUPS

WITHOUT = {  # families that no loss trains for: a new one belongs here or into the table
    *("train_seconds", "parameters", "flops", "latency_p50", "latency_p95"),
    *("cold_ndcg", "ild_text", "category_exposure", "profile_distance", "risk"),
}


def test_every_objective_has_a_loss_or_is_known_to_have_none() -> None:
    assert MATCHED.keys() | WITHOUT == {*FAMILIES, *GROUPS}
    assert not MATCHED.keys() & WITHOUT
    assert set(MATCHED.values()) - {OF_TASK, ""} <= set(LOSSES)


def table(*objectives: str, fixed: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    own = {
        "data": {"relevance": "bought", "liked": "rated_high"},
        "space": {"train": {"loss_weights": "objectives"}},
        "objective": [{"name": name} for name in objectives],
        **more,
    }
    return own if fixed is None else {**own, "fixed": fixed}


@pytest.mark.parametrize(
    ("objectives", "names", "fixed"),
    [
        (["ndcg@10", "recall@5"], ["softmax"], None),
        (["ndcg@10", "ild@10", "tail_ndcg@10"], ["softmax", "similarity", "tail_softmax"], None),
        (["epc@10", "price_ndcg@5"], ["softmax", "novelty_softmax", "price_softmax"], None),
        (["ndcg@10", "value@10"], ["softmax", "gain_softmax"], {"gain": "signal=bought"}),
        (
            ["signal_ndcg@10[spent]", "gap(tail_ndcg@10 by age)"],
            ["softmax", "gain_softmax", "tail_softmax", "group_gap"],
            {"gain": "signal=spent", "group": "age"},
        ),
        (["coverage@10", "calibration@10"], ["softmax", "exposure", "calibration"], None),
        (["mean(epc@10 by age)", "novelty@10"], ["softmax", "novelty_softmax", "popularity"], None),
        (
            ["mse[rating]", "log_loss[rated_high]", "pooled_auc[click*order]"],
            ["softmax", "rating", "liked", "task:click", "task:order"],
            None,
        ),
    ],
)
def test_the_losses_of_some_objectives(
    objectives: list[str], names: list[str], fixed: dict[str, str] | None
) -> None:
    tasks = [{"name": name} for name in ("click", "order")] if "task:click" in names else []
    given = table(*objectives, task=tasks)
    found = with_matched_losses(given)
    assert found["space"]["train"]["loss_weights"] == {"kind": "simplex", "names": names}
    assert found.get("fixed") == fixed
    assert given["space"]["train"]["loss_weights"] == "objectives"  # not altered
    assert with_matched_losses(found) == found


def notices(caplog: pytest.LogCaptureFixture, given: dict[str, Any]) -> str:
    notice.cache_clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="pareto_rec"):
        with_matched_losses(given)
    return caplog.text


def test_what_has_no_loss_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert notices(caplog, table("ndcg@10", "ild@10")) == ""
    said = notices(caplog, table("ndcg@10", "latency_p95", "risk@10[returned]", "made_up@10"))
    assert "no loss of their own trains for latency_p95, risk@10[returned], made_up@10;" in said


def test_one_attribute_and_one_gain_of_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    given = table("worst(ndcg@10 by age)", "gap(ndcg@10 by gender)", fixed={"gain": "price"})
    assert "trains for gap(ndcg@10 by gender);" in notices(caplog, given)
    assert with_matched_losses(given)["fixed"] == {"gain": "price", "group": "age"}
    assert "trains for value@10[spent];" in notices(
        caplog, table("ndcg@10", "value@10[spent]", fixed={"gain": "price"})
    )


def test_groups_of_items_are_compared_by_no_loss() -> None:
    assert [one.loss for one in losses_for("gap(ndcg@10 by item.brand)", "met", "liked", [])] == [
        "softmax"
    ]


def test_a_config_asks_for_it_in_the_place_of_the_simplex(tmp_path: Path) -> None:
    path = write_config(tmp_path, CONFIG)
    config = load_config(path, ["space.train.loss_weights=objectives"])
    assert config.losses == ("softmax", "similarity")
    assert not config.space.train["loss_weights"].floor
    with pytest.raises(BadRequestError, match="loss_weights: must be a table") as error:
        load_config(path, ["space.train.loss_weights=objective"])
    assert "\n" not in str(error.value)
