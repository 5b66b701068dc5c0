"""The simulation behind the intervals, scaled down; `make evidence` runs 500 fronts."""

from __future__ import annotations

from benchmarks import intervals
from pareto_rec.objectives import UserObjective


def test_intervals_of_every_kind_hold_the_truth_and_show_the_bias_of_extremes() -> None:
    """Few fronts, so the bounds are wide; a plain resample never holds the gap of equal groups."""
    rows = intervals.simulate("groups alike", fronts=8, users=100, draws=150, others=20, people=600)
    held = {row["kind"]: row["held"] for row in rows}
    assert set(intervals.NAMES) < set(held)
    for kind, share in held.items():
        assert share >= (0.7 if kind in intervals.NAMES else 0.6), kind
    assert all(row["width"] > 0 for row in rows)
    shown = {row["kind"]: row["bias shown"] for row in rows}
    assert shown["worst(ndcg@10 by band)"] < 0 < shown["gap(ndcg@10 by band)"]
    users = [name for name, one in intervals.OBJECTIVES.items() if isinstance(one, UserObjective)]
    assert all(shown[name] == 0 for name in users)
