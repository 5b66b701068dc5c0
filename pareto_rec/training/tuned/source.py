"""Sources of item features: the cache for a frozen backbone, live layers for a tuned one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.backbone.cached import Backbone, Progress, Reading
from pareto_rec.core.errors import BadRequestError
from pareto_rec.training.item_features import Projection
from pareto_rec.training.spec import TrainSpec, reads_as_given
from pareto_rec.training.tuned.layers import Tuning, UpperLayers
from pareto_rec.training.tuned.live import (
    LiveTable,
    Pace,
    Rates,
    Reduction,
    features_of,
)
from pareto_rec.training.tuned.tokens import TokenStates, token_states

_KEPT = 3  # tables of tuned fits that are held in memory


@dataclass(frozen=True)
class Depth:
    """How a spec reads texts: candidates of equal depth share their frozen states.

    Attributes:
        cut: Layers below, from the cache.
        exit: Layers that are run at all.
        reading: How texts are read.
    """

    cut: int
    exit: int
    reading: Reading


class TextSource:
    """Features of the items of one data set, as any spec wants them."""

    def __init__(
        self,
        opened: Callable[[], Backbone],
        texts: Sequence[str],
        *,
        max_length: int,
        cut: int | None,
        components: int,
        device: torch.device,
        cache: Path,
    ) -> None:
        """Keep how to open the encoder, which happens at its first use.

        Args:
            opened: Opens the shared encoder, which is never altered; asked once, and only where
                a spec reads more than the config's own features.
            texts: One per item.
            max_length: Tokens per text, unless a spec says otherwise.
            cut: Layers that are run, unless a spec says otherwise; None for all.
            components: Principal components that models read; 0 for all features.
            device: Where to compute.
            cache: Root of the cache.
        """
        self._opened, self.texts, self.components = opened, texts, components
        self.max_length, self.cut, self.device, self.cache = max_length, cut, device, cache

    @cached_property
    def backbone(self) -> Backbone:
        """The shared encoder."""
        return self._opened()

    @cached_property
    def _frozen(self) -> dict[Depth, tuple[Tensor, Projection]]:
        return {}

    @cached_property
    def _tuned(self) -> dict[str, Tensor]:
        return {}

    def depth(self, spec: TrainSpec) -> Depth:
        """Return how a spec reads texts.

        Raises:
            BadRequestError: If the encoder has fewer layers.
        """
        most = self.backbone.n_layers
        exit_layer = spec.exit_layer or (most if self.cut is None else self.cut)
        if exit_layer > most:
            raise BadRequestError(
                f"exit_layer = {exit_layer}: {self.backbone.name} has {most} layers; lower it"
            )
        length = spec.text_length or self.max_length
        reading = Reading(length, spec.encoder_precision, str(self.device))
        return Depth(max(0, exit_layer - spec.tuned_layers), exit_layer, reading)

    def frozen(self, spec: TrainSpec) -> Tensor:
        """Return features of all items without any tuning ``[N, C]``."""
        return self._of(self.depth(spec))[0]

    def _of(self, depth: Depth) -> tuple[Tensor, Projection]:
        known = Depth(depth.exit, depth.exit, depth.reading)
        if known not in self._frozen:
            encoded = self.backbone.encode_depths(
                self.texts, [depth.exit], depth.reading, cache=self.cache
            )
            states = encoded[depth.exit].states
            projection = Projection.of(states, self.components)
            self._frozen[known] = torch.from_numpy(projection(states)).to(self.device), projection
        return self._frozen[known]

    def tokens(self, depth: Depth) -> TokenStates:
        """Return states of the tokens of all items at a cut."""
        return token_states(self.backbone, self.texts, depth.cut, depth.reading, cache=self.cache)

    def prepare(self, specs: Sequence[TrainSpec], progress: Progress | None = None) -> None:
        """Compute what these specs will read of the frozen layers, every depth in one pass.

        What the config's own depth reads is left to whoever reads the config.

        Raises:
            BadRequestError: If the encoder has fewer layers.
        """
        depths = {self.depth(one) for one in specs if not reads_as_given(one)}
        for reading in {one.reading for one in depths}:
            exits = sorted({one.exit for one in depths if one.reading == reading})
            self.backbone.encode_depths(
                self.texts, exits, reading, cache=self.cache, progress=progress
            )
        for one in depths:
            if one.cut < one.exit:
                self.tokens(one)

    def live(self, specs: Sequence[TrainSpec], seeds: Sequence[int]) -> LiveTable:
        """Return what a pack of tuned candidates reads while it is trained."""
        common = specs[0]
        depth = self.depth(common)
        layers = self._layers(specs, seeds)
        pace = Pace(common.steps, common.live_texts, common.refresh_every, common.accumulate)
        rates = [Rates(spec.encoder_rate, spec.layer_decay, spec.encoder_decay) for spec in specs]
        frozen, projection = self._of(depth)
        return LiveTable(
            layers, self.tokens(depth), projection, pace, rates, seeds, self.device, frozen
        )

    def _layers(self, specs: Sequence[TrainSpec], seeds: Sequence[int]) -> UpperLayers:
        one, depth = specs[0], self.depth(specs[0])
        tuning = Tuning(
            one.tuning,
            depth.cut,
            depth.exit,
            one.lora_rank,
            one.lora_targets,
            bool(one.autocast),
            bool(one.checkpointing),
        )
        return UpperLayers(
            self.backbone,
            tuning,
            seeds,
            [spec.lora_alpha for spec in specs],
            [spec.lora_dropout for spec in specs],
            self.device,
        )

    def features(self, spec: TrainSpec, difference: Mapping[str, Tensor]) -> Tensor:
        """Return features of all items ``[N, C]``: from the cache, or by tuned layers.

        Args:
            spec: Says how texts are read and what was tuned.
            difference: What the tuned layers have learnt; empty for a frozen backbone.
        """
        if not spec.tuned_layers:
            return self.frozen(spec)
        depth = self.depth(spec)
        key = _key(spec, difference)
        if key not in self._tuned:
            layers = self._loaded(spec, difference)
            made = features_of(layers, self.tokens(depth), self._of(depth)[1], self.device)[0]
            while len(self._tuned) >= _KEPT:
                self._tuned.pop(next(iter(self._tuned)))
            self._tuned[key] = made
        return self._tuned[key]

    def _loaded(self, spec: TrainSpec, difference: Mapping[str, Tensor]) -> UpperLayers:
        layers = self._layers([spec], [0])
        layers.load(0, difference)
        return layers

    def features_of_texts(
        self, spec: TrainSpec, difference: Mapping[str, Tensor], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return features of new texts ``[texts, C]``, as models read those of items."""
        depth = self.depth(spec)
        reduce = Reduction(self._of(depth)[1], self.device)
        if not spec.tuned_layers:
            pooled = self.backbone.encode_depths(
                texts, [depth.exit], depth.reading, cache=self.cache
            )[depth.exit].states
            return np.asarray(reduce(torch.from_numpy(np.array(pooled)).to(self.device)).cpu())
        layers = self._loaded(spec, difference)
        tokens = token_states(self.backbone, texts, depth.cut, depth.reading, cache=self.cache)
        projection = self._of(depth)[1]
        return np.asarray(features_of(layers, tokens, projection, self.device)[0].cpu())


def _key(spec: TrainSpec, difference: Mapping[str, Tensor]) -> str:
    from pareto_rec.backbone.features import digest

    parts = [
        f"{name} {value.shape} {value.double().sum().item()!r} {value.double().norm().item()!r}"
        for name, value in sorted(difference.items())
    ]
    return digest(repr(spec), *parts)
