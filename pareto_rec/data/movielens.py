"""MovieLens 100K (Harper and Konstan 2015, https://doi.org/10.1145/2827872): reader and sources.

The archive of GroupLens and the copy inside the ``recbole`` wheel hold the same rows in two
layouts. Both are read into the same `Dataset`, down to its content hash: the wheel's ``.inter`` is
``u.data`` byte for byte under a header, its ``.user`` is ``u.user`` with tabs, and its ``.item``
splits the title from the year (:func:`_recbole_name` puts them back together).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.fetch import HttpSource, Source, WheelSource
from pareto_rec.data.lines import LARGEST, Table, TextLayout, from_file, from_zip, parse
from pareto_rec.data.schema import Dataset, FloatArray, IntArray, Interactions, Items, Users

NAME = "movielens-100k"
SOURCES: tuple[Source, ...] = (
    HttpSource(
        "files.grouplens.org",
        {
            "ml-100k.zip": (
                "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            )
        },
    ),
    WheelSource(
        "recbole==1.2.1",
        {
            "ml-100k.inter": (
                "recbole/dataset_example/ml-100k/ml-100k.inter",
                "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            ),
            "ml-100k.item": (
                "recbole/dataset_example/ml-100k/ml-100k.item",
                "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            ),
            "ml-100k.user": (
                "recbole/dataset_example/ml-100k/ml-100k.user",
                "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
            ),
        },
    ),
)

LIKED_FROM = 4.0
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
# u.item has one 0/1 column per genre; the first says that the genre is not known.
_GENRE_COLUMNS = ("unknown", *GENRES)
# The age groups of MovieLens 1M, by their first year.
AGE_GROUPS = ((0, "under 18"), (18, "18-24"), (25, "25-34"), (35, "35-44"), (45, "45-49"),
              (50, "50-55"), (56, "56+"))  # fmt: skip

# "Usual Suspects, The" -> "The Usual Suspects", also before and inside a bracket; only articles
# move, so that "Maybe, Maybe Not" stays.
_ARTICLES = "The|A|An|Il|Lo|La|Le|Les|L'|Un|Une|El|Los|Las|Das|Der|Die|Det|Den|Het|O"
_ARTICLE_LAST = re.compile(rf"([^()]+), ({_ARTICLES})(?=\s*(?:$|[()]))")
_NAME = re.compile(r"(?P<title>.*?)\s*\((?P<year>\d{4})\)(?:\s*\(V\))?")


@dataclass(frozen=True)
class _Layout:
    """Layout of one source: interactions, items and users (in this order)."""

    files: tuple[str, str, str]
    tables: tuple[TextLayout, TextLayout, TextLayout]
    name_and_genres: Callable[[Table, int], tuple[str, list[str]]]


def _official_item(table: Table, number: int) -> tuple[str, list[str]]:
    row = table.rows[number]
    flags = row[5:]
    if not set(flags) <= {"0", "1"}:
        table.fail(number, "genre flags must be 0 or 1")
    return row[1], [name for name, flag in zip(_GENRE_COLUMNS, flags, strict=True) if flag == "1"]


def _recbole_item(table: Table, number: int) -> tuple[str, list[str]]:
    row = table.rows[number]
    genres = row[3].split()
    if not set(genres) <= set(_GENRE_COLUMNS):
        table.fail(number, f'unknown genre in "{row[3][:60]}"')
    return _recbole_name(row[1], row[2]), genres


def _recbole_name(title: str, year: str) -> str:
    """Rebuild the name as in ``u.item``, which the wheel cut at the last bracket."""
    if title == "unkonwn":  # so spelt there, for the one item without a name
        return "unknown"
    return f"{title} ({year})"


_OFFICIAL = _Layout(
    files=("u.data", "u.item", "u.user"),
    tables=(TextLayout(4, "\t"), TextLayout(24, "|", encoding="latin-1"), TextLayout(5, "|")),
    name_and_genres=_official_item,
)
_RECBOLE = _Layout(
    files=("ml-100k.inter", "ml-100k.item", "ml-100k.user"),
    tables=(
        TextLayout(4, "\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float"),
        TextLayout(
            4, "\t", "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
        ),
        TextLayout(
            5,
            "\t",
            "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token",
        ),
    ),
    name_and_genres=_recbole_item,
)


def read(path: Path) -> Dataset:
    """Read MovieLens 100K from ``ml-100k.zip`` or from a folder.

    The folder holds ``ml-100k.zip``, or the files ``u.data``, ``u.item`` and ``u.user``, or
    ``ml-100k.inter``, ``ml-100k.item`` and ``ml-100k.user``. All give the same `Dataset`: users and
    items in the order of their numeric ids, rows by user, time and item. Signals: ``watched`` (1
    for every row), ``liked`` (rating of 4 or 5) and ``rating``.

    Raises:
        BadRequestError: If a file is missing, cut off, or has a row that cannot be read (names
            file and line).
    """
    layout, tables = _open(path)
    rows, films, people = tables
    items, item_ids = _items(films, layout)
    users, user_ids = _users(people)
    user = rows.positions(0, "user id", user_ids, layout.files[2])
    item = rows.positions(1, "item id", item_ids, layout.files[1])
    rating = rows.numbers(2, "rating", 1, 5).astype(np.float32)
    time = rows.numbers(3, "timestamp", 0, LARGEST)
    order = np.lexsort((rating, item, time, user))
    rating = rating[order]
    signals = {
        "watched": np.ones(len(rating), dtype=np.float32),
        "liked": (rating >= LIKED_FROM).astype(np.float32),
        "rating": rating,
    }
    columns = (user[order], item[order], time[order])
    for column in columns:
        column.flags.writeable = False
    for values in signals.values():
        values.flags.writeable = False
    return Dataset(NAME, Interactions(*columns, signals), items, users)


def _open(path: Path) -> tuple[_Layout, list[Table]]:
    """Read the layout that a path holds, and its interactions, items and users."""
    archive = path if path.is_file() else path / "ml-100k.zip"
    if archive.is_file():
        layout = _OFFICIAL
        contents = [from_zip(archive, f"ml-100k/{name}") for name in layout.files]
    else:
        layout = _layout_in(path)
        contents = [from_file(path / name) for name in layout.files]
    pairs = zip(contents, layout.tables, strict=True)
    return layout, [parse(*content, text_layout) for content, text_layout in pairs]


def _layout_in(folder: Path) -> _Layout:
    for layout in (_OFFICIAL, _RECBOLE):
        if any((folder / name).is_file() for name in layout.files):
            return layout
    raise BadRequestError(
        f"no MovieLens 100K in {folder}: put there ml-100k.zip, or {', '.join(_OFFICIAL.files)}, "
        f"or {', '.join(_RECBOLE.files)}"
    )


def _items(table: Table, layout: _Layout) -> tuple[Items, IntArray]:
    ids = table.ids(0, "item id")
    order = np.argsort(ids)
    titles, texts = [], []
    categories: FloatArray = np.zeros((len(ids), len(GENRES)), dtype=np.float32)
    for index, number in enumerate(order.tolist()):
        name, genres = layout.name_and_genres(table, number)
        title, year = _title_and_year(name)
        known = [genre for genre in genres if genre in GENRES]
        dated = f"{title} ({year})" if year else title
        titles.append(dated)
        texts.append(f"{dated}: {', '.join(known)}" if known else dated)
        categories[index, [GENRES.index(genre) for genre in known]] = 1.0
    categories.flags.writeable = False
    names = tuple(str(value) for value in ids[order])
    return Items(names, tuple(titles), tuple(texts), categories, GENRES), ids[order]


def _title_and_year(name: str) -> tuple[str, str]:
    """Split ``"Net, The (1995)"`` into ``("The Net", "1995")``; no year gives ``""``."""
    name = " ".join(name.split())
    match = _NAME.fullmatch(name)
    title, year = (match["title"], match["year"]) if match else (name, "")
    return _ARTICLE_LAST.sub(_article_first, title), year


def _article_first(match: re.Match[str]) -> str:
    words, article = match[1], match[2]
    return f"{article}{words}" if article.endswith("'") else f"{article} {words}"


def _users(table: Table) -> tuple[Users, IntArray]:
    ids = table.ids(0, "user id")
    order = np.argsort(ids)
    firsts = [first for first, _ in AGE_GROUPS]
    groups = np.searchsorted(firsts, table.numbers(1, "age", 0, 150), side="right") - 1
    rows = [table.rows[number] for number in order.tolist()]
    attributes = {
        "gender": tuple(row[2] for row in rows),
        "age_group": tuple(AGE_GROUPS[group][1] for group in groups[order]),
        "occupation": tuple(row[3] for row in rows),
    }
    return Users(tuple(str(value) for value in ids[order]), attributes), ids[order]
