"""The parts of a bundle as modules that become ONNX graphs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pareto_rec.baselines.base import ItemModel
from pareto_rec.bundle.pooled import attention_shares
from pareto_rec.models.attention_pooling import AttentionPooling
from pareto_rec.models.base import Params, tower
from pareto_rec.models.head import ScoringHead
from pareto_rec.models.scoring import user_states

_REPLACED = ("item.project", "item.embed")  # item vectors stand in for them


def graph_name(task: str) -> str:
    """Name of a task among the outputs of a graph: ``task:click`` is ``task_click`` there."""
    return task.replace(":", "_")


class Encoding(nn.Module):
    """Text encoding as a graph: the mean of the states of all real tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return features ``[texts, F]``."""
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        states: Tensor = output.last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1)


class ExpertScores(nn.Module):
    """An expert as a graph: a sum of the rows of a matrix that the history names.

    With `int8`, each row of the matrix is kept as whole numbers from -127 to 127 and a scale.
    """

    def __init__(self, model: ItemModel, *, int8: bool) -> None:
        super().__init__()
        self.tau, self.fixed = model.tau, model.weights is None
        self.register_buffer("bias", torch.from_numpy(np.array(model.bias)))
        if model.weights is None:
            return
        dense = model.weights
        dense = dense if isinstance(dense, np.ndarray) else dense.toarray()
        weights = torch.from_numpy(np.array(dense, dtype=np.float32))
        scale = torch.ones(len(weights))
        if int8:
            scale = weights.abs().amax(1).clamp(min=1e-12) / 127
            weights = (weights / scale.unsqueeze(1)).round().to(torch.int8)
        self.register_buffer("weights", weights)
        self.register_buffer("scale", scale)

    def forward(self, items: Tensor) -> Tensor:
        """Return scores ``[people, N]``."""
        bias = self.get_buffer("bias")
        if self.fixed:
            return bias + 0 * items[:, :1].to(torch.float32)
        age = torch.arange(items.shape[1] - 1, -1, -1, device=items.device)
        later = age.unsqueeze(0) < age.unsqueeze(1)  # [rows, rows]: the second is after the first
        repeated = ((items.unsqueeze(2) == items.unsqueeze(1)) & later).any(2)
        # a repeated item has the weight of its last row
        weight = ((items >= 0) & ~repeated).to(torch.float32)
        if self.tau is not None:
            weight = weight * torch.exp(-age.to(torch.float32) / self.tau)
        named = items.clamp(min=0)
        weight = weight * self.get_buffer("scale")[named]
        rows = self.get_buffer("weights")[named].to(torch.float32)
        return (weight.unsqueeze(1) @ rows).squeeze(1) + bias


class Scores(nn.Module):
    """A head as a graph: the user encoder over item vectors, and all tasks over the catalogue."""

    def __init__(self, head: ScoringHead) -> None:
        super().__init__()
        self.shape = head.shape
        self.names = list(head.params)
        for index, part in enumerate(head.params.values()):
            if self.names[index] not in _REPLACED:
                self.register_buffer(f"part_{index}", part.clone())
        self.tasks = head.shape.towers
        for task in self.tasks:
            scale = self.shape.width**-0.5 / (head.temperature if task == "relevance" else 1)
            self.register_buffer(f"scale_{graph_name(task)}", torch.ones(1) * scale)
        self.register_buffer("table", head.table[0].clone())
        self.register_buffer("across", head.table[0].T.clone().contiguous())

    def forward(self, items: Tensor) -> tuple[Tensor, ...]:
        """Return logits ``[people, N]`` of relevance and of the tasks."""
        params = {
            name: self.get_buffer(f"part_{index}")
            for index, name in enumerate(self.names)
            if name not in _REPLACED
        }
        states = self._states(params, items)
        across = self.get_buffer("across")
        outputs = []
        for task in self.tasks:
            scaled = tower(params, task, states)[0] * self.get_buffer(f"scale_{graph_name(task)}")
            outputs.append(scaled @ across + params[f"{task}.item_bias"][0])
        return tuple(outputs)

    def _states(self, params: Params, items: Tensor) -> Tensor:
        """Return user states ``[1, people, D]``."""
        people, length = items.shape
        rows = self.get_buffer("table")[items.clamp(min=0).reshape(-1)]
        if self.shape.model == AttentionPooling.name:  # its own sum is no operation of ONNX
            vectors = rows.view(people, length, -1)
            shares = attention_shares(params, self.shape.heads, vectors, items >= 0)
            return shares.sum(1).unsqueeze(0)
        places = torch.arange(people * length, device=items.device).view(1, people, length)
        places = torch.where(items.unsqueeze(0) >= 0, places, -1)
        last = torch.full((1, people, 1), length - 1, device=items.device)
        return user_states(params, self.shape, rows.unsqueeze(0), places, last)
