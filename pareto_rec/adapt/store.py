"""Adapted backbones on disk: in transformers' layout, under everything that decides them."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pareto_rec.adapt.recipe import Recipe
from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.encoders import TOKENIZER_FILES
from pareto_rec.backbone.features import digest
from pareto_rec.backbone.views import quiet
from pareto_rec.data.schema import Stage
from pareto_rec.errors import BadRequestError
from pareto_rec.paths import cannot_write, make_folder
from pareto_rec.provenance import source_hash

if TYPE_CHECKING:
    from pareto_rec.adapt.training import Adapted

FOLDER = "adapted"
NOTE = "adapted.json"  # written last: a folder with it is whole


def adapted_folder(backbone: Backbone, stage: Stage, recipe: Recipe, cache: Path) -> Path:
    """Where the backbone adapted to a stage's texts and training rows lies, or would lie.

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
        source_hash("adapt/examples.py", "adapt/training.py", "train/optimiser.py", "kernels"),
    )
    return cache / FOLDER / key[:24]


def is_whole(folder: Path) -> bool:
    """Whether an adapted backbone lies there."""
    return (folder / NOTE).is_file()


def keep(adapted: Adapted, backbone: Backbone, recipe: Recipe, folder: Path) -> None:
    """Write an adapted backbone in transformers' layout; it appears whole or not at all.

    Raises:
        BadRequestError: If it cannot be written.
    """
    spare = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        make_folder(spare)
        with quiet():
            adapted.model.save_pretrained(spare)  # type: ignore[operator] # an encoder of transformers
        mode = stat.S_IMODE((spare / "config.json").stat().st_mode)
        for weights in spare.glob("*.safetensors"):
            weights.chmod(mode)  # safetensors makes files that their owner alone can read
        for name in TOKENIZER_FILES:
            if (backbone.folder / name).is_file():
                shutil.copyfile(backbone.folder / name, spare / name)
        note = {
            "from": backbone.name,
            "weights_hash": backbone.weights_hash,
            "recipe": dataclasses.asdict(recipe),
            "curve": [[None if loss != loss else loss for loss in row] for row in adapted.curve],
        }
        (spare / NOTE).write_text(json.dumps(note, indent=1) + "\n")
        if not is_whole(folder):  # else another process was first
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(spare, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(spare, ignore_errors=True)


def find(backbone: Backbone, stage: Stage, recipe: Recipe, cache: Path) -> Backbone:
    """The adapted backbone that was made before.

    Raises:
        BadRequestError: If there is none; says how to make it.
    """
    folder = adapted_folder(backbone, stage, recipe, cache)
    if not is_whole(folder):
        raise BadRequestError(
            "backbone.adapted = true, and no backbone was adapted to this data, split and [adapt] "
            "yet; run pareto-rec adapt with the same config first"
        )
    return Backbone.load(folder, cache)
