"""Views of an encoder: truncated, on another device or in another precision; it stays as it is."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pareto_rec.backbone.encoders import one_line
from pareto_rec.core.errors import BadRequestError, unknown

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def device_of(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises:
        BadRequestError: If there is no such device here.
    """
    import torch

    if name == "auto":
        fallback = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else fallback
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise BadRequestError(f'cannot use device "{name}": {one_line(error)}') from error


def placed(encoder: PreTrainedModel, device: str) -> tuple[PreTrainedModel, torch.device]:
    """Return the encoder on a device: itself on the CPU, elsewhere a copy.

    Raises:
        BadRequestError: If there is no such device.
    """
    target = device_of(device)
    try:
        return (encoder if target.type == "cpu" else _moved(encoder, target)), target
    except RuntimeError as error:
        raise BadRequestError(f'cannot use device "{device}": {one_line(error)}') from error


def _moved(encoder: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    copied = copy.deepcopy(encoder)
    module: torch.nn.Module = copied
    module.to(device)
    return copied


PRECISIONS = ("float32", "bfloat16", "int8")


def at_precision(encoder: PreTrainedModel, precision: str) -> PreTrainedModel:
    """Return the encoder in another precision: itself in float32, else a copy.

    ``"int8"`` quantises the weights of linear layers once and activations as they come (dynamic
    quantisation; Jacob et al., CVPR 2018), on the CPU alone. One scale serves all activations of a
    product, so that a text's vector depends on its batch: encode one text at a time.

    Raises:
        BadRequestError: If the precision is not known or this build of torch cannot quantise.
    """
    import torch

    if precision == "float32":
        return encoder
    if precision == "bfloat16":
        copied = copy.deepcopy(encoder)
        module: torch.nn.Module = copied
        module.to(torch.bfloat16)
        return copied
    if precision != "int8":
        raise unknown("precision", precision, PRECISIONS)
    with warnings.catch_warnings():  # the interface is to move to another package
        warnings.simplefilter("ignore")
        try:
            quantised: PreTrainedModel = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call] # torch's own
                encoder, {torch.nn.Linear}, dtype=torch.qint8
            )
        except (RuntimeError, AttributeError) as error:
            raise BadRequestError(
                f"int8 is not available on this machine: {one_line(error)}; use float32 or bfloat16"
            ) from error
    return quantised


def truncated(model: PreTrainedModel, layers: int, cut: int, folder: Path) -> PreTrainedModel:
    """Make a view that runs fewer layers: new containers along one path, the same tensors.

    Args:
        model: Any encoder that keeps its layers in one list; not altered.
        layers: Length of that list.
        cut: Number of layers that the view runs, from the bottom.
        folder: Where the encoder came from, for messages.

    Raises:
        BadRequestError: If there is no list of that length.
    """
    import torch

    name, stack = _stack(model, layers, folder)
    view: PreTrainedModel = copy.copy(model)
    parent: torch.nn.Module = view
    *path, last = name.split(".")
    for step in path:
        child = copy.copy(parent.get_submodule(step))
        _put(parent, step, child)
        parent = child
    _put(parent, last, torch.nn.ModuleList(list(stack)[:cut]))
    return view


def layers_of(model: PreTrainedModel, layers: int, folder: Path) -> torch.nn.ModuleList:
    """Return the encoder's own list of layers, not a copy; arguments as `truncated`."""
    return _stack(model, layers, folder)[1]


def states_of(output: object) -> torch.Tensor:
    """Return the states of a layer's output; some encoders return them as the first of several."""
    states: torch.Tensor = output[0] if isinstance(output, tuple) else output  # type: ignore[assignment] # a tensor
    return states


def _stack(model: PreTrainedModel, layers: int, folder: Path) -> tuple[str, torch.nn.ModuleList]:
    import torch

    stacks = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers
    }
    if not stacks:
        raise BadRequestError(
            f"{folder} is not a BERT-like encoder: it has no list of {layers} layers"
        )
    return next(iter(stacks.items()))


def _put(parent: torch.nn.Module, name: str, child: torch.nn.Module) -> None:
    # A shallow copy shares its table of modules with the original; only a new table may change.
    parent.__dict__["_modules"] = {**parent._modules, name: child}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the library's progress bars and remarks, which are for interactive use."""
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
