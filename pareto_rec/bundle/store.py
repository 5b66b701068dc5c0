"""Storage of bundles: what is read is checked once, and lies in memory from then on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import sparse

from pareto_rec.baselines.base import ItemModel
from pareto_rec.bundle import files
from pareto_rec.bundle.catalogue import (
    OWN,
    SIGNAL,
    ItemArrays,
    Names,
    items_of,
    read_items,
    read_log,
)
from pareto_rec.bundle.data import BundleData, BundleManifest
from pareto_rec.bundle.encoder import check_backbone, copy_backbone, reading_of
from pareto_rec.bundle.folders import new_folder
from pareto_rec.bundle.graph_check import check_graphs
from pareto_rec.bundle.heads import read_fit
from pareto_rec.bundle.memory import Copies, copies_of
from pareto_rec.bundle.plugins_check import check_plugins
from pareto_rec.bundle.points_check import check_points
from pareto_rec.bundle.tensors import TensorFile, sparse_square
from pareto_rec.core.errors import BadRequestError
from pareto_rec.training.data import Fit
from pareto_rec.training.fit_store import FitStore, save_tensors

_TABLES = ("features", "vectors", "mean", "loadings")
Array = NDArray[Any]


def write_bundle(folder: Path, parts: BundleData, card: str | None = None) -> None:
    """Write a bundle without ONNX forms.

    Args:
        folder: Must not exist, or be empty. It appears whole or not at all.
        parts: What it holds.
        card: Content of README.md; None: made from the parts.

    Raises:
        BadRequestError: If the folder is taken or cannot be written.
    """
    with new_folder(folder) as temporary:
        write_files(temporary, parts)
        finish(temporary, parts, card)


def finish(folder: Path, parts: BundleData, card: str | None = None) -> None:
    """Write what a bundle says of itself, and seal it."""
    from pareto_rec.bundle.card import card_of

    text = json.dumps(parts.about.model_dump(), indent=1, allow_nan=False)
    (folder / files.ABOUT).write_text(text + "\n", encoding="utf-8")
    (folder / files.CARD).write_text(card_of(parts) if card is None else card, encoding="utf-8")
    files.seal(folder)


def write_files(folder: Path, parts: BundleData) -> None:
    """Write everything but what a bundle says of itself."""
    (folder / files.CONFIG).write_text(parts.config, encoding="utf-8")
    items, users = parts.items, parts.users
    catalogue = {
        "items": {
            **{name: getattr(items, name) for name in ("ids", "titles", "texts")},
            "attributes": dict(items.attributes),
        },
        "categories": items.category_names,
        "users": {
            "ids": users.ids,
            "attributes": dict(users.attributes),
            "min_group": users.min_group,
        },
    }
    text = json.dumps(catalogue, ensure_ascii=False)
    (folder / files.CATALOGUE).write_text(text, encoding="utf-8")
    tables = {name: np.asarray(getattr(parts, name), dtype=np.float32) for name in _TABLES}
    own = {f"{OWN}{fit_id}": vectors for fit_id, vectors in parts.own_vectors.items()}
    prices = {} if items.prices is None else {"prices": items.prices}
    _save(folder / files.ITEMS, {**tables, **own, **prices, "categories": items.categories})
    rows = parts.interactions
    signals = {f"{SIGNAL}{name}": values for name, values in rows.signals.items()}
    log: dict[str, Array] = {"user": rows.user, "item": rows.item, "time": rows.time}
    for name in ("position", "propensity"):
        if getattr(rows, name) is not None:
            log[name] = getattr(rows, name)
    _save(folder / files.LOG, {**log, "part": parts.part, **signals})
    _save(folder / files.EXPERTS, _expert_arrays(parts.experts))
    heads = FitStore(folder / files.HEADS, "")
    for fit_id, fit in parts.fits.items():
        heads.put(fit_id, fit)
    copy_backbone(parts.backbone, folder / files.BACKBONE, parts.manifest)
    for name, content in parts.extra.items():
        (folder / files.inside(folder, name)).write_bytes(content)


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    save_tensors(path, {n: torch.from_numpy(np.array(a, order="C")) for n, a in arrays.items()})


def _expert_arrays(experts: Mapping[str, ItemModel]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for name, model in experts.items():
        arrays[f"{name}.bias"] = model.bias
        if isinstance(model.weights, np.ndarray):
            arrays[f"{name}.weights"] = model.weights
        elif model.weights is not None:
            for part in ("data", "indices", "indptr"):
                arrays[f"{name}.{part}"] = getattr(model.weights, part)
    return arrays


def read_parts(
    folder: Path, *, verify: bool = True, form: str = "fp32", copies: Copies | None = None
) -> BundleData:
    """Return the parts of a bundle on disk, read into memory and checked.

    Args:
        folder: The bundle.
        verify: Whether every file is compared with its checksum, and graphs are tried out.
        form: The form that is wanted, whose graphs are tried out.
        copies: What another process has read and compared already; the folder is not read then.

    Raises:
        BadRequestError: If it is not a bundle, or anything in it is not as it was written.
    """
    if copies is not None:
        parts = _read(copies)
    else:
        own = copies_of(files.read_manifest(folder), verify=verify)
        try:
            parts = _read(own)
        finally:
            own.close()
    if verify and form != "fp32":
        check_graphs(parts, form)
    return parts


def _read(copies: Copies) -> BundleData:
    folder = copies.manifest.folder
    try:
        return _parts(copies)
    except BadRequestError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = ascii(f"{type(error).__name__}: {error}")[1:-1][:200]
        raise BadRequestError(
            f"{folder} does not fit together ({reason}); export it again"
        ) from None


def _parts(copies: Copies) -> BundleData:
    folder = copies.manifest.folder
    about, config = _about(folder, copies), _text(folder, copies, files.CONFIG)
    check_plugins(config, folder)  # models and tasks of theirs have no meaning without them
    named = folder / files.CATALOGUE
    names = Names.of(files.json_object(named, copies.content(files.CATALOGUE)), named)
    arrays = read_items(_tensors(folder, copies, files.ITEMS), names)
    items = items_of(names, arrays)
    log = _tensors(folder, copies, files.LOG)
    rows, part = read_log(log, len(names.users), len(items))
    experts = _experts(about, _tensors(folder, copies, files.EXPERTS), len(items))
    parts = BundleData(
        about=about,
        config=config,
        items=items,
        users=names.users,
        interactions=rows,
        part=part,
        **{name: getattr(arrays, name) for name in _TABLES},
        experts=experts,
        fits=_fits(folder, copies, about, arrays),
        backbone=folder / files.BACKBONE,
        backbone_copies=copies.below(files.BACKBONE),
        own_vectors=arrays.own,
        extra={name: copies.content(name) for name in files.EXTRA if name in copies},
        manifest=copies.manifest,
    )
    _check(parts)
    return parts


def _tensors(folder: Path, copies: Copies, name: str) -> TensorFile:
    return TensorFile(copies.paths[name], folder / name)


def _text(folder: Path, copies: Copies, name: str) -> str:
    try:
        return copies.content(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{folder / name} is not UTF-8: {error.reason}") from None


def _about(folder: Path, copies: Copies) -> BundleManifest:
    path = folder / files.ABOUT
    content = files.json_object(path, copies.content(files.ABOUT))
    try:
        about = BundleManifest.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        key = ascii(".".join(map(str, first["loc"])))[1:-1][:100]
        raise BadRequestError(f"{path}: {key}: {first['msg']}; export again") from None
    try:
        about.point(about.default)
    except BadRequestError as error:
        raise BadRequestError(f"{path}: default: {error}") from None
    return about


def _experts(about: BundleManifest, file: TensorFile, n_items: int) -> dict[str, ItemModel]:
    """Return experts over the first items of the catalogue, or all of them."""
    experts = {}
    for name, tau in about.experts.items():
        bias = file.floats(f"{name}.bias", (None,))
        size = len(bias)
        if not 1 <= size <= n_items:
            raise file.error(f"{name}.bias", f"is over {size} items of {n_items}")
        weights: Array | sparse.csr_array | None = None
        if f"{name}.weights" in file.names:
            weights = file.floats(f"{name}.weights", (size, size))
        elif f"{name}.indptr" in file.names:
            weights = sparse_square(file, name, size)
        experts[name] = ItemModel(weights, bias, tau)
    file.finish()
    return experts


def _fits(
    folder: Path, copies: Copies, about: BundleManifest, arrays: ItemArrays
) -> dict[str, Fit]:
    fits = {}
    for fit_id in about.fits:
        name = f"{files.HEADS}/{fit_id}.safetensors"
        if name not in copies:
            raise BadRequestError(f"{folder / name} is missing; export the bundle again")
        vectors = arrays.own.get(fit_id, arrays.vectors)
        fits[fit_id] = read_fit(copies.paths[name], folder / name, *vectors.shape)
    return fits


def _check(parts: BundleData) -> None:
    """Refuse parts that do not belong together."""
    folder = parts.backbone.parent
    try:
        check_points(parts)
    except BadRequestError as error:
        raise BadRequestError(f"{folder / files.ABOUT}: {error}; export the bundle again") from None
    unknown = parts.own_vectors.keys() - parts.fits.keys()
    if unknown:
        raise BadRequestError(
            f"{folder / files.ITEMS}: vectors of {min(unknown)!a}, which is not a fit of the "
            "bundle; export it again"
        )
    reading = reading_of(parts.config, folder / files.CONFIG)
    if reading.text:
        width = parts.features.shape[1]
        check_backbone(parts.backbone, parts.manifest, width, parts.backbone_copies)
