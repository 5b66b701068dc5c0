"""From what a config names (paths, patterns, folders, variables) to files that can be opened."""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Literal, cast

from pareto_rec.errors import BadRequestError
from pareto_rec.paths import CACHE_VARIABLE, cache_dir

DATA_VARIABLE = "PARETO_REC_DATA"

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_TEXT = (".csv", ".tsv", ".txt", ".tab", ".data", ".dat", ".log")
_PARQUET = (".parquet", ".pq")
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, OSError)


@dataclass(frozen=True)
class File:
    """One table on disk.

    Attributes:
        path: Where it lies.
        form: How it is written.
        packing: What it is packed in.
        member: Its name within an archive.
    """

    path: Path
    form: Literal["csv", "parquet"]
    packing: Literal["", "gzip", "zip"] = ""
    member: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, unpacked while they are read.

        Raises:
            BadRequestError: If it cannot be read, or the packing is damaged or cut off.
        """
        with self.reading():
            if self.packing == "zip":
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                    yield io.BytesIO(stream.read()) if self.form == "parquet" else stream
            elif self.packing == "gzip":
                with gzip.open(self.path) as unpacked:
                    stream = cast(IO[bytes], unpacked)
                    yield io.BytesIO(stream.read()) if self.form == "parquet" else stream
            else:
                with self.path.open("rb") as stream:
                    yield stream

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever goes wrong with the file inside the block is said in one line."""
        try:
            yield
        except _BROKEN as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BadRequestError(f"{self.name} cannot be read: {reason}") from None
        except (RuntimeError, NotImplementedError) as error:  # zip: encrypted, or packed strangely
            raise BadRequestError(f"{self.name} cannot be unpacked: {error}") from None


def expand(text: str) -> str:
    """A path with its ``${VARIABLE}`` filled in; the cache has a place even where none is set.

    Raises:
        BadRequestError: If a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], "")
        if match[1] == CACHE_VARIABLE:
            return str(cache_dir())
        if not found:
            raise BadRequestError(
                f"{text} cannot be found: set the environment variable {match[1]} to the folder "
                "that holds these data"
            )
        return found

    return os.path.expanduser(_VARIABLE.sub(value, text))


def beside(data: object, folder: Path) -> None:
    """Make the relative paths of a config's ``[data]`` start from the config's folder, in place.

    Args:
        data: The table as it was read, right or wrong.
        folder: The folder that holds the config.
    """
    tables: list[object] = [data]
    if isinstance(data, dict):
        tables += [data.get("items"), data.get("users")]
    for table in tables:
        if isinstance(table, dict) and "files" in table:
            named = table["files"]
            several = named if isinstance(named, list) else [named]
            moved = [_from(one, folder) if isinstance(one, str) else one for one in several]
            table["files"] = moved


def _from(name: str, folder: Path) -> str:
    return name if name.startswith(("${", "~")) else str(folder.resolve() / name)


def find(named: Sequence[str], what: str = "data.files") -> tuple[File, ...]:
    """Every table behind paths, patterns and folders, in the order of their names.

    Args:
        named: As in the config.
        what: Key of the config, for messages.

    Raises:
        BadRequestError: If nothing is named, or a name leads to no table.
    """
    if not named:
        raise BadRequestError(f"{what} names no file: give paths, patterns or folders")
    found: list[File] = []
    for one in named:
        path = expand(one)
        if os.path.isdir(path):
            inside = sorted(p for p in Path(path).rglob("*") if p.is_file() and _form(p.name))
            found += [file for p in inside for file in _files(p)]
            if not inside:
                raise BadRequestError(f"{what}: no CSV or Parquet file in the folder {path}")
            continue
        paths = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        files = [file for p in map(Path, paths) if p.is_file() for file in _files(p)]
        files = files or _members(Path(path))
        if not files:
            made = "; the prepare.py beside the config makes it" if CACHE_VARIABLE in one else ""
            raise BadRequestError(f"{what}: there is no file {path}{made}")
        found += files
    return tuple(dict.fromkeys(found))


def _members(path: Path) -> list[File]:
    """Tables within an archive that a path or pattern such as ``data.zip/log.csv`` names."""
    archive = next((above for above in path.parents if above.is_file()), None)
    if archive is None or _form(archive.name) != "zip":
        return []
    inside = str(path.relative_to(archive).as_posix())
    return [
        file
        for file in _files(archive)
        if file.member == inside or fnmatchcase(file.member, inside)
    ]


def _form(name: str) -> Literal["csv", "parquet", "zip", ""]:
    """What a name stands for; "" where it is no table."""
    name = name.lower().removesuffix(".gz")
    if name.endswith(_PARQUET):
        return "parquet"
    if name.endswith(".zip"):
        return "zip"
    return "csv" if name.endswith(_TEXT) else ""


def _files(path: Path) -> list[File]:
    """The tables in a file: itself, or the members of an archive."""
    form = _form(path.name) or "csv"
    if form != "zip":
        packing: Literal["", "gzip"] = "gzip" if path.name.lower().endswith(".gz") else ""
        return [File(path, form, packing)]
    with File(path, "csv").reading(), zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
    inside = [(name, _form(name)) for name in names if not name.startswith("__MACOSX")]
    files = [File(path, kind, "zip", name) for name, kind in inside if kind in ("csv", "parquet")]
    if not files:
        raise BadRequestError(f"{path} holds no CSV or Parquet file")
    return files
