"""Layers above the cut for a pack of candidates: shared frozen weights, own tuned ones.

The frozen layers of an encoder are never altered: LoRA (Hu et al., ICLR 2022; by peft) adds
matrices of low rank beside shared weights, a full fine-tune works on a copy per candidate. What a
candidate has learnt is its *difference*: the adapter's matrices, or the weights of its copy.
"""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.views import layers_of, states_of
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.seeds import child_seed
from pareto_rec.training.tuned.noise import SeededDropout

METHODS = ("lora", "full")
_ATTENTION = ("attention.self.query", "attention.self.key", "attention.self.value")
_FEED_FORWARD = ("intermediate.dense", "output.dense")
PROJECTIONS: Mapping[str, tuple[str, ...]] = {
    "query_value": (_ATTENTION[0], _ATTENTION[2]),
    "attention": (*_ATTENTION, "attention.output.dense"),
    "feed_forward": _FEED_FORWARD,
    "all": (*_ATTENTION, "attention.output.dense", *_FEED_FORWARD),
}
"""Name -> linear maps of a layer that get an adapter, by the names of their modules."""


@dataclass(frozen=True)
class Tuning:
    """What of an encoder moves; candidates of one pack agree on it.

    Attributes:
        method: One of `METHODS`.
        cut: Layers below, which are frozen.
        exit: Layers that are run at all; those from `cut` to `exit` move.
        rank: Rank of the adapters.
        targets: Key of `PROJECTIONS`.
        autocast: Whether the layers compute in bfloat16 while they are trained.
        checkpointing: Whether activations are computed again in the backward pass to save memory.
    """

    method: str
    cut: int
    exit: int
    rank: int = 8
    targets: str = "query_value"
    autocast: bool = False
    checkpointing: bool = False

    def check(self, backbone: Backbone) -> None:
        """Refuse what this encoder cannot do.

        Raises:
            BadRequestError: If the layers are not there or a name is not known.
        """
        if not 0 <= self.cut < self.exit <= backbone.n_layers:
            raise BadRequestError(
                f"cannot tune layers {self.cut + 1} to {self.exit} of {backbone.name}: it has "
                f"{backbone.n_layers}; lower exit_layer or tuned_layers"
            )
        if self.method not in METHODS:
            raise unknown("way of tuning", self.method, METHODS)
        if self.targets not in PROJECTIONS:
            raise unknown("set of projections", self.targets, PROJECTIONS)


