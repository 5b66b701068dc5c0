"""Files of a table, from what a config names (paths, patterns, folders, variables)."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import CACHE_VARIABLE, cache_dir
from pareto_rec.core.unpacking import (
    BROKEN,
    UNPACK,
    Bounded,
    most_bytes,
    too_large,
)
from pareto_rec.data.table.magic import (
    HEAD_BYTES,
    READ,
    TableForm,
    form_of_contents,
    named,
    packing_of,
)

DATA_VARIABLE = "PARETO_REC_DATA"
MOST_MEMBERS = 5_000  # of an archive
MOST_PACKINGS = 3  # one in the other

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class File:
    """One table on disk.

    Attributes:
        path: Where it lies.
        form: How it is written.
        packing: What it is packed in, the outermost first.
        member: Its name within an archive.
        shown: What messages call its path: variables stand there by their names.
    """

    path: Path
    form: TableForm
    packing: tuple[str, ...] = ()
    member: str = ""
    shown: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        path = self.shown or str(self.path)
        return f"{path}/{self.member}" if self.member else path

    @property
    def packed_bytes(self) -> int:
        """Its size as it lies on disk."""
        if self.member:
            return _archive(self.path).getinfo(self.member).compress_size
        return self.path.stat().st_size

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open its bytes, unpacked while they are read.

        Raises:
            BadRequestError: If it cannot be read, the packing is damaged or cut off, or more comes
                out of it than is allowed.
        """
        with self.reading(), ExitStack() as stack:
            stream = self._opened(stack)
            if self.packing and self.form in ("parquet", "arrow"):  # read at any offset
                spool = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(stream, spool, 1 << 20)
                spool.seek(0)
                stream = spool
            yield stream

    def _opened(self, stack: ExitStack) -> IO[bytes]:
        packing = self.packing
        if not packing:
            return stack.enter_context(self.path.open("rb"))
        if self.member:
            stream = stack.enter_context(_archive(self.path).open(self.member))
            packing = packing[1:]
        else:
            stream = stack.enter_context(self.path.open("rb"))
        for kind in packing:
            stream = stack.enter_context(UNPACK[kind](stream))
        text = self.form in ("csv", "jsonl")
        return cast(IO[bytes], Bounded(stream, self.name, self.packed_bytes, text=text))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn any failure to read the file inside the block into one line."""
        try:
            yield
        except (*BROKEN, zipfile.BadZipFile):
            raise BadRequestError(
                f"{self.name} cannot be read: it is damaged or cut off; copy it again"
            ) from None
        except OSError as error:
            reason = error.strerror or "it is damaged or cut off; copy it again"
            raise BadRequestError(f"{self.name} cannot be read: {reason}") from None
        except (RuntimeError, NotImplementedError) as error:  # zip: encrypted, or packed strangely
            reason = "it is encrypted" if "encrypted" in str(error) else "packed in an unknown way"
            raise BadRequestError(f"{self.name} cannot be unpacked: {reason}") from None


def _archive(path: Path) -> zipfile.ZipFile:
    """Open an archive and keep it open: reading its list of members for each of them takes long."""
    state = path.stat()
    return _opened_archive(path, state.st_size, state.st_mtime_ns, os.getpid())


@lru_cache(maxsize=1)
def _opened_archive(path: Path, *_: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def expand(text: str) -> str:
    """Fill in ``${VARIABLE}`` in a path; the cache has a default where none is set.

    Raises:
        BadRequestError: If a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        folder = os.environ.get(match[1], "")
        if match[1] == CACHE_VARIABLE:
            return str(cache_dir())
        if not folder:
            raise BadRequestError(
                f"{text} cannot be found: set the environment variable {match[1]} to the folder "
                "that holds these data"
            )
        return folder

    return os.path.expanduser(_VARIABLE.sub(value, text))


def _as_named(path: str, text: str) -> str:
    """Put the names of variables back into a path: their values may be secret."""
    last = max((match.end() for match in _VARIABLE.finditer(text)), default=0)
    if not last:
        return path
    start = expand(text[:last])
    if path.startswith(start):
        return text[:last] + path[len(start) :]
    for match in _VARIABLE.finditer(text):  # behind a pattern
        path = path.replace(expand(match[0]), match[0])
    return path


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
            files = table["files"]
            several = files if isinstance(files, list) else [files]
            moved = [_from(name, folder) if isinstance(name, str) else name for name in several]
            table["files"] = moved


def _from(name: str, folder: Path) -> str:
    return name if name.startswith(("${", "~")) else str(folder.resolve() / name)


