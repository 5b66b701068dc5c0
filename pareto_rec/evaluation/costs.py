"""Cost of serving a candidate, counted from shapes: parameters and operations of one request.

Item vectors are computed once, at export; everything else that a request runs is counted. The
objectives ``parameters`` and ``flops`` say what is in and what is out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.views import at_precision, layers_of, placed, states_of
from pareto_rec.baselines import BASELINES
from pareto_rec.baselines.knn import ItemKNN
from pareto_rec.baselines.popularity import Popularity
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.latency import Encode, Latencies
from pareto_rec.evaluation.members import Fits
from pareto_rec.models import MODELS
from pareto_rec.models.base import Shape, init_shared
from pareto_rec.models.head import ScoringHead
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.ranking import NETWORK, ServingParams
from pareto_rec.tasks import RELEVANCE
from pareto_rec.training.spec import IDLE, TrainSpec

COSTS = frozenset({"parameters", "flops", "latency"})
"""What objectives may need and `Costs` answers."""

_ALONE = MappingProxyType({NETWORK: NETWORK})
_STANDARDISE = 6  # operations per score: mean, difference, square, sum, root, quotient


@dataclass(frozen=True)
class Encoder:
    """The backbone, where a text is encoded while the request waits.

    Attributes:
        encode: Encodes one text.
        parameters: Its learnt numbers.
        flops: Operations of one text of the greatest length.
        key: What identifies it.
    """

    encode: Encode
    parameters: int
    flops: int
    key: str

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        *,
        max_length: int,
        cut: int | None,
        device: str,
        precision: str = "float32",
        tuned: int = 0,
    ) -> Encoder:
        """Return the layers of a backbone that are run, ready to encode.

        Args:
            backbone: Where weights and tokenizer come from.
            max_length: Tokens per text at most.
            cut: Layers to run; None for all.
            device: Name of a device that torch knows, or ``"auto"``.
            precision: Numbers that frozen layers compute with.
            tuned: How many of the topmost ones were tuned: they compute in float32. Adapters are
                merged into the weights when they are served, so that they take no time.
        """
        layers = backbone.n_layers if cut is None else cut
        frozen = layers - tuned if precision != "float32" else layers
        placed_layers, place = placed(backbone.below(layers), device)
        model, _ = placed(at_precision(backbone.below(frozen), precision), device)
        upper = list(layers_of(placed_layers, layers, backbone.folder))[frozen:] if layers else []

        def run(ids: list[int], *, counted: bool = False) -> torch.Tensor:
            with torch.inference_mode():
                given = torch.tensor([ids], device=place)
                states = (placed_layers if counted else model)(
                    input_ids=given
                ).last_hidden_state.float()
                for layer in [] if counted else upper:
                    states = states_of(layer(states, None))
            vector: torch.Tensor = states.mean(dim=1).cpu()
            return vector

        def encode(text: str) -> torch.Tensor:
            return run(
                backbone.tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
            )

        # a fused attention kernel is one operation, which the counter does not know on every device
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run([0] * max_length, counted=True)
        key = f"{backbone.weights_hash} {layers} {max_length}"
        if precision != "float32":
            key += f" {precision} {tuned}"
        size = sum(part.numel() for part in placed_layers.parameters())
        return cls(encode, size, int(counter.get_total_flops()), key)


class Encoders:
    """The encoder of every way of reading texts, where they are encoded while a request waits."""

    def __init__(
        self, backbone: Backbone, *, max_length: int, cut: int | None, device: str
    ) -> None:
        """Keep how to load the layers, which happens at their first use.

        Args:
            backbone: Where weights and tokenizer come from.
            max_length: Tokens per text, unless a fit says otherwise.
            cut: Layers to run, unless a fit says otherwise; None for all.
            device: Name of a device that torch knows, or ``"auto"``.
        """
        self.backbone, self.max_length, self.device = backbone, max_length, device
        self.layers = backbone.n_layers if cut is None else cut
        self._made: dict[tuple[int, int, str, int], Encoder] = {}

    def of(self, spec: TrainSpec) -> Encoder:
        """Return what a fit of these training variables needs to read a new text."""
        layers, length = spec.exit_layer or self.layers, spec.text_length or self.max_length
        tuned = min(spec.tuned_layers, layers) if spec.encoder_precision != "float32" else 0
        key = (layers, length, spec.encoder_precision, tuned)
        if key not in self._made:
            self._made[key] = Encoder.of(
                self.backbone,
                max_length=length,
                cut=layers,
                device=self.device,
                precision=spec.encoder_precision,
                tuned=tuned,
            )
        return self._made[key]


@dataclass(frozen=True)
class Costs:
    """Counts what serving costs, and looks up what it takes.

    Attributes:
        stage: Whose histories are served.
        k: Length of the lists.
        wanted: Which of `COSTS` are asked for.
        latencies: Measured latencies; None where none are asked for.
        encoders: None where no text is encoded while a request waits.
    """

    stage: Stage
    k: int
    wanted: frozenset[str]
    latencies: Latencies | None = None
    encoders: Encoders | None = None

    def of(self, fits: Fits, serving: ServingParams) -> Mapping[str, float]:
        """Compute the cost of a serving setting, by objective: of all that has a weight above 0.

        Args:
            fits: Name in the fusion -> fit; those without a weight cost nothing.
            serving: The setting.
        """
        n_items = self.stage.shape[1]
        fused = {name: fits[name] for name in weighed(serving) if name in fits}
        encoders = self._encoders_of(fused)
        costs: dict[str, float] = {}
        if "parameters" in self.wanted:
            costs["parameters"] = parameters(fused, serving, n_items)
            costs["parameters"] += sum(encoder.parameters for encoder in encoders)
        if "flops" in self.wanted:
            costs["flops"] = flops(fused, serving, n_items, k=self.k, history=self.history)
            costs["flops"] += sum(encoder.flops for encoder in encoders)
        if "latency" in self.wanted and self.latencies is not None:
            standing = by_shape(fused)
            names = {name: standing_name for standing_name, name in standing.items()}
            shape = serving_shape(serving, n_items, self.k, names)
            alike = {standing_name: fused[name] for standing_name, name in standing.items()}
            costs |= self.latencies.of(alike, shape, encoders)
        return costs

    def _encoders_of(self, fits: Fits) -> list[Encoder]:
        """Return the encoders that read a text for some fits; fits that read alike share one."""
        if self.encoders is None:  # experts know items by their ids alone
            return []
        encoders = [self.encoders.of(fit.spec) for fit in fits.values()]
        return list({encoder.key: encoder for encoder in encoders}.values())

    @property
    def history(self) -> int:
        """Rows in the mean history of those who have one."""
        lengths = np.diff(self.stage.history_indptr)
        return round(float(lengths[lengths > 0].mean())) if lengths.any() else 0


def weighed(serving: ServingParams) -> tuple[str, ...]:
    """Return scorers with a weight above 0."""
    return tuple(sorted(name for name, weight in serving.fusion.items() if weight > 0))


def by_shape(fits: Fits) -> dict[str, str]:
    """Return names that depend on the shapes of some fits alone -> the names of the fits.

    One fit is called ``"network"``, several ``"network 1"`` and so on, in the order of their
    shapes: settings that differ in which fits of equal shapes they fuse take equally long.
    """
    ordered = sorted(fits, key=lambda name: (repr(fits[name].shape), name))
    if len(ordered) == 1:
        return {NETWORK: ordered[0]}
    return {f"{NETWORK} {number}": name for number, name in enumerate(ordered, start=1)}


def serving_shape(
    serving: ServingParams, n_items: int, k: int, networks: Mapping[str, str] = _ALONE
) -> ServingParams:
    """Return the setting that stands for its serving shape: for all that take equally long.

    Settings of one shape weigh the same scorers, agree on which tasks have a say, whether the
    penalty and re-ranking are on, and on the depth rounded up to a power of two.

    Args:
        serving: The setting.
        n_items: Size of the catalogue.
        k: Length of the lists.
        networks: Names of fits in the fusion -> what they are called in the result.
    """
    names = weighed(serving)
    named = sorted(networks.get(name, name) for name in names)
    tasks = sorted(n for n, power in serving.exponents.items() if power and n != RELEVANCE)
    depth = min(n_items, max(k, serving.depth)) if serving.mmr > 0 else k
    return ServingParams(
        fusion=dict.fromkeys(named, 1.0 / max(len(named), 1)),
        exponents=dict.fromkeys(tasks if set(names) & set(networks) else (), 1.0),
        popularity_penalty=0.5 if serving.popularity_penalty else 0.0,
        mmr=0.5 if serving.mmr > 0 else 0.0,
        depth=min(n_items, 1 << (depth - 1).bit_length()),
    )


def expert_parameters(name: str, n_items: int) -> int:
    """Count the numbers that an expert keeps at most; a dense matrix, unless its kind differs."""
    match BASELINES[name]:
        case Popularity():
            return n_items
        case ItemKNN(neighbours=neighbours):
            return min(neighbours, n_items) * n_items
        case _:
            return n_items * n_items


def expert_flops(name: str, n_items: int, history: int) -> int:
    """Count operations of an expert's scores: two per number kept of each item of the history."""
    if isinstance(BASELINES[name], Popularity):
        return 0
    return 2 * history * expert_parameters(name, n_items) // max(n_items, 1)


