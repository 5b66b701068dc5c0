"""Gives the users and films of SASRec's MovieLens 1M what ``users.dat`` and ``movies.dat`` say.

SASRec's file numbers users and films anew; two files say which number stands for which. The log
itself is read as it is. Run it alone, or let ``run.py`` do so: ``python prepare.py``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir, written_whole
from pareto_rec.data.movielens import AGE_GROUPS
from pareto_rec.data.table.files import expand

SOURCE = "${PARETO_REC_DATA}/ml1m"
FILES = {"users": "users.dat", "items": "movies.dat"}
GENDERS = {"F": "female", "M": "male"}
_ARTICLE_LAST = re.compile(r"(.+), (The|A|An|Le|La|Les|Il|Das|Der|Die|El|Los|L')( \(.*)")
Fields = list[str]


def rows_of(path: Path, separator: str, width: int) -> list[Fields]:
    """Return the lines of a file, parted into fields.

    Raises:
        BadRequestError: If it is not there, or a line has another number of fields.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise BadRequestError(
            f"{path} cannot be read ({error.strerror}): README.md says where it is available"
        ) from None
    rows = [line.split(separator) for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise BadRequestError(f"{path}, line {number}: {len(row)} fields instead of {width}")
    return rows


def joined(folder: Path, kind: str, width: int) -> list[Fields]:
    """Return the rows of users or items, their ids replaced by SASRec's, in SASRec's order.

    Args:
        folder: Where the files are.
        kind: ``users`` or ``items``.
        width: Fields of a row.

    Raises:
        BadRequestError: If a file is missing, an id stands twice, or one has no row.
    """
    path = folder / f"sas_to_original_{kind}.txt"
    pairs = rows_of(path, " ", 2)
    for column in zip(*pairs, strict=True):
        if len(set(column)) < len(column):
            raise BadRequestError(f"{path}: an id stands twice, so that it is not one to one")
    about = {row[0]: row[1:] for row in rows_of(folder / FILES[kind], "::", width)}
    for _, original in pairs:
        if original not in about:
            raise BadRequestError(f"{folder / FILES[kind]} has no row of the id {original}")
    return [[own, *about[original]] for own, original in pairs]


def age_group(first: str) -> str:
    """Return the name of a group of ages, given its first year (1 for the youngest)."""
    return [name for year, name in AGE_GROUPS if year <= int(first)][-1]


def users(folder: Path) -> pa.Table:
    """Return id, gender and age group of every user."""
    rows = joined(folder, "users", 5)
    return pa.table(
        {
            "user": [row[0] for row in rows],
            "gender": [GENDERS[row[1]] for row in rows],
            "age": [age_group(row[2]) for row in rows],
        }
    )


def items(folder: Path) -> pa.Table:
    """Return id, title with year, and genres (parted by ``|``) of every film."""
    rows = joined(folder, "items", 3)
    return pa.table(
        {
            "item": [row[0] for row in rows],
            "title": [_ARTICLE_LAST.sub(r"\2 \1\3", row[1]) for row in rows],
            "genres": [row[2] for row in rows],
        }
    )


def prepare(source: str = SOURCE) -> Path:
    """Write both tables beside other computed data; the folder they are in.

    Raises:
        BadRequestError: If a file is missing or not as expected, or nothing can be written.
    """
    folder = Path(expand(source))
    target = cache_dir() / "prepared" / "movielens_1m_accuracy_fairness_diversity"
    for name, table in (("users", users(folder)), ("items", items(folder))):
        with written_whole(target / f"{name}.parquet") as temporary:
            parquet.write_table(table, temporary)
    return target


if __name__ == "__main__":
    try:
        print(prepare())
    except BadRequestError as error:
        sys.exit(f"error: {error}")
