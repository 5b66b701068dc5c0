"""What every registered loss promises; new ones are found by themselves."""

from __future__ import annotations

import inspect

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.losses import LOSSES, Loss
from pareto_rec.losses.base import resolve
from pareto_rec.testing import LossContract

NAMES = list(LOSSES)


class TestLosses(LossContract):
    subjects = tuple(LOSSES.values())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=NAMES)
def test_names_and_documents(loss: Loss) -> None:
    assert LOSSES[loss.name] is loss
    assert inspect.getdoc(type(loss))
    assert type(loss).__doc__ != Loss.__doc__, "what it measures, and where it comes from"


def test_one_loss_at_least_is_for_accuracy() -> None:
    assert any(loss.accuracy for loss in LOSSES.values())


def test_an_unknown_loss_is_refused_with_the_nearest_name() -> None:
    assert resolve(NAMES, LOSSES) == list(LOSSES.values())
    with pytest.raises(BadRequestError, match=r'unknown loss "softmaxx" \(did you mean "softmax"'):
        resolve(["softmaxx"], LOSSES)
