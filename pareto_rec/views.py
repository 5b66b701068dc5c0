"""Parts of an encoder, elsewhere or without noise, while the encoder itself stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pareto_rec.encoders import one_line
from pareto_rec.errors import BadRequestError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def placed(encoder: PreTrainedModel, device: str) -> tuple[PreTrainedModel, torch.device]:
    """The encoder on the device that was asked for: itself on the CPU, elsewhere a copy.

    Raises:
        BadRequestError: If there is no such device.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        if place.type == "cpu":
            return encoder, place
        return _moved(encoder, place), place
    except (RuntimeError, AssertionError) as error:
        raise BadRequestError(f'cannot use device "{device}": {one_line(error)}') from error


def _moved(encoder: PreTrainedModel, place: torch.device) -> PreTrainedModel:
    copied = copy.deepcopy(encoder)
    module: torch.nn.Module = copied
    module.to(place)
    return copied


def truncated(model: PreTrainedModel, layers: int, cut: int, folder: Path) -> PreTrainedModel:
    """A view that runs fewer layers: new containers along one path, the same tensors.

    Args:
        model: Any encoder that keeps its layers in one list; not altered.
        layers: Length of that list.
        cut: Number of layers that the view runs, from the bottom.
        folder: Where the encoder came from, for messages.

    Raises:
        BadRequestError: If there is no list of that length.
    """
    import torch

    stacks = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers
    }
    if not stacks:
        raise BadRequestError(f"{folder} is no BERT-like encoder: no list of {layers} layers")
    name, stack = next(iter(stacks.items()))
    view: PreTrainedModel = copy.copy(model)
    parent: torch.nn.Module = view
    *path, last = name.split(".")
    for step in path:
        child = copy.copy(parent.get_submodule(step))
        _put(parent, step, child)
        parent = child
    _put(parent, last, torch.nn.ModuleList(list(stack)[:cut]))
    return view


def _put(parent: torch.nn.Module, name: str, child: torch.nn.Module) -> None:
    # A shallow copy shares its table of modules with the original; only a new table may change.
    parent.__dict__["_modules"] = {**parent._modules, name: child}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bars and remarks, which are for interactive use."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(40)  # errors only
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # so in the library
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
