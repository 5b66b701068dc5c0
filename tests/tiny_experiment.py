"""A real experiment small enough for tests: MovieLens 100K, MiniLM on eight tokens, tiny fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

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
ENDLESS = ("--set", "search.generations=300", "--set", "search.population=4")

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


@pytest.fixture(scope="session")
def tiny_cache(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with data and backbone in which nothing was computed before the first test."""
    folder = tmp_path_factory.mktemp("cache")
    return fresh_cache(folder, sources, ("data", "backbones"))


def environment(cache: Path, **more: str) -> dict[str, str]:
    """The environment of a command that keeps its files in `cache`."""
    return {**os.environ, CACHE_VARIABLE: str(cache), **more}


def program(*arguments: str | Path) -> list[str]:
    """The command line as a process of this Python."""
    return [sys.executable, "-m", "pareto_rec", *map(str, arguments)]


def pareto_rec(
    *arguments: str | Path, cache: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the real command line to its end."""
    return subprocess.run(
        program(*arguments),
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(cache) if env is None else dict(env),
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
