"""What every registered baseline promises (new ones are found by themselves), and their cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pareto_rec.baselines import BASELINES, expert_scores
from pareto_rec.core.errors import BadRequestError
from pareto_rec.testing import BaselineContract
from pareto_rec.testing.baselines import toy_stage

NAMES = list(BASELINES)


class TestBaselines(BaselineContract):
    subjects = tuple(BASELINES)


def test_cached_scores_are_the_scores(tmp_path: Path) -> None:
    stage = toy_stage(9)
    found = expert_scores(NAMES, stage, tmp_path)
    assert list(found) == NAMES
    for name, mapped in found.items():
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        np.testing.assert_array_equal(mapped, BASELINES[name].scores(stage))


def test_an_unknown_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r'unknown expert "eas" .*"ease".*known: .*ease, '):
        expert_scores(["popularity", "eas"], toy_stage(0), tmp_path)
    assert not list(tmp_path.iterdir())
