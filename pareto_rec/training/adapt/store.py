"""Store of adapted backbones: in transformers' layout, keyed by everything that decides them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.encoders import TOKENIZER_FILES
from pareto_rec.backbone.features import digest
from pareto_rec.backbone.views import quiet
from pareto_rec.core.checksums import sha256_of
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.leftovers import spare_path
from pareto_rec.core.paths import cannot_write, file_sha256, make_folder
from pareto_rec.core.sealed import damaged, read_json, write_json
from pareto_rec.data.schema import Stage
from pareto_rec.training.adapt.recipe import Recipe

if TYPE_CHECKING:
    from pareto_rec.training.adapt.training import Adapted

DECIDING = (
    "pareto_rec.training.adapt.examples",
    "pareto_rec.training.adapt.training",
    "pareto_rec.data.split",
)
FOLDER = "adapted"
NOTE = "adapted.json"  # written last: a folder with it is whole


def adapted_folder(backbone: Backbone, stage: Stage, recipe: Recipe, cache: Path) -> Path:
    """Return where the backbone adapted to a stage's texts and training rows lies, or would lie.

    Args:
        backbone: What was begun with.
        stage: The validation stage: its texts and training rows.
        recipe: How.
        cache: Root of the cache.
    """
    key = digest(
        backbone.weights_hash,
        backbone.tokenizer_hash,
        stage.content_hash,
        digest(*stage.items.texts),
        json.dumps(dataclasses.asdict(recipe), sort_keys=True),
        code_key(*DECIDING),
    )
    return cache / FOLDER / key[:24]


def is_whole(folder: Path, memo: Path | None = None) -> bool:
    """Tell whether an intact adapted backbone lies there; print where it is damaged.

    Args:
        folder: Where it would lie.
        memo: Folder that remembers checksums of large files (`pareto_rec.core.paths.file_sha256`).
    """
    if not folder.is_dir():
        return False
    note = read_json(folder / NOTE)
    if note is None:
        return False
    with suppress(OSError, KeyError, AttributeError):
        if all(file_sha256(folder / name, memo) == sha for name, sha in note["files"].items()):
            return True
    damaged(folder)
    return False


def keep(adapted: Adapted, backbone: Backbone, recipe: Recipe, folder: Path) -> None:
    """Write an adapted backbone in transformers' layout; it appears whole or not at all.

    Raises:
        BadRequestError: If it cannot be written.
    """
    temporary = spare_path(folder)
    try:
        make_folder(temporary)
        with quiet():
            adapted.model.save_pretrained(temporary)  # type: ignore[operator] # an encoder of transformers
        mode = stat.S_IMODE((temporary / "config.json").stat().st_mode)
        for weights in temporary.glob("*.safetensors"):
            weights.chmod(mode)  # safetensors makes files that their owner alone can read
        for name in TOKENIZER_FILES:
            if (backbone.folder / name).is_file():
                shutil.copyfile(backbone.folder / name, temporary / name)
        note: dict[str, Any] = {
            "from": backbone.name,
            "weights_hash": backbone.weights_hash,
            "recipe": dataclasses.asdict(recipe),
            "curve": [[None if loss != loss else loss for loss in row] for row in adapted.curve],
        }
        files = sorted(path for path in temporary.iterdir() if path.is_file())
        note |= {"files": {path.name: sha256_of(path) for path in files}}
        write_json(temporary / NOTE, note)
        if not is_whole(folder):  # else another process was first
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(temporary, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def find(backbone: Backbone, stage: Stage, recipe: Recipe, cache: Path) -> Backbone:
    """Return the adapted backbone that was made before.

    Raises:
        BadRequestError: If there is none; says how to make it.
    """
    folder = adapted_folder(backbone, stage, recipe, cache)
    if not is_whole(folder, cache / "checksums"):
        raise BadRequestError(
            "backbone.adapted = true, and no backbone was adapted to this data, split and [adapt] "
            "yet; run pareto-rec adapt with the same config first"
        )
    return Backbone.load(folder, cache)
