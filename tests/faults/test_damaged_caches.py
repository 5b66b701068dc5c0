"""A cached file that is damaged in any way is computed anew, and that is said in one line.

Every kind of file, each damaged in every way; PARETO_REC_DAMAGES rounds with other random places.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_bert import TEXTS, random_bert
from tables import shop
from toy_learning import random_params, shape_of

from pareto_rec.backbone.cached import Backbone, Reading
from pareto_rec.baselines import expert_scores, scores_on_demand
from pareto_rec.core.notices import notice
from pareto_rec.core.paths import file_sha256
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.store import load_table
from pareto_rec.evaluation import latency
from pareto_rec.training.checkpoints import CheckpointStore
from pareto_rec.training.data import Checkpoint, Fit
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.spec import TrainSpec
from pareto_rec.training.tuned.tokens import token_states

pytestmark = pytest.mark.usefixtures("single_thread")

ROUNDS = int(os.environ.get("PARETO_REC_DAMAGES", "1"))

Make = Callable[[Path], Any]
"""Compute into a cache, or read from it; plain values, to be compared."""


def stage(seed: int) -> Stage:
    pairs = np.random.default_rng(seed).random((30, 12)) < 0.35
    users, items = (index.astype(np.int64) for index in np.nonzero(pairs))
    ones = np.ones(len(users), np.float32)
    rows = Interactions(users, items, np.arange(len(users)), {"watched": ones})
    names = tuple(map(str, range(12)))
    catalogue = Items(names, names, names, np.zeros((12, 1), np.float32), ("c",))
    people = Users(tuple(map(str, range(30))), {})
    return Stage("validation", rows, rows, rows, catalogue, people, f"toy {seed}")


def features(cache: Path) -> Any:
    folder = cache / "bert"
    backbone = Backbone.load(folder if folder.is_dir() else random_bert(folder), cache)
    cuts = backbone.encode_depths(TEXTS, [1, 2], Reading(max_length=20))
    return [np.array(cuts[cut].states).tolist() for cut in (1, 2)]


def tokens(cache: Path) -> Any:
    folder = cache / "bert"
    backbone = Backbone.load(folder if folder.is_dir() else random_bert(folder), cache)
    found = [token_states(backbone, TEXTS, cut, Reading(max_length=20)) for cut in (1, 2)]
    return [np.array(one.states).tolist() for one in found]


def scores(cache: Path) -> Any:
    found = [expert_scores(["ease", "popularity"], stage(seed), cache) for seed in (1, 2)]
    return [np.array(one[name]).tolist() for one in found for name in sorted(one)]


def models(cache: Path) -> Any:
    found = [scores_on_demand(["ease", "item_knn"], stage(seed), cache) for seed in (1, 2)]
    return [one[name][:].tolist() for one in found for name in sorted(one)]


def rows(cache: Path) -> Any:
    """As the sweeps of baselines keep them."""
    found = []
    for number in (1, 2):
        path = cache / "baselines" / f"{number}.json"
        kept = read_json(path)
        if kept is None:
            kept = [{"id": f"a-{number}", "ndcg@10": number / 3}]
            write_json(path, kept)
        found.append(kept)
    return found


def a_fit(seed: int) -> Fit:
    shape = shape_of("attention_pooling")
    spec = TrainSpec(loss_weights={"softmax": 0.7, "liked": 0.3}, width=8)
    return Fit(spec, shape, random_params(shape, seed), ((25, 0.1),), 25, 1.25)


def fits(cache: Path) -> Any:
    store, found = FitStore(cache / "fits", "data"), []
    for seed in (1, 2):
        name = store.id(a_fit(seed).spec, seed)
        if store.get(name) is None:
            store.put(name, a_fit(seed))
        kept = store.get(name)
        assert kept is not None
        found.append({name: value.tolist() for name, value in kept.params.items()})
    return found


def standings(cache: Path) -> Any:
    store, found = CheckpointStore(cache), []
    for seed in (1, 2):
        if store.get(str(seed)) is None:
            state = {"moment": torch.full((3,), float(seed))}
            store.put(str(seed), Checkpoint(a_fit(seed), seed, True, state))
        kept = store.get(str(seed))
        assert kept is not None
        found.append((kept.step, kept.state["moment"].tolist()))
    return found


def tables(cache: Path) -> Any:
    log = cache / "log.csv"
    if not log.is_file():
        shop(cache)
    options = TableOptions.model_validate({"files": str(log), "on_bad_rows": "skip"})
    dataset = load_table(options, "shop", cache)
    return dataset.interactions.item.tolist(), dataset.items.ids, dict(dataset.account or {})


def latencies(cache: Path) -> Any:
    """A measurement that is gone is measured anew; here it gives the same numbers."""
    return [
        latency._keep(cache / "latency" / f"{name}.json", {f"latency_{name}": 1.5})
        for name in ("p50", "p95")
    ]


KERNEL = """
from pareto_rec.kernels.compiled import compiled

