"""Data sets by name: where to fetch them and how to read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pareto_rec.core.errors import unknown
from pareto_rec.core.fetch import Source, obtain
from pareto_rec.core.registry import Registry
from pareto_rec.data import movielens
from pareto_rec.data.schema import Dataset


@dataclass(frozen=True)
class Loader:
    """One registered data set.

    Attributes:
        about: One line for a list.
        sources: Where its files come from, best first; none where `read` needs no files.
        read: From the folder of the files to the data.
    """

    about: str
    sources: tuple[Source, ...]
    read: Callable[[Path], Dataset]


DATASETS: Registry[Loader] = Registry(
    "data set",
    {
        movielens.NAME: Loader(
            "100,000 ratings of 1,682 films by 943 people, 1997-98; signals watched, liked, rating",
            movielens.SOURCES,
            movielens.read,
        ),
    },
)


def fetch(name: str, cache: Path) -> Path:
    """Bring a data set into the cache, unless it is there, and return its folder.

    Args:
        name: A key of `DATASETS`.
        cache: Root of the cache (`pareto_rec.core.paths.cache_dir`).

    Raises:
        BadRequestError: If there is no such data set, a checksum differs, the folder cannot be
            written, or nothing is cached and no source can be reached.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    folder = cache / "data" / name
    if DATASETS[name].sources:
        obtain(name, folder, DATASETS[name].sources)
    return folder


def load(name: str, cache: Path) -> Dataset:
    """Fetch a data set if need be, and read it.

    Args:
        name: A key of `DATASETS`.
        cache: Root of the cache.

    Raises:
        BadRequestError: As :func:`fetch`, or if a file cannot be read.
    """
    folder = fetch(name, cache)
    return DATASETS[name].read(folder)
