"""Identity of rows: the same rows are known again, whatever is read beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pareto_rec.data.identity import SKETCH, RowsIdentity
from pareto_rec.data.schema import Interactions
from pareto_rec.runs.earlier_openings import overlap

USERS, ITEMS = tuple(f"u{n}" for n in range(50)), tuple(f"i{n}" for n in range(40))


def rows(count: int = 400) -> Interactions:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 50, count), rng.integers(0, 40, count)
    time = rng.integers(0, 10**9, count)
    return Interactions(user, item, time, {"liked": np.ones(count, dtype=np.float32)})


def test_order_signals_and_numbering_do_not_matter() -> None:
    log = rows()
    identity = RowsIdentity.of(log, USERS, ITEMS)
    assert identity.rows == 400
    assert len(identity.sketch) == SKETCH
    shuffled = log.take(np.random.default_rng(1).permutation(400))
    bought = replace(shuffled, signals={"bought": np.zeros(400, dtype=np.float32)})
    assert RowsIdentity.of(bought, USERS, ITEMS) == identity
    renumbered = replace(log, user=49 - log.user)
    assert RowsIdentity.of(renumbered, USERS[::-1], ITEMS) == identity


@pytest.mark.parametrize("column", ["user", "item", "time"])
def test_one_changed_row_is_another_identity_and_nearly_the_same_rows(column: str) -> None:
    log = rows()
    values = getattr(log, column).copy()
    values[7] = (values[7] + 1) % 40
    before = RowsIdentity.of(log, USERS, ITEMS)
    after = RowsIdentity.of(replace(log, **{column: values}), USERS, ITEMS)
    assert after.sha256 != before.sha256
    assert overlap(before.sketch, after.sketch) > 0.9


def test_the_overlap_of_sketches_is_that_of_the_rows() -> None:
    """Of 4,000 rows and 2,000 of them: a Jaccard index of one half, give or take 4 x .09."""
    log = rows(4000)
    whole = RowsIdentity.of(log, USERS, ITEMS)
    half = RowsIdentity.of(log.take(np.arange(2000)), USERS, ITEMS)
    assert overlap(whole.sketch, half.sketch) == pytest.approx(0.5, abs=0.36)
    assert (
        overlap(half.sketch, RowsIdentity.of(log.take(np.arange(2000, 4000)), USERS, ITEMS).sketch)
        < 0.1
    )