_SUMS_OF_ROWS = (torch.ops.aten._embedding_bag, torch.ops.aten._embedding_bag_forward_only)


def _sum_flops(table: torch.Size, rows: torch.Size, *_: object, **__: object) -> int:
    """Count operations of weighted sums of table rows, given both shapes."""
    return 2 * math.prod(rows) * table[-1]


@lru_cache(maxsize=256)
def network_flops(shape: Shape, history: int, tasks: tuple[str, ...]) -> int:
    """Count the operations of a network's matmuls for one request, on tensors without content."""
    source = torch.Generator()
    parts = init_shared(shape, source) | MODELS[shape.model].init(shape, source)
    parts |= TRUNKS[shape.trunk].init(shape.width, shape.experts, shape.towers, source)
    params = {name: part.to("meta") for name, part in parts.items()}
    features = torch.empty(shape.n_items, shape.feature_dim, device="meta")
    head = ScoringHead(params, shape, features)
    histories = np.arange(history).reshape(1, -1) % shape.n_items
    counted = dict.fromkeys(_SUMS_OF_ROWS, _sum_flops)
    with FlopCounterMode(display=False, custom_mapping=counted) as counter, torch.no_grad():
        head.scores(head.states(histories), tasks)
    return int(counter.get_total_flops())


def parameters(fits: Fits, serving: ServingParams, n_items: int) -> int:
    """Return learnt numbers that an answer depends on, the backbone's left out."""
    total = 0
    for name in weighed(serving):
        if name in fits:
            idle = IDLE.get(fits[name].spec.item_inputs)
            params = fits[name].params
            total += sum(part.numel() for part_name, part in params.items() if part_name != idle)
        else:
            total += expert_parameters(name, n_items)
    return total


def flops(fits: Fits, serving: ServingParams, n_items: int, *, k: int, history: int) -> int:
    """Count operations of one request, the backbone's left out.

    Args:
        fits: Name in the fusion -> fit.
        serving: How scores are fused and re-ranked.
        n_items: Size of the catalogue.
        k: Length of the list.
        history: Rows of the history that experts read.
    """
    total, scorers = 0, 0
    for name in weighed(serving):
        scorers += 1
        if name in fits:
            fit = fits[name]
            tasks = serving.weighed_tasks(fit.shape.tasks)
            total += network_flops(fit.shape, fit.spec.history, tasks)
            scorers += len(tasks)
        else:
            total += expert_flops(name, n_items, history)
    total += scorers * (_STANDARDISE + 2) * n_items
    if serving.popularity_penalty:
        total += 2 * n_items
    if serving.mmr > 0:  # per place and candidate: weigh, subtract, compare
        total += 3 * k * min(n_items, max(k, serving.depth))
    return total
