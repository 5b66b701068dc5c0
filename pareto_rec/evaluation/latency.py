"""Latency of one request: from a user's history to the list, measured once and replayed.

One user at a time through the code that serves: the user encoder over precomputed item vectors, the
experts, standardisation, fusion and re-ranking. After a warm-up several rounds of requests are
timed, and of each percentile the smallest round's counts, since whatever else runs on the machine
can only slow a round down. What was measured is kept in the cache under everything that decides it,
with the hardware's name, and read back from then on: the first measurement stands.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.baselines import BASELINES, Baseline
from pareto_rec.baselines.base import ItemModel
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.paths import alone, make_folder
from pareto_rec.core.provenance import provenance
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.data.schema import Stage
from pareto_rec.models.head import right_aligned
from pareto_rec.ranking import (
    NETWORK,
    ScorerBuilder,
    ServingParams,
    recommend,
    seen_by,
)
from pareto_rec.training.data import Fit

WARM, ROUNDS, REQUESTS = 20, 5, 100

Encode = Callable[[str], object]


class OneRequest:
    """The path of one request; everything that does not depend on the user is ready."""

    def __init__(
        self,
        models: Mapping[str, ItemModel],
        builder: ScorerBuilder,
        features: Tensor,
        fit: Fit | None,
        serving: ServingParams,
        k: int,
    ) -> None:
        """Prepare a path.

        Args:
            models: Fitted experts of the fusion by name.
            builder: Makes what is fused.
            features: What the network reads of the items ``[N, F]``.
            fit: The network; None without one.
            serving: How scores are fused and re-ranked.
            k: Length of the list.
        """
        self.models, self.builder, self.serving, self.k = models, builder, serving, k
        self.head = None if fit is None else fit.head(features)
        self.tasks = () if fit is None else serving.weighed_tasks(fit.shape.tasks)
        self.device = features.device

    def __call__(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the list ``[k]`` for a history, oldest item first."""
        with torch.inference_mode():
            seen = seen_by([items], len(self.builder.popularity)).to(self.device)
            starts = np.array([0, len(items)])
            scores = {
                name: torch.from_numpy(model.score(starts, items)).to(self.device)
                for name, model in self.models.items()
            }
            unread = np.array([len(items) == 0])
            network_scores = {}
            if self.head is not None:
                histories = right_aligned([items], self.head.shape.history)
                network_scores[NETWORK] = self.head.scores(self.head.states(histories), self.tasks)
            ready = self.builder.build(seen, scores, dict.fromkeys(scores, unread), network_scores)
            lists, _ = recommend(ready, [self.serving], k=self.k)
        return np.asarray(lists[0, 0])


@dataclass(frozen=True)
class Latencies:
    """Measured latencies of one stage.

    Attributes:
        stage: Whose histories are served, and what experts are fitted on.
        builder: Makes what is fused.
        features: What the network reads of the items ``[N, F]``.
        k: Length of the lists.
        folder: Where results are kept.
        baselines: Every baseline with its parameters.
    """

    stage: Stage
    builder: ScorerBuilder
    features: Tensor
    k: int
    folder: Path
    baselines: Mapping[str, Baseline] = field(default_factory=lambda: BASELINES)

    def of(
        self,
        fit: Fit | None,
        serving: ServingParams,
        encode: Encode | None = None,
        encoder: str = "",
    ) -> dict[str, float]:
        """Return milliseconds ``latency_p50`` and ``latency_p95``, from the store or measured now.

        Args:
            fit: The network; None without one.
            serving: A setting that stands for its serving shape (`evaluate.costs.serving_shape`).
            encode: Encodes one text per request; None where texts are not in the path.
            encoder: What `encode` is, part of the key.
        """
        fit = fit if NETWORK in serving.fusion else None
        key = self._key(fit, serving, encoder)
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        path = self.folder / f"{digest}.json"
        measured = _read(path)
        if measured is None:
            names = [name for name in serving.fusion if name != NETWORK]
            models = {name: self._model(name) for name in names}
            request = OneRequest(models, self.builder, self.features, fit, serving, self.k)
            measured = _keep(path, self._measure(request, encode) | {"key": key})
        return {name: measured[name] for name in ("latency_p50", "latency_p95")}

    def _key(self, fit: Fit | None, serving: ServingParams, encoder: str) -> dict[str, object]:
        return {
            "code": code_key(__name__),
            "shape": asdict(fit.shape) if fit else None,
            "serving": asdict(serving),
            "baselines": {
                name: self.baselines[name].parameters()
                for name in serving.fusion
                if name in self.baselines
            },
            "k": self.k,
            "stage": self.stage.content_hash,
            "encoder": encoder,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "hardware": self._hardware,
        }

    @cached_property
    def _hardware(self) -> Mapping[str, object]:
        hardware: Mapping[str, object] = provenance(str(self.features.device))["hardware"]
        return hardware

    @cached_property
    def _models(self) -> dict[str, ItemModel]:
        return {}

    def _model(self, name: str) -> ItemModel:
        if name not in self._models:
            fitted = self.baselines[name].fit(self.stage.train, self.stage.shape)
            self._models[name] = fitted
        return self._models[name]

    def _measure(self, request: OneRequest, encode: Encode | None) -> dict[str, object]:
        requests = self.requests()
        texts = self.stage.items.texts
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None

        def once(index: int) -> float:
            items = requests[index % len(requests)]
            began = time.perf_counter()
            if encode is not None:
                encode(texts[index % len(texts)])
            request(items)
            return 1000 * (time.perf_counter() - began)

        for index in range(WARM):
            once(index)
        rounds = [[once(index) for index in range(REQUESTS)] for _ in range(ROUNDS)]
        by_round = np.percentile(rounds, [50, 95], axis=1)
        return {
            "latency_p50": float(by_round[0].min()),
            "latency_p95": float(by_round[1].min()),
            "rounds": by_round.T.tolist(),
            "requests": REQUESTS,
            "load_before": load,
        }

    def requests(self) -> list[NDArray[np.int64]]:
        """Return histories that are not empty, evenly spread from the shortest to the longest."""
        starts = self.stage.history_indptr
        lengths = np.diff(starts)
        users = np.flatnonzero(lengths)
        users = users[np.argsort(lengths[users], kind="stable")]
        picked = users[np.linspace(0, len(users) - 1, min(REQUESTS, len(users))).astype(int)]
        order = np.random.default_rng(0).permutation(len(picked))
        return [self.stage.history.item[starts[u] : starts[u + 1]] for u in picked[order]]


def _read(path: Path) -> dict[str, float] | None:
    stored: dict[str, float] | None = read_json(path)
    return stored


def _keep(path: Path, content: Mapping[str, object]) -> dict[str, float]:
    """Store a measurement unless another process was first; what is stored then."""
    with alone(make_folder(path.parent)):
        stored = _read(path)
        if stored is None:
            write_json(path, content)
            stored = _read(path)
    assert stored is not None
    return stored
