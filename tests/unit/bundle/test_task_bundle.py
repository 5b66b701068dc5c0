"""Heads with tasks as a bundle serves them: the same scores as the network's, as a graph too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from click_world import world

from pareto_rec.bundle.graphs import Scores, graph_name
from pareto_rec.core.threads import one_thread
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.ranking.backends import UserHistory, histories_of
from pareto_rec.training.data import Fit
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.spec import train_spec

WORLD = world(2, users=20, items=16, shown=10, rate=0.0)
DATA = WORLD.data
BOTH = {"task:click": 0.3, "task:conversion": 0.3}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def trained(weights: dict[str, float], **changes: object) -> Fit:
    small = {"width": 8, "history": 5, "heads": 2, "layers": 1, "steps": 6, "check_every": 6}
    more = {"batch": 8, "task_batch": 16, "learning_rate": 0.05, "trunk_experts": 2}
    spec = train_spec({**small, **more}, {"loss_weights": weights, **changes})
    return train_pack([spec], [0], DATA, lambda _: 1.0, pack_size=1)[0]


def people() -> list[UserHistory]:
    rows = WORLD.stage.history
    ends = WORLD.stage.history_indptr[1:-1]
    return [UserHistory(items) for items in np.split(rows.item, ends)]


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("model", ["attention_pooling", "self_attention"])
@pytest.mark.parametrize("ranks", [True, False])
def test_a_head_says_what_the_network_says(trunk: str, model: str, ranks: bool) -> None:
    weights = {**BOTH, "softmax": 0.4} if ranks else BOTH
    one = trained(weights, trunk=trunk, model=model)
    head, states = DATA.head(one)
    expected = head.scores(states)
    assert bool(expected.relevance.any()) == ranks
    own = one.head(DATA.features)
    with torch.inference_mode():
        read = own.states(*histories_of(people(), 5, own.n_items))
        names = own.shape.towers
        logits = own.logits(names, read)
        said = own.scores(read)
    assert names == ("relevance", "task:click", "task:conversion")
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(said.relevance, expected.relevance, **close)
    assert set(said.tasks) == set(expected.tasks) == {"click", "conversion"}
    for name, values in expected.tasks.items():
        torch.testing.assert_close(said.tasks[name], values, **close)
    padded = np.full((len(people()), 5), -1, dtype=np.int64)
    for row, known in zip(padded, people(), strict=True):
        last = known.items[-5:]
        row[5 - len(last) :] = last
    with torch.inference_mode():
        graph = Scores(own)(torch.from_numpy(padded))
    for name, values in zip(names, graph, strict=True):
        torch.testing.assert_close(values, logits[name], **close)
    assert [graph_name(name) for name in names][1:] == ["task_click", "task_conversion"]
