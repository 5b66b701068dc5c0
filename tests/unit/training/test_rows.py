"""Steps on the items that they touch: the same arithmetic, without a pass over the catalogue."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from wide_world import DATA, MONITOR, SPEC, WIDE

from pareto_rec.training.data import Fit, Relevance
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.spec import TrainSpec

pytestmark = pytest.mark.usefixtures("single_thread")


def trained(specs: list[TrainSpec], pack_size: int = 4) -> list[Fit]:
    return train_pack(specs, [3] * len(specs), DATA, MONITOR, pack_size=pack_size)


def without_touching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainSpec, "touched", property(lambda _: 10**9))


@pytest.mark.parametrize("loss", ["sampled_softmax", "bpr"])
def test_the_first_step_is_that_of_the_whole_catalogue(
    monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Moments start at 0, so the first update of AdamW depends on that step's gradient alone."""
    spec = dataclasses.replace(SPEC, weight_decay=0.0, loss_weights={loss: 0.7, "liked": 0.3})
    assert 2 * spec.touched < len(WIDE.items)
    [sparse] = trained([spec])
    without_touching(monkeypatch)
    [dense] = trained([spec])
    for name, value in dense.params.items():
        torch.testing.assert_close(sparse.params[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_items_that_no_step_touches_keep_their_vectors() -> None:
    start = trained([dataclasses.replace(SPEC, learning_rate=1e-12)])[0].params["item.embed"]
    found = trained([dataclasses.replace(SPEC, steps=6)])[0].params["item.embed"]
    untouched = (found - start).abs().amax(-1) < 1e-7
    assert 24 < int(untouched.sum()) < len(WIDE.items) - 10


def test_a_pack_equals_its_members_alone() -> None:
    specs = [
        dataclasses.replace(SPEC, steps=5, learning_rate=rate, item_dropout=drop, dropout=drop)
        for rate, drop in ((0.05, 0.0), (0.02, 0.3), (0.01, 0.1))
    ]
    for together, [alone] in zip(trained(specs), ([*trained([one])] for one in specs), strict=True):
        for name, value in alone.params.items():
            torch.testing.assert_close(together.params[name], value, rtol=1e-4, atol=1e-5)


def test_ways_that_compare_gradients_work_on_touched_rows() -> None:
    [one] = trained([dataclasses.replace(SPEC, steps=3, aggregation="mgda")])
    assert one.reason is None


def test_it_learns() -> None:
    """Chance is a mean reciprocal rank of H(300) / 300 = .021."""
    spec = dataclasses.replace(SPEC, width=16, steps=250, check_every=50, batch=12, negatives=40)
    [one] = trained([spec])
    assert max(value for _, value in one.curve) > 0.5


def test_validation_in_parts_is_validation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pareto_rec.training import data as train

    spec = dataclasses.replace(SPEC, steps=4)
    [whole] = trained([spec])
    monkeypatch.setattr(train, "LOOK_SCORES", 7 * len(WIDE.items))
    seen: list[int] = []

    def counted(relevance: Relevance) -> float:
        seen.append(len(list(relevance.parts())))
        return MONITOR(relevance)

    [parts] = train_pack([spec], [3], DATA, counted, pack_size=1)
    assert seen == [7] * 4  # 48 users, seven at a time
    assert [value for _, value in parts.curve] == pytest.approx([v for _, v in whole.curve])