@compiled
def twice(x):
    return 2 * x

@compiled
def thrice(x):
    return 3 * x
"""


def kernels(cache: Path) -> Any:
    source = cache / "some_kernels.py"
    if not source.is_file():
        source.write_text(KERNEL)
    spec = importlib.util.spec_from_file_location("some_kernels", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.twice(21), module.thrice(21)


KINDS: dict[str, tuple[Make, str]] = {
    "features": (features, "features/*.npy"),
    "token states": (tokens, "features/*.npy"),
    "scores": (scores, "experts/*.npy"),
    "models": (models, "experts/*"),
    "sweeps": (rows, "baselines/*.json"),
    "fits": (fits, "fits/*.safetensors"),
    "unfinished fits": (standings, "unfinished/*.safetensors"),
    "tables": (tables, "tables/*/*"),
    "latencies": (latencies, "latency/*.json"),
    "kernels": (kernels, "__pycache__/*.nbc"),
}


def truncate(content: bytes, random_: random.Random) -> bytes:
    return content[: random_.randrange(1, len(content))]


def flip(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    changed[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    return bytes(changed)


def garbage(content: bytes, random_: random.Random) -> bytes:
    return random_.randbytes(len(content))


def empty(_content: bytes, _random: random.Random) -> bytes:
    return b""


@pytest.mark.parametrize("way", ["truncate", "flip", "garbage", "empty", "swap"])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed_and_mended(
    kind: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, pattern = KINDS[kind]
    expected = make(tmp_path)
    assert make(tmp_path) == expected
    for seed in range(ROUNDS):
        random_ = random.Random(f"{kind} {way} {seed}")
        paths = sorted(path for path in tmp_path.glob(pattern) if path.is_file())
        assert len(paths) > 1
        path, other = random_.sample(paths, 2)
        content = path.read_bytes()
        if way == "swap":
            path.write_bytes(other.read_bytes())
            other.write_bytes(content)
        else:
            path.write_bytes(globals()[way](content, random_))
        notice.cache_clear()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pareto_rec"):
            assert make(tmp_path) == expected
        said = [one.getMessage() for one in caplog.records if one.name == "pareto_rec"]
        assert said, (path, other)
        assert all(re.search("is damaged.* (again|anew)", line) for line in said)
        assert "\n" not in "".join(said)
        caplog.clear()
        assert make(tmp_path) == expected
        assert not caplog.records  # it has healed


def test_a_remembered_checksum_that_was_changed_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a good file of weights would be refused for ever."""
    monkeypatch.setattr("pareto_rec.core.paths._MEMO_FROM_BYTES", 1)
    path, memo = tmp_path / "large", tmp_path / "memo"
    path.write_bytes(b"content")
    right = file_sha256(path, memo)
    note = next(memo.iterdir())
    content = json.loads(note.read_text())
    note.write_text(json.dumps(content | {"sha256": "0" * 64}))
    assert file_sha256(path, memo) == right


def test_weights_that_changed_under_a_remembered_checksum_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit that flips on the disk changes no time stamp."""
    monkeypatch.setattr("pareto_rec.core.paths._MEMO_FROM_BYTES", 1)
    folder = random_bert(tmp_path / "bert")
    weights = next(folder.glob("*.safetensors"))
    assert Backbone.load(folder, tmp_path).weights_hash
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-5] ^= 4
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ValueError, match="have changed since their checksum was taken"):
        _ = Backbone.load(folder, tmp_path).model
