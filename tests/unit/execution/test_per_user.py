"""The Parquet table of per-user values."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pandas as pd
from tiny_bundle import described_stage

from pareto_rec.execution.per_user import people_of, set_values, table_of
from pareto_rec.objectives import GroupValues


def test_one_row_per_point_and_user() -> None:
    found = [
        ("a", {"ndcg@10": np.array([0.5, np.nan]), "ild@10": np.array([0.1, 0.2])}),
        ("b", {"ndcg@10": np.array([1.0, 0.0])}),
    ]
    frame = pd.read_parquet(io.BytesIO(table_of(found, ["u1", "u2"])))
    assert frame["id"].tolist() == ["a", "a", "b", "b"]
    assert frame["user"].tolist() == ["u1", "u2"] * 2
    np.testing.assert_array_equal(frame["ndcg@10"], [0.5, np.nan, 1.0, 0.0])
    np.testing.assert_array_equal(frame["ild@10"], [0.1, 0.2, np.nan, np.nan])


def test_an_empty_front_is_an_empty_table() -> None:
    assert pd.read_parquet(io.BytesIO(table_of([], ["u1"]))).empty


def test_what_is_known_of_each_user_stands_beside_them() -> None:
    stage = described_stage()
    frame = pd.read_parquet(io.BytesIO(people_of(stage)))
    assert frame["user"].tolist() == list(stage.users.ids)
    for user, rows in enumerate(frame["history"]):
        assert rows == (stage.history.user == user).sum()
    bounds = frame.groupby("history_length")["history"].agg(["min", "max"])
    known = [name for name in ("none", "short", "medium", "long") if name in bounds.index]
    for shorter, longer in pairwise(known):
        assert bounds.loc[shorter, "max"] < bounds.loc[longer, "min"]


def test_set_values_name_users_and_groups() -> None:
    """Of groups of users two are in one; an objective that one point lacks is left out."""
    user, group = np.array([0, 2]), np.array([1, 0])
    grouped = [GroupValues(np.array(values), user, group, 2, 3) for values in ([0.1, 0.2], [0, 1])]
    shown = np.array([0.5, 0.6, 0.7])
    found = [
        ("a", {"coverage@10": shown, "worst": grouped[0], "lost": shown}),
        ("b", {"coverage@10": shown + 1, "worst": grouped[1]}),
    ]
    sets = set_values(found, ["u1", "u2", "u3"])
    assert set(sets) == {"coverage@10", "worst"}
    assert sets["coverage@10"].user == ("u1", "u2", "u3")
    assert sets["coverage@10"].group is None
    np.testing.assert_array_equal(sets["coverage@10"].values["b"], shown + 1)
    worst = sets["worst"]
    assert (worst.user, worst.groups, worst.minimum) == (("u1", "u3"), 2, 3)
    np.testing.assert_array_equal(worst.group, group)
    np.testing.assert_array_equal(worst.values["a"], [0.1, 0.2])
    assert set_values([], ["u1"]) == {}
