"""Backend of onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pareto_rec.backbone.features import equal_lengths
from pareto_rec.bundle.data import BundleData
from pareto_rec.bundle.files import Manifest
from pareto_rec.bundle.graph_check import graph_file
from pareto_rec.bundle.graphs import graph_name
from pareto_rec.bundle.onnx_export import check_onnx
from pareto_rec.bundle.session import session
from pareto_rec.bundle.texts import Texts
from pareto_rec.core.errors import BadRequestError
from pareto_rec.models.head import NetworkScores, network_scores, right_aligned
from pareto_rec.ranking.backends import Floats, Ints, UserHistory
from pareto_rec.tasks import RELEVANCE, key_of

_BATCH = 64
_ELEMENTS = 8_000_000  # most numbers that a look-up of rows holds at once


class OnnxBackend:
    """The graphs of a bundle, in float32 or with int8 weights."""

    def __init__(self, parts: BundleData, manifest: Manifest, *, quantised: bool) -> None:
        """Open the graphs of experts and heads; the encoder's when the first text comes.

        Args:
            parts: What the bundle holds.
            manifest: Its files.
            quantised: Whether weights are int8.

        Raises:
            BadRequestError: If the packages for ONNX are not installed, or a graph is missing or
                not as it was written.
        """
        check_onnx()
        self.parts, self.manifest = parts, manifest
        self.form = "int8" if quantised else "onnx"
        self.experts = {name: self._open(f"expert_{name}") for name in parts.experts}
        self.heads = {fit_id: self._open(f"head_{fit_id}") for fit_id in parts.fits}

    def _open(self, name: str) -> Any:  # onnxruntime ships no types
        file = graph_file(name, self.form)
        path = self.manifest.folder / file
        if file not in self.manifest.files:
            raise BadRequestError(f"{path} is missing; export the bundle again with --{self.form}")
        content = self.manifest.content(file)
        try:
            return session(content)
        except Exception as error:  # what onnxruntime raises has no common base
            reason = " ".join(str(error).split())[:200]
            raise BadRequestError(f"{path} is not a graph of this bundle: {reason}") from None

    def expert_scores(self, names: Sequence[str], starts: Ints, items: Ints) -> dict[str, Floats]:
        """As `pareto_rec.ranking.backends.Backend.expert_scores`."""
        return {name: self.expert(name, starts, items) for name in names}

    def expert(self, name: str, starts: Ints, items: Ints) -> Floats:
        """Return scores ``[people, N]`` of an expert; histories as for `ItemModel.score`."""
        histories = np.split(items, starts[1:-1])
        scores = np.empty((len(histories), len(self.parts.experts[name].bias)), dtype=np.float32)
        order = np.argsort([len(history) for history in histories], kind="stable")
        for rows in _bounded(order, [len(history) for history in histories], scores.shape[1]):
            part = [histories[row] for row in rows]
            given = right_aligned(part, max(1, *map(len, part)))
            scores[rows] = self.experts[name].run(["scores"], {"items": given})[0]
        return scores

    def network(
        self, fit_id: str, people: Sequence[UserHistory], tasks: Sequence[str]
    ) -> NetworkScores:
        """As `pareto_rec.ranking.backends.Backend.network`."""
        n_items, fit = len(self.parts.items), self.parts.fits[fit_id]
        inside = [user.items[user.items < n_items] for user in people]
        given = {"items": right_aligned(inside, fit.shape.history)}
        keys = [RELEVANCE, *map(key_of, tasks)]
        outputs = self.heads[fit_id].run([graph_name(key) for key in keys], given)
        logits = dict(zip(keys, map(torch.from_numpy, outputs), strict=True))
        params = {name: fit.params[name].unsqueeze(0) for name in fit.params}
        return network_scores(params, logits, tasks, ranks=not fit.spec.by_tasks_alone)

    @cached_property
    def _encoder(self) -> Any:
        return self._open("encoder")

    def features(self, texts: Sequence[str], reader: Texts) -> NDArray[np.float32]:
        """Return features ``[texts, F]`` by the encoder's graph.

        Args:
            texts: What to read.
            reader: Whose tokenizer reads it.
        """
        tokens = reader.backbone.tokenizer(
            list(texts), truncation=True, max_length=reader.max_length
        )["input_ids"]
        features = np.empty((len(texts), len(reader.mean)), dtype=np.float32)
        for rows in equal_lengths([len(ids) for ids in tokens], _BATCH):
            ids = np.array([tokens[row] for row in rows.tolist()], dtype=np.int64)
            given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            features[rows] = self._encoder.run(["features"], given)[0]
        return features


def _bounded(order: Ints, lengths: Sequence[int], n_items: int) -> Iterator[Ints]:
    """Yield rows in the given order, in parts whose gathered matrices stay below `_ELEMENTS`."""
    begin = 0
    for end in range(1, len(order) + 1):
        following = lengths[order[end]] if end < len(order) else None
        size = (end + 1 - begin) * max(following or 1, 1) * n_items
        if following is None or size > _ELEMENTS:
            yield order[begin:end]
            begin = end
