"""Drift by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from learnt_bundle import ITEMS, catalogue, log
from scipy.spatial.distance import jensenshannon

from pareto_rec.bundle.update.drift import drift_of, jensen_shannon
from pareto_rec.data.schema import Interactions


def test_distance_of_shares_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 9, (2, 12)).astype(float)
        assert jensen_shannon(one, other) == pytest.approx(
            jensenshannon(one, other, base=2), abs=1e-9
        )
    assert jensen_shannon(np.array([2.0, 0.0]), np.array([0.0, 5.0])) == 1
    assert jensen_shannon(np.array([2.0, 4.0]), np.array([1.0, 2.0])) == 0
    with pytest.raises(ValueError, match="shares of nothing"):
        jensen_shannon(np.zeros(2), np.ones(2))


def test_drift_by_hand() -> None:
    old = log()
    user, item = np.array([0, 1, 50, 50]), np.array([2, 2, 5, ITEMS - 1])
    new = Interactions(user, item, np.arange(4), {})
    found = drift_of(old, new, catalogue(), (40, ITEMS - 1), np.random.default_rng(0))
    assert found.rows == 4
    assert found.new_users == pytest.approx(1 / 3)
    assert found.new_items == pytest.approx(1 / 3)
    assert found.rows_of_new_items == 0.25
    before = np.bincount(old.item, minlength=ITEMS)
    now = np.bincount(item, minlength=ITEMS)
    assert found.popularity == pytest.approx(jensenshannon(before, now, base=2))
    assert found.popularity_by_chance > 0.5  # four rows of sixty items look like anything
    name, _, share = found.category_shift[0]
    assert (name, share) == ("War", 1.0)  # 2 and 5; the new film has no genre


def test_nothing_drifts_where_rows_are_drawn_as_before() -> None:
    old = log(1, users=40, rows=400)
    rng = np.random.default_rng(2)
    same = old.take(rng.integers(0, len(old), 4000))
    found = drift_of(old, same, catalogue(), (40, ITEMS), rng)
    assert found.popularity == pytest.approx(found.popularity_by_chance, rel=0.3)
    moved = Interactions(same.user, same.item // 2, same.time, same.signals)
    assert drift_of(old, moved, catalogue(), (40, ITEMS), rng).popularity > 0.4
