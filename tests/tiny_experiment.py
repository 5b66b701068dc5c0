"""A real experiment small enough for tests: MovieLens 100K, MiniLM on eight tokens, tiny fits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shared_work import made_once
from warm_commands import run_warm

from pareto_rec.backbone.encoders import DEFAULT, find_encoder
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import CACHE_VARIABLE, cache_dir

DATA = "movielens-100k"
CONFIG = f"""\
name = "tiny"
question = "Does everything work?"
reported = ["recall@10", "coverage@10", "worst(ndcg@10 by gender)", "train_seconds"]
baselines = ["popularity"]

[data]
name = "{DATA}"

[backbone]
max_length = 8

[[objective]]
name = "ndcg@10"
reference = 0.0

[[objective]]
name = "ild@10"
reference = 0.3

[fixed]
model = "attention_pooling"
steps = 6
batch = 16
horizon = 1
history = 10
width = 8
heads = 2

[space.train]
loss_weights = {{ kind = "simplex", names = ["softmax", "popularity"] }}
learning_rate = {{ kind = "real", low = 0.01, high = 0.1, log = true }}

[space.serve]
fusion = {{ kind = "simplex", names = ["network", "ease_recency"] }}
mmr = {{ kind = "real", low = 0.0, high = 0.9 }}
depth = {{ kind = "integer", low = 10, high = 40 }}

[train]
pack_size = 1

[search]
population = 3
generations = 2
sweep = 4

[tuning]
settings = 1

[smoke]
search.generations = 1
"""
COMPUTED = ("features", "experts", "baselines", "tuned")  # all but fits
ENDLESS = ("--set", "search.generations=300", "--set", "search.population=4")
EVALUATING = ("search", "confirm")  # commands that start worker processes

Command = Callable[..., subprocess.CompletedProcess[str]]


def write_config(folder: Path, text: str = CONFIG) -> Path:
    """A config in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def sources() -> Path:
    """Cache that holds the data and the backbone; skips where they cannot be had."""
    from pareto_rec.data import fetch

    try:
        fetch(DATA, cache_dir())
        find_encoder(DEFAULT, cache_dir())
    except BadRequestError as error:
        pytest.skip(f"data or backbone is neither cached nor within reach: {error}")
    return cache_dir().resolve()


def fresh_cache(folder: Path, source: Path, parts: tuple[str, ...]) -> Path:
    """A cache that takes parts of another and computes the rest anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        (folder / part).symlink_to(source / part, target_is_directory=True)
    return folder


@dataclass(frozen=True)
class Finished:
    """A search that has ended: what it said, where it wrote, and its cache."""

    said: subprocess.CompletedProcess[str]
    run: Path
    cache: Path


@pytest.fixture(scope="session")
def tiny_search(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The tiny experiment with one worker and nothing computed before, once for all processes."""

    def search(folder: Path) -> None:
        config = write_config(folder)
        cache = fresh_cache(folder / "cache", sources, ("data", "backbones"))
        said = pareto_rec("search", config, "--out", folder / "run", "--workers", "1", cache=cache)
        assert said.returncode == 0, said.stderr
        (folder / "said.json").write_text(json.dumps([said.stdout, said.stderr]))

    folder = made_once(tmp_path_factory, "tiny-search", search)
    said = json.loads((folder / "said.json").read_text())
    done: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], 0, *said)
    return Finished(done, folder / "run", folder / "cache")


@pytest.fixture(scope="session")
def tiny_cache(tiny_search: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this process that holds what precedes the fits of the tiny experiment."""
    folder = fresh_cache(tmp_path_factory.mktemp("cache"), tiny_search.cache, ("data", "backbones"))
    for part in COMPUTED:
        shutil.copytree(tiny_search.cache / part, folder / part)
    return folder


def environment(cache: Path, **more: str) -> dict[str, str]:
    """The environment of a command that keeps its files in `cache`.

    Its threads sleep while they wait for each other: several tests run at once, and those that turn
    in circles take the processor from the ones that they wait for.
    """
    return {**os.environ, "OMP_WAIT_POLICY": "passive", CACHE_VARIABLE: str(cache), **more}


def program(*arguments: str | Path) -> list[str]:
    """The command line as a process of this Python."""
    return [sys.executable, "-m", "pareto_rec", *map(str, arguments)]


def pareto_rec(
    *arguments: str | Path, cache: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the real command line to its end; in a process of its own where `env` is given.

    It evaluates in one process unless it says in how many: another takes seconds to start.
    """
    words = list(map(str, arguments))
    if words[0] in EVALUATING and not {"--workers", "--backend"} & set(words):
        words += ["--workers", "1"]
    if env is None:
        return run_warm(words, environment(cache), timeout=300)
    return subprocess.run(
        program(*words),
        capture_output=True,
        text=True,
        timeout=300,
        env=dict(env),
        check=False,
    )


def records(run: Path) -> list[dict[str, Any]]:
    """Every record of a run; each line must be whole."""
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


def outside_timing(run: Path) -> list[dict[str, Any]]:
    """Records in the order of the search, without what depends on the clock."""
    rest = ("timing", "checksum")  # the latter is over the former, too
    kept = [{k: v for k, v in one.items() if k not in rest} for one in records(run)]
    return sorted(kept, key=lambda one: (one["generation"], one["position"]))


def files(folder: Path) -> Iterator[tuple[str, int]]:
    """Every file below a folder with the time of its last change."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.stat().st_mtime_ns
