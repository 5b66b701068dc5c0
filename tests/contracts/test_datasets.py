"""What every registered data set must fulfil, on the real data, and published figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pareto_rec.core import fetch as fetching
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.data import DATASETS, fetch, load
from pareto_rec.data.inspect import as_text, describe
from pareto_rec.data.schema import Dataset
from pareto_rec.data.split import split_per_user


def loaded(name: str) -> Dataset:
    try:
        return load(name, cache_dir())
    except BadRequestError as error:
        if str(error).startswith("cannot fetch"):
            pytest.skip(str(error))
        raise


@pytest.fixture(params=sorted(DATASETS))
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return loaded(request.param)


def test_rows_refer_to_users_and_items(dataset: Dataset) -> None:
    rows = dataset.interactions
    assert len(rows) == len(rows.user) == len(rows.item) == len(rows.time) > 0
    assert rows.user.dtype == rows.item.dtype == rows.time.dtype == np.int64
    assert 0 <= rows.user.min() <= rows.user.max() < len(dataset.users)
    assert 0 <= rows.item.min() <= rows.item.max() < len(dataset.items)
    assert rows.time.min() >= 0


def test_signals_are_finite_and_one_of_them_is_always_there(dataset: Dataset) -> None:
    signals = dataset.interactions.signals
    assert signals
    for name, values in signals.items():
        assert values.shape == (len(dataset.interactions),), name
        assert values.dtype == np.float32, name
        assert np.isfinite(values).all(), name
        assert 0 < (values > 0).mean() <= 1, name


def test_items_have_ids_titles_texts_and_categories(dataset: Dataset) -> None:
    items = dataset.items
    assert len(set(items.ids)) == len(items.ids) == len(items.titles) == len(items.texts)
    assert all(text.strip() == text != "" for text in (*items.ids, *items.titles, *items.texts))
    assert items.categories.shape == (len(items), len(items.category_names))
    assert items.categories.dtype == np.float32
    assert set(np.unique(items.categories)) <= {0.0, 1.0}
    assert len(set(items.category_names)) == len(items.category_names)
    assert items.categories.any(axis=0).all(), "a category without an item"


def test_users_have_ids_and_one_value_per_attribute(dataset: Dataset) -> None:
    assert len(set(dataset.users.ids)) == len(dataset.users)
    for name, values in dataset.users.attributes.items():
        assert len(values) == len(dataset.users), name


def test_arrays_are_read_only(dataset: Dataset) -> None:
    rows = dataset.interactions
    for array in (rows.user, rows.item, rows.time, *rows.signals.values()):
        assert not array.flags.writeable
    assert not dataset.items.categories.flags.writeable


def test_second_load_is_offline_and_the_same(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("download", "_pip_download"):
        monkeypatch.setattr(fetching, function, lambda *_: pytest.fail("went to the network"))
    assert load(dataset.name, cache_dir()).content_hash == dataset.content_hash


def test_it_can_be_split_and_described(dataset: Dataset) -> None:
    split = split_per_user(dataset, validation=0.1, test=0.1, seed=0)
    summary = describe(dataset, split)
    assert json.loads(json.dumps(summary)) == summary
    lines = as_text(summary).splitlines()
    assert len(lines) == len(summary)
    assert f"{len(dataset.interactions):,}" in as_text(summary)
    assert split.validation.shape == (len(dataset.users), len(dataset.items))
    assert split.late_train_share is not None
    assert 0.0 <= split.late_train_share <= 1.0


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
