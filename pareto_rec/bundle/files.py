"""The files of a bundle: what the manifest lists, and what is refused before anything is read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from safetensors import SafetensorError, safe_open

from pareto_rec.errors import BadRequestError
from pareto_rec.paths import file_sha256, written_whole

MANIFEST = "manifest.json"
ABOUT, CONFIG, CATALOGUE, CARD = "bundle.json", "config.toml", "catalogue.json", "README.md"
ITEMS, LOG, EXPERTS = "items.safetensors", "interactions.safetensors", "experts.safetensors"
HEADS, BACKBONE, ONNX = "heads", "backbone", "onnx"
NEEDED = (ABOUT, CONFIG, CATALOGUE, ITEMS, LOG, EXPERTS)
FORMAT = 2
_PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
_AGAIN = "export the bundle anew, or copy it again"


def files_of(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, hidden ones left out, in order."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield (Path(place) / name).relative_to(folder).as_posix()


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
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    content = {"format": FORMAT, "version": digest[:16], "files": files}
    with written_whole(folder / MANIFEST) as spare:
        spare.write_text(json.dumps(content, indent=1) + "\n")
    return digest[:16]


def verify(folder: Path, *, hashes: bool = True) -> str:
    """Refuse a bundle that is not as it was written.

    Checksums show damage and careless changes. They do not show who wrote a bundle: whoever can
    change a file can change the manifest.

    Args:
        folder: The bundle.
        hashes: Whether every file is read; without, sizes alone are compared.

    Returns:
        The version of the bundle.

    Raises:
        BadRequestError: If it is no bundle, a file is missing, truncated, altered or not listed, a
            path leads outside, or a file is or may be a pickle.
    """
    content = _manifest(folder)
    listed: Mapping[str, Any] = content["files"]
    for name in NEEDED:
        if name not in listed:
            raise BadRequestError(f"{folder / MANIFEST} does not list {name}; {_AGAIN}")
    root = folder.resolve()
    for name, said in listed.items():
        _check_file(folder, root, name, said, hashes=hashes)
    for name in files_of(folder):
        if name != MANIFEST and name not in listed:
            raise BadRequestError(
                f"{folder / name} is not listed in {MANIFEST}; take it out of the bundle"
            )
    return str(content.get("version", ""))


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BadRequestError(
            f"{folder} is not a bundle (no {MANIFEST}); "
            "name a folder that `pareto-rec export` wrote"
        )
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise BadRequestError(
            f"{path}: format {content.get('format')!r} is not the {FORMAT} that this version reads;"
            " use the version of pareto_rec that wrote it, or export anew"
        )
    if not isinstance(content.get("files"), Mapping):
        raise BadRequestError(f'{path}: "files" is damaged; {_AGAIN}')
    return content


def _check_file(
    folder: Path, root: Path, name: str, said: Any, *, hashes: bool
) -> None:  # Any: JSON
    path = folder / inside(folder, name)
    if PurePosixPath(name).suffix in _PICKLES:
        raise BadRequestError(f"{path} may be a pickle, which is never loaded; {_AGAIN}")
    if path.is_symlink() or not path.resolve().is_relative_to(root):
        raise BadRequestError(f"{path} leads outside the bundle; {_AGAIN}")
    if not path.is_file():
        raise BadRequestError(f"{path} is missing; {_AGAIN}")
    size = said.get("bytes") if isinstance(said, Mapping) else None
    if not isinstance(size, int):
        raise BadRequestError(f'{folder / MANIFEST}: the entry "{name}" is damaged; {_AGAIN}')
    found = path.stat().st_size
    if found != size:
        what = "truncated" if found < size else "altered"
        raise BadRequestError(f"{path} is {what}: {found} bytes instead of {size}; {_AGAIN}")
    if hashes and file_sha256(path) != said.get("sha256"):
        raise BadRequestError(f"{path} is altered: its SHA-256 is another; {_AGAIN}")
    if path.suffix == ".safetensors":
        opened(path)


def inside(folder: Path, name: str) -> str:
    """The name of a file, if it stays inside the bundle.

    Raises:
        BadRequestError: If it does not.
    """
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        raise BadRequestError(f'{folder}: the path "{name}" leads outside the bundle; {_AGAIN}')
    return name


def opened(path: Path) -> Any:  # safetensors ships no types
    """A safetensors file, its tensors mapped when they are asked for.

    Raises:
        BadRequestError: If it is none.
    """
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadRequestError(
            f"{path} is no safetensors file ({reason}); pickles are never loaded: {_AGAIN}"
        ) from None


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        BadRequestError: If the file holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadRequestError(f"{path} cannot be read ({reason}); {_AGAIN}") from None
    if not isinstance(content, Mapping):
        raise BadRequestError(f"{path} is no JSON object; {_AGAIN}")
    return content
