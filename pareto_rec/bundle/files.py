"""Files of a bundle: the manifest, and checks before anything is used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from safetensors import SafetensorError, safe_open

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import file_sha256, written_whole

MANIFEST = "manifest.json"
ABOUT, CONFIG, CATALOGUE, CARD = "bundle.json", "config.toml", "catalogue.json", "README.md"
ITEMS, LOG, EXPERTS = "items.safetensors", "interactions.safetensors", "experts.safetensors"
HEADS, BACKBONE, ONNX = "heads", "backbone", "onnx"
NEEDED = (ABOUT, CONFIG, CATALOGUE, ITEMS, LOG, EXPERTS)
EXTRA = ("confirm.csv", "picks.json")
FORMAT = 2
LARGEST = {MANIFEST: 16, ABOUT: 64, CONFIG: 1, CARD: 16, "picks.json": 64, "confirm.csv": 256}
"""Megabytes that files may have which are read as text."""

_PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
_AGAIN = "export the bundle again, or restore a copy of it"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Manifest:
    """The files of a bundle as its manifest lists them.

    Attributes:
        folder: The bundle.
        version: What changes with any of the files.
        files: Name -> (bytes, SHA-256).
    """

    folder: Path
    version: str
    files: Mapping[str, tuple[int, str]]

    def below(self, folder: str) -> list[str]:
        """Return names of the files in a folder of the bundle."""
        return [name for name in self.files if name.startswith(f"{folder}/")]

    def read(self, name: str, put: Callable[[memoryview], object], *, check: bool = True) -> None:
        """Read a file once; what was read is what is compared with its checksum.

        Args:
            name: The file.
            put: Called with one part of the content after the other.
            check: Whether the checksum is compared; the size always is.

        Raises:
            BadRequestError: If the file is not as it was written.
        """
        path, (size, expected) = self.folder / name, self.files[name]
        digest, count, block = hashlib.sha256(), 0, memoryview(bytearray(min(_BLOCK, size + 1)))
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as stream:
                while (got := stream.readinto(block) or 0) and count <= size:
                    count += got
                    if check:
                        digest.update(block[:got])
                    put(block[:got])
        except OSError as error:
            raise BadRequestError(f"{path} cannot be read: {error.strerror}; {_AGAIN}") from None
        if count != size:
            raise _other_size(path, count, size)
        if check and digest.hexdigest() != expected:
            raise _altered(path)

    def content(self, name: str, *, check: bool = True) -> bytes:
        """Return the content of a file; raises as :meth:`read`."""
        content = bytearray()
        self.read(name, content.extend, check=check)
        return bytes(content)


def files_of(folder: Path) -> Iterator[str]:
    """Yield names of the files below a folder, hidden ones left out, in order."""
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield (Path(path) / name).relative_to(folder).as_posix()


def seal(folder: Path) -> str:
    """Write the manifest: size and SHA-256 of every file.

    Returns:
        The version of the bundle, 16 hexadecimal digits that any change of any file changes.
    """
    names = sorted(name for name in files_of(folder) if name != MANIFEST)
    files = {
        name: {"sha256": file_sha256(folder / name), "bytes": (folder / name).stat().st_size}
        for name in names
    }
    version = _version(files)
    content = {"format": FORMAT, "version": version, "files": files}
    with written_whole(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    return version


def _version(files: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def verify(folder: Path, *, hashes: bool = True) -> str:
    """Refuse a bundle that is not as it was written.

    Checksums show damage and careless changes. They do not prove its author: anyone that can
    change a file can change the manifest.

    Args:
        folder: The bundle.
        hashes: Whether every file is read; without, sizes alone are compared.

    Returns:
        The version of the bundle.

    Raises:
        BadRequestError: As :func:`read_manifest`, or if a file is altered.
    """
    manifest = read_manifest(folder)
    if hashes:
        for name in manifest.files:
            manifest.read(name, len)
    return manifest.version


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a bundle, whose files are there and have the sizes that it says.

    Raises:
        BadRequestError: If it is not a bundle, a file is missing, truncated, too large or not
            listed, a path leads outside, or a file is or may be a pickle.
    """
    content = _manifest(folder)
    listed: Mapping[str, Any] = content["files"]
    for name in NEEDED:
        if name not in listed:
            raise BadRequestError(f"{folder / MANIFEST} does not list {name}; {_AGAIN}")
    root = folder.resolve()
    files = {name: _checked(folder, root, name, entry) for name, entry in listed.items()}
    for name in files_of(folder):
        if name != MANIFEST and name not in listed:
            raise BadRequestError(
                f"{folder / name} is not listed in {MANIFEST}; take it out of the bundle"
            )
    _check_memory(folder, sum(size for size, _ in files.values()))
    version = _version(listed)
    if content.get("version") != version:
        raise BadRequestError(f"{folder / MANIFEST} is altered: its version is another; {_AGAIN}")
    return Manifest(folder, version, files)


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    if not is_file(path):
        raise BadRequestError(
            f"{folder} is not a bundle (no {MANIFEST}); "
            "name a folder that `pareto-rec export` wrote"
        )
    _check_size(path, path.stat().st_size)
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise BadRequestError(
            f"{path}: format {repr(content.get('format'))[:20]} is not the {FORMAT} that this "
            "version reads; use the version of pareto_rec that wrote it, or export again"
        )
    if not isinstance(content.get("files"), Mapping):
        raise BadRequestError(f'{path}: "files" is damaged; {_AGAIN}')
    return content


