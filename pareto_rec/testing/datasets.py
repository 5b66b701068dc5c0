"""What every named data set promises, on the real data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pareto_rec.core import fetch as fetching
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.data import DATASETS, load
from pareto_rec.data.inspect import as_text, describe
from pareto_rec.data.schema import Dataset
from pareto_rec.data.split import split_per_user
from pareto_rec.testing.contract import Contract


def loaded(name: str) -> Dataset:
    """A data set out of the user's cache; the test is skipped where it cannot be fetched."""
    try:
        return load(name, cache_dir())
    except BadRequestError as error:
        if str(error).startswith("cannot fetch"):
            pytest.skip(str(error))
        raise


class DatasetContract(Contract):
    """Tests of data sets: `subjects` are registered names; fetched where they are not cached."""

    argument = "name"

    def cases(self) -> list[str]:
        """The names.

        Raises:
            LookupError: If one is not registered.
        """
        missing = set(self.subjects) - set(DATASETS)
        if missing:
            raise LookupError(f'register("{min(missing)}", dataset=...) first')
        return list(self.subjects)

    @pytest.fixture
    def dataset(self, name: str) -> Dataset:
        """The data."""
        return loaded(name)

    def test_rows_refer_to_users_and_items(self, dataset: Dataset) -> None:
        rows = dataset.interactions
        assert len(rows) == len(rows.user) == len(rows.item) == len(rows.time) > 0
        assert rows.user.dtype == rows.item.dtype == rows.time.dtype == np.int64
        assert 0 <= rows.user.min() <= rows.user.max() < len(dataset.users)
        assert 0 <= rows.item.min() <= rows.item.max() < len(dataset.items)
        assert rows.time.min() >= 0

    def test_signals_are_finite_and_one_of_them_is_always_there(self, dataset: Dataset) -> None:
        signals = dataset.interactions.signals
        assert signals
        for name, values in signals.items():
            assert values.shape == (len(dataset.interactions),), name
            assert values.dtype == np.float32, name
            assert np.isfinite(values).all(), name
            assert 0 < (values > 0).mean() <= 1, name

    def test_items_have_ids_titles_texts_and_categories(self, dataset: Dataset) -> None:
        items = dataset.items
        assert len(set(items.ids)) == len(items.ids) == len(items.titles) == len(items.texts)
        assert all(text.strip() == text != "" for text in (*items.ids, *items.titles, *items.texts))
        assert items.categories.shape == (len(items), len(items.category_names))
        assert items.categories.dtype == np.float32
        assert set(np.unique(items.categories)) <= {0.0, 1.0}
        assert len(set(items.category_names)) == len(items.category_names)
        assert items.categories.any(axis=0).all(), "a category without an item"

    def test_users_have_ids_and_one_value_per_attribute(self, dataset: Dataset) -> None:
        assert len(set(dataset.users.ids)) == len(dataset.users)
        for name, values in dataset.users.attributes.items():
            assert len(values) == len(dataset.users), name

    def test_arrays_are_read_only(self, dataset: Dataset) -> None:
        rows = dataset.interactions
        arrays: list[NDArray[Any]] = [rows.user, rows.item, rows.time, *rows.signals.values()]
        assert not any(array.flags.writeable for array in arrays)
        assert not dataset.items.categories.flags.writeable

    def test_second_load_is_offline_and_the_same(
        self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for function in ("download", "_pip_download"):
            monkeypatch.setattr(fetching, function, lambda *_: pytest.fail("went to the network"))
        assert load(dataset.name, cache_dir()).content_hash == dataset.content_hash

    def test_it_can_be_split_and_described(self, dataset: Dataset) -> None:
        split = split_per_user(dataset, validation=0.1, test=0.1, seed=0)
        summary = describe(dataset, split)
        assert json.loads(json.dumps(summary)) == summary
        lines = as_text(summary).splitlines()
        assert len(lines) == len(summary)
        assert f"{len(dataset.interactions):,}" in as_text(summary)
        assert split.validation.shape == (len(dataset.users), len(dataset.items))
        assert split.late_train_share is not None
        assert 0.0 <= split.late_train_share <= 1.0