def find(names: Sequence[str], what: str = "data.files") -> tuple[File, ...]:
    """Find every table behind paths, patterns and folders, in the order of their names.

    Args:
        names: As in the config.
        what: Key of the config, for messages.

    Raises:
        BadRequestError: If nothing is named, a name leads to no table, or to something that is not
            read.
    """
    if not names:
        raise BadRequestError(f"{what} names no file: give paths, patterns or folders")
    tables: list[File] = []
    for name in names:
        if "\x00" in name or len(name) > 4096:
            raise BadRequestError(f"{what}: {name[:40]!r} cannot be the name of a file")
        path = expand(name)
        if os.path.isdir(path):
            inside = sorted(p for p in Path(path).rglob("*") if p.is_file() and _is_table(p.name))
            tables += [file for p in inside for file in _files(p, _as_named(str(p), name))]
            if not inside:
                raise BadRequestError(f"{what}: no table in the folder {name} (read are {READ})")
            continue
        paths = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        regular = [p for p in paths if os.path.isfile(p)]
        if not regular:
            if members := _within_archive(Path(path)):
                tables += members
                continue
            hint = "; the prepare.py beside the config makes it" if CACHE_VARIABLE in name else ""
            state = f"{name} is not a regular file" if paths else f"there is no file {name}"
            raise BadRequestError(f"{what}: {state}{hint}")
        tables += [file for p in regular for file in _files(Path(p), _as_named(p, name))]
    return tuple(dict.fromkeys(tables))


def _within_archive(path: Path) -> list[File]:
    """Find tables in an archive named by a path or pattern such as ``data.zip/log.csv``."""
    archive = next((above for above in path.parents if above.is_file()), None)
    if archive is None:
        return []
    wanted = str(path.relative_to(archive).as_posix())
    inside = [file for file in _files(archive, str(archive)) if file.member]
    return [
        table for table in inside if table.member == wanted or fnmatchcase(table.member, wanted)
    ]


def _is_table(name: str) -> bool:
    return bool(named(name)[1])


def _files(path: Path, shown: str) -> list[File]:
    """List the tables in a file: itself, or the members of an archive."""
    file = File(path, "csv", shown=shown)
    with file.reading():
        with path.open("rb") as stream:
            packing = packing_of(stream.read(HEAD_BYTES))
        if packing == "zip":
            return _members(file)
        return [_recognised(file)]


def _members(file: File) -> list[File]:
    """List the tables in an archive.

    Raises:
        BadRequestError: If there is none, or more than can be meant.
    """
    archive = _archive(file.path)
    inside = [member for member in archive.infolist() if not member.is_dir()]
    if len(inside) > MOST_MEMBERS:
        raise BadRequestError(
            f"{file.name} holds {len(inside):,} files; at most {MOST_MEMBERS:,} are read out of "
            "an archive: unpack it and name the folder"
        )
    names = {member.filename for member in inside}
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise BadRequestError(
            f"{file.name} is an Office document, which is not read: save its sheet as CSV"
        )
    tables = [member for member in inside if _is_table(member.filename)]
    tables = [member for member in tables if not member.filename.startswith("__MACOSX")]
    if not tables:
        raise BadRequestError(f"{file.name} holds no table (read are {READ})")
    packed = file.packed_bytes
    if sum(member.file_size for member in tables) > most_bytes(packed):
        raise too_large(file.name, packed)
    members = sorted(member.filename for member in tables)
    return [_recognised(replace(file, packing=("zip",), member=name)) for name in members]


def _recognised(file: File) -> File:
    """Detect packing and form of a file from its contents.

    Raises:
        BadRequestError: If its name promises a packing that it has not, if it is packed too often,
            or if it is something that is not read.
    """
    last = file.member or file.path.name
    with file.reading():
        while True:
            with ExitStack() as stack:
                head = _head(file._opened(stack))
            packing = packing_of(head)
            if not packing or packing == "zip":
                break
            file = replace(file, packing=(*file.packing, packing))
            if len(file.packing) > MOST_PACKINGS:
                raise BadRequestError(f"{file.name} is packed more than {MOST_PACKINGS} times")
    promised, form = named(last)
    if packing == "zip":
        raise BadRequestError(f"{file.name} is an archive within another: unpack it first")
    packed = file.packing[1:] if file.member else file.packing
    if (promised and not packed) or form == "zip":
        raise BadRequestError(
            f"{file.name} is not a {promised or 'zip'} file, as its name says: copy it again, or "
            "rename it"
        )
    return replace(file, form=form_of_contents(file.name, head))


def _head(stream: IO[bytes]) -> bytes:
    """Read the first `HEAD_BYTES` bytes of a stream, fewer only at its end."""
    parts, left = [], HEAD_BYTES
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