def is_file(path: Path) -> bool:
    """Return whether there is a file; False for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long; with a NUL
        return False


def _checked(folder: Path, root: Path, name: str, entry: Any) -> tuple[int, str]:  # Any: JSON
    """Return the size and checksum of a listed file that is there."""
    path = folder / inside(folder, name)
    if PurePosixPath(name).suffix in _PICKLES:
        raise BadRequestError(f"{path} may be a pickle, which is never loaded; {_AGAIN}")
    try:
        outside = path.is_symlink() or not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # links in a circle
        outside = True
    if outside:
        raise BadRequestError(f"{path} leads outside the bundle; {_AGAIN}")
    if not is_file(path):
        raise BadRequestError(f"{path} is missing; {_AGAIN}")
    entry = entry if isinstance(entry, Mapping) else {}
    size, checksum = entry.get("bytes"), entry.get("sha256")
    if not isinstance(size, int) or not isinstance(checksum, str):
        raise BadRequestError(f'{folder / MANIFEST}: the entry "{name}" is damaged; {_AGAIN}')
    actual = path.stat().st_size
    if actual != size:
        raise _other_size(path, actual, size)
    _check_size(path, size)
    return size, checksum


def _other_size(path: Path, actual: int, size: int) -> BadRequestError:
    what = "truncated" if actual < size else "altered"
    return BadRequestError(f"{path} is {what}: {actual} bytes instead of {size}; {_AGAIN}")


def _altered(path: Path) -> BadRequestError:
    return BadRequestError(f"{path} is altered: its SHA-256 is another; {_AGAIN}")


def _check_size(path: Path, size: int) -> None:
    most = LARGEST.get(path.name)
    if most is not None and size > most * 10**6:
        raise BadRequestError(
            f"{path} has {size} bytes, and at most {most} MB are read; export the bundle again"
        )


def _check_memory(folder: Path, size: int) -> None:
    """Refuse a bundle that cannot be held in memory: reading it would only fill the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise BadRequestError(
            f"{folder} has {size / 1e9:.1f} GB, more than the {memory / 1e9:.1f} GB of memory of "
            "this machine"
        )


def inside(folder: Path, name: str) -> str:
    """Return the name of a file, if it stays inside the bundle.

    Raises:
        BadRequestError: If it does not, or cannot be the name of a file.
    """
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    shown = name[:100] if name.isprintable() else ascii(name)[1:-1][:100]
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        raise BadRequestError(f'{folder}: the path "{shown}" leads outside the bundle; {_AGAIN}')
    usual = name.isprintable() and len(name) <= 1000 and max(map(len, name.split("/"))) <= 255
    if not usual or path.as_posix() != name or name == ".":
        raise BadRequestError(
            f'{folder / MANIFEST}: "{shown}" cannot be the name of a file; {_AGAIN}'
        )
    return name


def opened(path: Path, shown: Path | None = None) -> Any:  # safetensors ships no types
    """Return a safetensors file, its tensors mapped when they are asked for.

    Args:
        path: The file.
        shown: What the error calls it, where that is another name.

    Raises:
        BadRequestError: If it is not a safetensors file.
    """
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadRequestError(
            f"{shown or path} is not a safetensors file ({reason}); pickles are never "
            f"loaded: {_AGAIN}"
        ) from None


def read_json(path: Path) -> Mapping[str, Any]:
    """Return a JSON object out of a file.

    Raises:
        BadRequestError: If the file holds none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from None
    return json_object(path, content)


def json_object(path: Path, content: bytes) -> Mapping[str, Any]:
    """Return a JSON object out of the content of a file.

    Raises:
        BadRequestError: If it is not a JSON object, is nested too deep, or holds a NaN or infinity.
    """
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadRequestError(f"{path} cannot be read ({reason}); {_AGAIN}") from None
    if not isinstance(value, Mapping):
        raise BadRequestError(f"{path} is not a JSON object; {_AGAIN}")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")
