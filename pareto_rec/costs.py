"""What serving a candidate costs, counted from shapes: parameters and operations of one request.

Item vectors are computed once, at export; everything else that a request runs is counted. The
objectives ``parameters`` and ``flops`` say what is in and what is out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pareto_rec.backbone import Backbone
from pareto_rec.data.schema import Stage
from pareto_rec.experts import EXPERTS
from pareto_rec.experts.knn import ItemKNN
from pareto_rec.experts.popularity import Popularity
from pareto_rec.latency import Encode, Latencies, network_scores
from pareto_rec.models import MODELS
from pareto_rec.models.base import Shape, init_shared
from pareto_rec.policy import NETWORK, Serving
from pareto_rec.train import Fit
from pareto_rec.views import placed

COSTS = frozenset({"parameters", "flops", "latency"})
"""What objectives may need and `Costs` answers."""

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
    def of(cls, backbone: Backbone, *, max_length: int, cut: int | None, device: str) -> Encoder:
        """The layers of a backbone below the cut, ready to encode.

        Args:
            backbone: Where weights and tokenizer come from.
            max_length: Tokens per text at most.
            cut: Layers to run; None for all.
            device: Name of a device that torch knows, or ``"auto"``.
        """
        layers = backbone.n_layers if cut is None else cut
        model, place = placed(backbone.below(layers), device)

        def run(ids: list[int]) -> torch.Tensor:
            with torch.inference_mode():
                states = model(input_ids=torch.tensor([ids], device=place)).last_hidden_state
            vector: torch.Tensor = states.mean(dim=1).cpu()
            return vector

        def encode(text: str) -> torch.Tensor:
            return run(
                backbone.tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
            )

        # a fused attention kernel is one operation, which the counter does not know on every device
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run([0] * max_length)
        key = f"{backbone.weights_hash} {layers} {max_length}"
        size = sum(part.numel() for part in model.parameters())
        return cls(encode, size, int(counter.get_total_flops()), key)


@dataclass(frozen=True)
class Costs:
    """Counts what serving costs, and looks up what it takes.

    Attributes:
        stage: Whose histories are served.
        k: Length of the lists.
        wanted: Which of `COSTS` are asked for.
        latencies: Measured latencies; None where none are asked for.
        encoder: None where no text is encoded while a request waits.
    """

    stage: Stage
    k: int
    wanted: frozenset[str]
    latencies: Latencies | None = None
    encoder: Encoder | None = None

    def of(self, fit: Fit | None, serving: Serving) -> Mapping[str, float]:
        """Cost of one serving setting of a fit (None: without network), by objective."""
        n_items = self.stage.shape[1]
        found: dict[str, float] = {}
        if "parameters" in self.wanted:
            found["parameters"] = parameters(fit, serving, n_items)
            found["parameters"] += self.encoder.parameters if self.encoder else 0
        if "flops" in self.wanted:
            found["flops"] = flops(fit, serving, n_items, k=self.k, history=self.history)
            found["flops"] += self.encoder.flops if self.encoder else 0
        if "latency" in self.wanted and self.latencies is not None:
            found |= self.latencies.of(fit, serving_shape(serving, n_items, self.k))
        return found

    @property
    def history(self) -> int:
        """Rows in the mean history of those who have one."""
        lengths = np.diff(self.stage.history_indptr)
        return round(float(lengths[lengths > 0].mean())) if lengths.any() else 0


def weighed(serving: Serving) -> tuple[str, ...]:
    """Scorers with a weight above 0."""
    return tuple(sorted(name for name, weight in serving.fusion.items() if weight > 0))


def serving_shape(serving: Serving, n_items: int, k: int) -> Serving:
    """The setting that stands for its serving shape: for all that take equally long.

    Settings of one shape weigh the same scorers, agree on whether the second task, the penalty and
    re-ranking are on, and on the depth rounded up to a power of two.
    """
    names = weighed(serving)
    depth = min(n_items, max(k, serving.depth)) if serving.mmr > 0 else k
    return Serving(
        fusion=dict.fromkeys(names, 1.0 / max(len(names), 1)),
        liked_exponent=1.0 if serving.liked_exponent and NETWORK in names else 0.0,
        popularity_penalty=0.5 if serving.popularity_penalty else 0.0,
        mmr=0.5 if serving.mmr > 0 else 0.0,
        depth=min(n_items, 1 << (depth - 1).bit_length()),
    )


def expert_parameters(name: str, n_items: int) -> int:
    """Numbers that an expert keeps at most; a dense matrix, unless its kind says otherwise."""
    match EXPERTS[name]:
        case Popularity():
            return n_items
        case ItemKNN(neighbours=neighbours):
            return min(neighbours, n_items) * n_items
        case _:
            return n_items * n_items


def expert_flops(name: str, n_items: int, history: int) -> int:
    """Operations of an expert's scores: two per number kept of each item of the history."""
    if isinstance(EXPERTS[name], Popularity):
        return 0
    return 2 * history * expert_parameters(name, n_items) // max(n_items, 1)


@lru_cache(maxsize=256)
def network_flops(shape: Shape, history: int, *, liked: bool) -> int:
    """Operations of a network's matrix products for one request, on tensors without content."""
    source = torch.Generator()
    parts = init_shared(shape, source) | MODELS[shape.model].init(shape, source)
    params = {name: part.unsqueeze(0).to("meta") for name, part in parts.items()}
    table = torch.empty(1, shape.n_items, shape.width, device="meta")
    items = torch.zeros(1, history, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network_scores(params, shape, table, items, torch.ones(1, device="meta"), liked=liked)
    return int(counter.get_total_flops())


def parameters(fit: Fit | None, serving: Serving, n_items: int) -> int:
    """Learnt numbers that an answer depends on, the backbone's left out."""
    total = 0
    for name in weighed(serving):
        if name != NETWORK:
            total += expert_parameters(name, n_items)
        elif fit is not None:
            total += sum(part.numel() for part in fit.params.values())
    return total


def flops(fit: Fit | None, serving: Serving, n_items: int, *, k: int, history: int) -> int:
    """Operations of one request, the backbone's left out.

    Args:
        fit: The network; None without one.
        serving: How scores are fused and re-ranked.
        n_items: Size of the catalogue.
        k: Length of the list.
        history: Rows of the history that experts read.
    """
    total, scorers = 0, 0
    for name in weighed(serving):
        scorers += 1
        if name != NETWORK:
            total += expert_flops(name, n_items, history)
        elif fit is not None:
            liked = serving.liked_exponent != 0
            total += network_flops(fit.shape, fit.spec.history, liked=liked)
            scorers += liked
    total += scorers * (_STANDARDISE + 2) * n_items
    if serving.popularity_penalty:
        total += 2 * n_items
    if serving.mmr > 0:  # per place and candidate: weigh, subtract, compare
        total += 3 * k * min(n_items, max(k, serving.depth))
    return total
