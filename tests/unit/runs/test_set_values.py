"""The Parquet table of what set objectives are resampled from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pareto_rec.core.checksums import sha256_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.set_values import FILE, SetValues, read_set_values, table_of

USERS = ("u1", "u2", "u3")
SETS = {
    "coverage@10": SetValues(
        USERS, {"a": np.array([0.1, np.nan, 0.3]), "b": np.array([0.4, 0.5, 0.6])}
    ),
    "gap(ndcg@10 by item.brand)": SetValues(
        ("u1", "u3", "u1"),  # of groups of items a user has a value in each
        {"a": np.array([0.0, 1.0, 0.5]), "b": np.array([1.0, np.nan, 0.0])},
        np.array([0, 0, 1]),
        2,
        5,
    ),
}


def write(run: Path, content: bytes) -> Path:
    path = run / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, table_of(SETS))
    found = read_set_values(tmp_path, {})
    assert found is not None
    assert list(found) == list(SETS)
    for name, one in SETS.items():
        mine = found[name]
        assert (mine.user, mine.groups, mine.minimum) == (one.user, one.groups, one.minimum)
        assert list(mine.values) == list(one.values)
        for point, values in one.values.items():
            np.testing.assert_array_equal(mine.values[point], values)
    assert found["coverage@10"].group is None
    np.testing.assert_array_equal(found["gap(ndcg@10 by item.brand)"].group, [0, 0, 1])


def test_no_objective_is_no_row(tmp_path: Path) -> None:
    write(tmp_path, table_of({}))
    assert read_set_values(tmp_path, {}) == {}


def test_a_run_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert read_set_values(tmp_path, {}) is None


def test_a_changed_or_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, table_of(SETS))
    info = {"files": {FILE: sha256_of(path)}}
    assert read_set_values(tmp_path, info)
    path.write_bytes(table_of({}))
    with pytest.raises(BadRequestError, match=r"sets\.parquet is not the file that was written"):
        read_set_values(tmp_path, info)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(BadRequestError, match=r"sets\.parquet is damaged \(.*\); remove it"):
        read_set_values(tmp_path, {})
    parquet.write_table(pa.table({"objective": ["coverage@10"]}), path)
    with pytest.raises(BadRequestError, match=r"sets\.parquet is damaged"):
        read_set_values(tmp_path, {})


def test_another_format_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, table_of(SETS))
    table = parquet.read_table(path)
    about = json.loads(table.schema.metadata[b"pareto_rec"]) | {"format": 9}
    parquet.write_table(table.replace_schema_metadata({b"pareto_rec": json.dumps(about)}), path)
    with pytest.raises(BadRequestError, match="has format 9, and this version reads format 1"):
        read_set_values(tmp_path, {})
