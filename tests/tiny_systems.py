"""Three made-up systems small enough for tests: a shop, its search, and a filter of comments.

Texts are combinations of eight words that the random BERT of the tests knows. What is bought next,
which item answers a query and which comment is unwanted all follow from the words, so that every
system can learn.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_bert import random_bert
from shared_work import made_once

from pareto_rec.experiment.config import SystemsConfig, load_any_config

WORDS = ("film", "war", "love", "a", "b", "c", "1995", "the")
SHOP, QUERIES, COMMENTS = "log.csv", "pairs.csv", "comments.csv"

CONFIG = """\
name = "tiny_systems"
question = "Do three systems share a model?"
reported = ["ild@10@shop", "log_loss@comments"]
objective = [
  { name = "ndcg@10@shop", reference = 0.0 },
  { name = "ndcg@5@search", reference = 0.0 },
  { name = "auc@comments", reference = 0.5 },
]

[backbone]
name = "BERT"
max_length = 12
components = 12

[fixed]
width = 8
batch = 48
steps = 8
check_every = 4

[space.train]
system_weights = { kind = "simplex", names = ["shop", "search", "comments"] }
learning_rate = { kind = "real", low = 0.01, high = 0.05, log = true }
trunk = { kind = "choice", options = ["shared_bottom", "ple"] }

[space.train.shop]
temperature = { kind = "real", low = 0.5, high = 1.5 }

[space.serve.shop]
mmr = { kind = "real", low = 0.0, high = 0.5 }

[space.serve.search]
lexical_weight = { kind = "real", low = 0.0, high = 1.0 }

[search]
population = 3
generations = 2
sweep = 3

[smoke]
search.generations = 1

[[system]]
name = "shop"
kind = "recommend"
baselines = ["popularity"]
tuning = { settings = 1 }
split = { kind = "leave_last_out" }
fixed = { history = 6, heads = 2, horizon = 1 }
[system.data]
kind = "table"
name = "made_up"
files = "log.csv"
columns = { user = "user", item = "item", time = "time" }
relevance = "interaction"
items = { text = "text", categories = "kind" }

[[system]]
name = "search"
kind = "rank"
split = { by = "query", validation = 0.3, test = 0.2 }
[system.data]
files = "pairs.csv"
query = "query"
item = "item"
text = "text"
grade = "grade"

[[system]]
name = "comments"
kind = "score"
split = { by = "author", validation = 0.3, test = 0.2 }
[system.data]
files = "comments.csv"
text = "text"
label = { column = "unwanted", equals = "yes" }
numbers = ["length"]
categories = ["place"]
"""


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)


def write_systems(folder: Path, text: str = CONFIG, *, seed: int = 0) -> Path:
    """Write data, a random backbone and a config; the config's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    texts = [" ".join(words) for words in product(WORDS[:4], WORDS[4:])]  # 16 items
    walks = ((user, int(start)) for user, start in enumerate(rng.integers(0, 16, 40)))
    bought = [
        (f"u{user}", f"i{(start + step) % 16}", 1_000_000 + 1000 * step, (start + step) % 16)
        for user, start in walks
        for step in range(8)
    ]
    log = [(*row[:3], texts[row[3]], texts[row[3]].split()[0]) for row in bought]
    _write(folder / SHOP, ("user", "item", "time", "text", "kind"), log)
    pairs = [
        (f"{first} {word}", f"i{item}", texts[item], sum(w in texts[item] for w in (first, word)))
        for first, word in product(WORDS[:4], WORDS[4:])
        for item in rng.choice(16, 6, replace=False)
    ]
    pairs += [(query, "i3", texts[3], 1) for query in ("war", "love", "film")]
    _write(folder / QUERIES, ("query", "item", "text", "grade"), pairs)
    comments = []
    for number in range(120):
        words = rng.choice(WORDS, 4, replace=False)
        unwanted = "war" in words or "1995" in words
        place = "north" if rng.random() < 0.5 else ""
        row = (" ".join(words), "yes" if unwanted else "no", f"p{number % 30}", len(words), place)
        comments.append(row)
    _write(folder / COMMENTS, ("text", "unwanted", "author", "length", "place"), comments)
    bert = random_bert(folder / "bert")
    path = folder / "config.toml"
    path.write_text(text.replace('name = "BERT"', f'name = "{bert}"'))
    return path


@pytest.fixture(scope="session")
def systems_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, backbone and config, written once for all processes."""
    return made_once(tmp_path_factory, "tiny-systems", write_systems)


def systems_config(folder: Path, *changes: str) -> SystemsConfig:
    """The config with some keys changed, as ``--set`` does it."""
    config = load_any_config(folder / "config.toml", changes)
    assert isinstance(config, SystemsConfig)
    return config
