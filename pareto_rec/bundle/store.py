"""From parts to files and back; tensors are mapped, so that processes share them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import save_file
from scipy import sparse

from pareto_rec.backbone.encoders import TOKENIZER_FILES
from pareto_rec.bundle import files
from pareto_rec.bundle.parts import About, Parts
from pareto_rec.data.schema import Interactions, Items, Users
from pareto_rec.errors import BadRequestError
from pareto_rec.experts.base import ItemModel
from pareto_rec.train.data import Fit
from pareto_rec.train.fitstore import FitStore

_BACKBONE = ("config.json", *TOKENIZER_FILES)
_OWN = "vectors."
_EXTRA = ("confirm.csv", "picks.json")
Array = NDArray[Any]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all: filled beside its place, then renamed into it.

    Raises:
        BadRequestError: If it exists and is not empty, or cannot be written.
    """
    folder = folder.absolute()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadRequestError(f"{folder} exists and is not empty; give another --to")
        folder.parent.mkdir(parents=True, exist_ok=True)
        spare = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _cannot_write(folder, error) from None
    try:
        yield spare
        spare.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        spare.rename(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(spare, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> BadRequestError:
    reason = error.strerror or str(error)
    return BadRequestError(f"{folder} cannot be written: {reason}; give another --to")


def write_bundle(folder: Path, parts: Parts, card: str | None = None) -> None:
    """Write a bundle without ONNX forms.

    Args:
        folder: Must not exist, or be empty. It appears whole or not at all.
        parts: What it holds.
        card: Content of README.md; None: made from the parts.

    Raises:
        BadRequestError: If the folder is taken or cannot be written.
    """
    with new_folder(folder) as spare:
        write_files(spare, parts)
        finish(spare, parts, card)


def finish(folder: Path, parts: Parts, card: str | None = None) -> None:
    """Write what a bundle says of itself, and seal it."""
    from pareto_rec.bundle.card import card_of

    text = json.dumps(parts.about.model_dump(), indent=1, allow_nan=False)
    (folder / files.ABOUT).write_text(text + "\n", encoding="utf-8")
    (folder / files.CARD).write_text(card_of(parts) if card is None else card, encoding="utf-8")
    files.seal(folder)


def write_files(folder: Path, parts: Parts) -> None:
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
    names = ("features", "vectors", "mean", "loadings")
    tables = {name: np.asarray(getattr(parts, name), dtype=np.float32) for name in names}
    own = {f"{_OWN}{fit_id}": vectors for fit_id, vectors in parts.own_vectors.items()}
    prices = {} if items.prices is None else {"prices": items.prices}
    _save(folder / files.ITEMS, {**tables, **own, **prices, "categories": items.categories})
    rows = parts.interactions
    signals = {f"signal.{name}": values for name, values in rows.signals.items()}
    log: dict[str, Array] = {"user": rows.user, "item": rows.item, "time": rows.time}
    for name in ("position", "propensity"):
        if getattr(rows, name) is not None:
            log[name] = getattr(rows, name)
    _save(folder / files.LOG, {**log, "part": parts.part, **signals})
    _save(folder / files.EXPERTS, _expert_arrays(parts.experts))
    heads = FitStore(folder / files.HEADS, "")
    for fit_id, fit in parts.fits.items():
        heads.put(fit_id, fit)
    _copy_backbone(parts.backbone, folder / files.BACKBONE)
    for name, content in parts.extra.items():
        (folder / files.inside(folder, name)).write_bytes(content)


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    save_file({n: torch.from_numpy(np.array(a, order="C")) for n, a in arrays.items()}, path)


def _copy_backbone(source: Path, target: Path) -> None:
    """What transformers reads: the config, the weights as safetensors, the tokenizer."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.name in _BACKBONE or path.name.endswith(
            (".safetensors", ".safetensors.index.json")
        ):
            shutil.copyfile(path, target / path.name)


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


def read_parts(folder: Path, *, verify: bool = True) -> Parts:
    """The parts of a bundle on disk.

    Args:
        folder: The bundle.
        verify: Whether every file is read and compared with its checksum.

    Raises:
        BadRequestError: If it is no bundle, or anything in it is not as it was written.
    """
    files.verify(folder, hashes=verify)
    try:
        return _read(folder)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BadRequestError):
            raise
        raise BadRequestError(
            f"{folder} does not fit together ({type(error).__name__}: {error}); export it anew"
        ) from None


def _read(folder: Path) -> Parts:
    about = _about(folder)
    said = files.read_json(folder / files.CATALOGUE)
    table, log = _arrays(folder / files.ITEMS), _arrays(folder / files.LOG)
    items, users = said["items"], said["users"]
    signals = {n.removeprefix("signal."): a for n, a in log.items() if n.startswith("signal.")}
    extra = {n: (folder / n).read_bytes() for n in _EXTRA if (folder / n).is_file()}
    parts = Parts(
        about=about,
        config=(folder / files.CONFIG).read_text(encoding="utf-8"),
        items=Items(
            tuple(items["ids"]),
            tuple(items["titles"]),
            tuple(items["texts"]),
            table["categories"],
            tuple(said["categories"]),
            table.get("prices"),
            _attributes(items),
        ),
        users=Users(tuple(users["ids"]), _attributes(users), int(users["min_group"])),
        interactions=Interactions(
            log["user"],
            log["item"],
            log["time"],
            signals,
            log.get("position"),
            log.get("propensity"),
        ),
        part=log["part"],
        **{name: table[name] for name in ("features", "vectors", "mean", "loadings")},
        experts=_experts(about, _arrays(folder / files.EXPERTS)),
        fits=_fits(folder, about),
        backbone=folder / files.BACKBONE,
        own_vectors={
            name.removeprefix(_OWN): array for name, array in table.items() if name.startswith(_OWN)
        },
        extra=extra,
    )
    _check(folder, parts)
    return parts


def _attributes(said: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(values) for name, values in said["attributes"].items()}


def _about(folder: Path) -> About:
    try:
        about = About.model_validate(dict(files.read_json(folder / files.ABOUT)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise BadRequestError(
            f"{folder / files.ABOUT}: {key}: {first['msg']}; export anew"
        ) from None
    try:
        about.point(about.default)
    except BadRequestError as error:
        raise BadRequestError(f"{folder / files.ABOUT}: default: {error}") from None
    return about


def _arrays(path: Path) -> dict[str, Array]:
    """Tensors of a file as arrays that stay on disk until they are read.

    They are mapped privately: pages are shared between processes, and nothing written to an array
    would reach the file.
    """
    stored = files.opened(path)
    return {name: stored.get_tensor(name).numpy() for name in stored.keys()}  # noqa: SIM118


def _experts(about: About, arrays: Mapping[str, Array]) -> dict[str, ItemModel]:
    found = {}
    for name, tau in about.experts.items():
        bias = arrays[f"{name}.bias"]
        weights: Array | sparse.csr_array | None = arrays.get(f"{name}.weights")
        if f"{name}.indptr" in arrays:
            triple = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
            weights = sparse.csr_array(triple, shape=(len(bias), len(bias)))
        found[name] = ItemModel(weights, bias, tau)
    return found


def _fits(folder: Path, about: About) -> dict[str, Fit]:
    heads, found = FitStore(folder / files.HEADS, ""), {}
    for fit_id in about.fits:
        fit = heads.get(fit_id)
        if fit is None:
            raise BadRequestError(
                f"{heads.path(fit_id)} is missing or holds no fit; export the bundle anew"
            )
        found[fit_id] = fit
    return found


def _check(folder: Path, parts: Parts) -> None:
    """Refuse parts that do not belong together."""
    n_items, n_users = len(parts.items), len(parts.users)
    rows, right = parts.interactions, True
    right &= len(parts.vectors) == len(parts.features) == len(parts.items.categories) == n_items
    right &= parts.loadings.shape == (parts.features.shape[1], parts.vectors.shape[1])
    right &= parts.mean.shape == (parts.features.shape[1],)
    right &= len(parts.items.titles) == len(parts.items.texts) == n_items
    right &= len(rows) == len(rows.item) == len(rows.time) == len(parts.part)
    if len(rows):
        right &= rows.user.min() >= 0 and rows.user.max() < n_users
        right &= rows.item.min() >= 0 and rows.item.max() < n_items
    right &= all(len(model.bias) <= n_items for model in parts.experts.values())
    right &= all(len(fit.params["item.embed"]) == n_items for fit in parts.fits.values())
    if not right:
        raise BadRequestError(f"{folder}: shapes of its arrays do not fit together; export it anew")
