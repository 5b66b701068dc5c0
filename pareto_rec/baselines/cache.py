"""Scores and fitted experts on disk, computed once and memory-mapped for every reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines.base import Baseline, ItemModel
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.paths import written_whole
from pareto_rec.core.sealed import (
    read_array,
    read_json,
    seal,
    write_array,
    write_json,
)
from pareto_rec.data.schema import IntArray, Stage, Users

PART_SCORES = 16_000_000  # most scores that are held at a time while they are written

Mapped = np.memmap[Any, np.dtype[np.float32]]  # numpy leaves the shape of a memmap open


@dataclass(frozen=True)
class ScoresOnDemand:
    """Scores of a fitted expert for requested users, as rows of ``[users, items]``.

    Attributes:
        model: The fitted expert.
        starts: ``[users + 1]``; ``items[starts[u]:starts[u + 1]]`` is the history of user u.
        items: Item indices, oldest first within a user.
        users: The users.
    """

    model: ItemModel
    starts: IntArray
    items: IntArray
    users: Users

    @classmethod
    def of(cls, model: ItemModel, stage: Stage) -> ScoresOnDemand:
        """Return scores of the users of a stage, from their histories."""
        return cls(model, stage.history_indptr, stage.history.item, stage.users)

    def __getitem__(self, users: slice | IntArray) -> NDArray[np.float32]:
        """Compute scores of some users ``[len(users), items]``: a slice or row numbers."""
        chosen = np.arange(len(self.starts) - 1)[users]
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], lengths)
        return self.model.for_users(self.users, chosen).score(starts, self.items[rows])


def expert_key(expert: Baseline) -> str:
    """Identify an expert by everything that decides its scores besides the data.

    That is its method, its parameters and the code that fits it, applies it and splits the data.
    """
    code = code_key(type(expert).__module__, __name__, "pareto_rec.data.split")
    return json.dumps([expert.method, expert.parameters(), code], sort_keys=True)


def _stem(expert: Baseline, stage: Stage, learn: Stage | None) -> str:
    """Return the name of a file by method, parameters and data."""
    content = {
        "expert": expert_key(expert),
        "stage": stage.content_hash,
    }
    if learn is not None and learn is not stage:
        content["learn"] = learn.content_hash
    text = json.dumps(content, sort_keys=True)
    return f"{expert.method}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def score_file(expert: Baseline, stage: Stage, cache: Path, learn: Stage | None = None) -> Path:
    """Return the file of the expert's scores on the stage: named by method, parameters and data."""
    return cache / "experts" / f"{_stem(expert, stage, learn)}.npy"


def cached_scores(
    experts: Mapping[str, Baseline],
    names: Iterable[str],
    stage: Stage,
    cache: Path,
    learn: Stage | None = None,
) -> dict[str, Mapped]:
    """Return scores of the named experts, read-only and memory-mapped, ``[users, items]`` float32.

    A file that is missing or damaged is computed again and replaced in one step.

    Args:
        experts: All of them.
        names: Which of them.
        stage: Whose histories are scored.
        cache: Root of the cache.
        learn: Stage whose training rows experts are fitted on; None: `stage` itself.

    Raises:
        BadRequestError: If the cache cannot be written, or an expert refuses the data.
    """
    scores: dict[str, Mapped] = {}
    for name in names:
        path = score_file(experts[name], stage, cache, learn)
        mapped = read_array(path, stage.shape, np.float32)
        if mapped is None:
            _write_scores(path, experts[name], stage, learn)
            mapped = read_array(path, stage.shape, np.float32)
        if mapped is None:
            raise OSError(f"{path} cannot be read back after writing")
        scores[name] = mapped
    return scores


def _write_scores(path: Path, expert: Baseline, stage: Stage, learn: Stage | None) -> None:
    """Write scores, a part of the users at a time where there are many."""
    users, n_items = stage.shape
    if users * n_items <= PART_SCORES and (learn is None or learn is stage):
        write_array(path, expert.scores(stage))
        return
    wanted = ScoresOnDemand.of(expert.learn(learn or stage), stage)
    step = max(1, PART_SCORES // n_items)
    with written_whole(path) as temporary:
        with temporary.open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": stage.shape}
            np.lib.format.write_array_header_1_0(stream, header)
            for begin in range(0, users, step):
                stream.write(wanted[begin : begin + step].tobytes())
        seal(temporary, path.name)


def cached_model(expert: Baseline, learn: Stage, cache: Path) -> ItemModel:
    """Return the expert fitted on a stage's training rows, its arrays memory-mapped.

    Raises:
        BadRequestError: If the cache cannot be written, or the expert refuses the data.
    """
    if not expert.exported:  # more than an item-item matrix
        return expert.learn(learn)
    stem = cache / "experts" / _stem(expert, learn, None)
    n_items = learn.shape[1]
    note = stem.with_name(f"{stem.name}.json")  # names the parts; written last
    names = read_json(note) or ()
    parts = {name: read_array(stem.with_name(f"{stem.name}.{name}.npy")) for name in names}
    if any(part is None for part in parts.values()) or "bias" not in parts:
        model = expert.learn(learn)
        arrays = _parts(model)
        for name, array in arrays.items():
            write_array(stem.with_name(f"{stem.name}.{name}.npy"), array)
        write_json(note, list(arrays))
        return model
    weights: Any = parts.get("weights")
    if "data" in parts:
        triple: Any = (parts["data"], parts["indices"], parts["indptr"])
        weights = sparse.csr_array(triple, shape=(n_items, n_items))
    return ItemModel(weights, np.asarray(parts["bias"]), getattr(expert, "tau", None))


def _parts(model: ItemModel) -> dict[str, NDArray[Any]]:
    """Return the arrays of a fitted expert; those of a sparse matrix separately."""
    weights = model.weights
    if weights is None:
        return {"bias": model.bias}
    if isinstance(weights, np.ndarray):
        return {"weights": weights, "bias": model.bias}
    return {
        "data": weights.data,
        "indices": weights.indices,
        "indptr": weights.indptr,
        "bias": model.bias,
    }
