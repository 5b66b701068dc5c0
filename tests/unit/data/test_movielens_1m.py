"""The tables that the experiment on MovieLens 1M makes, and its split, each counted apart."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pyarrow import parquet

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.data.schema import Dataset, Interactions
from pareto_rec.data.split import split
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.inputs import read_dataset

pytestmark = pytest.mark.usefixtures("single_thread")

EXPERIMENT = Path(__file__).parents[3] / "experiments" / "movielens_1m_accuracy_fairness_diversity"


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("movielens_prepare", EXPERIMENT / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "ml1m"
    folder.mkdir()
    files = {
        "users.dat": ["7::F::1::10::48067", "8::M::56::16::70072", "9::M::35::1::0"],
        "movies.dat": [
            "3::Misérables, Les (1995)::Drama|Musical",
            "4::Maybe, Maybe Not (1994)::Comedy",
            "5::Matrix, The (1999)::Action|Sci-Fi|Thriller",
        ],
        "sas_to_original_users.txt": ["1 8", "2 7"],
        "sas_to_original_items.txt": ["1 5", "2 3", "3 4"],
    }
    for name, lines in files.items():
        (folder / name).write_bytes("".join(f"{line}\n" for line in lines).encode("latin-1"))
    monkeypatch.setenv("PARETO_REC_DATA", str(tmp_path))
    monkeypatch.setenv("PARETO_REC_CACHE", str(tmp_path / "cache"))
    return folder


def test_ids_are_replaced_in_both_tables(prepare: ModuleType, data: Path) -> None:
    assert data.is_dir()
    folder = prepare.prepare()
    assert parquet.read_table(folder / "users.parquet").to_pydict() == {
        "user": ["1", "2"],
        "gender": ["male", "female"],
        "age": ["56+", "under 18"],
    }
    assert parquet.read_table(folder / "items.parquet").to_pydict() == {
        "item": ["1", "2", "3"],
        "title": ["The Matrix (1999)", "Les Misérables (1995)", "Maybe, Maybe Not (1994)"],
        "genres": ["Action|Sci-Fi|Thriller", "Drama|Musical", "Comedy"],
    }


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("sas_to_original_users.txt", "3 8", "an id stands twice"),
        ("sas_to_original_users.txt", "1 9", "an id stands twice"),
        ("sas_to_original_items.txt", "4 77", "has no row of the id 77"),
        ("sas_to_original_items.txt", "4", "line 4: 1 fields instead of 2"),
        ("users.dat", "1,F,1,10,48067", "line 4: 1 fields instead of 5"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    prepare: ModuleType, data: Path, name: str, line: str, message: str
) -> None:
    with (data / name).open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(BadRequestError, match=message) as caught:
        prepare.prepare()
    assert "\n" not in str(caught.value)
    (data / name).unlink()
    with pytest.raises(BadRequestError, match="cannot be read"):
        prepare.prepare()


@pytest.fixture(scope="module")
def films(prepare: ModuleType) -> Dataset:
    if not os.environ.get("PARETO_REC_DATA"):
        pytest.skip("PARETO_REC_DATA names no folder with the data of the experiments on tables")
    prepare.prepare()
    return read_dataset(load_config(EXPERIMENT), cache_dir())


def named(dataset: Dataset, rows: Interactions) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item in zip(rows.user.tolist(), rows.item.tolist(), strict=True):
        found.setdefault(dataset.users.ids[user], []).append(dataset.items.ids[item])
    return found


def test_the_split_is_sasrec_s(films: Dataset) -> None:
    """As its authors cut: the last film of a user, the one before, the rest, line by line."""
    path = Path(os.environ["PARETO_REC_DATA"]) / "ml1m" / "ml-1m.txt"
    films_of: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        user, item = line.split(" ")
        films_of.setdefault(user, []).append(item)
    made = split(films, "leave_last_out", validation=0.1, test=0.1, seed=0)
    assert named(films, made.test.held_out) == {u: seen[-1:] for u, seen in films_of.items()}
    assert named(films, made.validation.held_out) == {
        user: seen[-2:-1] for user, seen in films_of.items()
    }
    assert named(films, made.validation.train) == {u: seen[:-2] for u, seen in films_of.items()}
    assert not made.test.repeats.any()


def test_people_and_films_are_joined(films: Dataset) -> None:
    """Counts as published for MovieLens 1M, with the ids of its own files."""
    assert films.account is not None
    assert films.account["rows"] == films.account["used"] == 999_611
    assert (len(films.users), len(films.items)) == (6_040, 3_416)
    values, counts = np.unique(films.users.attributes["age"], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        "under 18": 222,
        "18-24": 1103,
        "25-34": 2096,
        "35-44": 1193,
        "45-49": 550,
        "50-55": 496,
        "56+": 380,
    }
    assert films.users.attributes["gender"].count("male") == 4_331
    rows = np.bincount(films.interactions.item, minlength=len(films.items))
    count = dict(zip(films.items.titles, rows.tolist(), strict=True))
    assert count["American Beauty (1999)"] == 3_428
    assert count["Toy Story (1995)"] == 2_077
    assert films.items.texts == films.items.titles  # what diversity reads holds no genre
    assert len(films.items.category_names) == 18