class UpperLayers(torch.nn.Module):
    """The layers of a pack between cut and exit; one forward for all LoRA candidates.

    Attributes:
        tuning: What moves.
        pack: Number of candidates.
    """

    def __init__(
        self,
        backbone: Backbone,
        tuning: Tuning,
        seeds: Sequence[int],
        alphas: Sequence[float] = (),
        dropouts: Sequence[float] = (),
        device: torch.device | None = None,
    ) -> None:
        """Start at the encoder's own weights.

        Args:
            backbone: The shared encoder; not altered.
            tuning: What moves.
            seeds: One per candidate; initial adapters and dropout depend on it alone.
            alphas: LoRA's scale times its rank, one per candidate; twice the rank unless given.
            dropouts: Dropout before the adapters, one per candidate; 0 unless given.
            device: Where to compute; the CPU unless given.

        Raises:
            BadRequestError: If the encoder has no such layers or projections.
        """
        super().__init__()
        tuning.check(backbone)
        self.tuning, self.pack = tuning, len(seeds)
        frozen = list(layers_of(backbone.model, backbone.n_layers, backbone.folder))
        frozen = frozen[tuning.cut : tuning.exit]
        copies = 1 if tuning.method == "lora" else self.pack
        self.copies = torch.nn.ModuleList(
            torch.nn.ModuleList(_copied(layer, own=tuning.method == "full") for layer in frozen)
            for _ in range(copies)
        )
        self.adapted: list[Any] = []  # linear maps with adapters
        self.names: list[str] = []  # adapter of every row of the batch that is being computed
        if tuning.method == "lora":
            self._adapt(
                seeds,
                alphas or [2.0 * tuning.rank] * self.pack,
                dropouts or [0.0] * self.pack,
            )
        if device is not None:
            self.to(device)
        self.eval()

    def _adapt(
        self, seeds: Sequence[int], alphas: Sequence[float], dropouts: Sequence[float]
    ) -> None:
        """Add adapters of all candidates beside the shared weights."""
        try:
            import peft
            from peft.tuners.lora import LoraLayer
        except ImportError as error:
            raise BadRequestError(
                'tuning = "lora" needs peft: pip install "pareto_rec[lora]", or set tuning = "full"'
            ) from error

        targets = PROJECTIONS[self.tuning.targets]
        known = {name.partition(".")[2] for name, _ in self.copies[0].named_modules()}
        if not known & set(targets):
            raise BadRequestError(
                f'this encoder has none of the projections "{self.tuning.targets}" '
                f"({', '.join(targets)}); set tuning = full"
            )
        # peft draws initial values that are replaced, and is wary of a second adapter
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for index, alpha in enumerate(alphas):
                config = peft.LoraConfig(
                    r=self.tuning.rank,
                    lora_alpha=alpha,  # type: ignore[arg-type] # any number will do
                    target_modules=rf"\d+\.\d+\.({'|'.join(map(re.escape, targets))})",
                    lora_dropout=0.0,
                )
                peft.inject_adapter_in_model(config, self.copies, _adapter(index))
        self.adapted = [module for module in self.modules() if isinstance(module, LoraLayer)]
        for place, layer in enumerate(self.adapted):
            layer.register_forward_pre_hook(self._route, with_kwargs=True)
            for index, (seed, rate) in enumerate(zip(seeds, dropouts, strict=True)):
                _start(layer, index, child_seed(seed, "adapter", place), rate)

    def _route(
        self, _: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return inputs, {**named, "adapter_names": self.names}

    def parameters_of(self, index: int) -> dict[str, torch.nn.Parameter]:
        """Map names to the tuned tensors of a candidate; names are the same for all candidates."""
        if self.tuning.method == "full":
            return dict(self.copies[index].named_parameters())
        ending = f".{_adapter(index)}.weight"
        return {
            name.removesuffix(ending): value
            for name, value in self.copies[0].named_parameters()
            if name.endswith(ending)
        }

    def difference(self, index: int) -> dict[str, Tensor]:
        """Return a copy of what a candidate has learnt, on the CPU."""
        return {
            name: value.detach().cpu().clone() for name, value in self.parameters_of(index).items()
        }

    @torch.no_grad()
    def load(self, index: int, difference: Mapping[str, Tensor]) -> None:
        """Put a candidate where :meth:`difference` found it.

        Raises:
            BadRequestError: If it is of other layers, another method or another rank.
        """
        params = self.parameters_of(index)
        shapes = {name: value.shape for name, value in params.items()}
        if shapes != {name: value.shape for name, value in difference.items()}:
            raise BadRequestError(
                "what was learnt belongs to other layers or to another way of tuning"
            )
        for name, value in params.items():
            value.copy_(difference[name])

    def sources_of(self, index: int) -> list[torch.Generator]:
        """Return the sources of a candidate's dropout by layer; none for full fine-tuning."""
        return [layer.lora_dropout[_adapter(index)].source for layer in self.adapted]

    def draw(self, rows: Sequence[int]) -> None:
        """Draw dropout for as many rows of each candidate; switch it off with zeros."""
        for layer in self.adapted:
            for index, count in enumerate(rows):
                layer.lora_dropout[_adapter(index)].draw(count)

    def forward(self, states: Tensor, here: Tensor, candidates: Sequence[int]) -> Tensor:
        """Return pooled features after the last layer.

        Args:
            states: States at the cut ``[B, L, width]``.
            here: Which tokens there are ``[B, L]``.
            candidates: Whose layers each row goes through ``[B]``.

        Returns:
            Means over the tokens that there are ``[B, width]``, float32.
        """
        kind = states.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.tuning.autocast):
            hidden = self._run(states, here, candidates).float()
        weight = here.unsqueeze(-1).float()
        return (hidden * weight).sum(1) / weight.sum(1)

    def _run(self, states: Tensor, here: Tensor, candidates: Sequence[int]) -> Tensor:
        if self.tuning.method == "lora":
            self.names = [_adapter(candidate) for candidate in candidates]
            return self._through(self.copies[0], states, here)
        chosen = torch.tensor(candidates)
        parts, places = [], []
        for index in sorted(set(candidates)):
            rows = torch.nonzero(chosen == index).squeeze(1)
            places.append(rows)
            rows = rows.to(states.device)
            parts.append(self._through(self.copies[index], states[rows], here[rows]))
        return torch.cat(parts)[torch.argsort(torch.cat(places)).to(states.device)]

    def _through(self, layers: torch.nn.Module, hidden: Tensor, here: Tensor) -> Tensor:
        mask = None
        if not bool(here.all()):
            mask = torch.zeros(here.shape, device=here.device).masked_fill(~here, -torch.inf)
            mask = mask[:, None, None, :]
        for layer in layers:  # type: ignore[attr-defined] # a list of layers
            if self.tuning.checkpointing and torch.is_grad_enabled():
                hidden = self._again(layer, hidden, mask)
            else:
                hidden = states_of(layer(hidden, mask))
        return hidden

    def _again(self, layer: torch.nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Return a layer whose activations are computed again, by the same adapters and draws."""
        names, first = self.names, self._rows()

        def run(x: Tensor) -> Tensor:
            now = self.names, self._rows()
            self.names = names
            self._set_rows(first)
            try:
                return states_of(layer(x, mask))
            finally:  # the second time it is broken off as soon as it has computed enough
                if now[0] is not names:
                    self.names = now[0]
                    self._set_rows(now[1])

        output: Tensor = checkpoint(run, hidden, use_reentrant=False, preserve_rng_state=False)
        return output

    def _rows(self) -> list[int]:
        return [dropout.row for dropout in self._noise]

    def _set_rows(self, rows: Sequence[int]) -> None:
        for dropout, row in zip(self._noise, rows, strict=True):
            dropout.row = row

    @property
    def _noise(self) -> list[SeededDropout]:
        return [module for module in self.modules() if isinstance(module, SeededDropout)]


def _adapter(index: int) -> str:
    return f"candidate{index}"


def _copied(layer: torch.nn.Module, *, own: bool) -> torch.nn.Module:
    """Return modules of their own around the same weights, or around copies that may move."""
    shared = {} if own else {id(value): value for value in layer.parameters()}
    copied = copy.deepcopy(layer, shared)
    return copied.requires_grad_(own)


def _start(layer: Any, index: int, seed: int, rate: float) -> None:
    """Initialise an adapter to add nothing: B = 0, A uniform as a linear layer of that width."""
    name = _adapter(index)
    first = layer.lora_A[name].weight
    source = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(first.shape[1])
    with torch.no_grad():
        first.copy_((2 * torch.rand(first.shape, generator=source) - 1) * bound)
        layer.lora_B[name].weight.zero_()
    layer.lora_dropout[name] = SeededDropout(rate, first.shape[1], child_seed(seed, "dropout"))
    for value in (first, layer.lora_B[name].weight):
        value.requires_grad_(True)
