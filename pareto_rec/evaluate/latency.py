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
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.code_keys import code_key
from pareto_rec.data.schema import Stage
from pareto_rec.experts import EXPERTS
from pareto_rec.experts.base import ItemModel
from pareto_rec.models.base import Params, Shape, item_table, tower
from pareto_rec.models.scoring import relevance_states, task_scores, user_states
from pareto_rec.paths import alone, make_folder
from pareto_rec.policy import NETWORK, Scorers, Serving, recommend, standardise, with_network
from pareto_rec.provenance import provenance
from pareto_rec.sealed import read_json, write_json
from pareto_rec.train.data import Fit

WARM, ROUNDS, REQUESTS = 20, 5, 100

Encode = Callable[[str], object]


def network_scores(
    params: Params,
    shape: Shape,
    table: Tensor,
    items: Tensor,
    temperature: Tensor,
    *,
    liked: bool,
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """What a network says for one history, item vectors given.

    Args:
        params: Parameters of a pack of one.
        shape: Their shape.
        table: Item vectors ``[1, N, D]``.
        items: The history ``[1, L]``, right-aligned, -1 where there is none.
        temperature: ``[1]``.
        liked: Whether the second task is wanted.

    Returns:
        Relevance logits, logits of liked given watched (or None), and task of the config -> log of
        what it predicts, each ``[1, N]``.
    """
    last = torch.full((1, 1, 1), items.shape[1] - 1, device=items.device)
    states = user_states(params, shape, table, items.unsqueeze(0), last)
    across = table.transpose(1, 2)
    wanted = relevance_states(params, states, temperature)
    relevance = torch.baddbmm(params["relevance.item_bias"][:, None], wanted, across)
    tasks = task_scores(params, shape, states, table)
    if not liked:
        return relevance[0], None, tasks
    wanted = tower(params, "liked", states) * states.shape[-1] ** -0.5
    second = torch.baddbmm(params["liked.item_bias"][:, None], wanted, across)
    return relevance[0], second[0], tasks


class OneRequest:
    """The path of one request; everything that does not depend on the user is ready."""

    def __init__(
        self,
        models: Mapping[str, ItemModel],
        scorers: Scorers,
        features: Tensor,
        fit: Fit | None,
        serving: Serving,
        k: int,
    ) -> None:
        """Prepare a path.

        Args:
            models: Fitted experts of the fusion by name.
            scorers: Popularity and similarity of the items.
            features: What the network reads of the items ``[N, F]``.
            fit: The network; None without one.
            serving: How scores are fused and re-ranked.
            k: Length of the list.
        """
        self.models, self.scorers, self.fit = models, scorers, fit
        self.serving, self.k, self.device = serving, k, features.device
        if fit is not None:
            self.params = {n: p.unsqueeze(0).to(self.device) for n, p in fit.params.items()}
            self.temperature = torch.tensor([fit.spec.temperature], device=self.device)
            with torch.no_grad():
                self.table = item_table(self.params, features, None)

    def __call__(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The list ``[k]`` for a history, oldest item first."""
        with torch.inference_mode():
            met = np.zeros((1, len(self.scorers.popularity)), dtype=bool)
            met[0, items] = True
            seen = torch.from_numpy(met).to(self.device)
            starts = np.array([0, len(items)])
            experts = {
                name: standardise(
                    torch.from_numpy(model.score(starts, items)).to(self.device), seen
                )
                for name, model in self.models.items()
            }
            base = self.scorers
            known = seen, base.popularity, base.similarity
            ready = Scorers(experts, None, None, None, *known, ties=base.ties)
            if self.fit is not None:
                ready = self._with_network(ready, items)
            lists, _ = recommend(ready, [self.serving], k=self.k)
        return np.asarray(lists[0, 0])

    def _with_network(self, ready: Scorers, items: NDArray[np.int64]) -> Scorers:
        assert self.fit is not None
        length = self.fit.spec.history
        padded = np.full((1, length), -1, dtype=np.int64)
        padded[0, length - min(length, len(items)) :] = items[-length:]
        wants_liked = self.serving.liked_exponent != 0
        relevance, liked, tasks = network_scores(
            self.params,
            self.fit.shape,
            self.table,
            torch.from_numpy(padded).to(self.device),
            self.temperature,
            liked=wants_liked,
        )
        return with_network(ready, relevance, liked, tasks)


@dataclass(frozen=True)
class Latencies:
    """Measured latencies of one stage.

    Attributes:
        stage: Whose histories are served, and what experts are fitted on.
        scorers: Popularity and similarity of the items.
        features: What the network reads of the items ``[N, F]``.
        k: Length of the lists.
        folder: Where results are kept.
    """

    stage: Stage
    scorers: Scorers
    features: Tensor
    k: int
    folder: Path

    def of(
        self, fit: Fit | None, serving: Serving, encode: Encode | None = None, encoder: str = ""
    ) -> dict[str, float]:
        """Milliseconds ``latency_p50`` and ``latency_p95``, from the store or measured now.

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
        found = _read(path)
        if found is None:
            names = [name for name in serving.fusion if name != NETWORK]
            models = {name: self._model(name) for name in names}
            request = OneRequest(models, self.scorers, self.features, fit, serving, self.k)
            found = _keep(path, self._measure(request, encode) | {"key": key})
        return {name: found[name] for name in ("latency_p50", "latency_p95")}

    def _key(self, fit: Fit | None, serving: Serving, encoder: str) -> dict[str, object]:
        return {
            "code": code_key(__name__),
            "shape": _without(asdict(fit.shape), _SINCE_TASKS) if fit else None,
            "serving": _without(asdict(serving), {"exponents": {}}),
            "k": self.k,
            "stage": self.stage.content_hash,
            "encoder": encoder,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "hardware": self._hardware,
        }

    @cached_property
    def _hardware(self) -> Mapping[str, object]:
        found: Mapping[str, object] = provenance(str(self.features.device))["hardware"]
        return found

    @cached_property
    def _models(self) -> dict[str, ItemModel]:
        return {}

    def _model(self, name: str) -> ItemModel:
        if name not in self._models:
            self._models[name] = EXPERTS[name].fit(self.stage.train, self.stage.shape)
        return self._models[name]

    def _measure(self, request: OneRequest, encode: Encode | None) -> dict[str, object]:
        asked = self.requests()
        texts = self.stage.items.texts
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None

        def once(index: int) -> float:
            items = asked[index % len(asked)]
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
        """Histories of users who have one, at equal distances from the shortest to the longest."""
        starts = self.stage.history_indptr
        lengths = np.diff(starts)
        users = np.flatnonzero(lengths)
        users = users[np.argsort(lengths[users], kind="stable")]
        picked = users[np.linspace(0, len(users) - 1, min(REQUESTS, len(users))).astype(int)]
        order = np.random.default_rng(0).permutation(len(picked))
        return [self.stage.history.item[starts[u] : starts[u + 1]] for u in picked[order]]


_SINCE_TASKS = {"trunk": "shared_bottom", "experts": 4, "tasks": ()}
"""Parts of a shape that keys of earlier measurements lack, where they change nothing."""


def _without(content: dict[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    """Content without what equals its default."""
    return {n: v for n, v in content.items() if n not in defaults or v != defaults[n]}


def _read(path: Path) -> dict[str, float] | None:
    found: dict[str, float] | None = read_json(path)
    return found


def _keep(path: Path, content: Mapping[str, object]) -> dict[str, float]:
    """Store a measurement unless another process was first; what is stored then."""
    with alone(make_folder(path.parent)):
        found = _read(path)
        if found is None:
            write_json(path, content)
            found = _read(path)
    assert found is not None
    return found
