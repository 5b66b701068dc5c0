"""Text encoder of a bundle: how texts are read, and its files, checked and copied."""

from __future__ import annotations

import math
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.encoders import TOKENIZER_FILES
from pareto_rec.bundle.files import BACKBONE, Manifest, json_object
from pareto_rec.bundle.folders import work_folder
from pareto_rec.core.errors import BadRequestError

_FILES = ("config.json", *TOKENIZER_FILES)
_MOST_TOKENS = 1 << 16
_SETTINGS = 16 * 10**6  # bytes of config.json and its like
_WIDTH, _LAYERS = ("hidden_size", "dim"), ("num_hidden_layers", "n_layers")


@dataclass(frozen=True)
class Reading:
    """Settings by which texts are read.

    Attributes:
        text: Whether they are.
        max_length: Tokens per text.
        cut: Layers of the encoder that are run; None for all.
    """

    text: bool = True
    max_length: int = 64
    cut: int | None = None


def reading_of(config: str, where: Path) -> Reading:
    """Return how texts are read, by the config of the run.

    Raises:
        BadRequestError: If the config is damaged.
    """
    try:
        table = tomllib.loads(config).get("backbone", {})
        chosen = {name: table[name] for name in ("text", "max_length", "cut") if name in table}
        reading = Reading(**chosen)
    except (tomllib.TOMLDecodeError, RecursionError, TypeError, AttributeError) as error:
        reason = ascii(" ".join(str(error).split()))[1:-1][:100]
        raise BadRequestError(f"{where} is damaged ({reason}); export the bundle again") from None
    for name, value, least in (("max_length", reading.max_length, 3), ("cut", reading.cut, 0)):
        right = type(value) is int and least <= value <= _MOST_TOKENS
        if not right and not (name == "cut" and value is None):
            raise BadRequestError(f"{where}: backbone.{name} = {str(value)[:40]} makes no sense")
    if not isinstance(reading.text, bool):
        raise BadRequestError(f"{where}: backbone.text must be true or false")
    return reading


def names_of(folder: Path) -> list[str]:
    """Return the files that transformers reads: config, weights as safetensors, tokenizer."""
    ends = (".safetensors", ".safetensors.index.json")
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if name in _FILES or name.endswith(ends)]


def copy_backbone(source: Path, target: Path, manifest: Manifest | None) -> None:
    """Copy the files of an encoder; those of a bundle are compared with their checksums.

    Args:
        source: Folder of the encoder.
        target: Where they go; made if it is not there.
        manifest: The bundle that the encoder belongs to; None: it belongs to none.

    Raises:
        BadRequestError: If a file of the bundle is not as it was written.
        OSError: If it cannot be written.
    """
    target.mkdir(exist_ok=True)
    listed = None if manifest is None else _listed(manifest)
    for name in names_of(source) if listed is None else listed:
        if manifest is None:
            shutil.copyfile(source / name, target / name)
            continue
        with (target / name).open("wb") as stream:
            manifest.read(f"{BACKBONE}/{name}", stream.write)


def _listed(manifest: Manifest) -> list[str]:
    return [name.removeprefix(f"{BACKBONE}/") for name in manifest.below(BACKBONE)]


def load_backbone(
    folder: Path, manifest: Manifest | None, copies: Mapping[str, Path] | None = None
) -> Backbone:
    """Load the encoder of a bundle from a copy that no other process can change.

    Args:
        folder: The encoder.
        manifest: The bundle that it belongs to; None: it belongs to none.
        copies: Name -> copy in memory of each of its files: they are mapped, and so shared with
            other processes. None or empty: it is read from the folder.

    Raises:
        BadRequestError: If a file is not as it was written, or they hold no encoder.
    """
    with work_folder() as private:
        if copies:
            for name, path in copies.items():
                (private / name).parent.mkdir(exist_ok=True)
                (private / name).symlink_to(path)
        else:
            copy_backbone(folder, private, manifest)
        try:
            backbone = Backbone.load(private, private)
            # all that is read later must be read now; weights stay mapped when the copy is removed
            _ = backbone.config, backbone.model, backbone.tokenizer
        except BadRequestError as error:
            raise BadRequestError(str(error).replace(str(private), str(folder))) from None
    return backbone


def check_backbone(
    folder: Path, manifest: Manifest | None, width: int, copies: Mapping[str, Path] | None = None
) -> None:
    """Refuse an encoder that asks for code, or whose sizes are not those of its weights.

    What is looked at are its settings and the headers of its weights: enough that loading it later
    takes neither more memory nor more time than the weights say.

    Args:
        folder: The encoder.
        manifest: The bundle that it belongs to.
        width: Length of its states in the bundle.
        copies: Name -> where its files are read instead, if not in the folder.

    Raises:
        BadRequestError: Names the file and what is wrong with it.
    """
    names = names_of(folder) if manifest is None else _listed(manifest)
    files = {name: (copies or {}).get(name, folder / name) for name in names}
    config = folder / "config.json"
    if config.name not in files:
        raise BadRequestError(f"{config} is missing; export the bundle again")
    settings = {
        name: _settings(path, folder / name)
        for name, path in files.items()
        if name.endswith(".json")
    }
    for name, content in settings.items():
        if "auto_map" in content:
            raise BadRequestError(f"{folder / name}: auto_map asks for code, which is never run")
    weights = {name: path for name, path in files.items() if name.endswith(".safetensors")}
    tensors, elements = _sizes(folder, weights)
    if not tensors:
        raise BadRequestError(f"{folder} has no weights; export the bundle again")
    _check_settings(config, settings[config.name], width, tensors, elements)


def _settings(path: Path, shown: Path) -> Mapping[str, Any]:
    if path.stat().st_size > _SETTINGS and shown.name in ("config.json", "tokenizer_config.json"):
        raise BadRequestError(f"{shown} has more than {_SETTINGS // 10**6} MB; export again")
    return json_object(shown, path.read_bytes())


def _sizes(folder: Path, files: Mapping[str, Path]) -> tuple[int, int]:
    """Return the number of tensors and of numbers in files of weights, by their headers."""
    tensors = elements = 0
    for name, path in files.items():
        try:
            with safe_open(path, framework="np") as stored:
                keys = list(stored.keys())
                tensors += len(keys)
                elements += sum(math.prod(stored.get_slice(key).get_shape()) for key in keys)
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())[:100]
            raise BadRequestError(
                f"{folder / name} is not a safetensors file ({reason}); pickles are never loaded: "
                "export the bundle again, or restore a copy of it"
            ) from None
    return tensors, elements


def _check_settings(
    path: Path, config: Mapping[str, Any], width: int, tensors: int, elements: int
) -> None:
    sizes = {}
    for keys in (_WIDTH, _LAYERS):
        named = [config[key] for key in keys if key in config]
        if not named or type(named[0]) is not int or not 1 <= named[0] <= max(elements, tensors):
            raise BadRequestError(f"{path}: {keys[0]} makes no sense; export the bundle again")
        sizes[keys] = named[0]
    if sizes[_WIDTH] != width:
        raise BadRequestError(
            f"{path}: states of length {sizes[_WIDTH]}, but those of the bundle's items have "
            f"length {width}; export the bundle again"
        )
    for key, value in config.items():
        size = value * width if key.endswith(("_size", "_embeddings")) else value
        size = value if key in _WIDTH else size
        most = tensors if key in _LAYERS else elements
        if type(value) is int and key not in ("pad_token_id",) and size > most:
            raise BadRequestError(
                f"{path}: {ascii(key)[1:-1][:40]} = {value} is more than the weights hold; export "
                "the bundle again"
            )
