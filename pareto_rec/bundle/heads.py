"""Fits of a bundle, held against the shapes that their models declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pareto_rec.bundle.files import opened
from pareto_rec.bundle.tensors import LARGEST
from pareto_rec.core.declarations import declarations
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.limits import Number
from pareto_rec.models import MODELS
from pareto_rec.models.attention_pooling import AttentionPooling
from pareto_rec.models.base import Shape, init_shared
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.models.trunk.shared_bottom import SharedBottom
from pareto_rec.tasks import RELEVANCE
from pareto_rec.training.data import Fit
from pareto_rec.training.fit_store import checked_tensors, fit_of
from pareto_rec.training.spec import TrainSpec, train_spec

_MOST = 1 << 16  # of any number that sizes a network, unless it is named here
_SIZES = {"n_items": 1 << 40, "feature_dim": _MOST, "width": _MOST, "history": _MOST}
_SIZES |= {"layers": 1024, "heads": _MOST, "experts": _MOST}
_MOST_TASKS = 256


def read_fit(path: Path, shown: Path, n_items: int, feature_dim: int) -> Fit:
    """Return a fit out of a file.

    Args:
        path: The file.
        shown: What errors call it.
        n_items: Items that it must score.
        feature_dim: Width of what it must read of an item.

    Raises:
        BadRequestError: If it is damaged, or not a fit over such items.
    """
    opened(path, shown)
    try:
        stored = checked_tensors(path, shown.name)
    except (ValueError, TypeError, RecursionError, RuntimeError) as error:
        raise _wrong(shown, _short(error)) from None
    if stored is None:
        raise BadRequestError(f"{shown} holds no fit, or an altered one; export the bundle again")
    content, tensors = stored
    try:
        _check_content(content, n_items, feature_dim)
        fit = fit_of(content, tensors)
        _check_spec(fit)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _wrong(shown, _short(error)) from None
    _check_params(fit, shown)
    return fit


def _short(error: Exception) -> str:
    kind = "" if isinstance(error, BadRequestError) else f"{type(error).__name__}: "
    return ascii(f"{kind}{' '.join(str(error).split())}")[1:-1][:200]


def _wrong(shown: Path, reason: str) -> BadRequestError:
    return BadRequestError(
        f"{shown} holds no fit of this bundle ({reason}); export the bundle again"
    )


def _check_content(content: Mapping[str, Any], n_items: int, feature_dim: int) -> None:
    """Refuse shapes that are not those of the bundle, before anything is sized by them."""
    shape, curve = content["shape"], content["curve"]
    for name, most in _SIZES.items():
        value = shape.get(name, 1)
        if type(value) is not int or not 1 <= value <= most:
            raise BadRequestError(f"shape.{name} is {value!r}")
    if (shape["n_items"], shape["feature_dim"]) != (n_items, feature_dim):
        raise BadRequestError(
            f"it is over {shape['n_items']} items of width {shape['feature_dim']} instead of "
            f"{n_items} of width {feature_dim}"
        )
    if shape["width"] % shape["heads"]:
        raise BadRequestError("its width cannot be shared by its heads")
    for name, known in (("model", MODELS), ("trunk", TRUNKS)):
        if shape.get(name, "shared_bottom") not in known:
            raise BadRequestError(f"shape.{name} is {shape.get(name)!r}")
    tasks = shape.get("tasks", [])
    if not isinstance(tasks, list) or len(set(tasks)) < len(tasks) or len(tasks) > _MOST_TASKS:
        raise BadRequestError("shape.tasks is not a list of names")
    if not all(isinstance(task, str) and task.isidentifier() for task in tasks):
        raise BadRequestError("shape.tasks is not a list of names")
    if not isinstance(curve, list) or type(content["best_step"]) is not int:
        raise BadRequestError("its curve or its best step is damaged")
    seconds = content["seconds"]
    if type(seconds) not in (int, float) or not math.isfinite(seconds):
        raise BadRequestError("its seconds are not a number")


def _check_spec(fit: Fit) -> None:
    """Refuse training variables out of range, of a wrong type, or unlike the shape."""
    spec, declared = fit.spec, declarations(TrainSpec)
    for name, one in declared.items():
        value = getattr(spec, name)
        kinds = (int, float) if isinstance(one.default, float) else (type(one.default),)
        if type(value) not in kinds:
            raise BadRequestError(f"spec.{name} is {str(value)[:40]!r}")
        if isinstance(one.limit, Number) and not one.limit.holds(value):
            raise BadRequestError(f"spec.{name} is {str(value)[:40]}")
    train_spec({}, {name: getattr(spec, name) for name in declared})
    for name, weight in spec.loss_weights.items():
        if not 0 <= weight <= LARGEST:
            raise BadRequestError(f"spec.loss_weights.{name} is {weight!r}")
    for name in ("model", "width", "history", "layers", "heads", "trunk"):
        if getattr(spec, name) != getattr(fit.shape, name):
            raise BadRequestError(f"spec.{name} is not that of its shape")


def _check_params(fit: Fit, shown: Path) -> None:
    """Refuse parameters that are not those that the model declares."""
    _check_bulk(fit, shown)
    declared, optional = _declared(fit.shape)
    for name, shape in declared.items():
        if name not in fit.params:
            raise _wrong(shown, f"parameter {name} is missing")
        _check_tensor(shown, name, fit.params[name], shape)
    for name in fit.params.keys() - declared.keys():
        if name not in optional:
            raise _wrong(shown, f"its model has no parameter {ascii(name)[1:-1][:60]}")
        _check_tensor(shown, name, fit.params[name], optional[name])
    for name, tensor in fit.difference.items():
        _check_tensor(shown, name, tensor, tuple(tensor.shape))


def _check_bulk(fit: Fit, shown: Path) -> None:
    """Refuse a shape that stands for more numbers than the file holds, before it is made."""
    shape, numbers = fit.shape, sum(tensor.numel() for tensor in fit.params.values())
    square = shape.width * shape.width
    blocks = 0 if shape.model == AttentionPooling.name else shape.layers
    experts = 0 if shape.trunk == SharedBottom.name else shape.experts
    least = square * max(blocks, experts, len(shape.towers))
    if max(least, shape.feature_dim * shape.width, shape.history * shape.heads) > numbers:
        raise _wrong(shown, f"it holds {numbers} numbers, fewer than its shape stands for")


def _check_tensor(shown: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    short = ascii(name)[1:-1][:60]
    if tuple(tensor.shape) != shape:
        raise _wrong(shown, f"{short} has shape {list(tensor.shape)} instead of {list(shape)}")
    if tensor.dtype != torch.float32:
        raise _wrong(shown, f"{short} is of type {tensor.dtype} instead of float32")
    if not tensor.numel():
        return
    low, high = torch.aminmax(tensor)  # NaN if there is one
    if not (abs(float(low)) <= LARGEST and abs(float(high)) <= LARGEST):
        raise _wrong(shown, f"{short} holds a number that is not within {LARGEST:g}")


Sizes = Mapping[str, tuple[int, ...]]


@lru_cache(maxsize=64)
def _declared(shape: Shape) -> tuple[Sizes, Sizes]:
    """Name -> shape of the parameters that a fit must have, and of those that it may have."""
    source = torch.Generator()
    single = replace(shape, n_items=1)  # the catalogue's size is put in afterwards
    params = init_shared(single, source)
    params |= MODELS[shape.model].init(single, source)
    params |= TRUNKS[shape.trunk].init(shape.width, shape.experts, shape.towers, source)
    sizes = {name: tuple(part.shape) for name, part in params.items()}
    sizes["item.embed"] = (shape.n_items, shape.width)
    sizes |= {f"{task}.item_bias": (shape.n_items,) for task in shape.towers}
    scales = {f"{task}.stars": (2,) for task in shape.towers if task != RELEVANCE}
    return sizes, scales
