"""Latency of one request: from a user's history to the list, measured once and replayed.

One user at a time through the engine that serves (`pareto_rec.ranking.engine`): user encoders over
precomputed item vectors, experts, standardisation, fusion and re-ranking. After a warm-up several
rounds of requests are timed, and of each percentile the smallest round's counts, since whatever
else runs on the machine can only slow a round down. What was measured is kept in the cache under
everything that decides it, with the hardware's name, and read back from then on: the first
measurement stands.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pareto_rec.baselines import BASELINES, Baseline
from pareto_rec.baselines.base import ItemModel
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.paths import alone, make_folder
from pareto_rec.core.provenance import provenance
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.members import Fits
from pareto_rec.ranking import ScorerBuilder, ServingParams, recommend
from pareto_rec.ranking.backends import TorchBackend, UserHistory
from pareto_rec.ranking.engine import ScoringEngine
from pareto_rec.training.data import TrainData

WARM, ROUNDS, REQUESTS = 20, 5, 100

Encode = Callable[[str], object]


class Reader(Protocol):
    """What reads a text while a request waits."""

    @property
    def encode(self) -> Encode:
        """Encodes one text."""

    @property
    def key(self) -> str:
        """What identifies it."""


class OneRequest:
    """The path of one request; everything that does not depend on the user is ready."""

    def __init__(self, engine: ScoringEngine, fits: Fits, serving: ServingParams, k: int) -> None:
        """Prepare a path.

        Args:
            engine: Scores the experts and fits of the fusion.
            fits: Name in the fusion -> fit.
            serving: How scores are fused and re-ranked.
            k: Length of the list.
        """
        self.engine, self.serving, self.k = engine, serving, k
        self.experts = [name for name in serving.fusion if name not in fits]
        self.tasks = {name: serving.weighed_tasks(fit.shape.tasks) for name, fit in fits.items()}

    def __call__(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the list ``[k]`` for a history, oldest item first."""
        with torch.inference_mode():
            scorers = self.engine.scorers([UserHistory(items)], self.experts, self.tasks)
            lists, _ = recommend(scorers, [self.serving], k=self.k)
        return np.asarray(lists[0, 0])


@dataclass(frozen=True)
class Latencies:
    """Measured latencies of one stage.

    Attributes:
        stage: Whose histories are served, and what experts are fitted on.
        builder: Makes what is fused.
        data: What networks read of the items.
        k: Length of the lists.
        folder: Where results are kept.
        baselines: Every baseline with its parameters.
    """

    stage: Stage
    builder: ScorerBuilder
    data: TrainData
    k: int
    folder: Path
    baselines: Mapping[str, Baseline] = field(default_factory=lambda: BASELINES)

    def of(
        self, fits: Fits, serving: ServingParams, readers: Sequence[Reader] = ()
    ) -> dict[str, float]:
        """Return milliseconds ``latency_p50`` and ``latency_p95``, from the store or measured now.

        Args:
            fits: Name in the fusion -> fit, for every fit that is fused.
            serving: A setting that stands for its serving shape
                (`pareto_rec.evaluation.costs.serving_shape`).
            readers: Each reads one text per request; none where texts are not in the path.
        """
        key = self._key(fits, serving, readers)
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        path = self.folder / f"{digest}.json"
        measured = _read(path)
        if measured is None:
            request = OneRequest(self.engine(fits, serving), fits, serving, self.k)
            measured = _keep(path, self._measure(request, readers) | {"key": key})
        return {name: measured[name] for name in ("latency_p50", "latency_p95")}

    def engine(self, fits: Fits, serving: ServingParams) -> ScoringEngine:
        """Return the engine that serves a setting."""
        experts = {name: self._model(name) for name in serving.fusion if name not in fits}
        heads = {
            name: fit.head(self.data.item_features(fit.spec, fit.difference))
            for name, fit in fits.items()
        }
        known = {name: len(model.bias) for name, model in experts.items()}
        return ScoringEngine(TorchBackend(experts, heads), self.builder, known)

    def _key(
        self, fits: Fits, serving: ServingParams, readers: Sequence[Reader]
    ) -> dict[str, object]:
        return {
            "code": code_key(__name__),
            "shapes": {name: asdict(fit.shape) for name, fit in fits.items()},
            "serving": asdict(serving),
            "baselines": {
                name: self.baselines[name].parameters()
                for name in serving.fusion
                if name in self.baselines
            },
            "k": self.k,
            "stage": self.stage.content_hash,
            "encoders": sorted(reader.key for reader in readers),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "hardware": self._hardware,
        }

    @cached_property
    def _hardware(self) -> Mapping[str, object]:
        hardware: Mapping[str, object] = provenance(str(self.data.features.device))["hardware"]
        return hardware

    @cached_property
    def _models(self) -> dict[str, ItemModel]:
        return {}

    def _model(self, name: str) -> ItemModel:
        if name not in self._models:
            fitted = self.baselines[name].learn(self.stage)
            self._models[name] = fitted
        return self._models[name]

    def _measure(self, request: OneRequest, readers: Sequence[Reader]) -> dict[str, object]:
        requests = self.requests()
        texts = self.stage.items.texts
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None

        def once(index: int) -> float:
            items = requests[index % len(requests)]
            began = time.perf_counter()
            for reader in readers:
                reader.encode(texts[index % len(texts)])
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
