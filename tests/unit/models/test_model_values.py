"""Models against their equations, one history at a time in NumPy (float64)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toy_learning import random_params, shape_of, stacked

from pareto_rec.models import MODELS
from pareto_rec.models.base import Shape, init_shared, tower

pytestmark = pytest.mark.usefixtures("single_thread")

Matrix = NDArray[np.float64]
Params = dict[str, Matrix]


def softmax(values: Matrix) -> Matrix:
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum())


def norm(x: Matrix, scale: Matrix, shift: Matrix) -> Matrix:
    return np.asarray((x - x.mean()) / math.sqrt(x.var() + 1e-5) * scale + shift)


def gelu(x: Matrix) -> Matrix:
    return np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def attention_pooling(params: Params, shape: Shape, vectors: list[Matrix]) -> Matrix:
    """``u_h = sum_i a_i x_i`` on the columns of head h; ``a = softmax(tanh(x W) q_h + p_h)``."""
    size, count = shape.width // shape.heads, len(vectors)
    state = np.zeros(shape.width)
    for head in range(shape.heads):
        places = params["pool.place"][shape.history - count :, head]
        query = params["pool.query"][:, head]
        logits = [
            np.tanh(x @ params["pool.key"]) @ query + place
            for x, place in zip(vectors, places, strict=True)
        ]
        columns = slice(head * size, (head + 1) * size)
        for weight, x in zip(softmax(np.array(logits)), vectors, strict=True):
            state[columns] += weight * x[columns]
    return state


def self_attention(params: Params, shape: Shape, vectors: list[Matrix]) -> Matrix:
    """Blocks of ``x + attend(norm(x))`` and ``x + feed(norm(x))``, then a last norm."""
    size = shape.width // shape.heads
    xs = [x.copy() for x in vectors]
    for block in range(shape.layers):
        own = {name[2:]: value for name, value in params.items() if name.startswith(f"{block}.")}
        normed = [norm(x, own["attend.scale"], own["attend.shift"]) for x in xs]
        q, k, v = (
            [x @ own["qkv"][:, part * shape.width : (part + 1) * shape.width] for x in normed]
            for part in range(3)
        )
        attended = []
        for i in range(len(xs)):
            parts = []
            for head in range(shape.heads):
                c = slice(head * size, (head + 1) * size)
                logits = [
                    q[i][c] @ k[j][c] / math.sqrt(size) + params["distance"][i - j, head]
                    for j in range(i + 1)
                ]
                weights = softmax(np.array(logits))
                parts.append(sum(weights[j] * v[j][c] for j in range(i + 1)))
            attended.append(np.concatenate(parts) @ own["mix"])
        xs = [x + change for x, change in zip(xs, attended, strict=True)]
        for i, x in enumerate(xs):
            inner = norm(x, own["feed.scale"], own["feed.shift"])
            hidden = gelu(inner @ own["up"] + own["up_bias"])
            xs[i] = x + hidden @ own["down"] + own["down_bias"]
    return norm(xs[-1], params["final.scale"], params["final.shift"])


EQUATIONS = {"attention_pooling": attention_pooling, "self_attention": self_attention}


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("name", list(EQUATIONS))
def test_states_follow_the_equations(name: str, heads: int) -> None:
    shape = shape_of(name, heads=heads)
    params = random_params(shape, 1)
    table = torch.randn(shape.n_items, shape.width, generator=torch.Generator().manual_seed(2))
    histories = torch.tensor(
        [[2, 5, 3, 8, 1, 5, 12], [-1, -1, -1, 0, 4, 0, 7], [-1, -1, -1, -1, -1, -1, 9]]
    )
    at = torch.full((1, 3, 1), 6)
    found = MODELS[name].encode(stacked([params]), shape, table[None], histories[None], at, None)
    plain = {key: value.double().numpy() for key, value in params.items()}
    for user, items in enumerate(histories.tolist()):
        vectors = [table[item].double().numpy() for item in items if item >= 0]
        expected = EQUATIONS[name](plain, shape, vectors)
        np.testing.assert_allclose(found[0, user, 0].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_a_new_pooling_weighs_items_by_recency_and_content() -> None:
    """At the start place n from the end has the bias -n / 8, before any content."""
    shape = shape_of("attention_pooling")
    made = MODELS["attention_pooling"].init(shape, torch.Generator().manual_seed(0))
    expected = torch.tensor([-6, -5, -4, -3, -2, -1, 0]) / 8
    torch.testing.assert_close(made["pool.place"], expected[:, None].expand(7, 2))


def test_a_new_self_attention_starts_with_a_linear_penalty_on_distance() -> None:
    """Head h subtracts distance / 2 ** (2 + h) (slopes 1/4 and 1/8 here)."""
    shape = shape_of("self_attention")
    made = MODELS["self_attention"].init(shape, torch.Generator().manual_seed(0))
    expected = -torch.arange(7.0)[:, None] * torch.tensor([0.25, 0.125])
    torch.testing.assert_close(made["distance"], expected)


def test_a_new_tower_hands_states_on() -> None:
    """Its second layer starts at zero, so both tasks start from the shared state itself."""
    shape = shape_of("attention_pooling", ("liked",))
    params = stacked([init_shared(shape, torch.Generator().manual_seed(0))])
    states = torch.randn(1, 5, shape.width, generator=torch.Generator().manual_seed(1))
    for task in ("relevance", "liked"):
        torch.testing.assert_close(tower(params, task, states), states)
